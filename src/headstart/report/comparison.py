"""The page of a comparison: runs against each other, drawn. Reads no run; it is handed figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.contracts import Measure
from headstart.progress import Progress
from headstart.report.album import Line
from headstart.report.charts import Estimate, bar_chart, interval_chart
from headstart.report.difference_chart import Gap, difference_chart
from headstart.report.rendering import write_page
from headstart.report.thumbnails import embed_file
from headstart.report.wording import (
    MetricWords,
    duration,
    figure,
    interval,
    metric_words,
    names,
    percent,
)

if TYPE_CHECKING:
    from headstart.metrics.comparison import Comparison, Difference

THUMBNAIL_PIXELS = 176
# On each side of each comparison; the page says how many there are in all.
MOST_PICTURES = 12
# So many lines of a chart are as tall as a screen.
MOST_CLASSES_DRAWN = 16


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs that were compared.

    Attributes:
        name: Its folder's name, or as much of the path as tells it apart.
        path: The run folder.
        strategy: What learned.
        backbone: The pretrained model.
        seconds: What the fit took in all; None when that was not written down.
        metrics: On the samples that all runs were tested on, with 95% intervals.
    """

    name: str
    path: Path
    strategy: str
    backbone: str
    seconds: float | None
    metrics: Mapping[str, Measure]


@dataclass(frozen=True)
class Disagreement:
    """A sample that just one of two models answered right.

    Attributes:
        id: Of the sample.
        path: Where its file lay when it was fitted to.
        truth: Its label.
        said_a: The answer of the reference.
        said_b: The answer of the other.
        text: An extract of a text, where one of both runs has kept it; None of pictures.
    """

    id: str
    path: Path
    truth: str
    said_a: str
    said_b: str
    text: str | None = None

    @property
    def is_gained(self) -> bool:
        """Whether the other run is right, and not the reference."""
        return set(self.said_b.split("|")) == set(self.truth.split("|"))


@dataclass(frozen=True)
class PictureGap:
    """A picture on which two models of segmentation have other mean IoUs.

    Attributes:
        id: Of the sample.
        path: Where its file lay when it was fitted to.
        miou_a: Of the reference.
        miou_b: Of the other.
    """

    id: str
    path: Path
    miou_a: float
    miou_b: float

    @property
    def gain(self) -> float:
        """Of the other over the reference."""
        return self.miou_b - self.miou_a


@dataclass(frozen=True)
class Compared:
    """Runs on the same test samples.

    Attributes:
        runs: As they were given; the first is the reference.
        comparisons: Each other run against the reference, in the same order.
        disagreements: For each of these, the samples that just one of both answered right; none
            where each pixel is answered.
        n: How many samples the comparison rests on.
        notes: What limits it, in sentences.
        page: The HTML page, if one was asked for.
        picture_gaps: Where each pixel is answered: for each comparison the pictures with other
            mean IoUs, the largest difference first.
        unit: What a sample is called: `picture` or `text`.
    """

    runs: tuple[ComparedRun, ...]
    comparisons: tuple[Comparison, ...]
    disagreements: tuple[tuple[Disagreement, ...], ...]
    n: int
    notes: tuple[str, ...] = ()
    page: Path | None = None
    picture_gaps: tuple[tuple[PictureGap, ...], ...] = ()
    unit: str = "picture"

    @property
    def is_dense(self) -> bool:
        """Whether each pixel is answered."""
        return bool(self.picture_gaps)

    def __iter__(self) -> Iterator[Comparison]:
        """The comparisons."""
        return iter(self.comparisons)


@dataclass(frozen=True)
class DifferenceRow:
    """A line of the table of differences, as it is written."""

    title: str
    meaning: str
    value_a: str
    value_b: str
    difference: str
    interval: str
    verdict: str


@dataclass(frozen=True)
class Side:
    """Samples that one of two runs answered right, or better; and how many there are in all."""

    title: str
    number: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Tile:
    """A sample with what is told under it.

    Attributes:
        id: Of the sample.
        source: The picture as a data: address; None when it cannot be shown, and of texts.
        line: What is told.
        text: An extract of a text; None when no run has kept it, and of pictures.
    """

    id: str
    source: str | None
    line: Line
    text: str | None = None


def write_comparison(path: Path, compared: Compared, *, progress: Progress | None = None) -> Path:
    """Write the page of a comparison.

    Args:
        path: The page to write.
        compared: What was found.
        progress: Told of the pictures drawn.

    Returns:
        The page.

    Raises:
        ConfigError: The page cannot be written there.
    """
    runs = compared.runs
    title = (
        f"{runs[1].name} against {runs[0].name}"
        if len(runs) == 2
        else f"{len(runs) - 1} runs against {runs[0].name}"
    )
    context = {
        "title": title,
        "compared": compared,
        "overview": _overview(compared),
        "differences": [
            (comparison, _gap_chart(comparison), difference_rows(comparison))
            for comparison in compared.comparisons
        ],
        "all_differences": _all_gaps(compared) if len(runs) > 2 else "",
        "per_class": [
            (comparison, _class_chart(comparison), class_rows(comparison))
            for comparison in compared.comparisons
            if comparison.per_class
        ],
        "answers": [
            (comparison, _agreement(comparison, compared), sides)
            for comparison, sides in zip(
                compared.comparisons, _sides(compared, progress or Progress()), strict=True
            )
        ],
        "seconds": _seconds_chart(runs),
    }
    return write_page(path, "comparison.html", context)


def difference_rows(comparison: Comparison) -> list[DifferenceRow]:
    """The differences of all metrics, in words and figures."""
    return [_row(name, metric_words(name), found) for name, found in comparison.metrics.items()]


def class_rows(comparison: Comparison) -> list[DifferenceRow]:
    """The differences of the IoU of each class, the largest first."""
    ranked = sorted(comparison.per_class.items(), key=lambda item: -abs(item[1].value))
    return [_row("iou", MetricWords(name, "IoU"), found) for name, found in ranked]


def _row(metric: str, words: MetricWords, found: Difference) -> DifferenceRow:
    return DifferenceRow(
        title=words.title,
        meaning=words.meaning,
        value_a=figure(found.value_a, is_share=words.is_share),
        value_b=figure(found.value_b, is_share=words.is_share),
        difference=_signed(found.value, is_share=words.is_share),
        interval=f"{_signed(found.low, is_share=words.is_share)} to "
        f"{_signed(found.high, is_share=words.is_share)}",
        verdict=_said(metric, found),
    )


def _said(name: str, found: Difference) -> str:
    from headstart.metrics.comparison import LOWER_IS_BETTER

    if not found.is_shown:
        return "not shown"
    return "better" if (found.value > 0) != (name in LOWER_IS_BETTER) else "worse"


def _signed(value: float, *, is_share: bool) -> str:
    """A difference with its sign; of shares in points of percent.

    Example:
        >>> _signed(0.0214, is_share=True), _signed(-0.3, is_share=False)
        ('+2.1', '-0.300')
    """
    text = f"{100 * value:+.1f}" if is_share else f"{value:+.3f}"
    return text[1:] if float(text) == 0 else text


def _overview(compared: Compared) -> str:
    headline = compared.comparisons[0].headline
    words = metric_words(headline)
    estimates, told = [], []
    for run in compared.runs:
        measure = run.metrics[headline]
        text = (
            f"{figure(measure.value, is_share=words.is_share)} "
            f"({interval(measure, is_share=words.is_share)})"
        )
        estimates.append(Estimate(run.name, measure.value, measure.low, measure.high, text))
        told.append(f"{run.name}: {text}")
    return interval_chart(
        estimates,
        title=f"{words.title} of each run",
        description=f"{words.title} with 95% intervals. {'; '.join(told)}.",
    )


def _gap(label: str, found: Difference) -> Gap:
    text = f"{_signed(found.value, is_share=True)} ({_span(found)})"
    return Gap(label, found.value, found.low, found.high, text)


def _span(found: Difference) -> str:
    return f"{_signed(found.low, is_share=True)} to {_signed(found.high, is_share=True)}"


def _gap_chart(comparison: Comparison) -> str:
    """Differences of all metrics that are shares of which more is better."""
    from headstart.metrics.comparison import LOWER_IS_BETTER

    gaps = [
        _gap(metric_words(name).title, found)
        for name, found in comparison.metrics.items()
        if metric_words(name).is_share and name not in LOWER_IS_BETTER
    ]
    return difference_chart(
        gaps,
        title=f"{comparison.name_b} less {comparison.name_a}",
        description=f"Right of zero {comparison.name_b} is better. "
        + "; ".join(f"{gap.label}: {gap.text} points" for gap in gaps)
        + ".",
    )


def _class_chart(comparison: Comparison) -> str:
    """Differences of the IoU of each class, of as many as a chart has room for."""
    ranked = sorted(comparison.per_class.items(), key=lambda item: -abs(item[1].value))
    gaps = [_gap(name, found) for name, found in ranked[:MOST_CLASSES_DRAWN]]
    return difference_chart(
        gaps,
        title=f"IoU of each class, {comparison.name_b} less {comparison.name_a}",
        description="; ".join(f"{gap.label}: {gap.text} points" for gap in gaps) + ".",
    )


def _all_gaps(compared: Compared) -> str:
    gaps = [_gap(one.name_b, one.main) for one in compared.comparisons]
    words = metric_words(compared.comparisons[0].headline)
    return difference_chart(
        gaps,
        title=f"{words.title} of each run less that of {compared.runs[0].name}",
        description="; ".join(f"{gap.label}: {gap.text} points" for gap in gaps) + ".",
    )


def _agreement(comparison: Comparison, compared: Compared) -> list[tuple[str, int]]:
    """How many samples both, just one, or neither answered right, or which answered them better."""
    if compared.is_dense:
        num_apart = comparison.num_only_a + comparison.num_only_b
        return [
            (f"{comparison.name_b} has the higher mean IoU", comparison.num_only_b),
            (f"{comparison.name_a} has the higher mean IoU", comparison.num_only_a),
            ("Both have the same", comparison.n - num_apart),
        ]
    right_a = round(compared.runs[0].metrics["accuracy"].value * comparison.n)
    both = right_a - comparison.num_only_a
    neither = comparison.n - both - comparison.num_only_a - comparison.num_only_b
    return [
        ("Both are right", both),
        (f"Only {comparison.name_b} is right", comparison.num_only_b),
        (f"Only {comparison.name_a} is right", comparison.num_only_a),
        ("Neither is right", neither),
    ]


def _sides(compared: Compared, progress: Progress) -> list[list[Side]]:
    if compared.is_dense:
        return _sides_of_maps(compared, progress)
    found = []
    for comparison, samples in zip(compared.comparisons, compared.disagreements, strict=True):
        sides = []
        for name, is_gained in ((comparison.name_b, True), (comparison.name_a, False)):
            members = [sample for sample in samples if sample.is_gained == is_gained]
            tiles = []
            shown = members[:MOST_PICTURES]
            unit = f"{compared.unit}s"
            with progress.bar(f"drawing {unit}", total=len(shown), unit=unit) as advance:
                for sample in shown:
                    said = (
                        f"{comparison.name_a}: {sample.said_a or 'none'}; "
                        f"{comparison.name_b}: {sample.said_b or 'none'}."
                    )
                    line = Line("It is", sample.truth or "none", f". {said}")
                    tiles.append(_tile(sample, line, compared.unit))
                    advance(1)
            sides.append(Side(f"Only {name} is right", len(members), tuple(tiles)))
        found.append(sides)
    return found


def _tile(sample: Disagreement, line: Line, unit: str) -> Tile:
    if unit == "text":
        return Tile(sample.id, None, line, text=sample.text)
    return Tile(sample.id, embed_file(sample.path, size=THUMBNAIL_PIXELS), line)


def _sides_of_maps(compared: Compared, progress: Progress) -> list[list[Side]]:
    found = []
    for comparison, gaps in zip(compared.comparisons, compared.picture_gaps, strict=True):
        sides = []
        for name, sign in ((comparison.name_b, 1), (comparison.name_a, -1)):
            members = [gap for gap in gaps if sign * gap.gain > 0]
            shown, tiles = members[:MOST_PICTURES], []
            with progress.bar("drawing pictures", total=len(shown), unit="pictures") as advance:
                for gap in shown:
                    said = (
                        f"{comparison.name_a}: {percent(gap.miou_a)}; "
                        f"{comparison.name_b}: {percent(gap.miou_b)}."
                    )
                    difference = f"{100 * abs(gap.gain):.1f} points"
                    line = Line("By", difference, f". {said}")
                    source = embed_file(gap.path, size=THUMBNAIL_PIXELS)
                    tiles.append(Tile(gap.id, source, line))
                    advance(1)
            title = f"{name} has the higher mean IoU"
            sides.append(Side(title, len(members), tuple(tiles)))
        found.append(sides)
    return found


def _seconds_chart(runs: Sequence[ComparedRun]) -> str:
    """What each fit took; empty where a run does not tell."""
    timed = [(run.name, run.seconds) for run in runs if run.seconds is not None]
    if len(timed) < len(runs):
        return ""
    return bar_chart(
        [(name, round(seconds, 1)) for name, seconds in timed],
        title="Seconds of each fit",
        description=names([f"{name}: {duration(seconds)}" for name, seconds in timed], limit=99),
    )
