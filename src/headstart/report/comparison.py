"""The page of a comparison: runs against each other, drawn. Reads no run; it is handed figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.contracts import Measure
from headstart.progress import Progress
from headstart.report.charts import Estimate, bar_chart, interval_chart
from headstart.report.difference_chart import Gap, difference_chart
from headstart.report.rendering import write_page
from headstart.report.thumbnails import embed_file
from headstart.report.wording import duration, figure, interval, metric_words, names

if TYPE_CHECKING:
    from headstart.metrics.comparison import Comparison, Difference

THUMBNAIL_PIXELS = 176
# On each side of each comparison; the page says how many there are in all.
MOST_PICTURES = 12


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
    """

    id: str
    path: Path
    truth: str
    said_a: str
    said_b: str

    @property
    def is_gained(self) -> bool:
        """Whether the other run is right, and not the reference."""
        return set(self.said_b.split("|")) == set(self.truth.split("|"))


@dataclass(frozen=True)
class Compared:
    """Runs on the same test samples.

    Attributes:
        runs: As they were given; the first is the reference.
        comparisons: Each other run against the reference, in the same order.
        disagreements: For each of these, the samples that just one of both answered right.
        n: How many samples the comparison rests on.
        notes: What limits it, in sentences.
        page: The HTML page, if one was asked for.
    """

    runs: tuple[ComparedRun, ...]
    comparisons: tuple[Comparison, ...]
    disagreements: tuple[tuple[Disagreement, ...], ...]
    n: int
    notes: tuple[str, ...] = ()
    page: Path | None = None

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
    """Pictures that one of two runs answered right: (disagreement, data: address or None)."""

    title: str
    number: int
    tiles: tuple[tuple[Disagreement, str | None], ...]


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
        "answers": [
            (comparison, _agreement(comparison, compared.runs[0]), sides)
            for comparison, sides in zip(
                compared.comparisons, _sides(compared, progress or Progress()), strict=True
            )
        ],
        "seconds": _seconds_chart(runs),
    }
    return write_page(path, "comparison.html", context)


def difference_rows(comparison: Comparison) -> list[DifferenceRow]:
    """The differences of all metrics, in words and figures."""
    rows = []
    for name, found in comparison.metrics.items():
        words = metric_words(name)
        rows.append(
            DifferenceRow(
                title=words.title,
                meaning=words.meaning,
                value_a=figure(found.value_a, is_share=words.is_share),
                value_b=figure(found.value_b, is_share=words.is_share),
                difference=_signed(found.value, is_share=words.is_share),
                interval=f"{_signed(found.low, is_share=words.is_share)} to "
                f"{_signed(found.high, is_share=words.is_share)}",
                verdict=_said(name, found),
            )
        )
    return rows


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


def _all_gaps(compared: Compared) -> str:
    gaps = [_gap(one.name_b, one.main) for one in compared.comparisons]
    words = metric_words(compared.comparisons[0].headline)
    return difference_chart(
        gaps,
        title=f"{words.title} of each run less that of {compared.runs[0].name}",
        description="; ".join(f"{gap.label}: {gap.text} points" for gap in gaps) + ".",
    )


def _agreement(comparison: Comparison, reference: ComparedRun) -> list[tuple[str, int]]:
    """How many samples both, just one, or neither answered right."""
    right_a = round(reference.metrics["accuracy"].value * comparison.n)
    both = right_a - comparison.num_only_a
    neither = comparison.n - both - comparison.num_only_a - comparison.num_only_b
    return [
        ("Both are right", both),
        (f"Only {comparison.name_b} is right", comparison.num_only_b),
        (f"Only {comparison.name_a} is right", comparison.num_only_a),
        ("Neither is right", neither),
    ]


def _sides(compared: Compared, progress: Progress) -> list[list[Side]]:
    found = []
    for comparison, samples in zip(compared.comparisons, compared.disagreements, strict=True):
        sides = []
        for name, is_gained in ((comparison.name_b, True), (comparison.name_a, False)):
            members = [sample for sample in samples if sample.is_gained == is_gained]
            tiles = []
            shown = members[:MOST_PICTURES]
            with progress.bar("drawing pictures", total=len(shown), unit="pictures") as advance:
                for sample in shown:
                    tiles.append((sample, embed_file(sample.path, size=THUMBNAIL_PIXELS)))
                    advance(1)
            sides.append(Side(f"Only {name} is right", len(members), tuple(tiles)))
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
