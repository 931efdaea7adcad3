"""95% intervals: Wilson's for a proportion, the bootstrap for the rest; on plain arrays.

A bootstrap resample is a row of counts, how often each sample was drawn. Statistics are computed
for many rows at once, from tallies. Knows no metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVEL = 0.95
# Enough for the ends of a 95% interval (Efron and Tibshirani, "An Introduction to the Bootstrap",
# 1993, section 13.3).
NUM_RESAMPLES = 1000
# Counts of a chunk of resamples have at most this many elements, 8 MB.
_CHUNK_ELEMENTS = 10**6


def wilson(successes: float, n: float, *, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a proportion; good for few samples, and at 0 and 1 not of zero width.

    Args:
        successes: Between 0 and n.
        n: Number of independent trials; for 0 the interval is all of 0 to 1.
        level: Share of intervals that hold the true proportion.

    Source: Wilson (JASA 1927); recommended for small n by Brown, Cai and DasGupta, "Interval
    estimation for a binomial proportion" (Statistical Science 2001).

    Example:
        >>> low, high = wilson(145, 153)
        >>> round(low, 3), round(high, 3)
        (0.9, 0.973)
    """
    if n <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def mean_of_proportions(
    successes: Floats, n: Floats, *, level: float = LEVEL
) -> tuple[float, float]:
    """The interval of the plain mean of independent proportions, from Wilson's of each.

    Args:
        successes: (K,) each between 0 and its n.
        n: (K,) positive.
        level: Share of intervals that hold the true mean.

    Source: the method of variance estimates recovery, Zou and Donner, "Construction of confidence
    limits about effect measures" (Statistics in Medicine 2008).
    """
    shares = successes / n
    ends = np.array([wilson(s, m, level=level) for s, m in zip(successes, n, strict=True)])
    mean = float(shares.mean())
    below = float(np.sqrt(np.square(shares - ends[:, 0]).sum())) / len(n)
    above = float(np.sqrt(np.square(ends[:, 1] - shares).sum())) / len(n)
    return max(0.0, mean - below), min(1.0, mean + above)


def bootstrap(
    statistic: Callable[[Floats], Floats],
    n: int,
    *,
    groups: Integers | None = None,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Percentile intervals of some statistics.

    Args:
        statistic: counts (R, n), how often each sample was drawn -> (R, m) values of m statistics.
        n: Number of samples.
        groups: (n,) samples of one group are drawn together, since they are not independent.
        num_resamples: How many there are.
        level: Share of intervals that hold the true value.
        seed: The same seed gives the same interval.

    Returns:
        (m,) lower and (m,) upper ends.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3; drawing
    groups: Davison and Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8.
    """
    draws = resamples(n, groups=groups, num_resamples=num_resamples, seed=seed)
    values = np.concatenate([statistic(counts) for counts in draws])
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return low, high


def resamples(
    n: int, *, groups: Integers | None, num_resamples: int, seed: int
) -> Iterator[Floats]:
    """Chunks (R, n) of counts, each row one resample; see `bootstrap`."""
    rng = np.random.default_rng(seed)
    place = None
    num_units = n
    if groups is not None:
        units, place = np.unique(groups, return_inverse=True)
        num_units = len(units)
    size = max(1, _CHUNK_ELEMENTS // n)
    for start in range(0, num_resamples, size):
        rows = min(size, num_resamples - start)
        drawn = rng.integers(num_units, size=(rows, num_units))
        drawn += np.arange(rows)[:, None] * num_units
        counts = np.bincount(drawn.ravel(), minlength=rows * num_units).reshape(rows, num_units)
        yield (counts if place is None else counts[:, place]).astype(np.float64)


def tally(counts: Floats, codes: Integers, *, width: int) -> Floats:
    """(R, width): the summed counts (R, n) of the samples of each code (n,) in 0..width-1."""
    rows = len(counts)
    places = (codes + np.arange(rows)[:, None] * width).ravel()
    sums = np.bincount(places, counts.ravel(), minlength=rows * width).astype(np.float64)
    return sums.reshape(rows, width)
