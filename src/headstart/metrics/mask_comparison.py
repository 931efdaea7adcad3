"""Two models of segmentation on the same pictures: how much better one is, with 95% intervals.

Plain arrays; knows no run and no task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.metrics.comparison import Comparison, Difference, verdict_of
from headstart.metrics.intervals import Floats, Integers
from headstart.metrics.mask_tallies import figures_of, paired_ends, tallies_of

_NAMES = ("miou", "pixel_accuracy", "macro_f1", "boundary_f1")


@dataclass(frozen=True, eq=False)
class MaskCounts:
    """What is counted of the answers to some pictures.

    Attributes:
        confusion: (n, K, K) pixels of each picture, rows the truth.
        boundary: (n, K, 4) of `metrics.segmentation.count_boundary`.
    """

    confusion: NDArray[np.int64]
    boundary: NDArray[np.int64]


def compare_masks(
    first: MaskCounts,
    second: MaskCounts,
    classes: Sequence[str],
    *,
    groups: Integers | None = None,
    names: tuple[str, str] = ("A", "B"),
) -> Comparison:
    """The difference of each metric, and of the IoU of each class, on the same pictures.

    Args:
        first: Of the first model, the reference.
        second: Of the second, for the same pictures in the same order.
        classes: K names.
        groups: (n,) numbers; pictures of one group are not independent of each other.
        names: What the verdict calls the models.

    Returns:
        With `n` the number of pictures that have a labelled pixel; the note tells of the others.
        Without a metric that either model has none of, such as a boundary F1 without borders. Of
        fewer than two pictures or groups nothing is shown: intervals go from -1 to 1.

    Raises:
        DataError: Shapes do not fit, or no pixel is labelled.

    Source: `mask_tallies.paired_ends`.
    """
    if first.confusion.shape != second.confusion.shape:
        raise DataError(
            f"Counts of shapes {first.confusion.shape} and {second.confusion.shape} cannot be "
            "compared: both models must answer the same pictures in the same classes."
        )
    is_labelled = first.confusion.sum(axis=(1, 2)) > 0
    num_unlabelled = int((~is_labelled).sum())
    if num_unlabelled == len(is_labelled):
        raise DataError(
            f"None of the {num_unlabelled} pictures has a labelled pixel, so that nothing can be "
            "compared. Give pictures whose masks have a class somewhere."
        )
    first, second = (
        MaskCounts(each.confusion[is_labelled], each.boundary[is_labelled])
        for each in (first, second)
    )
    groups = None if groups is None else groups[is_labelled]
    n, num_classes = len(first.confusion), len(classes)
    tallies = [tallies_of(each.confusion, each.boundary) for each in (first, second)]
    values_a, values_b = (figures_of(t.sum(axis=0, keepdims=True), num_classes)[0] for t in tallies)
    low, high = paired_ends(tallies[0], tallies[1], num_classes, groups=groups)
    differences = [
        _difference(*ends) if np.isfinite(ends[0] + ends[1]) else None
        for ends in zip(
            values_a.tolist(), values_b.tolist(), low.tolist(), high.tolist(), strict=True
        )
    ]
    metrics = {
        name: found for name, found in zip(_NAMES, differences, strict=False) if found is not None
    }
    per_class = {
        name: found
        for name, found in zip(classes, differences[len(_NAMES) :], strict=True)
        if found is not None
    }
    picture_a, picture_b = (_picture_mious(t, num_classes) for t in tallies)
    return Comparison(
        name_a=names[0],
        name_b=names[1],
        metrics=metrics,
        headline="miou",
        n=n,
        num_only_a=int((picture_a > picture_b).sum()),
        num_only_b=int((picture_b > picture_a).sum()),
        verdict=verdict_of(metrics["miou"], "miou", names=names, n=n),
        per_class=per_class,
        note=unlabelled_told(num_unlabelled),
    )


def unlabelled_told(num_pictures: int) -> str:
    """That pictures are left out for want of a labelled pixel; empty where there are none.

    Example:
        >>> unlabelled_told(1)
        '1 picture is left out: it has no labelled pixel.'
    """
    if num_pictures == 0:
        return ""
    if num_pictures == 1:
        return "1 picture is left out: it has no labelled pixel."
    return f"{num_pictures:,} pictures are left out: they have no labelled pixel."


def _picture_mious(tallies: Floats, num_classes: int) -> Floats:
    """(n,) mean IoU of each picture alone."""
    return figures_of(tallies, num_classes)[:, 0]


def _difference(value_a: float, value_b: float, low: float, high: float) -> Difference:
    value = value_b - value_a
    if not np.isfinite(low):
        return Difference(value, -1.0, 1.0, value_a, value_b)
    return Difference(value, min(low, value), max(high, value), value_a, value_b)
