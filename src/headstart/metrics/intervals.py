"""95% intervals: Wilson's for shares, also of samples in groups, and the bootstrap for the rest.

Plain arrays. A bootstrap resample is a row of counts, how often each sample was drawn. Statistics
are computed for many rows at once, from tallies. Knows no metric.
"""

from __future__ import annotations

import math
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


def wilson(
    successes: float, n: float, *, level: float = LEVEL, num_units: int | None = None
) -> tuple[float, float]:
    """The interval of a proportion; good for few samples, and at 0 and 1 not of zero width.

    Args:
        successes: Between 0 and n.
        n: Number of independent trials; for 0 the interval is all of 0 to 1.
        level: Share of intervals that hold the true proportion.
        num_units: From how many units (groups of samples) `n` was estimated, where it was; the
            interval is then wider by Student's t.

    Source: Wilson (JASA 1927); recommended for small n by Brown, Cai and DasGupta, "Interval
    estimation for a binomial proportion" (Statistical Science 2001).

    Example:
        >>> low, high = wilson(145, 153)
        >>> round(low, 3), round(high, 3)
        (0.9, 0.973)
    """
    if n <= 0:
        return 0.0, 1.0
    z = critical_value(level, num_units=num_units)
    if math.isinf(z):
        return 0.0, 1.0
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def ratio_interval(parts: Floats, wholes: Floats, *, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share whose trials come in independent units, such as patients.

    Wilson's, at the number of independent trials that would be as uncertain as the units are
    (never more than there are trials). Where no unit has two trials, it is Wilson's own. Where all
    trials end alike, units tell nothing of how alike they are, and each counts as one trial.

    Args:
        parts: (U,) successes of each unit.
        wholes: (U,) its trials; at least its successes.
        level: Share of intervals that hold the true share.

    Source: the effective sample size with Student's t, Korn and Graubard, "Confidence intervals
    for proportions with small expected number of positive counts estimated from survey data"
    (Survey Methodology 1998); in Wilson's interval, Dean and Pagano, "Evaluating confidence
    interval methods for binomial proportions in clustered surveys" (Journal of Survey Statistics
    and Methodology 2015). The variance of a ratio: Cochran, "Sampling Techniques" (1977), 2.11.

    Example:
        >>> alone = ratio_interval(np.array([1.0] * 45 + [0.0] * 5), np.ones(50))
        >>> paired = ratio_interval(np.array([5.0] * 9 + [0.0]), np.full(10, 5.0))
        >>> [round(end, 2) for end in (*alone, *paired)]
        [0.79, 0.96, 0.52, 0.99]
    """
    counted = wholes > 0
    parts, wholes = parts[counted], wholes[counted]
    trials, num_units = float(wholes.sum()), len(wholes)
    successes = float(parts.sum())
    if num_units == 0 or wholes.max() <= 1:
        return wilson(successes, trials, level=level)
    share = successes / trials
    if num_units == 1:
        return 0.0, 1.0
    if share in (0.0, 1.0):
        return wilson(share * num_units, num_units, level=level)
    residuals = parts - share * wholes
    variance = num_units / (num_units - 1) * float(np.square(residuals).sum()) / trials**2
    return share_interval(share, variance, trials=trials, num_units=num_units, level=level)


def share_interval(
    share: float,
    variance: float,
    *,
    trials: float = math.inf,
    num_units: int | None = None,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Wilson's interval of an estimated share, at its effective number of trials.

    Args:
        share: The estimate, over 0 and under 1.
        variance: Of the estimate; over 0, unless `trials` is finite.
        trials: The effective number is never taken to be larger than this.
        num_units: How many groups of samples the variance was estimated from; None for samples
            without groups.
        level: Share of intervals that hold the true share.

    Source: as for `ratio_interval`.
    """
    spread = share * (1 - share)
    effective = min(trials, spread / variance) if variance > 0 else trials
    return wilson(share * effective, effective, level=level, num_units=num_units)


def critical_value(level: float, *, num_units: int | None = None) -> float:
    """How many standard errors to either side an interval reaches.

    Args:
        level: Such as 0.95.
        num_units: The standard error was estimated from so many units; None when it is known.

    Returns:
        The normal quantile, or Student's t with one degree of freedom fewer than units; infinite
        for a single unit.

    Source: Hill, "Algorithm 396: Student's t-quantiles" (Communications of the ACM 1970).

    Example:
        >>> [round(critical_value(0.95, num_units=u), 2) for u in (2, 3, 5, 17)]
        [12.71, 4.3, 2.78, 2.12]
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    if num_units is None:
        return z
    if num_units < 2:
        return math.inf
    df, tails = num_units - 1, 1 - level
    if df == 1:
        return 1 / math.tan(tails * math.pi / 2)
    if df == 2:
        return math.sqrt(2 / (tails * (2 - tails)) - 2)
    a = 1 / (df - 0.5)
    b = 48 / (a * a)
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * df
    y = (d * tails) ** (2 / df)
    if y > 0.05 + a:
        x = -z
        y = x * x
        if df < 5:
            c += 0.3 * (df - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = (
            (1 / (((df + 6) / (df * y) - 0.089 * d - 0.822) * (df + 2) * 3) + 0.5 / (df + 4)) * y
            - 1
        ) * (df + 1) / (df + 2) + 1 / y
    return math.sqrt(df * y)


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
    low, high = percentile_ends(values, level=level)
    return low, high


def percentile_ends(values: Floats, *, level: float = LEVEL) -> tuple[Floats, Floats]:
    """(m,) lower and (m,) upper ends of the intervals of resampled values (R, m)."""
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
