"""What the page tells about the results: metrics, classes, confusion and ladder, as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.contracts import Measure
from headstart.report.evidence import RacedBackbone, Rung
from headstart.report.figures import MOST_CLASSES_DRAWN
from headstart.report.mistakes import confused_pairs
from headstart.report.record import RunRecord
from headstart.report.wording import (
    duration,
    figure,
    interval,
    metric_words,
    points,
    rung_words,
)

# A table of more classes than this is told by its worst pairs instead: it fits no screen.
MOST_CLASSES_TABLED = 20


_CLASS_COLUMNS = {"precision": "Precision", "recall": "Recall", "f1": "F1"}
_DENSE_CLASS_COLUMNS = {"iou": "IoU", **_CLASS_COLUMNS}


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
class RungRow:
    """A line of the table of rungs, as texts."""

    name: str
    score: str
    interval: str
    gain: str
    time: str
    judged_on: str
    is_kept: bool
    why: str


@dataclass(frozen=True)
class RaceRow:
    """A line of the table of backbones, as texts."""

    reference: str
    score: str
    interval: str
    log_loss: str
    gap: str
    n: str
    rate: str
    is_kept: bool
    why: str


def results_context(record: RunRecord) -> dict[str, Any]:
    """What the sections on metrics, confusion and ladder fill in."""
    confusion: Mapping[str, Any] | None = record.metrics.get("confusion")
    num_confused = len(confusion["classes"]) if confusion else 0
    is_tabled = num_confused <= MOST_CLASSES_TABLED
    columns = _DENSE_CLASS_COLUMNS if record.is_dense else _CLASS_COLUMNS
    ranked_by = "iou" if record.is_dense else "f1"
    per_class = sorted(
        record.metrics["per_class"].items(),
        key=lambda item: (item[1].get(ranked_by) or 0.0, item[0]),
    )
    num_pixels = sum(record.pixels.values()) or 1
    rungs = record.evidence.rungs
    return {
        "metric_rows": [metric_row(name, m) for name, m in record.measures.items()],
        "per_class": [
            (
                name,
                [_class_cell(row, key) for key in columns],
                int(row.get("n") or 0),
            )
            for name, row in per_class
        ],
        "class_columns": list(columns.values()),
        "class_shares": _class_shares(record) if is_tabled else [],
        "border_words": border_words(record),
        "num_pixels": num_pixels,
        "confusion": confusion if is_tabled else None,
        "pairs": confused_pairs(confusion) if confusion and not is_tabled else [],
        "is_too_large_to_draw": num_confused > MOST_CLASSES_DRAWN,
        "rungs": _rung_rows(record) if len(rungs) > 1 else [],
        "rung_metric": metric_words(rung_metric(record)).title,
        "race": [_race_row(found, _race_metric(record)) for found in record.evidence.race],
        "num_raced": sum(found.num_rounds > 0 for found in record.evidence.race),
        "race_metric": metric_words(_race_metric(record)).title,
    }


def border_words(record: RunRecord) -> str:
    """How near a border has to be to count as found, in a sentence; empty where it is not known."""
    told = record.metrics.get("boundary")
    if not told or "boundary_f1" not in record.measures:
        return ""
    low, high = told["tolerance_pixels"]
    pixels = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"A border counts as found when it is at most {pixels} "
        f"{'pixel' if high == 1 else 'pixels'} off, "
        f"{100 * told['share_of_diagonal']:g}% of a picture's diagonal."
    )


def _class_shares(record: RunRecord) -> list[tuple[str, float, float]]:
    """(class, its share of the labelled test pixels in the truth, in the answer)."""
    confusion = record.metrics.get("confusion")
    if not record.is_dense or not confusion:
        return []
    rows: list[list[int]] = confusion["counts"]
    total = sum(map(sum, rows)) or 1
    columns = [sum(column) for column in zip(*rows, strict=True)]
    return [
        (name, sum(row) / total, answered / total)
        for name, row, answered in zip(confusion["classes"], rows, columns, strict=True)
    ]


def rung_metric(record: RunRecord) -> str:
    """The metric that rungs are told by: the headline where they have it, else their first."""
    measured = [rung.measures for rung in record.evidence.rungs if rung.measures]
    if not measured or any(record.headline in measures for measures in measured):
        return record.headline
    return next(iter(measured[0]))


def _rung_rows(record: RunRecord) -> list[RungRow]:
    metric = rung_metric(record)
    is_share = metric_words(metric).is_share
    rows = []
    for rung in record.evidence.rungs:
        measure = rung.measures.get(metric)
        gain = "–" if rung.gain is None else points(rung.gain, is_share=is_share)
        if rung.gain is not None and rung.gain_over:
            gain += f" over {rung_words(rung.gain_over, counted=record.counted).lower()}"
        rows.append(
            RungRow(
                name=rung.label or rung_words(rung.strategy, counted=record.counted),
                score="–" if measure is None else figure(measure.value, is_share=is_share),
                interval="" if measure is None else interval(measure, is_share=is_share),
                gain=gain,
                time=_rung_time(rung),
                judged_on=rung.judged_on,
                is_kept=rung.is_kept,
                why=rung.why,
            )
        )
    return rows


def _rung_time(rung: Rung) -> str:
    predicted = rung.predicted_seconds
    if not rung.was_tried:
        return "not tried" if predicted is None else f"not tried: {duration(predicted)} predicted"
    if predicted is None:
        return duration(rung.seconds)
    return f"{duration(rung.seconds)} ({duration(predicted)} predicted)"


def _race_metric(record: RunRecord) -> str:
    """The metric that backbones raced by: the first of what was measured."""
    measured = [found.measures for found in record.evidence.race if found.measures]
    return next(iter(measured[0])) if measured else record.headline


def _race_row(found: RacedBackbone, metric: str) -> RaceRow:
    is_share = metric_words(metric).is_share
    measure, log_loss = found.measures.get(metric), found.measures.get("log_loss")
    return RaceRow(
        reference=found.reference,
        score="–" if measure is None else figure(measure.value, is_share=is_share),
        interval="" if measure is None else interval(measure, is_share=is_share),
        log_loss="–" if log_loss is None else figure(log_loss.value, is_share=False),
        gap="–" if found.gap is None else points(found.gap, is_share=is_share),
        n=f"{found.n:,}" if found.n else "–",
        rate="–" if found.samples_per_s is None else f"{found.samples_per_s:,.0f}",
        is_kept=found.is_kept,
        why=found.why,
    )


def metric_row(name: str, measure: Measure) -> MetricRow:
    """A metric as a table has it."""
    words = metric_words(name)
    return MetricRow(
        title=words.title,
        meaning=words.meaning,
        value=figure(measure.value, is_share=words.is_share),
        interval=interval(measure, is_share=words.is_share),
        is_share=words.is_share,
        measure=measure,
    )


def class_measure(row: Mapping[str, Any], key: str) -> Measure | None:
    """An entry of `per_class` of metrics.json with its interval; None where it is undefined."""
    value, low, high = (
        None if number is None or not math.isfinite(number) else float(number)
        for number in (row.get(key), row.get(f"{key}_low"), row.get(f"{key}_high"))
    )
    return None if value is None else Measure(value, low, high)


def _class_cell(row: Mapping[str, Any], key: str) -> MetricRow | None:
    """IoU, precision, recall or F1 of a class; None where it is undefined."""
    measure = class_measure(row, key)
    if measure is None:
        return None
    return MetricRow(
        title=key,
        meaning="",
        value=figure(measure.value, is_share=True),
        interval=interval(measure, is_share=True),
        is_share=True,
        measure=measure,
    )
