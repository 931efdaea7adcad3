"""Two models on the same samples: how much better one is, with 95% intervals, and in plain words.

Plain arrays; knows no run and no task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contracts import Measure
from headstart.errors import DataError
from headstart.metrics.classification import (
    IndependentAnswers,
    answers_of,
)
from headstart.metrics.intervals import (
    LEVEL,
    NUM_RESAMPLES,
    Floats,
    Integers,
    critical_value,
    percentile_ends,
    resamples,
)
from headstart.metrics.ranking import mean_average_precision

# Metrics that are sums of losses: lower is better.
LOWER_IS_BETTER = frozenset({"log_loss", "ece"})
# What verdicts go by, as sentences call it.
CALLED = {"accuracy": "accuracy", "macro_f1": "macro F1", "miou": "mean IoU"}
# What is counted from answers alone.
_OF_ANSWERS = ("accuracy", "balanced_accuracy", "macro_f1", "micro_f1")


@dataclass(frozen=True)
class Difference:
    """A metric of the second model less that of the first.

    Attributes:
        value: The difference on these samples.
        low: Lower end of its 95% interval.
        high: Upper end.
        value_a: The metric of the first model.
        value_b: The metric of the second model.
    """

    value: float
    low: float
    high: float
    value_a: float
    value_b: float

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves out 0, so that there is a difference beyond the noise."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """Two models on the same samples.

    Attributes:
        name_a: The first model, the reference.
        name_b: The second.
        metrics: By public metric name.
        headline: The name of the metric that the verdict goes by.
        n: Number of samples.
        num_only_a: Samples that only the first answered right; of masks, those on which its mean
            IoU is higher.
        num_only_b: The same of the second.
        verdict: What can be said, in a sentence with figures.
        per_class: Class -> its IoU, of masks.
        note: Which samples are not among the n, and why, in a sentence; empty where all are.
    """

    name_a: str
    name_b: str
    metrics: Mapping[str, Difference]
    headline: str
    n: int
    num_only_a: int
    num_only_b: int
    verdict: str
    per_class: Mapping[str, Difference] = field(default_factory=dict)
    note: str = ""

    @property
    def main(self) -> Difference:
        """The difference that the verdict goes by."""
        return self.metrics[self.headline]


def compare_predictions(
    probabilities_a: NDArray[Any],
    probabilities_b: NDArray[Any],
    truth: NDArray[Any],
    *,
    groups: Integers | None = None,
    names: tuple[str, str] = ("A", "B"),
) -> Comparison:
    """The difference of each metric between two models on the same samples.

    Accuracy by `paired_gain`; mean average precision by the infinitesimal jackknife; the others by
    the paired bootstrap, in which each resample of samples (or groups) judges both models; for
    balanced accuracy and F1 it scales the interval of accuracy (`_paired_ends`).

    Args:
        probabilities_a: (n, K) of the first model, the reference.
        probabilities_b: (n, K) of the second.
        truth: (n,) class indices, or (n, K) of 0 and 1 for multi-label.
        groups: (n,) numbers; samples of one group are not independent of each other.
        names: What the verdict calls the models.

    Raises:
        DataError: Shapes do not fit, or as for `evaluate_single_label`.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 8, for
    resampling pairs; Koehn, "Statistical significance tests for machine translation evaluation"
    (EMNLP 2004), for its use on metrics that are no means.
    """
    if probabilities_a.shape != probabilities_b.shape:
        raise DataError(
            f"Predictions of shapes {probabilities_a.shape} and {probabilities_b.shape} cannot be "
            "compared: both models must answer the same samples in the same classes."
        )
    num_classes = probabilities_a.shape[-1]
    first = answers_of(probabilities_a, truth, num_classes=num_classes, groups=groups)
    second = answers_of(probabilities_b, truth, num_classes=num_classes, groups=groups)
    n, once = len(truth), np.ones((1, len(truth)))
    values_a, values_b = (
        {name: float(value[0]) for name, value in side.values(once).items()}
        for side in (first, second)
    )
    gain = paired_gain(first.is_right, second.is_right, groups=groups)
    ends = _paired_ends(lambda w: (first.values(w), second.values(w)), gain, groups=groups)
    if isinstance(first, IndependentAnswers) and isinstance(second, IndependentAnswers):
        sides = [
            mean_average_precision(p, first.is_true) for p in (probabilities_a, probabilities_b)
        ]
        values_a["map"], values_b["map"] = sides[0][0], sides[1][0]
        ends["map"] = _normal_ends(
            sides[1][0] - sides[0][0], sides[1][1] - sides[0][1], groups=groups
        )
    headline = "macro_f1" if isinstance(first, IndependentAnswers) else "accuracy"
    metrics = {name: _difference(values_a[name], values_b[name], ends[name]) for name in values_a}
    only_a = int((first.is_right > second.is_right).sum())
    only_b = int((second.is_right > first.is_right).sum())
    return Comparison(
        name_a=names[0],
        name_b=names[1],
        metrics=metrics,
        headline=headline,
        n=n,
        num_only_a=only_a,
        num_only_b=only_b,
        verdict=verdict_of(metrics[headline], headline, names=names, n=n),
    )


def paired_gain(
    is_right_a: NDArray[Any], is_right_b: NDArray[Any], *, groups: Integers | None = None
) -> Measure:
    """How much more often B is right than A on the same samples, with its 95% interval.

    Tango's score interval: it is sane where few samples or none are answered differently (its
    width is then not 0), where the bootstrap and Wald's are not. With groups the counts are
    scaled to the number of independent samples that would be as uncertain as the groups are.

    Args:
        is_right_a: (n,) booleans, or zeros and ones.
        is_right_b: (n,) the same of the second model.
        groups: (n,) numbers; samples of one group are not independent of each other.

    Raises:
        DataError: There are no samples, or not as many of each.

    Source: Tango, "Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design" (Statistics in Medicine 1998); its effective number of samples: Korn
    and Graubard (Survey Methodology 1998), as for `ratio_interval`.

    Example:
        >>> a, b = np.array([1] * 85 + [0] * 15), np.array([1] * 95 + [0] * 5)
        >>> str(paired_gain(a, b))
        '0.100 (95% 0.06-0.17, n=100)'
        >>> str(paired_gain(a, a))
        '0.000 (95% -0.04-0.04, n=100)'
    """
    first = np.asarray(is_right_a, dtype=np.float64)
    second = np.asarray(is_right_b, dtype=np.float64)
    n = len(first)
    if n == 0 or len(second) != n or (groups is not None and len(groups) != n):
        raise DataError(
            f"{n} and {len(second)} answers"
            + ("" if groups is None else f" in {len(groups)} groups")
            + " cannot be compared. Give one of each a sample, at least one."
        )
    change = second - first
    value = float(change.mean())
    share_gained, share_lost = float((change > 0).mean()), float((change < 0).mean())
    effective, num_units = float(n), None
    if groups is not None:
        effective, num_units = _effective_samples(change, groups)
    z = critical_value(LEVEL, num_units=num_units)
    if math.isinf(z):
        return Measure(value, -1.0, 1.0, n)
    low, high = tango(share_gained * effective, share_lost * effective, effective, z=z)
    return Measure(value, min(low, value), max(high, value), n)


def tango(gained: float, lost: float, n: float, *, z: float) -> tuple[float, float]:
    """Tango's score interval of (gained - lost) / n, for paired answers.

    Args:
        gained: Pairs of which only the second is right; any number that is not negative.
        lost: Pairs of which only the first is right.
        n: All pairs.
        z: Critical value.

    Source: Tango (Statistics in Medicine 1998), with the likeliest nuisance in closed form.
    """
    observed = (gained - lost) / n

    def score(delta: float) -> float:
        # the likeliest share of `lost` pairs where the true difference is delta
        b = -gained - lost + (2 * n - gained + lost) * delta
        c = -lost * delta * (1 - delta)
        root = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * root + delta * (1 - delta))
        if variance <= 0:
            return 0.0 if delta == observed else math.copysign(math.inf, observed - delta)
        return (gained - lost - n * delta) / math.sqrt(variance)

    return (
        _crossing(score, -1.0, observed, target=z),
        _crossing(score, observed, 1.0, target=-z),
    )


def _crossing(score: Callable[[float], float], low: float, high: float, *, target: float) -> float:
    """Where a falling score crosses a value, by bisection; the outer end where it does not."""
    for _ in range(60):
        middle = (low + high) / 2
        if score(middle) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _effective_samples(change: Floats, groups: Integers) -> tuple[float, int]:
    """How many independent samples would leave the mean change (n,) as uncertain, and groups."""
    n = len(change)
    units = np.unique(groups, return_inverse=True)[1]
    residuals = change - change.mean()
    by_group = np.bincount(units, residuals)
    num_units = len(by_group)
    alone = float(np.square(residuals).sum())
    if alone == 0 or num_units < 2:  # groups tell nothing: each counts as one sample
        return float(num_units), num_units
    together = num_units / (num_units - 1) * float(np.square(by_group).sum())
    return (n if together <= alone else n * alone / together), num_units


def _paired_ends(
    values: Callable[[Floats], tuple[dict[str, Floats], dict[str, Floats]]],
    gain: Measure,
    *,
    groups: Integers | None,
) -> dict[str, tuple[float, float]]:
    """The ends of the interval of each metric's difference, from the paired bootstrap.

    Log loss and calibration error move with every sample: theirs are percentiles. What is counted
    from answers moves only with the few samples that are answered differently, where percentiles
    are too sure of themselves. There the interval of the gain in accuracy is taken over, scaled by
    how much wider the metric scatters over the resamples than accuracy does.
    """
    assert gain.n is not None
    assert gain.low is not None
    assert gain.high is not None
    once_a, once_b = values(np.ones((1, gain.n)))
    names = list(once_a)
    draws = []
    for weights in resamples(gain.n, groups=groups, num_resamples=NUM_RESAMPLES, seed=0):
        first, second = values(weights)
        draws.append(np.stack([second[name] - first[name] for name in names], axis=1))
    differences = np.concatenate(draws)
    low, high = percentile_ends(differences)
    ends = {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
    scatter = dict(zip(names, differences.std(axis=0).tolist(), strict=True))
    unit = scatter["accuracy"]  # 0 where no sample is right in one model alone
    for name in (name for name in _OF_ANSWERS if name in ends):
        value = float(once_b[name][0] - once_a[name][0])
        scale = scatter[name] / unit if unit > 0 else 1.0
        start = value - scale * (gain.value - gain.low)
        stop = value + scale * (gain.high - gain.value)
        if unit == 0:
            start, stop = min(start, ends[name][0]), max(stop, ends[name][1])
        ends[name] = (max(-1.0, start), min(1.0, stop))
    return ends


def _normal_ends(
    value: float, influence: Floats, *, groups: Integers | None
) -> tuple[float, float]:
    """From the influence (n,) of each sample, as the infinitesimal jackknife has it."""
    num_units = None
    if groups is not None:
        units = np.unique(groups, return_inverse=True)[1]
        influence = np.bincount(units, influence).astype(np.float64)
        num_units = len(influence)
    half = critical_value(LEVEL, num_units=num_units) * float(np.sqrt(np.square(influence).sum()))
    return max(-1.0, value - half), min(1.0, value + half)


def _difference(value_a: float, value_b: float, ends: tuple[float, float]) -> Difference:
    value = value_b - value_a
    return Difference(value, min(ends[0], value), max(ends[1], value), value_a, value_b)


def verdict_of(difference: Difference, headline: str, *, names: tuple[str, str], n: int) -> str:
    """The difference in plain words, in points of percent; the better model is named first."""
    first, second = names
    is_accuracy, called = headline == "accuracy", CALLED[headline]
    value, low, high = difference.value, difference.low, difference.high
    if not difference.is_shown:
        return (
            f"No difference could be shown: {second} less {first} is {_points(value)} points of "
            f"{called} (95% {_points(low)} to {_points(high)}, n={n:,})."
        )
    better, worse = (second, first) if value > 0 else (first, second)
    if value < 0:
        value, low, high = -value, -high, -low
    what = "is right more often than" if is_accuracy else f"has a higher {called} than"
    return (
        f"{better} {what} {worse}: {_points(value)} points (95% {_points(low)} to "
        f"{_points(high)}, n={n:,})."
    )


def _points(share: float) -> str:
    """A difference of shares in points of percent, with its sign."""
    text = f"{100 * share:+.1f}"
    return "0.0" if float(text) == 0 else text
