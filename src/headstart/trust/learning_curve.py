"""How many more labels? Refits on parts of the training samples, and a power law through them.

Each refit is judged on a fold of the same samples that it has not seen, so that none is spent on
judging alone. Knows indices and what a refit got right; how it is refitted is the caller's.

Source: error = a + b * n ** -c, Cortes, Jackel, Solla, Vapnik and Denker, "Learning curves:
asymptotic values and rate of convergence" (NeurIPS 1993); that it holds over orders of magnitude:
Hestness et al., "Deep learning scaling is predictable, empirically" (2017); what can go wrong:
Viering and Loog, "The shape of learning curves: a review" (TPAMI 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contracts import Measure
from headstart.errors import DataError
from headstart.metrics.intervals import resamples
from headstart.trust.power_law import PowerLaws, fit_power_laws

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# The last is what five folds leave to learn from.
SHARES = (0.1, 0.2, 0.4, 0.8)
# Beyond four times the samples a power law is a guess: Viering and Loog 2022, section 5.
MAX_FACTOR = 4.0
# Draws of a part: three, but no more than cost as much as one refit on all samples.
_NUM_REPEATS = 3
# From so many samples one draw does: the smallest part has 200, and judged on so many answers its
# error is known to within a point or two.
_ENOUGH_FOR_ONE = 2000
# Of a class, a part must hold two samples at least (in the mean of the classes) to be fitted to.
_LEAST_A_CLASS = 2
_LEAST_POINTS = 3  # as many as the power law has parameters
_NUM_RESAMPLES = 500
_NUM_DRAWN = 12  # places at which the curve is given, from the smallest part to twice all


@dataclass(frozen=True)
class CurvePoint:
    """What training on so many samples is worth.

    Attributes:
        num_samples: In training.
        value: Of the metric.
        low: Of its 95% interval.
        high: Of its 95% interval.
    """

    num_samples: int
    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """For metrics.json."""
        return {
            "num_samples": self.num_samples,
            "value": self.value,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Points that were measured, and the curve through them.

    Attributes:
        metric: What `value` is, 1 when all is right.
        points: Measured, by ascending number of samples.
        laws: Power laws of the error, one a bootstrap resample; None with too few points.
        central: The power law of the measured points; None as above.
        now: Number of samples that there are.
        num_judged: Number of samples that the metric was measured on.
        notes: What was left out, and why.
    """

    metric: str
    points: tuple[CurvePoint, ...]
    laws: PowerLaws | None
    central: PowerLaws | None
    now: int
    num_judged: int
    notes: tuple[str, ...] = ()

    def predict_at(self, num_samples: int) -> Measure:
        """The metric to be expected with so many training samples, with its 95% interval.

        Raises:
            DataError: There is no curve, or it would be stretched beyond four times the samples.
        """
        if self.laws is None or self.central is None:
            raise DataError(f"There is no learning curve to read off. {' '.join(self.notes)}")
        if not 1 <= num_samples <= MAX_FACTOR * self.now:
            raise DataError(
                f"A curve measured up to {self.now:,} samples says nothing about {num_samples:,}. "
                f"Ask for 1 to {int(MAX_FACTOR * self.now):,}, {MAX_FACTOR:g} times as many."
            )
        value = 1.0 - float(self.central.error(num_samples)[0])
        return Measure(value, *_ends(1.0 - self.laws.error(num_samples)))

    def gain(self, factor: float = 2.0) -> Measure:
        """What so many times the samples are worth, with its 95% interval.

        Raises:
            DataError: As `predict_at`.
        """
        then = round(factor * self.now)
        value = self.predict_at(then).value - self.predict_at(self.now).value
        assert self.laws is not None
        return Measure(value, *_ends(self.laws.error(self.now) - self.laws.error(then)))

    @property
    def sentence(self) -> str:
        """What twice the labels are worth, in plain words."""
        if self.laws is None:
            return " ".join(("What more labels are worth could not be told.", *self.notes))
        num_wrong = round(self.num_judged * (1.0 - self.points[-1].value))
        if num_wrong <= 1:
            right = "All" if num_wrong == 0 else "All but one"
            return (
                f"{right} of {self.num_judged:,} samples are right as it is: what more labels "
                "would bring needs more samples to be measured on."
            )
        gain = self.gain()
        assert gain.low is not None
        assert gain.high is not None
        value, low, high = (100 * each for each in (gain.value, gain.low, gain.high))
        noun = "point" if _figure(value) == "1" else "points"
        figures = f"{_figure(value)} {noun} (95% {_figure(low)} to {_figure(high)})"
        if high < 0.5:
            return f"Twice the labels would change next to nothing: {figures}."
        if low < 0.05:
            return f"Twice the labels may be worth about {figures}, which may be nothing."
        return f"Twice the labels are worth about {figures}."

    def to_json(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "metric": self.metric,
            "points": [point.to_json() for point in self.points],
            "curve": [point.to_json() for point in self._drawn()],
            "now": self.now,
            "sentence": self.sentence,
            "notes": list(self.notes),
        }

    def _drawn(self) -> list[CurvePoint]:
        if self.laws is None:
            return []
        places = np.geomspace(self.points[0].num_samples, 2 * self.now, _NUM_DRAWN)
        curve = []
        for number in sorted({round(place) for place in places} | {self.now}):
            there = self.predict_at(number)
            assert there.low is not None
            assert there.high is not None
            curve.append(CurvePoint(number, there.value, there.low, there.high))
        return curve


def trace_learning_curve(
    score: Callable[[Sequence[Integers]], Iterable[NDArray[np.floating] | NDArray[np.bool_]]],
    targets: NDArray[np.integer] | NDArray[np.floating],
    *,
    folds: NDArray[np.integer],
    groups: NDArray[np.integer] | None = None,
    shares: Sequence[float] = SHARES,
    metric: str = "accuracy",
    seed: int = 0,
) -> LearningCurve:
    """Refit on growing parts of the training samples, and say what more would bring.

    Parts are nested and stratified, and of fewer than 2,000 samples drawn up to three times, less
    often where that would cost more than one refit on all samples. Groups enter one by one. Of each
    draw there is a part for each fold, without the samples of that fold, which it is judged on.

    Args:
        score: Indices (m,) of samples, ascending, of all parts at once -> for each part (n,) how
            right a refit on it is about each sample, 0 to 1 (whether its class is right; any loss
            as 1 - loss); what it says about the samples of its own is not looked at. Refit with all
            choices fixed, such as C, so that it is cheap.
        targets: (n,) class indices of the training samples, or (n, K) of 0 and 1.
        folds: (n,) the fold in which a sample is held out; at least two, and no group in several.
        groups: (n,) of the training samples: they are drawn and resampled together.
        shares: Parts of the training samples; at most what the folds leave.
        metric: What the mean of the scores is called.
        seed: Of the draws.

    Raises:
        DataError: A share is not in 0 to 1, there are fewer than two folds, or scores are not one
            number in 0 to 1 a sample.
    """
    n, numbers = len(targets), np.unique(folds)
    if n == 0 or not all(0 < share <= 1 for share in shares):
        raise DataError(
            f"Shares {list(shares)} of {n} samples cannot be fitted to. Give shares above 0 and up "
            "to 1, and at least one sample."
        )
    if len(folds) != n or len(numbers) < 2:
        raise DataError(
            f"{len(numbers)} folds of {len(folds)} samples cannot judge refits on {n}. Give a fold "
            "for each sample, and at least two folds."
        )
    most = n - round(n / len(numbers))
    sizes, notes = _sizes(n, _num_classes(targets), shares, most=most)
    owners = np.arange(n) if groups is None else groups
    num_repeats = _NUM_REPEATS if n < _ENOUGH_FOR_ONE else 1
    orders = [_orders(targets, folds, owners, seed=seed + i) for i in range(num_repeats)]
    drawn = [
        [[np.sort(order[:size]) for order in draw] for draw in orders[: max(1, n // size)]]
        for size in sizes
    ]
    judged = iter(score([part for draws in drawn for parts in draws for part in parts]))
    scores = []
    for draws in drawn:
        tables = np.empty((len(draws), n))
        for table in tables:
            for number in numbers:
                is_held_out = folds == number
                table[is_held_out] = _judged(next(judged), n)[is_held_out]
        scores.append(tables)
    return _curve(sizes, scores, groups, metric=metric, now=n, notes=notes, seed=seed)


def _curve(
    sizes: Sequence[int],
    tables: Sequence[Floats],
    groups: NDArray[np.integer] | None,
    *,
    metric: str,
    now: int,
    notes: list[str],
    seed: int,
) -> LearningCurve:
    """Points with their intervals, and the power laws of each bootstrap resample.

    Args:
        sizes: Of the parts, ascending.
        tables: Of each size (num_repeats, num_judged), how right its refits were.
        groups: (num_judged,), or None.
    """
    if len(sizes) < _LEAST_POINTS:
        notes.append(
            f"{len(sizes)} sizes of the training set are too few to draw a curve through; at least "
            f"{_LEAST_POINTS} are needed, so label more."
        )
    if not sizes:
        return LearningCurve(metric, (), None, None, now, now, tuple(notes))
    means = np.array([table.mean() for table in tables])
    num_judged = tables[0].shape[1]
    draws = _bootstrap(tables, sizes, groups, seed=seed)  # (R, num_sizes)
    points = tuple(
        CurvePoint(size, float(mean), *_ends(column))
        for size, mean, column in zip(sizes, means, draws.T, strict=True)
    )
    if len(sizes) < _LEAST_POINTS:
        return LearningCurve(metric, points, None, None, now, num_judged, tuple(notes))
    numbers = np.array(sizes, dtype=np.float64)
    # Half a sample's worth keeps a size whose refits were all right from weighing without end.
    spread = draws.std(axis=0) + 0.5 / num_judged
    central = fit_power_laws(numbers, 1.0 - means[None, :], spread=spread)
    laws = fit_power_laws(numbers, 1.0 - draws, spread=spread)
    return LearningCurve(metric, points, laws, central, now, num_judged, tuple(notes))


def _bootstrap(
    tables: Sequence[Floats],
    sizes: Sequence[int],
    groups: NDArray[np.integer] | None,
    *,
    seed: int,
) -> Floats:
    """(R, num_sizes) means, as they would be with other judged samples and other draws.

    Judged samples are resampled, the same for all sizes. Draws of the training samples are too few
    for that: the variance they bring is taken to fall as one over the size, pooled over the sizes
    that were drawn more than once, and added as normal noise.
    """
    owners = None if groups is None else np.asarray(groups, dtype=np.int64)
    means = np.stack([table.mean(axis=0) for table in tables], axis=1)  # (num_judged, num_sizes)
    drawn = resamples(len(means), groups=owners, num_resamples=_NUM_RESAMPLES, seed=seed)
    values = np.concatenate(
        [counts @ means / counts.sum(axis=1, keepdims=True) for counts in drawn]
    )
    repeated = [
        (len(table) - 1, size * table.mean(axis=1).var(ddof=1))
        for size, table in zip(sizes, tables, strict=True)
        if len(table) > 1
    ]
    freedom = sum(degrees for degrees, _ in repeated)
    pooled = sum(degrees * variance for degrees, variance in repeated) / max(freedom, 1)
    spread = [
        (pooled / size / len(table)) ** 0.5 for size, table in zip(sizes, tables, strict=True)
    ]
    noise = np.random.default_rng([seed, 1]).normal(0.0, 1.0, values.shape)
    noisy: Floats = (values + noise * np.array(spread)).clip(0.0, 1.0)
    return noisy


def _judged(values: NDArray[np.floating] | NDArray[np.bool_], num_samples: int) -> Floats:
    scores = np.asarray(values, dtype=np.float64)
    if scores.shape != (num_samples,) or not bool(((scores >= 0) & (scores <= 1)).all()):
        raise DataError(
            f"Scores of shape {scores.shape} are not one number between 0 and 1 for each of the "
            f"{num_samples:,} samples. Give whether each is right, as 0 or 1."
        )
    return scores


def _ends(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _figure(points: float) -> str:
    """Points to one digit after the point below ten, none from there on or where it is 0."""
    return f"{points:.1f}".removesuffix(".0") if abs(points) < 9.95 else f"{points:.0f}"


# --- parts ------------------------------------------------------------------------------------


def _num_classes(targets: NDArray[np.generic]) -> int:
    return len(np.unique(targets)) if targets.ndim == 1 else targets.shape[1]


def _sizes(
    n: int, num_classes: int, shares: Sequence[float], *, most: int
) -> tuple[list[int], list[str]]:
    """Sizes of the parts, ascending, at most what folds leave; and what was left out."""
    least = max(_LEAST_A_CLASS * num_classes, 5)
    wanted = {share: min(round(share * n), most) for share in sorted(set(shares))}
    small = [share for share, size in wanted.items() if size < least]
    notes = []
    if small:
        names = ", ".join(f"{100 * share:g}%" for share in small)
        notes.append(
            f"{names} of the {n:,} training samples were left out: with {num_classes} classes, at "
            f"least {least} samples are needed."
        )
    return sorted({size for size in wanted.values() if size >= least}), notes


def _orders(
    targets: NDArray[np.generic],
    folds: NDArray[np.integer],
    groups: NDArray[np.integer],
    *,
    seed: int,
) -> list[Integers]:
    """For each fold the indices of the samples outside it, in an order as `_order` makes it."""
    found = []
    for i, number in enumerate(np.unique(folds)):
        rest = np.flatnonzero(folds != number)
        found.append(rest[_order(targets[rest], groups[rest], seed=[seed, i])])
    return found


def _order(
    targets: NDArray[np.generic], groups: NDArray[np.integer], *, seed: Sequence[int]
) -> Integers:
    """(n,) all indices, so that each beginning has the classes' shares and few cut groups.

    The groups of a class lie at even distances along the order, in random sequence.
    """
    rng = np.random.default_rng(seed)
    n = len(targets)
    flat = targets if targets.ndim == 1 else np.unique(targets, axis=0, return_inverse=True)[1]
    _, kinds = np.unique(flat, return_inverse=True)
    owners = np.unique(groups, return_inverse=True)[1]
    first = np.unique(owners, return_index=True)[1]
    sizes = np.bincount(owners)
    of_kind = kinds[first]  # a group goes with the class of its first sample
    place = np.empty(len(sizes))
    for kind in np.unique(of_kind):
        members = rng.permutation(np.flatnonzero(of_kind == kind))
        ends = np.cumsum(sizes[members])
        place[members] = (ends - sizes[members] * rng.random()) / ends[-1]
    ranks = np.empty(len(sizes), dtype=np.int64)
    ranks[np.argsort(place + 1e-9 * rng.random(len(sizes)), kind="stable")] = np.arange(len(sizes))
    return np.lexsort((rng.random(n), ranks[owners])).astype(np.int64)
