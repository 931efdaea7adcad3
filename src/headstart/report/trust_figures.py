"""Charts of what a run proves about itself, each with its figures. A part without data has none."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from headstart.contracts import Measure
from headstart.report.axes import Axis
from headstart.report.charts import Estimate, histogram, interval_chart, line_chart
from headstart.report.curves import Band, Plane, Point, uncertainty_chart
from headstart.report.drawing import Drawing, Mark, Series
from headstart.report.evidence import (
    Calibration,
    CoveragePoint,
    Leakage,
    LearningCurve,
    Rung,
    Strangers,
    Transfer,
)
from headstart.report.wording import (
    count,
    duration,
    figure,
    interval,
    metric_words,
    percent,
    rung_words,
    told,
)

# A rung that takes less is drawn there: baselines cost nothing, and a logarithm has no zero.
_LEAST_SECONDS = 0.1
# Where an axis of shares may begin, so that its five ticks are round.
_STARTS = (0.9, 0.8, 0.6, 0.0)


def ladder_drawing(
    rungs: Sequence[Rung], *, metric: str, counted: str = "picture"
) -> Drawing | None:
    """The score of each rung that was tried, with its interval, against its time.

    Args:
        rungs: From the simplest up.
        metric: That they are told by.
        counted: What they answer for; pixels and texts give some of them other names.
    """
    tried = [rung for rung in rungs if rung.was_tried and metric in rung.measures]
    if len(tried) < 2:
        return None
    words = metric_words(metric)
    points = [
        Point(
            max(rung.seconds, _LEAST_SECONDS),
            rung.measures[metric],
            rung.label or rung_words(rung.strategy, counted=counted),
            is_chosen=rung.is_kept,
        )
        for rung in tried
    ]
    rows = tuple(
        (
            point.label + (" (kept)" if point.is_chosen else ""),
            *_cells(point.measure, is_share=words.is_share),
            duration(rung.seconds),
        )
        for point, rung in zip(points, tried, strict=True)
    )
    title = f"{words.title} of each rung against its time"
    plane = Plane(
        Axis(f"seconds (at least {_LEAST_SECONDS:g})", is_log=True),
        Axis(words.title, is_share=words.is_share),
    )
    described = "; ".join(f"{row[0]} {row[1]} in {row[3]}" for row in rows)
    chart = uncertainty_chart(plane, title=title, description=f"{described}.", points=points)
    return Drawing(title, chart, ("Rung", words.title, "95% interval", "Time"), rows)


def reliability_drawing(calibration: Calibration, *, unit: str = "picture") -> Drawing | None:
    """The share of right answers against stated confidence; on the diagonal both agree."""
    bins = calibration.bins
    if not bins:
        return None
    points = [Point(b.confidence, b.accuracy, is_chosen=True) for b in bins]
    rows = tuple(
        (
            f"{percent(b.low)} to {percent(b.high)}",
            f"{b.n:,}",
            percent(b.confidence),
            *_cells(b.accuracy, is_share=True),
        )
        for b in bins
    )
    title = "Stated confidence against the share of right answers"
    chart = uncertainty_chart(
        Plane(
            Axis("stated confidence", is_share=True),
            Axis("right", is_share=True),
            has_diagonal=True,
        ),
        title=title,
        description="On the dashed diagonal both agree. "
        + "; ".join(f"stated {row[2]}, right {row[3]}" for row in rows)
        + ".",
        points=points,
    )
    columns = ("Confidence", f"{unit.capitalize()}s", "Mean confidence", "Right", "95% interval")
    return Drawing(title, chart, columns, rows)


def coverage_drawing(coverage: Sequence[CoveragePoint], *, unit: str = "picture") -> Drawing | None:
    """Accuracy when only the surest samples are answered, against their share."""
    if len(coverage) < 2:
        return None
    rows = tuple(
        (
            percent(point.coverage),
            "–" if point.min_confidence is None else percent(point.min_confidence),
            *_cells(point.accuracy, is_share=True),
            "–" if point.n is None else f"{point.n:,}",
        )
        for point in coverage
    )
    title = "Accuracy against coverage"
    first, last = coverage[0], coverage[-1]
    chart = uncertainty_chart(
        Plane(Axis(f"share of {unit}s answered", is_share=True), Axis("accuracy", is_share=True)),
        title=title,
        description=f"Answering the surest {percent(first.coverage)}, it is right on "
        f"{percent(first.accuracy.value)}; answering {percent(last.coverage)}, on "
        f"{percent(last.accuracy.value)}.",
        bands=[Band("accuracy", [p.coverage for p in coverage], [p.accuracy for p in coverage])],
    )
    columns = ("Answered", "When at least this sure", "Accuracy", "95% interval")
    return Drawing(title, chart, (*columns, f"{unit.capitalize()}s"), rows)


def learning_drawing(curve: LearningCurve, *, unit: str = "picture") -> Drawing | None:
    """The score against the number of training samples, measured and extrapolated."""
    if len(curve.points) < 2:
        return None
    words = metric_words(curve.metric)
    points = [Point(n, measure, is_chosen=True) for n, measure in curve.points]
    bands = []
    if len(curve.curve) > 1:
        bands = [Band("fit", [n for n, _ in curve.curve], [m for _, m in curve.curve])]
    rows = tuple(
        (kind, f"{n:,.0f}", *_cells(measure, is_share=words.is_share))
        for kind, pairs in (("measured", curve.points), ("power law", curve.curve))
        for n, measure in pairs
    )
    title = f"{words.title} against the number of training {unit}s"
    (first, low), (last, high) = curve.points[0], curve.points[-1]
    chart = uncertainty_chart(
        Plane(
            Axis(f"training {unit}s", is_log=True),
            Axis(words.title, is_share=words.is_share),
            None if curve.now is None else Mark(curve.now, f"now: {curve.now:,.0f}"),
        ),
        title=title,
        description=f"From {told(low, is_share=words.is_share)} with {first:,.0f} {unit}s to "
        f"{told(high, is_share=words.is_share)} with {last:,.0f}. {curve.sentence}".rstrip(),
        points=points,
        bands=bands,
    )
    columns = ("Figure", f"{unit.capitalize()}s", words.title, "95% interval")
    return Drawing(title, chart, columns, rows)


def strangers_drawing(
    scores: Sequence[float], strangers: Strangers, *, unit: str = "picture"
) -> Drawing:
    """How far the test samples lie from the training samples, and where flags begin."""
    title, measured = f"Distance of the test {unit}s from the training {unit}s", "distance"
    if strangers.goes_by_words:
        title, measured = f"Unknown words of the test {unit}s", "share of unknown words"
    if strangers.goes_by_letters:
        title, measured = f"Surprise at the letters of the test {unit}s", "bits a letter"
    flagged = sum(score > strangers.threshold for score in scores)
    ordered = sorted(scores)
    least, middle, most, threshold = (
        percent(value) if strangers.goes_by_words else f"{value:.3g}"
        for value in (ordered[0], statistics.median(ordered), ordered[-1], strangers.threshold)
    )
    rows = (
        ("Least", least),
        ("Median", middle),
        ("Most", most),
        ("Flagged above", threshold),
        ("Flagged", f"{flagged:,} of {len(scores):,}"),
    )
    chart = histogram(
        scores,
        title=title,
        description=f"{count(len(scores), unit)} from {least} to {most}; "
        f"{flagged:,} above the threshold of {threshold}.",
        x=Axis(measured, is_share=strangers.goes_by_words),
        mark=Mark(strangers.threshold, "flagged above"),
        counted=f"{unit}s",
    )
    return Drawing(title, chart, (measured.capitalize(), "Value"), rows)


def leakage_drawing(leakage: Leakage, *, metric: str, unit: str = "picture") -> Drawing | None:
    """The score with and without leaked test samples, and under a random and a grouped split."""
    sides = {
        f"All test {unit}s": leakage.with_leaked,
        "Without the leaked": leakage.without_leaked,
        "Random split": leakage.random,
        "Split by groups": leakage.grouped,
    }
    return _estimates(sides, metric=metric, title="What leakage makes of the figures")


def transfer_drawing(transfer: Transfer, *, metric: str) -> Drawing | None:
    """The score with pretrained weights beside that from random ones."""
    sides = {"Pretrained weights": transfer.pretrained, "Random weights": transfer.scratch}
    return _estimates(sides, metric=metric, title="What the pretrained weights brought")


def transfer_curves_drawing(transfer: Transfer, *, metric: str) -> Drawing | None:
    """Both learning curves over time."""
    lines = [
        Series(name, [x for x, _ in curve], [y for _, y in curve])
        for name, curve in transfer.curves.items()
    ][:3]
    if not lines:
        return None
    words = metric_words(metric)
    title = f"{words.title} over time"
    rows = tuple(
        (line.name, f"{x:.1f} s", figure(y, is_share=words.is_share))
        for line in lines
        for x, y in zip(line.xs, line.ys, strict=True)
    )
    ends = (
        f"{line.name} ends at {figure(line.ys[-1], is_share=words.is_share)} after "
        f"{duration(line.xs[-1])}"
        for line in lines
    )
    chart = line_chart(
        lines,
        title=title,
        description="; ".join(ends) + ".",
        x=Axis("seconds"),
        y=Axis(words.title, is_share=words.is_share),
    )
    return Drawing(title, chart, ("Weights", "Time", words.title), rows)


def _estimates(
    sides: Mapping[str, Mapping[str, Measure]], *, metric: str, title: str
) -> Drawing | None:
    """A chart of one metric under several names; None unless two of them have it."""
    words = metric_words(metric)
    known = {name: measures[metric] for name, measures in sides.items() if metric in measures}
    if len(known) < 2 or not words.is_share:
        return None
    rows = tuple((name, *_cells(m, is_share=True)) for name, m in known.items())
    least = min(m.value if m.low is None else m.low for m in known.values())
    chart = interval_chart(
        [Estimate(name, m.value, m.low, m.high, percent(m.value)) for name, m in known.items()],
        title=title,
        description="; ".join(f"{name}: {told(m, is_share=True)}" for name, m in known.items())
        + ".",
        start=next(start for start in _STARTS if start <= least or start == 0.0),
    )
    return Drawing(title, chart, ("Measured", words.title, "95% interval"), rows)


def _cells(measure: Measure, *, is_share: bool) -> tuple[str, str]:
    value = figure(measure.value, is_share=is_share)
    return value, interval(measure, is_share=is_share) or "–"
