"""Metrics of segmentation from counts of pixels, each with a 95% interval by bootstrap over images.

Pixels of one picture are alike, so they are no independent evidence: intervals draw whole pictures,
or groups of them. Classes that the truth does not have count in no mean over classes. Plain numpy;
knows no task and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contracts import IGNORE, Evaluation, Measure
from headstart.errors import DataError
from headstart.metrics.borders import at_border, boundary_tolerance, near
from headstart.metrics.by_class import ratio
from headstart.metrics.intervals import Floats, Integers, resamples, wilson
from headstart.metrics.mask_tallies import (
    NUM_BOUNDARY_COUNTS,
    NUM_RESAMPLES,
    expanded_level,
    figures_of,
    paired_ends,
    tallies_of,
)


def count_confusion(
    truth: NDArray[Any], answer: NDArray[Any], num_classes: int
) -> NDArray[np.int64]:
    """How many pixels of each class were called what: (K, K), rows the truth.

    Args:
        truth: Class indices of any shape, IGNORE where nothing is known.
        answer: Class indices of the same shape.
        num_classes: K.

    Raises:
        DataError: The shapes differ, or a class index is out of range.

    Example:
        >>> count_confusion(np.array([[0, 1], [1, -1]]), np.array([[0, 1], [0, 0]]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    if truth.shape != answer.shape:
        raise DataError(
            f"A mask of {truth.shape} pixels cannot be compared with an answer of {answer.shape}. "
            "Both must be of the size of the picture."
        )
    is_known = truth != IGNORE
    rows, columns = truth[is_known].astype(np.int64), answer[is_known].astype(np.int64)
    for what, found in (("mask", rows), ("answer", columns)):
        if found.size and (found.min() < 0 or found.max() >= num_classes):
            raise DataError(
                f"The {what} has class indices from {found.min()} to {found.max()}, but there are "
                f"{num_classes} classes (0 to {num_classes - 1}). Check that the data has the "
                "classes of the model."
            )
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def count_boundary(
    truth: NDArray[Any],
    answer: NDArray[Any],
    num_classes: int,
    *,
    tolerance_pixels: int | None = None,
) -> NDArray[np.int64]:
    """What is needed of a picture for the boundary F1: (K, 4) counts of pixels.

    They are: at the boundary of the class in the answer, those of them near a boundary of the
    truth, at the boundary in the truth, those of them near a boundary of the answer. A pixel is at
    the boundary if one of its four neighbours is of another class.

    Args:
        truth: (h, w) class indices, IGNORE where nothing is known; such pixels have no boundary.
        answer: (h, w) class indices.
        num_classes: K.
        tolerance_pixels: Near is what is at most so many rows and columns away; None takes
            `boundary_tolerance`.

    Source: Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic
    segmentation?" (BMVC 2013), there with a round neighbourhood.
    """
    is_known = truth != IGNORE
    if tolerance_pixels is None:
        tolerance_pixels = boundary_tolerance(*truth.shape)
    counts = np.zeros((num_classes, NUM_BOUNDARY_COUNTS), dtype=np.int64)
    occurring = np.union1d(np.unique(truth[is_known]), np.unique(answer[is_known]))
    if len(occurring) < 2:
        return counts  # one class alone has no border
    at_truth, at_answer = at_border(truth, is_known), at_border(answer, is_known)
    for k in occurring:
        of_answer, of_truth = at_answer & (answer == k), at_truth & (truth == k)
        counts[k] = (
            of_answer.sum(),
            (of_answer & near(of_truth, tolerance_pixels)).sum(),
            of_truth.sum(),
            (of_truth & near(of_answer, tolerance_pixels)).sum(),
        )
    return counts


def evaluate_segmentation(
    counts: NDArray[np.int64],
    classes: Sequence[str],
    *,
    groups: Integers | None = None,
    boundary: NDArray[np.int64] | None = None,
) -> Evaluation:
    """`miou`, `pixel_accuracy`, `macro_f1` and, with boundaries, `boundary_f1`.

    There is no `boundary_f1` where no picture of the truth has a border between two classes.

    Counts are summed over all pictures first, as is the custom. Intervals are percentiles of the
    bootstrap over pictures or groups, expanded for few of them; a class that a resample lacks is
    left out of its means.

    Args:
        counts: (n, K, K) pixels of each picture, rows the truth.
        classes: K names.
        groups: (n,) numbers; pictures of one group are not independent of each other.
        boundary: (n, K, 4) of `count_boundary`.

    Returns:
        With `n` the number of pictures that have a labelled pixel. Of each class it tells `iou`,
        `precision`, `recall`, `f1`, `n` (pixels of the truth), and the ends `iou_low`, `iou_high`.

    Raises:
        DataError: No pixel is labelled, or shapes do not fit.

    Source: the IoU (Jaccard index) summed over pictures: Everingham et al., "The PASCAL Visual
    Object Classes Challenge: A Retrospective" (IJCV 2015). The bootstrap: Efron and Tibshirani
    (1993), section 13.3, expanded as in Hesterberg (see `expanded_level`).
    """
    _check(counts, len(classes), groups=groups, boundary=boundary)
    has_pixels = counts.sum(axis=(1, 2)) > 0
    counts = counts[has_pixels]
    groups = None if groups is None else groups[has_pixels]
    boundary = None if boundary is None else boundary[has_pixels]
    n, num_classes = len(counts), len(classes)
    tallies = tallies_of(counts, boundary)
    values = figures_of(tallies.sum(axis=0, keepdims=True), num_classes)[0]
    low, high = _interval(values, tallies, num_classes, groups=groups)
    names = ["miou", "pixel_accuracy", "macro_f1"] + ([] if boundary is None else ["boundary_f1"])
    confusion = counts.sum(axis=0)
    hits, predicted = np.diag(confusion).astype(float), confusion.sum(axis=0).astype(float)
    true = confusion.sum(axis=1).astype(float)
    rates = {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, true),
        "f1": ratio(2 * hits, predicted + true),
    }
    iou = slice(len(names), len(names) + num_classes)
    return Evaluation(
        n=n,
        metrics={
            name: Measure(float(values[i]), float(low[i]), float(high[i]), n)
            for i, name in enumerate(names)
            if name != "boundary_f1" or np.isfinite(values[i])
        },
        per_class={
            name: {
                "iou": float(np.nan_to_num(values[iou][k])),
                "iou_low": float(low[iou][k]),
                "iou_high": float(high[iou][k]),
                **{key: float(rate[k]) for key, rate in rates.items()},
                "n": int(true[k]),
            }
            for k, name in enumerate(classes)
        },
        confusion={"classes": list(classes), "counts": confusion.tolist()},
    )


def gain_in_miou(
    before: NDArray[np.int64], after: NDArray[np.int64], *, groups: Integers | None = None
) -> Measure:
    """How much higher the mean IoU of a second model is on the same pictures.

    Args:
        before: (n, K, K) pixels of each picture, rows the truth.
        after: The same of the second model.
        groups: (n,) numbers; pictures of one group are not independent of each other.

    Returns:
        With `n` the number of pictures that have a labelled pixel; without ends where there are
        fewer than two of them, or of groups.

    Source: see `mask_tallies.paired_ends`.
    """
    is_labelled = before.sum(axis=(1, 2)) > 0
    before, after = before[is_labelled], after[is_labelled]
    groups = None if groups is None else groups[is_labelled]
    n, num_classes = len(before), before.shape[1]
    both = [tallies_of(counts, None) for counts in (before, after)]
    first, second = (figures_of(t.sum(axis=0, keepdims=True), num_classes)[0, 0] for t in both)
    low, high = (ends[0] for ends in paired_ends(both[0], both[1], num_classes, groups=groups))
    if not np.isfinite(low):
        return Measure(float(second - first), n=n)
    return Measure(float(second - first), float(low), float(high), n)


def point_metrics(confusion: NDArray[np.int64]) -> dict[str, float]:
    """`miou`, `pixel_accuracy` and `macro_f1` of counts (K, K) without intervals.

    Raises:
        DataError: No pixel is labelled.
    """
    _check(confusion[None], len(confusion), groups=None, boundary=None)
    values = figures_of(tallies_of(confusion[None], None), len(confusion))[0]
    names = ("miou", "pixel_accuracy", "macro_f1")
    return {name: float(value) for name, value in zip(names, values[:3], strict=True)}


def image_scores(counts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Of each picture alone, from counts (n, K, K): (n,) mIoU and (n,) pixel accuracy.

    They are not a number (NaN) for pictures without a labelled pixel.
    """
    values = figures_of(tallies_of(counts, None), counts.shape[1])
    return values[:, 0], values[:, 1]


def _interval(
    values: Floats, tallies: Floats, num_classes: int, *, groups: Integers | None
) -> tuple[Floats, Floats]:
    """(m,) lower and (m,) upper ends around values (m,).

    What is the same in each resample is given Wilson's interval by the number of pictures: that
    nothing went wrong in five of them does not mean that nothing will.
    """
    n = len(tallies)
    num_units = n if groups is None else len(np.unique(groups))
    low, high = np.zeros(len(values)), np.ones(len(values))
    if num_units < 2:
        return low, high
    drawn = resamples(n, groups=groups, num_resamples=NUM_RESAMPLES, seed=0)
    rows = np.concatenate([figures_of(weights @ tallies, num_classes) for weights in drawn])
    tail = (1 - expanded_level(num_units)) / 2
    for i, value in enumerate(values):
        column = rows[:, i][np.isfinite(rows[:, i])]
        if not np.isfinite(value) or not len(column):
            continue
        if np.ptp(column) < 1e-12:
            low[i], high[i] = wilson(float(value) * num_units, num_units)
            continue
        ends = np.quantile(column, [tail, 1 - tail])
        low[i], high[i] = min(float(value), ends[0]), max(float(value), ends[1])
    return low, high


def _check(
    counts: NDArray[Any],
    num_classes: int,
    *,
    groups: Integers | None,
    boundary: NDArray[Any] | None,
) -> None:
    n = len(counts)
    if counts.shape != (n, num_classes, num_classes):
        raise DataError(
            f"Counts of shape {counts.shape} cannot be measured: they must be (pictures, "
            f"{num_classes}, {num_classes}), as there are {num_classes} classes. Check that the "
            "data has the classes of the model."
        )
    if groups is not None and len(groups) != n:
        raise DataError(f"{n} pictures need as many groups, not {len(groups)}. Give one a picture.")
    if boundary is not None and boundary.shape != (n, num_classes, NUM_BOUNDARY_COUNTS):
        raise DataError(
            f"Boundaries of shape {boundary.shape} do not fit {n} pictures of {num_classes} "
            f"classes: ({n}, {num_classes}, {NUM_BOUNDARY_COUNTS}) is needed. Count them for the "
            "same pictures."
        )
    if not counts.any():
        raise DataError(
            f"None of the {n} pictures has a labelled pixel, so nothing can be measured. Give "
            "pictures whose masks have a class somewhere (values that are ignored do not count)."
        )
