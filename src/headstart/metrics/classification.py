"""Metrics of classifiers, each with a 95% interval and the number of samples it rests on.

Plain numpy. Classes that the truth does not have count in no macro average. Knows no task and no
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contracts import Evaluation, Measure
from headstart.errors import DataError
from headstart.metrics import by_class
from headstart.metrics.by_class import Cells, Rates, mean_interval, ratio
from headstart.metrics.intervals import (
    Floats,
    Integers,
    bootstrap,
    ratio_interval,
    tally,
)
from headstart.metrics.ranking import map_interval, mean_average_precision

# Guo et al., "On calibration of modern neural networks" (ICML 2017), section 2.
NUM_BINS = 15


class ExclusiveAnswers:
    """What is summed over the samples of a single-label task; weights are (R, n) counts.

    Args:
        probabilities: (n, K), rows sum to 1.
        truth: (n,) class indices.
    """

    def __init__(self, probabilities: NDArray[Any], truth: Integers) -> None:
        confidence = probabilities.max(axis=1).astype(np.float64)
        self.num_classes = probabilities.shape[1]
        self.truth = truth
        self.predicted = probabilities.argmax(axis=1).astype(np.int64)
        self.is_right = (self.predicted == truth).astype(np.float64)
        self.loss = -_log(probabilities[np.arange(len(truth)), truth])
        self.excess = confidence - self.is_right
        self.bins = bins_of(confidence)

    def cells(self, units: Integers) -> Cells:
        """Counts by class and unit (n,), numbered from 0."""
        return by_class.exclusive_cells(
            self.truth, self.predicted, num_classes=self.num_classes, units=units
        )

    def values(self, weights: Floats) -> dict[str, Floats]:
        """Metric -> (R,) values."""
        hits = tally(weights * self.is_right, self.truth, width=self.num_classes)
        predicted = tally(weights, self.predicted, width=self.num_classes)
        true = tally(weights, self.truth, width=self.num_classes)
        total = weights.sum(axis=1)
        return {
            "accuracy": weights @ self.is_right / total,
            "balanced_accuracy": _macro(ratio(hits, true), true),
            "macro_f1": _macro(ratio(2 * hits, predicted + true), true),
            **self.scores(weights),
        }

    def scores(self, weights: Floats) -> dict[str, Floats]:
        """Metric -> (R,) values, of those that look at probabilities."""
        total = weights.sum(axis=1)
        gaps = np.abs(tally(weights * self.excess, self.bins, width=NUM_BINS)).sum(axis=1)
        return {"log_loss": weights @ self.loss / total, "ece": gaps / total}


class IndependentAnswers:
    """What is summed over the samples of a multi-label task; weights are (R, n) counts.

    Args:
        probabilities: (n, K), each in 0..1.
        is_true: (n, K) zeros and ones.
    """

    def __init__(self, probabilities: NDArray[Any], is_true: Floats) -> None:
        self.is_true = is_true
        self.is_predicted = (probabilities >= 0.5).astype(np.float64)
        self.is_right = (is_true == self.is_predicted).all(axis=1).astype(np.float64)
        losses = is_true * _log(probabilities) + (1 - is_true) * _log(1 - probabilities)
        self.loss = -losses.mean(axis=1)

    def cells(self, units: Integers) -> Cells:
        """Counts by class and unit (n,), numbered from 0."""
        return by_class.independent_cells(self.is_true, self.is_predicted, units=units)

    def values(self, weights: Floats) -> dict[str, Floats]:
        """Metric -> (R,) values."""
        hits = weights @ (self.is_true * self.is_predicted)
        predicted, true = weights @ self.is_predicted, weights @ self.is_true
        total = weights.sum(axis=1)
        negatives = total[:, None] - true
        rates = ratio(hits, true) + ratio(negatives - (predicted - hits), negatives)
        num_sides = (true > 0).astype(float) + (negatives > 0)
        decisions = (predicted + true).sum(axis=1)
        return {
            "accuracy": weights @ self.is_right / total,
            "balanced_accuracy": (rates / num_sides).mean(axis=1),
            "micro_f1": ratio(2 * hits.sum(axis=1), decisions),
            "macro_f1": _macro(ratio(2 * hits, predicted + true), true),
            **self.scores(weights),
        }

    def scores(self, weights: Floats) -> dict[str, Floats]:
        """Metric -> (R,) values, of those that look at probabilities."""
        return {"log_loss": weights @ self.loss / weights.sum(axis=1)}


def evaluate_single_label(
    probabilities: NDArray[Any],
    truth: NDArray[Any],
    classes: Sequence[str],
    *,
    groups: Integers | None = None,
) -> Evaluation:
    """`accuracy`, `balanced_accuracy`, `macro_f1`, `log_loss` and `ece` of exclusive classes.

    Intervals: Wilson's for accuracy and the figures of each class, from these for balanced
    accuracy and macro F1 (`mean_interval`), the bootstrap for the rest. With groups all of them
    count groups as the independent units. Their coverage is measured by bench/coverage.py.

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
    answers = answers_of(probabilities, truth, num_classes=len(classes), groups=groups)
    assert isinstance(answers, ExclusiveAnswers)
    n, units = len(truth), _units(len(truth), groups)
    cells = answers.cells(units)
    values = {name: float(value[0]) for name, value in answers.values(np.ones((1, n))).items()}
    rates = {"recall": by_class.recall(cells), "f1": by_class.f1(cells)}
    counted = _is_there(cells)
    ends = {
        "accuracy": _share_of_samples(answers.is_right, units),
        "balanced_accuracy": mean_interval(cells, [(rates["recall"], counted)]),
        "macro_f1": mean_interval(cells, [(rates["f1"], counted)]),
        **_score_ends(answers, n, groups=groups),
    }
    codes = answers.truth * len(classes) + answers.predicted
    confusion = np.bincount(codes, minlength=len(classes) ** 2)
    return Evaluation(
        n=n,
        metrics={name: _measure(values[name], ends[name], n) for name in values},
        per_class=_per_class(cells, {"precision": by_class.precision(cells), **rates}, classes),
        confusion={
            "classes": list(classes),
            "counts": confusion.reshape(len(classes), len(classes)).tolist(),
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
    samples and classes; `map` the mean over classes of the average precision. Intervals: as for
    `evaluate_single_label`; that of `map` is Wilson's at the variance of the infinitesimal
    jackknife.

    Args:
        probabilities: (n, K), each in 0..1.
        truth: (n, K) of 0 and 1.
        classes: K names.
        groups: (n,) numbers; samples of one group are not independent of each other.

    Raises:
        DataError: There are no samples, shapes do not fit, a probability is not finite or a truth
            is neither 0 nor 1.
    """
    answers = answers_of(probabilities, truth, num_classes=len(classes), groups=groups)
    assert isinstance(answers, IndependentAnswers)
    n, units = len(truth), _units(len(truth), groups)
    cells = answers.cells(units)
    values = {name: float(value[0]) for name, value in answers.values(np.ones((1, n))).items()}
    rates = {"recall": by_class.recall(cells), "f1": by_class.f1(cells)}
    jaccard = ratio_interval(
        np.bincount(cells.unit, cells.hits).astype(np.float64),
        np.bincount(cells.unit, cells.union).astype(np.float64),
    )
    low, high = by_class.f1_of_jaccard(np.array(jaccard))
    ends = {
        "accuracy": _share_of_samples(answers.is_right, units),
        "balanced_accuracy": mean_interval(cells, _sides(cells, rates["recall"])),
        "micro_f1": (float(low), float(high)),
        "macro_f1": mean_interval(cells, [(rates["f1"], _is_there(cells))]),
        **_score_ends(answers, n, groups=groups),
    }
    values["map"], influence = mean_average_precision(probabilities, answers.is_true)
    ends["map"] = map_interval(values["map"], np.bincount(units, influence).astype(np.float64))
    if not cells.true.any():  # without a positive there is nothing to find
        ends |= dict.fromkeys(("micro_f1", "macro_f1", "map"), (0.0, 1.0))
    return Evaluation(
        n=n,
        metrics={name: _measure(values[name], ends[name], n) for name in values},
        per_class=_per_class(cells, {"precision": by_class.precision(cells), **rates}, classes),
    )


# What `point_metrics` gives.
POINT_METRICS = ("loss", "accuracy", "balanced_accuracy", "macro_f1")


def point_metrics(probabilities: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """`loss`, `accuracy`, `balanced_accuracy` and `macro_f1` without intervals, for validation.

    Args:
        probabilities: (n, K).
        truth: (n,) class indices, or (n, K) of 0 and 1 for multi-label.

    Raises:
        DataError: As for `evaluate_single_label` and `evaluate_multilabel`.
    """
    answers = answers_of(probabilities, truth, num_classes=probabilities.shape[-1])
    once = answers.values(np.ones((1, len(truth))))
    values = {name: float(value[0]) for name, value in once.items()}
    values["loss"] = values["log_loss"]
    return {name: values[name] for name in POINT_METRICS}


def answers_of(
    probabilities: NDArray[Any],
    truth: NDArray[Any],
    *,
    num_classes: int,
    groups: Integers | None = None,
) -> ExclusiveAnswers | IndependentAnswers:
    """Checked predictions, by what the truth is: (n,) class indices, or (n, K) of 0 and 1.

    Raises:
        DataError: As for `evaluate_single_label` and `evaluate_multilabel`.
    """
    _check(probabilities, truth, num_classes, groups=groups)
    if truth.ndim == 1:
        return ExclusiveAnswers(probabilities, _class_indices(truth, num_classes))
    return IndependentAnswers(probabilities, _class_marks(truth, num_classes))


def bins_of(confidence: NDArray[Any], *, num_bins: int = NUM_BINS) -> Integers:
    """The bin of each confidence (n,), from 0; of equal width and closed above, as in the source.

    Source: Guo et al., "On calibration of modern neural networks" (ICML 2017), section 2.
    """
    bins = np.ceil(np.asarray(confidence, dtype=np.float64) * num_bins).astype(np.int64) - 1
    return np.clip(bins, 0, num_bins - 1)


def _units(n: int, groups: Integers | None) -> Integers:
    """The independent unit of each sample, from 0: its group, or itself."""
    if groups is None:
        return np.arange(n)
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _share_of_samples(is_right: Floats, units: Integers) -> tuple[float, float]:
    counts = np.bincount(units).astype(np.float64)
    return ratio_interval(np.bincount(units, is_right).astype(np.float64), counts)


def _is_there(cells: Cells) -> Floats:
    """(K,) weights of a mean over the classes that the truth has."""
    is_there = (cells.total(cells.true) > 0).astype(np.float64)
    return is_there / max(1.0, float(is_there.sum()))


def _sides(cells: Cells, recalls: Rates) -> list[tuple[Rates, Floats]]:
    """Recall and specificity of each class, of whichever has samples, with their weights."""
    has_positives = (cells.total(cells.true) > 0).astype(np.float64)
    has_negatives = (cells.total(cells.num_samples - cells.true) > 0).astype(np.float64)
    each = 1 / (has_positives + has_negatives) / cells.num_classes
    return [
        (recalls, has_positives * each),
        (by_class.specificity(cells), has_negatives * each),
    ]


def _score_ends(
    answers: ExclusiveAnswers | IndependentAnswers, n: int, *, groups: Integers | None
) -> dict[str, tuple[float, float]]:
    """The ends of the bootstrap intervals of log loss and calibration error, by name."""
    names = list(answers.scores(np.ones((1, n))))
    low, high = bootstrap(
        lambda weights: np.stack(list(answers.scores(weights).values()), axis=1), n, groups=groups
    )
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


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
            "Fit anew in float32 (--precision float32), or with a lower learning rate."
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


def _per_class(
    cells: Cells, rates: dict[str, Rates], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Class -> precision, recall and F1 with the ends of their intervals, and `n`."""
    true = cells.total(cells.true)
    return {
        name: {
            **{key: float(rate.values[k]) for key, rate in rates.items()},
            "n": int(true[k]),
            **{f"{key}_low": float(rate.low[k]) for key, rate in rates.items()},
            **{f"{key}_high": float(rate.high[k]) for key, rate in rates.items()},
        }
        for k, name in enumerate(classes)
    }


def _measure(value: float, ends: tuple[float, float], n: int) -> Measure:
    """The ends always hold the value: a resampled calibration error, for one, is too high."""
    value = float(value)
    return Measure(value, min(float(ends[0]), value), max(float(ends[1]), value), n)


def _macro(values: Floats, true: Floats) -> Floats:
    """Mean of values (R, K) over the classes that the truth has, by its counts (R, K)."""
    is_there = true > 0
    return ratio((values * is_there).sum(axis=1), is_there.sum(axis=1).astype(np.float64))


def _log(probabilities: NDArray[Any]) -> Floats:
    """Logarithm, with 0 taken as the smallest step of the type above 0, as scikit-learn does."""
    tiny = np.finfo(probabilities.dtype).eps
    return np.log(np.clip(probabilities.astype(np.float64), tiny, 1.0))
