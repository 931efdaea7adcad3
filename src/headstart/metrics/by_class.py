"""Precision, recall and F1 of each class and their means over classes, with 95% intervals.

Everything is computed from cells: what one independent unit (a sample, or a group of samples) says
of one class. Plain arrays; knows no probabilities and no task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.metrics.intervals import (
    LEVEL,
    Floats,
    Integers,
    ratio_interval,
    share_interval,
    wilson,
)


@dataclass(frozen=True, eq=False)
class Cells:
    """What each unit says of each class; a pair of unit and class without a count may be missing.

    Attributes:
        unit: (M,) from 0.
        of_class: (M,) class indices.
        hits: (M,) samples of the class that were called so.
        predicted: (M,) samples that were called so.
        true: (M,) samples of the class.
        num_samples: (M,) all samples of the unit.
        num_classes: K.
    """

    unit: Integers
    of_class: Integers
    hits: Floats
    predicted: Floats
    true: Floats
    num_samples: Floats
    num_classes: int

    def total(self, counts: Floats) -> Floats:
        """(K,): counts (M,) summed by class."""
        return np.bincount(self.of_class, counts, minlength=self.num_classes).astype(np.float64)

    @property
    def union(self) -> Floats:
        """(M,) samples that are of the class or were called so."""
        return self.predicted + self.true - self.hits


@dataclass(frozen=True, eq=False)
class Rates:
    """A figure of each class.

    Attributes:
        values: (K,) from 0 to 1.
        low: (K,) lower ends of the 95% intervals.
        high: (K,) upper ends.
        influence: (M,) by how much each cell moves the value of its class, as the derivative by
            the weight of the unit; with Bessel's correction.
        unmoved_error: (K,) the standard error of a class all of whose samples end alike, so that
            none has an influence.
    """

    values: Floats
    low: Floats
    high: Floats
    influence: Floats
    unmoved_error: Floats


def exclusive_cells(
    truth: Integers, predicted: Integers, *, num_classes: int, units: Integers
) -> Cells:
    """Cells of a single-label task.

    Args:
        truth: (n,) class indices.
        predicted: (n,) class indices.
        num_classes: K.
        units: (n,) from 0 to U-1, the unit of each sample.
    """
    n, width = len(truth), num_classes
    keys = np.concatenate([units * width + truth, units * width + predicted])
    cells, place = np.unique(keys, return_inverse=True)
    num = len(cells)
    sizes = np.bincount(units).astype(np.float64)
    return Cells(
        unit=cells // width,
        of_class=cells % width,
        hits=np.bincount(place[:n], truth == predicted, minlength=num).astype(np.float64),
        predicted=np.bincount(place[n:], minlength=num).astype(np.float64),
        true=np.bincount(place[:n], minlength=num).astype(np.float64),
        num_samples=sizes[cells // width],
        num_classes=num_classes,
    )


def independent_cells(is_true: Floats, is_predicted: Floats, *, units: Integers) -> Cells:
    """Cells of a multi-label task.

    Args:
        is_true: (n, K) zeros and ones.
        is_predicted: (n, K) zeros and ones.
        units: (n,) from 0 to U-1, the unit of each sample.
    """
    num_units, num_classes = int(units.max()) + 1, is_true.shape[1]

    def summed(marks: Floats) -> Floats:
        sums = np.zeros((num_units, num_classes))
        np.add.at(sums, units, marks)
        return sums.ravel()

    sizes = np.bincount(units, minlength=num_units).astype(np.float64)
    return Cells(
        unit=np.repeat(np.arange(num_units), num_classes),
        of_class=np.tile(np.arange(num_classes), num_units),
        hits=summed(is_true * is_predicted),
        predicted=summed(is_predicted),
        true=summed(is_true),
        num_samples=np.repeat(sizes, num_classes),
        num_classes=num_classes,
    )


def precision(cells: Cells) -> Rates:
    """Of what was called so, the share that is so."""
    return _share(cells, cells.hits, cells.predicted)


def recall(cells: Cells) -> Rates:
    """Of what is so, the share that was called so."""
    return _share(cells, cells.hits, cells.true)


def specificity(cells: Cells) -> Rates:
    """Of what is not so, the share that was not called so."""
    negative = cells.num_samples - cells.true
    return _share(cells, negative - (cells.predicted - cells.hits), negative)


def f1(cells: Cells) -> Rates:
    """The harmonic mean of precision and recall.

    The Jaccard index J = hits / (hits + misses + false alarms) is a share, and F1 = 2 J / (1 + J)
    rises with it, so that the ends of its interval are those of F1.
    """
    jaccard = _share(cells, cells.hits, cells.union)
    slope = 2 / np.square(1 + jaccard.values)  # of F1 over the Jaccard index
    return Rates(
        values=f1_of_jaccard(jaccard.values),
        low=f1_of_jaccard(jaccard.low),
        high=f1_of_jaccard(jaccard.high),
        influence=jaccard.influence * slope[cells.of_class],
        unmoved_error=jaccard.unmoved_error * slope,
    )


def f1_of_jaccard(jaccard: Floats) -> Floats:
    """F1 as a function of the Jaccard index, of any shape."""
    return np.asarray(2 * jaccard / (1 + jaccard))


def mean_interval(
    cells: Cells, families: Sequence[tuple[Rates, Floats]], *, level: float = LEVEL
) -> tuple[float, float]:
    """The interval of a weighted mean of rates.

    Wilson's, at the number of trials whose share would be as uncertain as the mean is. The
    variance of the mean comes from the influence of each unit on all rates together. It holds the
    true macro F1 about as often as it says also for few samples, where the percentile bootstrap
    does not: bench/coverage.py shows both.

    Args:
        cells: That the rates come from.
        families: Rates and the weight (K,) of each class; all weights together sum to 1.
        level: Share of intervals that hold the true mean.

    Source: the infinitesimal jackknife, Efron, "The Jackknife, the Bootstrap and Other Resampling
    Plans" (1982), section 6.2; for macro F1 it is the delta method of Takahashi, Yamamoto,
    Kuchiba and Koyama, "Confidence interval for micro-averaged F1 and macro-averaged F1 scores"
    (Applied Intelligence 2022). The interval from a variance: as for `ratio_interval`.
    """
    num_units = int(cells.unit.max()) + 1
    mean = float(sum((rates.values * weights).sum() for rates, weights in families))
    together, alone = np.zeros(num_units), 0.0
    below, above = 0.0, 0.0
    for rates, weights in families:
        together += np.bincount(
            cells.unit, weights[cells.of_class] * rates.influence, minlength=num_units
        )
        is_unmoved = cells.total(np.abs(rates.influence)) < 1e-12
        alone += float(np.square(weights * rates.unmoved_error)[is_unmoved].sum())
        below += float(np.square(weights * (rates.values - rates.low)).sum())
        above += float(np.square(weights * (rates.high - rates.values)).sum())
    variance = float(np.square(together).sum()) + alone
    if not 1e-9 < mean < 1 - 1e-9 or variance == 0:
        low, high = wilson(num_units * mean, num_units, level=level)
        return min(low, max(0.0, mean - below**0.5)), max(high, min(1.0, mean + above**0.5))
    is_grouped = bool((cells.num_samples > 1).any())
    return share_interval(mean, variance, num_units=num_units if is_grouped else None, level=level)


def ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> Floats:
    """Parts over wholes, 0 where the whole is 0."""
    wholes = np.asarray(wholes, dtype=np.float64)
    return np.asarray(parts / np.where(wholes > 0, wholes, 1.0) * (wholes > 0))


def _share(cells: Cells, parts: Floats, wholes: Floats) -> Rates:
    """A share of each class, over all units: parts (M,) of wholes (M,)."""
    total = cells.total(wholes)
    values = ratio(cells.total(parts), total)
    order = np.argsort(cells.of_class, kind="stable")
    starts = np.searchsorted(cells.of_class[order], np.arange(1, cells.num_classes))
    ends = np.array(
        [ratio_interval(parts[members], wholes[members]) for members in np.split(order, starts)]
    )
    influence = ratio(parts - values[cells.of_class] * wholes, total[cells.of_class])
    num_counted = cells.total((wholes > 0).astype(np.float64))
    bessel = np.sqrt(num_counted / np.maximum(num_counted - 1, 1))
    smooth = (num_counted + 1) / (num_counted + 2)  # Laplace's rule of succession
    unmoved_error = np.sqrt(ratio(smooth * (1 - smooth), num_counted))
    return Rates(values, ends[:, 0], ends[:, 1], influence * bessel[cells.of_class], unmoved_error)
