"""Mean average precision: how well each class ranks the samples, with its interval.

Plain arrays; knows no task.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.metrics.intervals import Floats, share_interval, wilson


def mean_average_precision(scores: NDArray[Any], is_true: Floats) -> tuple[float, Floats]:
    """Mean average precision over the classes with a positive, and the influence of each sample.

    The influence (n,) is the derivative of the value by the weight of the sample; its sum of
    squares is the variance of the infinitesimal jackknife, had in one pass, where a bootstrap
    would rank anew for every resample.

    Args:
        scores: (n, K).
        is_true: (n, K) zeros and ones.

    Source: average precision as the sum of precision times the step in recall, at distinct scores
    (Manning et al., "Introduction to Information Retrieval", 2008, section 8.4); Efron, "The
    Jackknife, the Bootstrap and Other Resampling Plans" (1982), section 6.2, for the influence.
    """
    total, influence = 0.0, np.zeros(len(scores))
    present = np.flatnonzero(is_true.sum(axis=0) > 0)
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
    return min(total, 1.0), influence


def map_interval(value: float, influence: Floats) -> tuple[float, float]:
    """The 95% interval of mean average precision: Wilson's at its effective number of trials.

    Args:
        value: The mean average precision.
        influence: (U,) of each independent unit; those of the samples of a group summed.
    """
    num_units, variance = len(influence), float(np.square(influence).sum())
    if value in (0.0, 1.0) or variance == 0:
        return wilson(num_units * value, num_units)
    return share_interval(value, variance, num_units=num_units)
