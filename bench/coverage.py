"""How often 95% intervals of accuracy and macro F1 hold the true value, by simulation.

A world is a confusion matrix: how often classes are, how often each is taken for which. Its true
accuracy and macro F1 are known. Test sets of n samples are drawn from it, and each gives intervals.
In worlds with groups, samples come in threes of one class whose answers go together (a latent
normal with correlation 0.5), as pictures of one patient do. Accuracies are drawn from bands, anew
for every test set: with one fixed accuracy, coverage jumps up and down with n, as that of every
interval of a binomial proportion does (Brown, Cai and DasGupta, Statistical Science 2001). Run:

    python bench/coverage.py

Target: 93 to 97% for each n, over all worlds. The columns in brackets are what the plain
percentile bootstrap reaches on the first test sets of each world, to compare.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from measuring import arguments, print_table

from headstart.metrics import by_class
from headstart.metrics.classification import ExclusiveAnswers
from headstart.metrics.comparison import compare_predictions
from headstart.metrics.intervals import bootstrap, ratio_interval

SIZES = (50, 200, 1000)
BANDS = ((0.55, 0.7), (0.7, 0.85), (0.85, 0.95), (0.93, 0.98))
SHARES = {
    "2 classes": (0.5, 0.5),
    "2, 80:20": (0.8, 0.2),
    "5 classes": (0.2,) * 5,
    "5, uneven": (0.4, 0.25, 0.15, 0.12, 0.08),
}
GROUP_SIZE = 3
CORRELATION = 0.5
_erf = np.vectorize(math.erf)


@dataclass(frozen=True)
class World:
    """How often classes are (K,), and how often each is taken for which (K, K)."""

    shares: np.ndarray
    answers: np.ndarray

    @property
    def accuracy(self) -> float:
        return float(self.shares @ np.diag(self.answers))

    @property
    def macro_f1(self) -> float:
        joint = self.shares[:, None] * self.answers
        return float((2 * np.diag(joint) / (joint.sum(axis=0) + joint.sum(axis=1))).mean())


def draw_world(shares: tuple[float, ...], band: tuple[float, float], rng) -> World:
    """Classes are confused to different degrees, and the average accuracy lies in the band."""
    num = len(shares)
    errors = 1 - rng.uniform(*band)
    ease = rng.uniform(0.5, 1.5, num)
    wrong = np.clip(errors * ease / (np.array(shares) @ ease), 0, 0.95)
    spread = rng.uniform(0.5, 1.5, (num, num)) * (1 - np.eye(num))
    answers = wrong[:, None] * spread / spread.sum(axis=1, keepdims=True)
    return World(np.array(shares), answers + np.diag(1 - wrong))


def draw_samples(world: World, n: int, rng, *, is_grouped: bool):
    """Truth (n,), answers (n,) and units (n,) of a test set."""
    size = GROUP_SIZE if is_grouped else 1
    units = np.arange(n) // size
    num_units = int(units[-1]) + 1
    truth = rng.choice(len(world.shares), p=world.shares, size=num_units)[units]
    latent = rng.normal(size=n)
    if is_grouped:
        shared = rng.normal(size=num_units)[units]
        latent = CORRELATION**0.5 * shared + (1 - CORRELATION) ** 0.5 * latent
    uniform = 0.5 * (1 + _erf(latent / 2**0.5))
    predicted, right = truth.copy(), np.diag(world.answers)
    is_wrong = uniform > right[truth]
    others = (world.answers - np.diag(right))[truth[is_wrong]].cumsum(axis=1)
    drawn = rng.random(len(others)) * others[:, -1]
    predicted[is_wrong] = (drawn[:, None] > others).sum(axis=1)
    return truth, predicted, units


def ours(truth, predicted, units, *, num_classes: int) -> Iterator[tuple[float, float]]:
    """The intervals of accuracy and macro F1, as `evaluate_single_label` makes them."""
    is_right = (truth == predicted).astype(float)
    yield ratio_interval(np.bincount(units, is_right), np.bincount(units).astype(float))
    cells = by_class.exclusive_cells(truth, predicted, num_classes=num_classes, units=units)
    is_there = cells.total(cells.true) > 0
    weights = is_there / is_there.sum()
    yield by_class.mean_interval(cells, [(by_class.f1(cells), weights)])


def percentile(truth, predicted, units, *, num_classes: int) -> Iterator[tuple[float, float]]:
    """The same by the plain percentile bootstrap over units."""
    sums = ExclusiveAnswers(np.eye(num_classes)[predicted], truth)

    def values(weights):
        found = sums.values(weights)
        return np.stack([found["accuracy"], found["macro_f1"]], axis=1)

    groups = units if units[-1] + 1 < len(units) else None
    low, high = bootstrap(values, len(truth), groups=groups)
    yield from zip(low, high, strict=True)


def coverage(method, shares, band, n: int, *, repeats: int, is_grouped: bool) -> np.ndarray:
    """How many of the intervals hold the true accuracy and macro F1: (2,) in percent."""
    rng = np.random.default_rng([n, len(shares), int(1000 * band[0]), is_grouped])
    held = np.zeros(2)
    for _ in range(repeats):
        world = draw_world(shares, band, rng)
        drawn = draw_samples(world, n, rng, is_grouped=is_grouped)
        ends = method(*drawn, num_classes=len(shares))
        true = (world.accuracy, world.macro_f1)
        held += [low <= value <= high for value, (low, high) in zip(true, ends, strict=True)]
    return 100 * held / repeats


def paired(shares, n: int, *, repeats: int, is_grouped: bool) -> np.ndarray:
    """How many of the intervals of `compare_predictions` hold the true differences, in percent.

    The second model answers like the first but for a third of the samples, which it answers as
    one of another world would.
    """
    rng = np.random.default_rng([n, len(shares), is_grouped])
    held = np.zeros(2)
    eye = np.eye(len(shares))
    for _ in range(repeats):
        first, other = (draw_world(shares, (0.7, 0.97), rng) for _ in range(2))
        second = World(first.shares, (2 * first.answers + other.answers) / 3)
        truth, answers_a, units = draw_samples(first, n, rng, is_grouped=is_grouped)
        is_other = rng.random(units[-1] + 1)[units] < 1 / 3
        drawn = (rng.random(n)[:, None] > other.answers.cumsum(axis=1)[truth]).sum(axis=1)
        answers_b = np.where(is_other, np.minimum(drawn, len(shares) - 1), answers_a)
        found = compare_predictions(
            eye[answers_a], eye[answers_b], truth, groups=units if is_grouped else None
        ).metrics
        true = (second.accuracy - first.accuracy, second.macro_f1 - first.macro_f1)
        ends = (found["accuracy"], found["macro_f1"])
        held += [end.low <= value <= end.high for value, end in zip(true, ends, strict=True)]
    return 100 * held / repeats


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=400, help="test sets of each world")
    parser.add_argument(
        "--percentile", type=int, default=40, help="test sets for the percentile bootstrap"
    )
    parser.add_argument("--paired", type=int, default=150, help="pairs of models of each world")
    options = parser.parse_args()
    rows, started = [], time.perf_counter()
    for is_grouped in (False, True):
        for n in SIZES:
            found = []
            for name, shares in SHARES.items():
                pairs = []
                for band in BANDS:
                    args = (shares, band, n)
                    pairs.append(
                        (
                            coverage(ours, *args, repeats=options.repeats, is_grouped=is_grouped),
                            coverage(
                                percentile,
                                *args,
                                repeats=options.percentile if n < 1000 else 1,
                                is_grouped=is_grouped,
                            ),
                        )
                    )
                found += pairs
                rows.append(row(name, n, pairs, is_grouped=is_grouped))
            rows.append(row("all", n, found, is_grouped=is_grouped))
    columns = ["world", "n", "accuracy", "least", "most", "(boot)", "macro F1", "least", "most"]
    print_table([*columns, "(boot)"], rows)
    rows = []
    for is_grouped in (False, True):
        for n in SIZES[:2]:
            for name, shares in SHARES.items():
                held = paired(shares, n, repeats=options.paired, is_grouped=is_grouped)
                label = name + (", threes" if is_grouped else "")
                rows.append([label, n, *(f"{value:.1f}" for value in held)])
    print("\nDifferences of two models on the same samples")
    print_table(["world", "n", "accuracy", "macro F1"], rows)
    print(f"{time.perf_counter() - started:.0f} s")


def row(name: str, n: int, pairs, *, is_grouped: bool) -> list[object]:
    cells: list[object] = [name + (", threes" if is_grouped else ""), n]
    own, theirs = (np.array(side) for side in zip(*pairs, strict=True))
    for k in range(2):
        cells += [f"{v:.1f}" for v in (own[:, k].mean(), own[:, k].min(), own[:, k].max())]
        cells.append(f"({theirs[:, k].mean():.0f})" if n < 1000 else "")
    return cells


if __name__ == "__main__":
    main()
