"""Metrics of classifiers, each with a 95% interval and the number of samples it rests on.

Plain numpy. Classes that the truth does not have count in no macro average. Knows no task and no
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contracts import Evaluation, Measure
from headstart.errors import DataError
from headstart.metrics.intervals import (
    LEVEL,
    Floats,
    Integers,
    bootstrap,
    mean_of_proportions,
    tally,
    wilson,
)

# Guo et al., "On calibration of modern neural networks" (ICML 2017), section 2.
NUM_BINS = 15


@dataclass(frozen=True, eq=False)
class _Counts:
    """Hits and misses a class; each (K,), or (R, K) for R resamples."""

    hits: Floats
    predicted: Floats
    true: Floats

    @property
    def precision(self) -> Floats:
        return _ratio(self.hits, self.predicted)

    @property
    def recall(self) -> Floats:
        return _ratio(self.hits, self.true)

    @property
    def f1(self) -> Floats:
        return _ratio(2 * self.hits, self.predicted + self.true)

    def macro(self, values: Floats) -> Floats:
        """Mean of values (..., K) over the classes that the truth has."""
        is_there = self.true > 0
        return _ratio((values * is_there).sum(axis=-1), is_there.sum(axis=-1))

    @property
    def micro_f1(self) -> Floats:
        total = (self.predicted + self.true).sum(axis=-1)
        return _ratio(2 * self.hits.sum(axis=-1), total)


class _Exclusive:
    """What is summed over the samples of a single-label task; weights are (R, n) counts."""

    def __init__(self, probabilities: NDArray[Any], truth: Integers) -> None:
        confidence = probabilities.max(axis=1).astype(np.float64)
        self.num_classes = probabilities.shape[1]
        self.truth = truth
        self.predicted = probabilities.argmax(axis=1).astype(np.int64)
        self.is_right = (self.predicted == truth).astype(np.float64)
        self.loss = -_log(probabilities[np.arange(len(truth)), truth])
        self.excess = confidence - self.is_right
        bins = np.ceil(confidence * NUM_BINS).astype(np.int64) - 1  # closed above, as in the source
        self.bins = np.clip(bins, 0, NUM_BINS - 1)

    def counts(self, weights: Floats) -> _Counts:
        return _Counts(
            hits=tally(weights * self.is_right, self.truth, width=self.num_classes),
            predicted=tally(weights, self.predicted, width=self.num_classes),
            true=tally(weights, self.truth, width=self.num_classes),
        )

    def values(self, weights: Floats) -> dict[str, Floats]:
        by_class, total = self.counts(weights), weights.sum(axis=1)
        gaps = np.abs(tally(weights * self.excess, self.bins, width=NUM_BINS)).sum(axis=1)
        return {
            "accuracy": weights @ self.is_right / total,
            "balanced_accuracy": by_class.macro(by_class.recall),
            "macro_f1": by_class.macro(by_class.f1),
            "log_loss": weights @ self.loss / total,
            "ece": gaps / total,
        }


class _Independent:
    """What is summed over the samples of a multi-label task; weights are (R, n) counts."""

    def __init__(self, probabilities: NDArray[Any], is_true: Floats) -> None:
        self.is_true = is_true
        self.is_predicted = (probabilities >= 0.5).astype(np.float64)
        self.is_right = (is_true == self.is_predicted).all(axis=1).astype(np.float64)
        losses = is_true * _log(probabilities) + (1 - is_true) * _log(1 - probabilities)
        self.loss = -losses.mean(axis=1)

    def counts(self, weights: Floats) -> _Counts:
        return _Counts(
            hits=weights @ (self.is_true * self.is_predicted),
            predicted=weights @ self.is_predicted,
            true=weights @ self.is_true,
        )

    def values(self, weights: Floats) -> dict[str, Floats]:
        by_class, total = self.counts(weights), weights.sum(axis=1)
        return {
            "accuracy": weights @ self.is_right / total,
            "balanced_accuracy": _balanced_decisions(by_class, total),
            "micro_f1": by_class.micro_f1,
            "macro_f1": by_class.macro(by_class.f1),
            "log_loss": weights @ self.loss / total,
        }


def evaluate_single_label(
    probabilities: NDArray[Any],
    truth: NDArray[Any],
    classes: Sequence[str],
    *,
    groups: Integers | None = None,
) -> Evaluation:
    """`accuracy`, `balanced_accuracy`, `macro_f1`, `log_loss` and `ece` of exclusive classes.

    Intervals: Wilson's for accuracy, from Wilson's of each recall for balanced accuracy, the
    bootstrap for the rest. With groups all are from a bootstrap over groups.

    Args:
        probabilities: (n, K), rows sum to 1.
        truth: (n,) class indices.
        classes: K names.
        groups: (n,) numbers; samples of one group are not independent of each other.

    Raises:
        DataError: There are no samples, shapes do not fit, a probability is not finite or a truth
            is no class.

    Example:
        >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> str(evaluate_single_label(p, np.array([0, 1, 1]), ["ant", "bee"]).metrics["accuracy"])
        '0.667 (95% 0.21-0.94, n=3)'
    """
    n, num_classes = _check(probabilities, truth, len(classes), groups=groups)
    sums = _Exclusive(probabilities, _class_indices(truth, num_classes))
    values, ends, by_class = _values_and_ends(sums, n, groups=groups)
    num_units = n if groups is None else len(np.unique(groups))
    if sums.is_right.all() or not sums.is_right.any():
        for name in ("accuracy", "balanced_accuracy", "macro_f1"):  # resamples are all alike
            ends[name] = wilson(num_units * values["accuracy"], num_units)
    elif groups is None:
        there = by_class.true > 0
        ends["accuracy"] = wilson(sums.is_right.sum(), n)
        ends["balanced_accuracy"] = mean_of_proportions(by_class.hits[there], by_class.true[there])
    cells = sums.truth * num_classes + sums.predicted
    confusion = np.bincount(cells, minlength=num_classes**2)
    return Evaluation(
        n=n,
        metrics={name: _measure(values[name], ends[name], n) for name in values},
        per_class=_per_class(by_class, classes),
        confusion={
            "classes": list(classes),
            "counts": confusion.reshape(num_classes, num_classes).tolist(),
        },
    )


def evaluate_multilabel(
    probabilities: NDArray[Any],
    truth: NDArray[Any],
    classes: Sequence[str],
    *,
    groups: Integers | None = None,
) -> Evaluation:
    """`accuracy`, `balanced_accuracy`, `micro_f1`, `macro_f1`, `map` and `log_loss`.

    Each class is decided at 0.5. Accuracy is the share of samples with every decision right;
    balanced accuracy the mean over classes of recall and specificity; log loss the mean over
    samples and classes; `map` the mean over classes of the average precision. Intervals: Wilson's
    for accuracy, the infinitesimal jackknife for `map`, the bootstrap for the rest.

    Args:
        probabilities: (n, K), each in 0..1.
        truth: (n, K) of 0 and 1.
        classes: K names.
        groups: (n,) numbers; samples of one group are not independent of each other.

    Raises:
        DataError: There are no samples, shapes do not fit, a probability is not finite or a truth
            is neither 0 nor 1.
    """
    n, num_classes = _check(probabilities, truth, len(classes), groups=groups)
    sums = _Independent(probabilities, _class_marks(truth, num_classes))
    values, ends, by_class = _values_and_ends(sums, n, groups=groups)
    values["map"], ends["map"] = _mean_average_precision(probabilities, sums.is_true, groups=groups)
    num_units = n if groups is None else len(np.unique(groups))
    if groups is None:
        ends["accuracy"] = wilson(sums.is_right.sum(), n)
    for name in ("accuracy", "balanced_accuracy", "micro_f1", "macro_f1", "map"):
        if values[name] in (0.0, 1.0):  # resamples are all alike
            ends[name] = wilson(num_units * values[name], num_units)
    if not by_class.true.any():  # without a positive there is nothing to find
        ends |= dict.fromkeys(("micro_f1", "macro_f1", "map"), (0.0, 1.0))
    return Evaluation(
        n=n,
        metrics={name: _measure(values[name], ends[name], n) for name in values},
        per_class=_per_class(by_class, classes),
    )


def point_metrics(probabilities: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """`loss`, `accuracy`, `balanced_accuracy` and `macro_f1` without intervals, for validation.

    Args:
        probabilities: (n, K).
        truth: (n,) class indices, or (n, K) of 0 and 1 for multi-label.

    Raises:
        DataError: As for `evaluate_single_label` and `evaluate_multilabel`.
    """
    n, num_classes = _check(probabilities, truth, probabilities.shape[-1], groups=None)
    sums: _Exclusive | _Independent
    if truth.ndim == 1:
        sums = _Exclusive(probabilities, _class_indices(truth, num_classes))
    else:
        sums = _Independent(probabilities, _class_marks(truth, num_classes))
    values = {name: float(value[0]) for name, value in sums.values(np.ones((1, n))).items()}
    names = ("accuracy", "balanced_accuracy", "macro_f1")
    return {"loss": values["log_loss"], **{name: values[name] for name in names}}


def _values_and_ends(
    sums: _Exclusive | _Independent, n: int, *, groups: Integers | None
) -> tuple[dict[str, float], dict[str, tuple[float, float]], _Counts]:
    """Each metric, the ends of its bootstrap interval, and the counts a class, all by name."""
    once = np.ones((1, n))
    values = {name: float(value[0]) for name, value in sums.values(once).items()}
    low, high = bootstrap(
        lambda weights: np.stack(list(sums.values(weights).values()), axis=1), n, groups=groups
    )
    ends = {name: (float(low[i]), float(high[i])) for i, name in enumerate(values)}
    counts = sums.counts(once)
    return values, ends, _Counts(counts.hits[0], counts.predicted[0], counts.true[0])


def _check(
    scores: NDArray[Any],
    truth: NDArray[Any],
    num_classes: int,
    *,
    groups: Integers | None,
) -> tuple[int, int]:
    if scores.ndim != 2 or len(scores) == 0 or scores.shape[1] != num_classes:
        raise DataError(
            f"Predictions of shape {scores.shape} cannot be measured: they must have at least one "
            f"row, and {num_classes} columns, one a class. Give labelled samples to evaluate on."
        )
    if len(truth) != len(scores) or (groups is not None and len(groups) != len(scores)):
        raise DataError(
            f"{len(scores)} predictions need as many labels, but there are {len(truth)}"
            + ("" if groups is None else f" (and {len(groups)} groups)")
            + ". Give one of each a sample."
        )
    bad = int((~np.isfinite(scores)).any(axis=1).sum())
    if bad:
        raise DataError(
            f"{bad} of {len(scores)} predictions are not finite, so that nothing can be measured. "
            "Predict in float32 (--precision float32), or fit anew with a lower learning rate."
        )
    return scores.shape[0], scores.shape[1]


def _class_indices(truth: NDArray[Any], num_classes: int) -> Integers:
    if truth.ndim != 1 or truth.min() < 0 or truth.max() >= num_classes:
        raise DataError(
            f"The truth of shape {truth.shape} ranges from {truth.min()} to {truth.max()}, but "
            f"{num_classes} classes need one index a sample, from 0 to {num_classes - 1}. "
            "Check that the data has the classes of the model."
        )
    return truth.astype(np.int64)


def _class_marks(truth: NDArray[Any], num_classes: int) -> Floats:
    if truth.shape[1:] != (num_classes,) or not np.isin(truth, (0, 1)).all():
        raise DataError(
            f"The truth of shape {truth.shape} must be zeros and ones with {num_classes} columns, "
            "one a class. Check that the data has the classes of the model."
        )
    return truth.astype(np.float64)


def _mean_average_precision(
    scores: NDArray[Any], is_true: Floats, *, groups: Integers | None
) -> tuple[float, tuple[float, float]]:
    """Mean average precision over the classes with a positive, and its interval.

    The infinitesimal jackknife takes the derivative of the value by the weight of each sample, in
    one pass, where a bootstrap would rank anew for every resample.

    Source: average precision as the sum of precision times the step in recall, at distinct scores
    (Manning et al., "Introduction to Information Retrieval", 2008, section 8.4); Efron, "The
    Jackknife, the Bootstrap and Other Resampling Plans" (1982), section 6.2, for the interval.
    """
    n = len(scores)
    present = np.flatnonzero(is_true.sum(axis=0) > 0)
    if len(present) == 0:
        return 0.0, (0.0, 1.0)
    total, influence = 0.0, np.zeros(n)
    for k in present:
        order = np.argsort(-scores[:, k], kind="stable")
        positive = is_true[order, k]
        is_last = np.append(np.diff(scores[order, k]) != 0, True)  # of samples with equal scores
        tie = np.append(0, np.cumsum(is_last)[:-1])
        seen = np.flatnonzero(is_last) + 1.0
        hits = np.cumsum(positive)[is_last]
        step = np.diff(hits, prepend=0.0)
        precision = hits / seen
        value = float((step * precision).sum() / hits[-1])
        later = np.cumsum((step / seen)[::-1])[::-1]
        lost = np.cumsum((step * precision / seen)[::-1])[::-1]
        change = positive * (precision[tie] - value + later[tie]) - lost[tie]
        influence[order] += change / hits[-1] / len(present)
        total += value / len(present)
    if groups is not None:
        place = np.unique(groups, return_inverse=True)[1]
        influence = tally(influence[None], place, width=n)[0]
    half = NormalDist().inv_cdf(0.5 + LEVEL / 2) * float(np.sqrt(np.square(influence).sum()))
    return min(total, 1.0), (max(0.0, total - half), min(1.0, total + half))


def _balanced_decisions(by_class: _Counts, total: Floats | np.float64) -> Floats:
    """Mean over classes of recall and specificity, of whichever has samples: (...) of (..., K)."""
    negatives = np.expand_dims(total, -1) - by_class.true
    rejected = negatives - (by_class.predicted - by_class.hits)
    rates = _ratio(by_class.hits, by_class.true) + _ratio(rejected, negatives)
    num_sides = (by_class.true > 0).astype(float) + (negatives > 0)
    return np.asarray((rates / num_sides).mean(axis=-1))


def _per_class(by_class: _Counts, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Wilson's intervals for recall and, through the Jaccard index, for F1.

    The Jaccard index J = hits / (hits + misses + false alarms) is a proportion, and
    F1 = 2 J / (1 + J) rises with it, so that the ends of its interval are those of F1.
    """
    table = {}
    for k, name in enumerate(classes):
        hits, true = float(by_class.hits[k]), float(by_class.true[k])
        union = float(by_class.predicted[k]) + true - hits
        recall_low, recall_high = wilson(hits, true)
        jaccard_low, jaccard_high = wilson(hits, union)
        table[name] = {
            "precision": float(by_class.precision[k]),
            "recall": float(by_class.recall[k]),
            "f1": float(by_class.f1[k]),
            "n": int(true),
            "f1_low": 2 * jaccard_low / (1 + jaccard_low),
            "f1_high": 2 * jaccard_high / (1 + jaccard_high),
            "recall_low": recall_low,
            "recall_high": recall_high,
        }
    return table


def _measure(value: float, ends: tuple[float, float], n: int) -> Measure:
    """The ends always hold the value: a resampled calibration error, for one, is too high."""
    value = float(value)
    return Measure(value, min(float(ends[0]), value), max(float(ends[1]), value), n)


def _log(probabilities: NDArray[Any]) -> Floats:
    """Logarithm, with 0 taken as the smallest step of the type above 0, as scikit-learn does."""
    tiny = np.finfo(probabilities.dtype).eps
    return np.log(np.clip(probabilities.astype(np.float64), tiny, 1.0))


def _ratio(parts: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Parts over whole, 0 where the whole is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    return np.asarray(parts / np.where(whole > 0, whole, 1.0) * (whole > 0))
