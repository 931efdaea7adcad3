"""Two segmentations against each other, and what is left out where there is nothing to measure."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.contracts import IGNORE
from headstart.errors import DataError
from headstart.metrics.borders import boundary_tolerance
from headstart.metrics.mask_comparison import MaskCounts, compare_masks
from headstart.metrics.segmentation import (
    count_boundary,
    count_confusion,
    evaluate_segmentation,
    gain_in_miou,
)

CLASSES = ("soil", "forest", "water")


def drawn(seed: int, *, share_wrong: float, n: int = 12) -> tuple[NDArray, NDArray]:
    """Truth and answers (n, 24, 24), of blocks of 6 pixels."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.repeat(rng.integers(0, 3, (n, 4, 4)), 6, axis=1), 6, axis=2)
    rng = np.random.default_rng(seed + 100)
    is_wrong = rng.random(truth.shape) < share_wrong
    return truth, np.where(is_wrong, (truth + 1) % 3, truth)


def counted(truth: NDArray, answer: NDArray) -> MaskCounts:
    pairs = list(zip(truth, answer, strict=True))
    return MaskCounts(
        np.stack([count_confusion(t, a, 3) for t, a in pairs]),
        np.stack([count_boundary(t, a, 3) for t, a in pairs]),
    )


def test_differences_are_those_of_the_two_evaluations() -> None:
    first, second = (counted(*drawn(0, share_wrong=s)) for s in (0.3, 0.1))
    found = compare_masks(first, second, CLASSES, names=("old", "new"))
    sides = [
        evaluate_segmentation(c.confusion, CLASSES, boundary=c.boundary) for c in (first, second)
    ]
    assert set(found.metrics) == set(sides[0].metrics)
    for name, difference in found.metrics.items():
        before, after = (side.metrics[name].value for side in sides)
        assert (difference.value_a, difference.value_b) == pytest.approx((before, after))
        assert difference.value == pytest.approx(after - before)
        assert difference.low <= difference.value <= difference.high
    for name in CLASSES:
        ious = [side.per_class[name]["iou"] for side in sides]
        assert found.per_class[name].value == pytest.approx(ious[1] - ious[0])
    gain = gain_in_miou(first.confusion, second.confusion)
    assert (found.main.low, found.main.high) == pytest.approx((gain.low, gain.high))
    assert found.verdict.startswith("new has a higher mean IoU than old: +")
    assert (found.num_only_a, found.num_only_b) == (0, 12)


def test_the_same_answers_show_no_difference() -> None:
    counts = counted(*drawn(1, share_wrong=0.2))
    found = compare_masks(counts, counts, CLASSES)
    assert found.main.value == found.main.low == found.main.high == 0
    assert not found.main.is_shown
    assert found.verdict.startswith("No difference could be shown")


def test_one_picture_or_one_group_shows_nothing() -> None:
    first, second = (counted(*drawn(2, share_wrong=s)) for s in (0.4, 0.0))
    found = compare_masks(first, second, CLASSES, groups=np.zeros(12, dtype=np.int64))
    assert found.main.value > 0.3
    assert (found.main.low, found.main.high) == (-1.0, 1.0)


def test_a_class_that_the_truth_lacks_is_not_compared() -> None:
    truth, answer = drawn(3, share_wrong=0.2)
    counts = counted(truth % 2, answer % 2)
    assert set(compare_masks(counts, counts, CLASSES).per_class) == {"soil", "forest"}


def test_pictures_without_a_labelled_pixel_do_not_count_and_that_is_said() -> None:
    truth, before = drawn(5, share_wrong=0.3)
    _, after = drawn(5, share_wrong=0.1)
    empty = np.full((3, *truth.shape[1:]), IGNORE)
    more = np.concatenate([truth, empty])
    sides = [np.concatenate([answer, truth[:3]]) for answer in (before, after)]
    groups = np.arange(15) // 2
    for of_all, of_labelled in ((None, None), (groups, groups[:12])):
        found, alone = (
            compare_masks(*(counted(t, a) for a in answers), CLASSES, groups=own)
            for t, answers, own in ((more, sides, of_all), (truth, (before, after), of_labelled))
        )
        assert found.n == alone.n == 12
        assert found.note == "3 pictures are left out: they have no labelled pixel."
        assert alone.note == ""
        assert (found.main, found.verdict) == (alone.main, alone.verdict)
    pair = [counted(more, answer).confusion for answer in sides]
    gain = gain_in_miou(*pair, groups=groups)
    assert gain == gain_in_miou(*(counts[:12] for counts in pair), groups=groups[:12])
    assert gain.n == 12


def test_pictures_that_all_lack_a_labelled_pixel_are_refused() -> None:
    nothing = counted(np.full((2, 24, 24), IGNORE), np.zeros((2, 24, 24), dtype=np.int64))
    with pytest.raises(DataError, match="None of the 2 pictures has a labelled pixel"):
        compare_masks(nothing, nothing, CLASSES)


def test_counts_of_other_pictures_are_refused() -> None:
    first, second = (counted(*drawn(4, share_wrong=0.1, n=n)) for n in (5, 6))
    with pytest.raises(DataError, match="the same pictures in the same classes"):
        compare_masks(first, second, CLASSES)


def test_the_tolerance_is_three_quarters_of_a_percent_of_the_diagonal() -> None:
    assert boundary_tolerance(512, 512) == round(0.0075 * np.hypot(512, 512)) == 5
    assert boundary_tolerance(8, 8) == 1


def test_ignored_pixels_have_no_border_and_hide_none() -> None:
    truth = np.zeros((20, 20), dtype=np.int64)
    truth[:, 10:] = 1
    answer = np.roll(truth, 4, axis=1)
    answer[:, :4] = 0
    seen = count_boundary(truth, answer, 2, tolerance_pixels=1)
    assert (seen[:, 1] == 0).all()
    assert (seen[:, 0] == 20).all()
    truth[:, 8:16] = IGNORE  # both borders lie there
    assert count_boundary(truth, answer, 2, tolerance_pixels=1).sum() == 0


def test_without_a_border_in_the_truth_there_is_no_boundary_f1() -> None:
    truth = np.zeros((4, 16, 16), dtype=np.int64)
    answer = truth.copy()
    answer[:, :3] = 1
    counts = counted(truth, answer)
    found = evaluate_segmentation(counts.confusion, CLASSES, boundary=counts.boundary)
    assert "boundary_f1" not in found.metrics
    assert "boundary_f1" not in compare_masks(counts, counts, CLASSES).metrics
