"""The page of a ranking: backbones with their scores and costs, drawn. It is handed figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.contracts import Measure
from headstart.report.axes import Axis
from headstart.report.curves import Plane, Point, uncertainty_chart
from headstart.report.difference_chart import Gap, difference_chart
from headstart.report.drawing import Drawing
from headstart.report.rendering import write_page
from headstart.report.wording import (
    count,
    duration,
    figure,
    interval,
    metric_words,
    names,
    points,
    told,
)

if TYPE_CHECKING:
    from headstart.metrics.comparison import Comparison

# A whole pass that takes less is drawn there: a logarithm has no zero.
_LEAST_SECONDS = 0.1


@dataclass(frozen=True)
class BackboneFacts:
    """What a backbone is, before it has seen any sample.

    Attributes:
        reference: As it was given.
        num_parameters: Of the module without its classifier.
        num_features: Length of the feature vector.
        input: Such as `3 x 224 x 224`.
        licence: Of the weights.
        domain: What they were trained on.
    """

    reference: str
    num_parameters: int
    num_features: int
    input: str
    licence: str
    domain: str


@dataclass(frozen=True)
class Cost:
    """What a backbone costs on this machine.

    Attributes:
        samples_per_s: Samples a second, read and turned into features.
        all_s: Seconds for all samples at that rate.
        epoch_s: Seconds that an epoch of fine-tuning would take; None where it was not measured.
    """

    samples_per_s: float
    all_s: float
    epoch_s: float | None = None


@dataclass(frozen=True)
class Contender:
    """A backbone that was judged.

    Attributes:
        backbone: What it is.
        metrics: Out of fold, of a linear probe on its features, with 95% intervals.
        n: The samples that it was last judged on.
        num_rounds: How many rounds it ran.
        num_mistakes: Of the n samples; all that fine-tuning could mend.
        cost: On this machine.
        gap: What it is better than the best by (mostly less than 0), in the last round that both
            ran; None for the best itself.
    """

    backbone: BackboneFacts
    metrics: Mapping[str, Measure]
    n: int
    num_rounds: int
    num_mistakes: int
    cost: Cost
    gap: Comparison | None = None

    @property
    def is_as_good(self) -> bool:
        """Whether it is the best, or cannot be told from it."""
        return self.gap is None or not self.gap.main.is_shown

    @property
    def said(self) -> str:
        """Against the best, in a few words."""
        if self.gap is None:
            return "the best"
        if self.is_as_good:
            return "cannot be told from the best"
        return "worse than the best" if self.gap.main.value < 0 else "better than the best"


@dataclass(frozen=True)
class Ranking:
    """Backbones by what a linear probe on their features is worth.

    Attributes:
        data: As it was given.
        contenders: The best first: those that ran longest, by their score.
        absent: (reference, why) of backbones that could not take part.
        headline: The name of the metric that they are ordered by.
        n: Samples for training and validation, of which they saw all or a part.
        parts: How many samples each round had.
        verdict: What can be said, in sentences with figures.
        command: Fits the best to the same samples, with the same test set.
        notes: What limits it, in sentences.
        page: The HTML page, if one was asked for.
        unit: What a sample is called: `picture` or `text`.
    """

    data: Path
    contenders: tuple[Contender, ...]
    absent: tuple[tuple[str, str], ...]
    headline: str
    n: int
    parts: tuple[int, ...]
    verdict: str
    command: str
    notes: tuple[str, ...] = ()
    page: Path | None = None
    unit: str = "picture"

    def __iter__(self) -> Iterator[Contender]:
        return iter(self.contenders)

    @property
    def best(self) -> Contender:
        """The first."""
        return self.contenders[0]


@dataclass(frozen=True)
class RankingRow:
    """A line of the table, as it is written."""

    reference: str
    score: str
    interval: str
    log_loss: str
    n: str
    rate: str
    all: str
    epoch: str
    gain: str
    said: str


def ranking_verdict(contenders: Sequence[Contender], headline: str) -> str:
    """What can be said of a race, in sentences with figures; the best comes first."""
    best, *others = contenders
    words = metric_words(headline)
    name, measure = best.backbone.reference, best.metrics[headline]
    said = f"{name} is the best of {len(contenders)}" if others else f"{name} ran alone"
    said += f": {words.title.lower()} {told(measure, is_share=words.is_share)}, out of fold on "
    said += f"{count(best.n, 'sample')}."
    if not others:
        return said
    alike = [other for other in others if other.is_as_good]
    if not alike:
        return f"{said} It is better than each of the others, beyond the noise."
    listed = names([other.backbone.reference for other in alike])
    said += f" {listed} cannot be told from it"
    fastest = max(alike, key=lambda other: other.cost.samples_per_s)
    ratio = fastest.cost.samples_per_s / best.cost.samples_per_s
    if ratio < 1.1:
        return f"{said}, and {'is no' if len(alike) == 1 else 'none of them is'} faster."
    subject = "is" if len(alike) == 1 else f"{fastest.backbone.reference} is"
    return f"{said}, and {subject} {ratio:.1f} times as fast."


def ranking_rows(ranking: Ranking) -> list[RankingRow]:
    """All contenders in words and figures."""
    words = metric_words(ranking.headline)
    rows = []
    for found in ranking:
        measure, cost = found.metrics[ranking.headline], found.cost
        rows.append(
            RankingRow(
                reference=found.backbone.reference,
                score=figure(measure.value, is_share=words.is_share),
                interval=interval(measure, is_share=words.is_share),
                log_loss=figure(found.metrics["log_loss"].value, is_share=False),
                n=f"{found.n:,}",
                rate=f"{cost.samples_per_s:,.0f}",
                all=duration(cost.all_s),
                epoch="–" if cost.epoch_s is None else duration(cost.epoch_s),
                gain=f"≤ {100 * found.num_mistakes / found.n:.1f} points",
                said=found.said,
            )
        )
    return rows


def write_ranking(path: Path, ranking: Ranking) -> Path:
    """Write the page of a ranking; returns it.

    Raises:
        ConfigError: The page cannot be written there.
    """
    context = {
        "title": f"Backbones for {ranking.data.name or ranking.data}",
        "ranking": ranking,
        "words": metric_words(ranking.headline),
        "rows": ranking_rows(ranking),
        "scores": score_drawing(ranking),
        "gaps": _gap_chart(ranking),
    }
    return write_page(path, "ranking.html", context)


def score_drawing(ranking: Ranking) -> Drawing:
    """The score of each backbone, with its interval, against the time for its features."""
    words = metric_words(ranking.headline)
    marks = [
        Point(
            max(found.cost.all_s, _LEAST_SECONDS),
            found.metrics[ranking.headline],
            found.backbone.reference,
            is_chosen=found.is_as_good,
        )
        for found in ranking
    ]
    rows = tuple(
        (row.reference, row.score, row.interval or "–", row.all) for row in ranking_rows(ranking)
    )
    title = f"{words.title} against the time for all features"
    described = "; ".join(f"{name} {score} ({ends}) in {time}" for name, score, ends, time in rows)
    plane = Plane(
        Axis(f"seconds for {ranking.n:,} {ranking.unit}s", is_log=True),
        Axis(words.title, is_share=words.is_share),
    )
    chart = uncertainty_chart(plane, title=title, description=f"{described}.", points=marks)
    columns = ("Backbone", words.title, "95% interval", "All features")
    return Drawing(title, chart, columns, rows)


def _gap_chart(ranking: Ranking) -> str:
    """What each is worse than the best by; empty where there is only one."""
    gaps = []
    for found in ranking:
        if found.gap is not None:
            main = found.gap.main
            text = points(Measure(main.value)).removesuffix(" points")
            text = "0.0" if float(text.replace("−", "-")) == 0 else text
            gaps.append(Gap(found.backbone.reference, main.value, main.low, main.high, text))
    if not gaps:
        return ""
    listed = "; ".join(f"{gap.label}: {gap.text} points" for gap in gaps)
    best = ranking.best.backbone.reference
    return difference_chart(
        gaps, title=f"Each less {best}", description=f"On the same {ranking.unit}s. {listed}."
    )
