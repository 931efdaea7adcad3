"""What a run proves about itself, as frozen dataclasses. Reads and draws nothing.

A run has a part or has it not; an older run has none. `evidence_file` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headstart.contracts import Measure
from headstart.report.word_tint import ExplainedText

Measures = Mapping[str, Measure]


@dataclass(frozen=True)
class Rung:
    """A rung of the ladder.

    Attributes:
        strategy: A row of STRATEGIES, or a baseline (`majority`, `trivial`, `knn`).
        label: How it calls itself; empty when the strategy's name is all.
        judged_on: `cross-validation` or `validation`.
        measures: Its metrics; empty when it was not tried.
        gain: Over the rung `gain_over`, paired; None when it was not compared.
        gain_over: A strategy.
        seconds: What it took.
        predicted_seconds: What it was predicted to take.
        is_kept: Whether the model is of this rung.
        was_tried: Whether it ran at all.
        why: A sentence.
    """

    strategy: str
    label: str
    judged_on: str
    measures: Measures
    gain: Measure | None
    gain_over: str
    seconds: float
    predicted_seconds: float | None
    is_kept: bool
    was_tried: bool
    why: str


@dataclass(frozen=True)
class RacedBackbone:
    """A backbone that was named for the ladder, and how it did in the race.

    Attributes:
        reference: As it was given.
        num_rounds: How many it ran; 0 when it took no part.
        n: Samples that it was last judged on.
        measures: Out of fold, of a probe on its features; empty when it was not judged.
        gap: To the one that was taken, paired; None for that one.
        samples_per_s: Pictures a second.
        is_kept: Whether it was taken.
        why: Against the best, or why it took no part.
    """

    reference: str
    num_rounds: int
    n: int
    measures: Measures
    gap: Measure | None
    samples_per_s: float | None
    is_kept: bool
    why: str


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples whose confidence lies between `low` and `high`: its mean, and who was right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Measure


@dataclass(frozen=True)
class Calibration:
    """How stated confidence relates to the share of right answers.

    Attributes:
        temperature: What the logits are divided by; 1 when no temperature is kept.
        is_kept: Whether the temperature is a part of the model.
        log_loss_before: On out-of-fold logits.
        log_loss_after: On the same, with the temperature.
        bins: On the test set; empty ones are left out.
        error: The expected calibration error on the test set.
    """

    temperature: float
    is_kept: bool
    log_loss_before: float | None
    log_loss_after: float | None
    bins: tuple[ReliabilityBin, ...]
    error: Measure | None


@dataclass(frozen=True)
class CoveragePoint:
    """When only the surest share `coverage` of the samples is answered: the accuracy on them."""

    coverage: float
    accuracy: Measure
    min_confidence: float | None
    n: int | None


@dataclass(frozen=True)
class Strangers:
    """How inputs unlike the training data are told: `share_flagged` of the `n` test samples were.

    Attributes:
        threshold: Scores above it are flagged.
        k: The score is the distance to the k-th nearest training sample, in feature space.
        letters: Of texts, how surprising letters may be, in bits each, before a text is flagged.
        goes_by_words: The score is the share of a text's words that is unknown, instead.
        goes_by_letters: The score is how surprising the letters of a text are, alone.
    """

    threshold: float
    k: int | None
    share_flagged: float | None
    n: int | None
    letters: float | None = None
    goes_by_words: bool = False
    goes_by_letters: bool = False


@dataclass(frozen=True)
class LearningCurve:
    """The score against the number of training samples.

    Attributes:
        metric: Its name, as in `metrics`.
        points: (number of samples, score), measured.
        curve: (number of samples, score), of the power law drawn through them.
        now: Number of training samples there are.
        sentence: What more labels would bring.
    """

    metric: str
    points: tuple[tuple[float, Measure], ...]
    curve: tuple[tuple[float, Measure], ...]
    now: float | None
    sentence: str


@dataclass(frozen=True)
class LeakedSample:
    """A test sample of which training has a copy or a relative."""

    id: str
    partner: str
    why: str


@dataclass(frozen=True)
class Leakage:
    """What the test set shares with training.

    Attributes:
        num_leaked: Test samples that stand in training too, or nearly.
        with_leaked: Metrics of the whole test set.
        without_leaked: Metrics without them.
        leaked: Those samples.
        random: Metrics under a random split; empty when it was not tried.
        grouped: Metrics under the split that keeps groups whole.
        sentence: What it comes to.
    """

    num_leaked: int
    with_leaked: Measures
    without_leaked: Measures
    leaked: tuple[LeakedSample, ...]
    random: Measures
    grouped: Measures
    sentence: str


@dataclass(frozen=True)
class Transfer:
    """What the pretrained weights brought, against the same budget from random weights.

    Attributes:
        gain: In the headline metric.
        pretrained: Metrics with the pretrained weights.
        scratch: Metrics from random weights.
        seconds: What each of the two took, by name.
        curves: name -> (seconds, score) while training.
        sentence: What it comes to.
    """

    gain: Measure | None
    pretrained: Measures
    scratch: Measures
    seconds: Mapping[str, float]
    curves: Mapping[str, tuple[tuple[float, float], ...]]
    sentence: str


@dataclass(frozen=True)
class Explanation:
    """Where in a sample's picture the answer came from: `heat` has rows of shares from 0 to 1.

    The heat covers what the model saw: the picture as resized and cropped by the input contract.
    It is of the class `explained`, the likeliest one, where the answer is none or several classes.
    """

    id: str
    label: str
    predicted: str
    probability: float | None
    heat: tuple[tuple[float, ...], ...]
    explained: str = ""


@dataclass(frozen=True)
class Evidence:
    """Every optional part; None or empty where the run has it not."""

    race: tuple[RacedBackbone, ...]
    rungs: tuple[Rung, ...]
    verdict: str
    calibration: Calibration | None
    coverage: tuple[CoveragePoint, ...]
    strangers: Strangers | None
    learning_curve: LearningCurve | None
    leakage: Leakage | None
    transfer: Transfer | None
    explanations: tuple[Explanation, ...]
    worded: tuple[ExplainedText, ...] = ()
