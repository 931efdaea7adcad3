"""What the page tells about the training: curves, tables of epochs, settings tried, groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report.record import RunRecord
from headstart.report.wording import count

_EPOCH_COLUMNS = {
    "epoch": "Epoch",
    "phase": "Phase",
    "train_loss": "Training loss",
    "val_loss": "Validation loss",
    "val_accuracy": "Validation accuracy",
    "val_miou": "Validation mean IoU",
    "val_pixel_accuracy": "Pixel accuracy",
    "val_balanced_accuracy": "Balanced accuracy",
    "val_macro_f1": "Validation macro F1",
    "lr": "Learning rate",
    "seconds": "Seconds since the start",
}
_STOPPED = {
    "patience": "It stopped early: the validation score had not improved for some epochs.",
    "budget": "It stopped at the end of its time budget.",
    "epochs": "It ran all its epochs.",
    "interrupted": "It was interrupted.",
}


def training_context(record: RunRecord) -> dict[str, Any]:
    """What the section on training fills in."""
    fit = record.fit
    selection = fit.get("cross_validation") or []
    matches = fit.get("matches") or {}
    told = {"stopped", "best_epoch", "epochs", "classifier", "num_folds", "num_folds_looked_at"}
    told |= set(selection[0]) if selection else set()
    columns = {
        key: title
        for key, title in _EPOCH_COLUMNS.items()
        if any(epoch.get(key) is not None for epoch in record.epochs)
    }
    plain = {
        key.replace("_", " "): value
        for key, value in fit.items()
        if key not in told and not isinstance(value, Mapping | list)
    }
    return {
        "fit_facts": plain,
        "stopped": _STOPPED.get(fit.get("stopped", ""), ""),
        "best_epoch": record.best_epoch,
        "taken": _taken_told(fit, best_epoch=record.best_epoch),
        "refit": _refit_told(fit, unit=record.unit),
        "epoch_columns": list(columns.values()),
        "epoch_rows": [
            (e["epoch"], [_cell(key, e.get(key)) for key in columns]) for e in record.epochs
        ],
        "groups": fit.get("groups") or [],
        "selection": selection,
        "matches": list(matches.items()),
        "phases": _phases(record.epochs),
        "seconds": record.metrics.get("seconds") or {},
    }


def _taken_told(fit: Mapping[str, Any], *, best_epoch: int | None) -> str:
    """Which weights were taken, in a sentence; empty where nothing was trained."""
    if best_epoch is None:
        return ""
    merged = fit.get("merged", {})
    if not merged.get("is_mixed"):
        return f"The weights of epoch {best_epoch} were kept."
    return f"Epoch {best_epoch} scored best of all; better still, and taken: {merged['recipe']}."


def _refit_told(fit: Mapping[str, Any], *, unit: str) -> str:
    """What was learnt again, in sentences; empty where nothing was."""
    if "refit" not in fit:
        return ""
    num_epochs, share = fit["refit"]["epochs"], fit["refit"]["share"]
    way = "" if share == 1 else f", {share:.0%} of the way from the linear head"
    return (
        f"Then it learnt once more, by the same plan, from the validation {unit}s too: the model "
        f"has the weights after {count(num_epochs, 'epoch')}{way}. The curves are of the training "
        "before that, as only it can be judged on them."
    )


def _phases(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which epochs each phase held, in words; empty with a single phase."""
    spans: dict[str, list[int]] = {}
    for epoch in epochs:
        spans.setdefault(str(epoch.get("phase") or ""), []).append(epoch["epoch"])
    if len(spans) < 2:
        return []
    return [
        f"{name} ({'epoch' if e[0] == e[-1] else 'epochs'} {e[0]}"
        + (")" if e[0] == e[-1] else f"–{e[-1]})")
        for name, e in spans.items()
    ]


def _cell(key: str, value: Any) -> str:
    """An entry of the table of epochs."""
    if value is None:
        return "–"
    if key in ("epoch", "phase"):
        return str(value)
    if key == "lr":
        return f"{value:.3g}"
    return f"{value:.1f}" if key == "seconds" else f"{value:.4f}"
