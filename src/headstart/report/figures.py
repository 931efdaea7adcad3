"""Which charts a run has: from its record to SVG. A chart without data is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report.axes import Axis
from headstart.report.charts import (
    Estimate,
    heat_map,
    interval_chart,
    line_chart,
)
from headstart.report.drawing import Drawing, Mark, Series, standalone
from headstart.report.record import RunRecord
from headstart.report.wording import figure, metric_words

MOST_CLASSES_DRAWN = 60
# Of an epoch event, at most three: more lines cannot be told apart.
_SCORES = {
    "val_accuracy": "accuracy",
    "val_macro_f1": "macro F1",
    "val_balanced_accuracy": "balanced accuracy",
}
_DENSE_SCORES = {
    "val_miou": "mean IoU",
    "val_pixel_accuracy": "pixel accuracy",
    "val_macro_f1": "macro F1",
}


def lr_finder_figure(lrs: Sequence[float], losses: Sequence[float], chosen: float) -> str:
    """The curve of the learning-rate finder, as the text of an SVG file.

    Args:
        lrs: Learning rates that were tried.
        losses: The smoothed loss at each.
        chosen: The learning rate that was taken.
    """
    return standalone(_lr_finder_chart(lrs, losses, chosen))


def _lr_finder_chart(lrs: Sequence[float], losses: Sequence[float], chosen: float) -> str:
    values = [_number(loss) for loss in losses]
    finite = [value for value in values if math.isfinite(value)]
    ceiling = max(finite[0], min(finite) * 4) * 1.25 if finite else 0.0
    while len(values) > 1 and lrs[len(values) - 1] > chosen and not values[-1] <= ceiling:
        values.pop()  # where the loss blows up, which would flatten all before it
    return line_chart(
        [Series("loss", lrs[: len(values)], values)],
        title="Learning-rate finder",
        description=f"Loss while the learning rate rose from {min(lrs):.3g} to {max(lrs):.3g}; "
        f"{chosen:.3g} was chosen.",
        x=Axis("learning rate", is_log=True),
        y=Axis("loss"),
        mark=Mark(chosen, f"chosen: {chosen:.2g}"),
    )


def run_charts(record: RunRecord) -> dict[str, Drawing]:
    """Charts of the training by name: `loss`, `scores`, `lr`, `lr_finder`, `selection`.

    Only those that the run has data for.
    """
    charts: dict[str, Drawing] = {}
    if record.epochs:
        charts |= _epoch_charts(record)
    finder = record.lr_finder
    if finder is not None and any(math.isfinite(_number(loss)) for loss in finder["losses"]):
        lrs, losses = finder["lrs"], finder["losses"]
        charts["lr_finder"] = Drawing(
            "Learning-rate finder",
            _lr_finder_chart(lrs, losses, float(finder["chosen"])),
            ("Learning rate", "Loss"),
            tuple((f"{lr:.3g}", f"{_number(v):.4f}") for lr, v in zip(lrs, losses, strict=True)),
        )
    selection = _selection_drawing(record.fit)
    if selection is not None:
        charts["selection"] = selection
    return charts


def overview_chart(record: RunRecord) -> str:
    """The headline metric beside the most trivial answer; empty when it is no share of 1."""
    name = record.headline
    measure, words = record.measures[name], metric_words(name)
    if not words.is_share:
        return ""
    text = figure(measure.value, is_share=True)
    rows = [Estimate("This model", measure.value, measure.low, measure.high, text)]
    described = f"{words.title}: this model {text}"
    majority = record.majority
    if majority is not None:
        trivial = figure(majority, is_share=True)
        label = f"Always “{record.most_common_class}”"
        rows.append(Estimate(label, majority, text=trivial))
        described += f", {label.lower()} {trivial}"
    return interval_chart(
        rows, title=f"{words.title} with its 95% interval", description=described + "."
    )


def confusion_chart(record: RunRecord) -> str:
    """The confusion matrix; empty when there is none, or too many classes to be read."""
    confusion = record.metrics.get("confusion")
    if not confusion or not 0 < len(confusion["classes"]) <= MOST_CLASSES_DRAWN:
        return ""
    counts = confusion["counts"]
    right = sum(row[i] for i, row in enumerate(counts))
    return heat_map(
        confusion["classes"],
        counts,
        title="Confusion matrix",
        description=f"Rows are the truth, columns the prediction; {right:,} of "
        f"{sum(map(sum, counts)):,} {record.counted}s lie on the "
        "diagonal, where both agree.",
        texts=_shares(counts) if record.is_dense else None,
    )


def _shares(counts: Sequence[Sequence[int]]) -> list[list[str]]:
    """Each count as the percentage of its row, for counts too long to stand in a cell."""
    return [[f"{100 * n / (sum(row) or 1):.0f}%" for n in row] for row in counts]


def _epoch_charts(record: RunRecord) -> dict[str, Drawing]:
    best = record.best_epoch
    mark = None if best is None else Mark(float(best), "best")
    x = Axis("epoch")
    charts = {}
    losses = _lines(record.epochs, {"train_loss": "training", "val_loss": "validation"})
    if losses:
        charts["loss"] = _drawing(losses, "Loss", x=x, y=Axis("loss"), mark=mark)
    scores = _lines(record.epochs, _DENSE_SCORES if record.is_dense else _SCORES)
    if scores:
        y = Axis("score", is_share=True)
        charts["scores"] = _drawing(scores, "Validation scores", x=x, y=y, mark=mark)
    rates = _lines(record.epochs, {"lr": "learning rate"})
    if rates:
        charts["lr"] = _drawing(rates, "Learning rate", x=x, y=Axis("learning rate"))
    return charts


def _drawing(
    lines: Sequence[Series], title: str, *, x: Axis, y: Axis, mark: Mark | None = None
) -> Drawing:
    """Lines over the epochs, the mark at the one that scored best."""
    told = "" if mark is None else f" Epoch {mark.x:.0f} scored best."
    chart = line_chart(lines, title=title, description=_ends(lines) + told, x=x, y=y, mark=mark)
    rows = (
        (f"{epoch:.0f}", *(f"{line.ys[i]:.4g}" for line in lines))
        for i, epoch in enumerate(lines[0].xs)
    )
    return Drawing(
        title, chart, ("Epoch", *(line.name.capitalize() for line in lines)), tuple(rows)
    )


def _lines(epochs: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> list[Series]:
    """A series for each key that any epoch has a finite value of."""
    numbers = [float(epoch["epoch"]) for epoch in epochs]
    lines = []
    for key, name in keys.items():
        values = [_number(epoch.get(key)) for epoch in epochs]
        if any(map(math.isfinite, values)):
            lines.append(Series(name, numbers, values))
    return lines


def _ends(lines: Sequence[Series]) -> str:
    """First and last value of each line, in words."""
    told = []
    for line in lines:
        finite = [value for value in line.ys if math.isfinite(value)]
        told.append(f"{line.name} from {finite[0]:.3g} to {finite[-1]:.3g}")
    return f"Over {len(lines[0].xs)} epochs: {', '.join(told)}."


def _selection_drawing(fit: Mapping[str, Any]) -> Drawing | None:
    """Score against the setting that cross-validation chose; None unless it is a curve."""
    rows = fit.get("cross_validation") or []
    if len(rows) < 2:
        return None
    setting = next(iter(rows[0]))
    score = next((key for key in ("log_loss", "accuracy") if key in rows[0]), "")
    values = [_number(row.get(setting)) for row in rows]
    if not score or not all(math.isfinite(value) and value > 0 for value in values):
        return None
    line = Series(score.replace("_", " "), values, [_number(row.get(score)) for row in rows])
    if not any(map(math.isfinite, line.ys)):
        return None
    chosen = _number(fit.get(setting))
    chart = line_chart(
        [line],
        title=f"Choice of {setting}",
        description=f"Cross-validated {line.name} at each {setting} tried; {chosen:.3g} was taken.",
        x=Axis(setting, is_log=True),
        y=Axis(line.name, is_share=score == "accuracy"),
        mark=Mark(chosen, f"chosen: {chosen:.3g}") if math.isfinite(chosen) else None,
    )
    rows = tuple((f"{a:.3g}", f"{b:.4g}") for a, b in zip(values, line.ys, strict=True))
    return Drawing("Choice by cross-validation", chart, (setting, line.name.capitalize()), rows)


def _number(value: Any) -> float:
    """A number of a JSON file, NaN for anything else."""
    return float(value) if isinstance(value, int | float) else math.nan
