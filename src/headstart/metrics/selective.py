"""What abstaining is worth: accuracy against the share of samples that are answered at all.

Plain arrays; knows no model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.metrics.classification import ExclusiveAnswers, answers_of
from headstart.metrics.intervals import Floats, Integers, ratio_interval

COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
TARGETS = (0.99, 0.95)


def coverage_curve(
    probabilities: NDArray[Any], truth: NDArray[Any], *, groups: Integers | None = None
) -> list[dict[str, float]]:
    """Accuracy on the most confident samples, for a grid of shares and where targets are reached.

    Samples of equal confidence are answered together, so that each row can be had by
    `min_confidence`; rows that would be alike are told once. Rows are sorted by coverage. The rows
    of TARGETS stand at the largest coverage whose accuracy is at least 0.99 and 0.95 here; they
    were chosen on these samples, so that their intervals flatter a little.

    Args:
        probabilities: (n, K). Confidence is the largest of a row; for multi-label that of the
            least sure yes or no, since all have to be right.
        truth: (n,) class indices, or (n, K) of 0 and 1 for multi-label.
        groups: (n,) numbers; samples of one group are not independent of each other.

    Returns:
        Rows of `coverage`, `accuracy`, `low`, `high` (its 95% interval), `min_confidence` and `n`.

    Raises:
        DataError: As for `evaluate_single_label` and `evaluate_multilabel`.

    Source: El-Yaniv and Wiener, "On the foundations of noise-free selective classification" (JMLR
    2010); Geifman and El-Yaniv, "Selective classification for deep neural networks" (NIPS 2017).
    """
    confidence, is_right = _confidence_and_right(probabilities, truth, groups=groups)
    n = len(truth)
    units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    order = np.argsort(-confidence, kind="stable")
    confidence, is_right, units = confidence[order], is_right[order], units[order]
    ends = np.append(np.flatnonzero(np.diff(confidence)), n - 1) + 1  # samples down to each value
    accuracy = np.cumsum(is_right)[ends - 1] / ends
    wanted = {int(ends[np.searchsorted(ends, np.ceil(c * n - 1e-9))]) for c in COVERAGES}
    for target in TARGETS:
        reached = ends[accuracy >= target]
        wanted |= {int(reached[-1])} if len(reached) else set()
    rows = []
    for kept in sorted(wanted):
        inside = np.unique(units[:kept], return_inverse=True)[1]
        low, high = ratio_interval(
            np.bincount(inside, is_right[:kept]).astype(np.float64),
            np.bincount(inside).astype(np.float64),
        )
        rows.append(
            {
                "coverage": kept / n,
                "accuracy": float(is_right[:kept].mean()),
                "low": low,
                "high": high,
                "min_confidence": float(confidence[kept - 1]),
                "n": kept,
            }
        )
    return rows


def area_under_risk_coverage(probabilities: NDArray[Any], truth: NDArray[Any]) -> float:
    """Mean share of mistakes over all coverages: 0 is perfect, lower is better.

    Samples of equal confidence share the average of all their orders.

    Args:
        probabilities: (n, K).
        truth: (n,) class indices, or (n, K) of 0 and 1 for multi-label.

    Raises:
        DataError: As for `evaluate_single_label` and `evaluate_multilabel`.

    Source: Geifman, Uziel and El-Yaniv, "Bias-reduced uncertainty estimation for deep neural
    classifiers" (ICLR 2019), section 2.

    Example:
        >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
        >>> round(area_under_risk_coverage(p, np.array([0, 0, 1])), 3)
        0.111
    """
    confidence, is_right = _confidence_and_right(probabilities, truth, groups=None)
    order = np.argsort(-confidence, kind="stable")
    wrong = 1 - is_right[order]
    _, place = np.unique(-confidence[order], return_inverse=True)
    wrong = (np.bincount(place, wrong) / np.bincount(place))[place]
    risks = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    return float(risks.mean())


def _confidence_and_right(
    probabilities: NDArray[Any], truth: NDArray[Any], *, groups: Integers | None
) -> tuple[Floats, Floats]:
    """(n,) confidence and (n,) whether the sample is answered right."""
    answers = answers_of(probabilities, truth, num_classes=probabilities.shape[-1], groups=groups)
    if isinstance(answers, ExclusiveAnswers):
        return probabilities.max(axis=1).astype(np.float64), answers.is_right
    sure = np.maximum(probabilities, 1 - probabilities).min(axis=1)
    return sure.astype(np.float64), answers.is_right
