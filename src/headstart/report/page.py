"""The report of a run: one self-contained HTML page and its figures, from the run folder alone."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headstart.contracts import Measure
from headstart.progress import Progress
from headstart.report import summary
from headstart.report.cautions import cautions
from headstart.report.charts import standalone
from headstart.report.figures import (
    MOST_CLASSES_DRAWN,
    confusion_chart,
    overview_chart,
    run_charts,
)
from headstart.report.mistakes import Mistake, confused_pairs, read_mistakes
from headstart.report.record import RunRecord, read_record
from headstart.report.rendering import render_page
from headstart.report.thumbnails import embed_file
from headstart.report.wording import figure, interval, metric_words
from headstart.rundir import RunFolder

THUMBNAIL_PIXELS = 160
MOST_PICTURES = 24
# A table of more classes than this is told by its worst pairs instead: it fits no screen.
MOST_CLASSES_TABLED = 20
# So that the lists of a large, troubled data set leave the page under 3 MB; dataset.json has all.
MOST_IDS_LISTED = 200

_EPOCH_COLUMNS = {
    "epoch": "Epoch",
    "phase": "Phase",
    "train_loss": "Training loss",
    "val_loss": "Validation loss",
    "val_accuracy": "Validation accuracy",
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


@dataclass(frozen=True)
class MetricRow:
    """A line of a metrics table; `low` and `high` end the drawn interval, None draws none."""

    title: str
    meaning: str
    value: str
    interval: str
    is_share: bool
    measure: Measure


@dataclass(frozen=True)
class Tile:
    """A mistake with its picture: `source` is a data: address, `link` leads to the file."""

    mistake: Mistake
    source: str | None
    link: str


def write_report(folder: RunFolder, *, progress: Progress | None = None) -> Path:
    """Write `report.html` and the figures of a finished run.

    Args:
        folder: The run.
        progress: Told of the pictures drawn.

    Returns:
        The page.

    Raises:
        RunError: A file of the run is missing or damaged, or the page cannot be written.
    """
    record = read_record(folder)
    charts = run_charts(record)
    confusion = confusion_chart(record)
    for name, chart in {**charts, "confusion": confusion}.items():
        if chart:
            folder.write_text(folder.figures / f"{name}.svg", standalone(chart))
    context = {
        **_opening(record),
        **_data(record),
        **_training(record),
        **_results(record),
        **_mistakes(record, progress or Progress()),
        "charts": charts,
        "confusion_chart": confusion,
    }
    folder.write_text(folder.report, render_page("report.html", context))
    return folder.report


def _opening(record: RunRecord) -> dict[str, Any]:
    run = shlex.quote(record.folder.path.as_posix())
    return {
        "record": record,
        "title": f"{summary.data_name(record)}: {record.name}",
        "created": written_date(record.config["created"]),
        "purpose": summary.purpose(record),
        "making": summary.making(record),
        "verdict": summary.verdict(record),
        "comparison": summary.comparison(record),
        "headline": _metric_row(record.headline, record.measures[record.headline]),
        "overview": overview_chart(record),
        "cautions": cautions(record),
        "run": run,
        "run_text": repr(record.folder.path.as_posix()),
    }


def _data(record: RunRecord) -> dict[str, Any]:
    counts = record.counts
    splits = [name for name in counts if any(counts[name].values())]
    rows = [
        (name, [counts[s].get(name, 0) for s in splits], record.totals[name])
        for name in record.totals
    ]
    return {
        "splits": splits,
        "class_rows": rows,
        "largest_class": max(record.totals.values(), default=0) or 1,
        "most_ids": MOST_IDS_LISTED,
    }


def _training(record: RunRecord) -> dict[str, Any]:
    fit = record.fit
    selection = fit.get("cross_validation") or []
    matches = fit.get("matches") or {}
    told = {"stopped", "best_epoch", "epochs", "classifier", "num_folds"}
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
        "epoch_columns": list(columns.values()),
        "epoch_rows": [
            (e["epoch"], [_cell(key, e.get(key)) for key in columns]) for e in record.epochs
        ],
        "groups": fit.get("groups") or [],
        "selection": selection,
        "matches": list(matches.items()),
        "phases": _phases(record.epochs),
    }


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


def _results(record: RunRecord) -> dict[str, Any]:
    confusion: Mapping[str, Any] | None = record.metrics.get("confusion")
    rungs = record.metrics.get("rungs") or []
    num_confused = len(confusion["classes"]) if confusion else 0
    pairs = confused_pairs(confusion) if confusion else []
    is_tabled = num_confused <= MOST_CLASSES_TABLED
    per_class = sorted(
        record.metrics["per_class"].items(), key=lambda item: (item[1].get("f1") or 0.0, item[0])
    )
    return {
        "metric_rows": [_metric_row(name, m) for name, m in record.measures.items()],
        "per_class": [
            (
                name,
                [_class_measure(row, key) for key in ("precision", "recall", "f1")],
                int(row.get("n", 0)),
            )
            for name, row in per_class
        ],
        "confusion": confusion if is_tabled else None,
        "pairs": [] if is_tabled else pairs,
        "is_too_large_to_draw": num_confused > MOST_CLASSES_DRAWN,
        "rungs": rungs if len(rungs) > 1 else [],
        "seconds": record.metrics.get("seconds") or {},
    }


def _metric_row(name: str, measure: Measure) -> MetricRow:
    words = metric_words(name)
    return MetricRow(
        title=words.title,
        meaning=words.meaning,
        value=figure(measure.value, is_share=words.is_share),
        interval=interval(measure, is_share=words.is_share),
        is_share=words.is_share,
        measure=measure,
    )


def _class_measure(row: Mapping[str, Any], key: str) -> MetricRow | None:
    """Precision, recall or F1 of a class; None where it is undefined."""
    if row.get(key) is None:
        return None
    measure = Measure(row[key], row.get(f"{key}_low"), row.get(f"{key}_high"))
    return MetricRow(
        title=key,
        meaning="",
        value=figure(measure.value, is_share=True),
        interval=interval(measure, is_share=True),
        is_share=True,
        measure=measure,
    )


def _mistakes(record: RunRecord, progress: Progress) -> dict[str, Any]:
    found = read_mistakes(record, limit=MOST_PICTURES)
    tiles = []
    with progress.bar("drawing pictures", total=len(found.surest), unit="pictures") as advance:
        for mistake in found.surest:
            path = record.sample_path(mistake.id)
            source = embed_file(path, size=THUMBNAIL_PIXELS)
            tiles.append(Tile(mistake, source, _link(path, record.folder.path)))
            advance(1)
    return {
        "mistakes": found,
        "tiles": tiles,
        "num_missing": sum(tile.source is None for tile in tiles),
    }


def _link(path: Path, start: Path) -> str:
    """A link from the page to a file, relative, so that it holds where both were moved alike."""
    try:
        relative = os.path.relpath(path.absolute(), start.absolute())
    except ValueError:  # on another drive, which only Windows has
        return path.absolute().as_uri()
    return quote(Path(relative).as_posix())


def written_date(text: str) -> str:
    """An ISO time as a date and time to read; the text itself when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y, %H:%M}"


def _cell(key: str, value: Any) -> str:
    """An entry of the table of epochs."""
    if value is None:
        return "–"
    if key in ("epoch", "phase"):
        return str(value)
    if key == "lr":
        return f"{value:.3g}"
    return f"{value:.1f}" if key == "seconds" else f"{value:.4f}"
