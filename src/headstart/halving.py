"""Rounds of a race by successive halving, and the nested parts of the samples that they see.

Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization" (AISTATS 2016). Knows numbers only, no backbone and no time.
"""

from __future__ import annotations

import math

import numpy as np

from headstart.data.folds import folds

# The finest parts: more would cost time to spread evenly, and serve only budgets of seconds.
_MOST_PARTS = 64
# With fewer of a class than there are folds, some fold of the probe has none of it.
_LEAST_OF_TWO = 5


def plan_rounds(num_racers: int, num_samples: int, *, least: int) -> list[int]:
    """By what the samples are divided in each round; in the last one all take part.

    So many rounds that two are left in the last, unless the first would have fewer samples than
    `least`: then there are fewer rounds, and more of the racers see all.

    Example:
        >>> plan_rounds(5, 1000, least=100), plan_rounds(5, 250, least=100)
        ([4, 2, 1], [2, 1])
    """
    num_rounds = math.ceil(math.log2(max(2, num_racers)))
    while num_rounds > 1 and num_samples / 2 ** (num_rounds - 1) < least:
        num_rounds -= 1
    return [2**i for i in reversed(range(num_rounds))]


def nested_parts(targets: np.ndarray, groups: np.ndarray, *, least: int, seed: int) -> np.ndarray:
    """A number for each sample: those below any number are a part with the classes in their shares.

    Groups stay whole. There are a power of two of numbers, so few that each has `least` samples,
    and some of the two most common classes.

    Args:
        targets: (n,) int class indices, or (n, K) 0/1 for multi-label.
        groups: (n,) samples with one number share a part.
        least: Samples that the smallest part has, about.
        seed: Any whole number that is not negative.

    Returns:
        (n,) int64, from 0.

    Example:
        >>> numbers = nested_parts(np.arange(40) % 2, np.arange(40), least=10, seed=0)
        >>> [int((numbers < end).sum()) for end in (1, 2, 4)]
        [10, 20, 40]
    """
    counts = np.sort(np.bincount(targets) if targets.ndim == 1 else targets.sum(axis=0))
    second = int(counts[-2]) if len(counts) > 1 else len(targets)
    wanted = min(
        len(targets) // least, second // _LEAST_OF_TWO, len(np.unique(groups)), _MOST_PARTS
    )
    num_parts = 2 ** int(math.log2(max(1, wanted)))
    if num_parts == 1:
        return np.zeros(len(targets), dtype=np.int64)
    return folds(targets, groups, num_folds=num_parts, seed=seed)
