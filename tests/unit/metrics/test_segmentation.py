"""Metrics of segmentation against other implementations and against what must be so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import confusion_matrix
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_jaccard_index

from headstart.contracts import IGNORE
from headstart.errors import DataError
from headstart.metrics.segmentation import (
    count_boundary,
    count_confusion,
    evaluate_segmentation,
    image_scores,
    point_metrics,
)

CLASSES = ("soil", "forest", "water")


def masks(seed: int = 0, *, n: int = 12, num_classes: int = 3) -> tuple[NDArray, NDArray]:
    """Truth and answers (n, 16, 16): blobs, of which a fifth of the pixels is answered wrongly."""
    rng = np.random.default_rng(seed)
    truth = ndimage.zoom(rng.integers(0, num_classes, (n, 4, 4)), (1, 4, 4), order=0)
    is_wrong = rng.random(truth.shape) < rng.uniform(0.05, 0.35, (n, 1, 1))
    answer = np.where(is_wrong, rng.integers(0, num_classes, truth.shape), truth)
    truth[:, :2] = IGNORE
    return truth, answer


def counts_of(truth: NDArray, answer: NDArray, num_classes: int = 3) -> NDArray:
    return np.stack(
        [count_confusion(t, a, num_classes) for t, a in zip(truth, answer, strict=True)]
    )


def test_counts_are_those_of_scikit_learn_without_ignored_pixels() -> None:
    truth, answer = masks()
    known = truth != IGNORE
    expected = confusion_matrix(truth[known], answer[known], labels=[0, 1, 2])
    assert (counts_of(truth, answer).sum(axis=0) == expected).all()


def test_figures_are_those_of_torchmetrics() -> None:
    truth, answer = masks()
    found = evaluate_segmentation(counts_of(truth, answer), CLASSES)
    said, true = torch.from_numpy(answer), torch.from_numpy(truth)
    for metric, measure in (("miou", multiclass_jaccard_index), ("macro_f1", multiclass_f1_score)):
        expected = float(measure(said, true, 3, average="macro", ignore_index=IGNORE))
        assert float(found.metrics[metric]) == pytest.approx(expected, rel=1e-5)
    each = multiclass_jaccard_index(said, true, 3, average="none", ignore_index=IGNORE)
    assert [found.per_class[c]["iou"] for c in CLASSES] == pytest.approx(each.tolist(), rel=1e-5)
    known = truth != IGNORE
    assert float(found.metrics["pixel_accuracy"]) == pytest.approx((truth == answer)[known].mean())
    assert sum(found.per_class[c]["n"] for c in CLASSES) == known.sum()
    point = point_metrics(counts_of(truth, answer).sum(axis=0))
    assert point == {name: found.metrics[name].value for name in point}


def test_every_figure_lies_in_its_interval() -> None:
    truth, answer = masks(1)
    found = evaluate_segmentation(counts_of(truth, answer), CLASSES)
    for measure in found.metrics.values():
        assert measure.low is not None
        assert measure.high is not None
        assert 0 <= measure.low < measure.value < measure.high <= 1
        assert measure.n == 12
    for row in found.per_class.values():
        assert 0 <= row["iou_low"] < row["iou"] < row["iou_high"] <= 1


def test_a_perfect_answer_is_perfect_but_not_certain() -> None:
    truth, _ = masks()
    found = evaluate_segmentation(counts_of(truth, truth.clip(min=0)), CLASSES)
    miou = found.metrics["miou"]
    assert (miou.value, miou.high) == (1.0, 1.0)
    assert miou.low == pytest.approx(12 / (12 + 1.96**2), rel=1e-3)  # Wilson's for 12 of 12


def test_fewer_pictures_and_pictures_in_groups_widen_the_interval() -> None:
    truth, answer = masks(2, n=40)
    counts = counts_of(truth, answer)

    def width(rows: NDArray, groups: NDArray | None = None) -> float:
        measure = evaluate_segmentation(rows, CLASSES, groups=groups).metrics["miou"]
        assert measure.low is not None
        assert measure.high is not None
        return measure.high - measure.low

    assert width(counts) < width(counts[:10]) < width(counts[:3])
    repeated = np.repeat(counts[:10], 4, axis=0)
    assert width(repeated) < width(counts[:10])  # 40 pictures, as far as is known
    assert width(repeated, np.repeat(np.arange(10), 4)) == pytest.approx(width(counts[:10]))


def test_one_picture_tells_nothing_of_others() -> None:
    truth, answer = masks()
    found = evaluate_segmentation(counts_of(truth[:1], answer[:1]), CLASSES)
    assert (found.metrics["miou"].low, found.metrics["miou"].high) == (0.0, 1.0)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    population, rng = counts_of(*masks(3, n=3000)), np.random.default_rng(0)
    truth = point_metrics(population.sum(axis=0))["miou"]
    hits = 0
    for _ in range(60):
        drawn = population[rng.integers(len(population), size=12)]
        miou = evaluate_segmentation(drawn, CLASSES).metrics["miou"]
        assert miou.low is not None
        assert miou.high is not None
        hits += miou.low <= truth <= miou.high
    assert hits >= 54  # 57 are expected; at 95% fewer than 54 come in 3 of 100 such tests


def test_a_class_that_the_truth_lacks_counts_in_no_mean() -> None:
    truth, answer = masks(num_classes=2)
    answer[:, 5] = 2
    found = evaluate_segmentation(counts_of(truth, answer), CLASSES)
    two = [found.per_class[c]["iou"] for c in CLASSES[:2]]
    assert float(found.metrics["miou"]) == pytest.approx(np.mean(two))
    row = found.per_class["water"]
    assert (row["iou"], row["n"], row["iou_low"], row["iou_high"]) == (0.0, 0, 0.0, 1.0)


def test_a_class_in_a_single_picture_is_left_out_where_a_resample_lacks_it() -> None:
    truth, answer = masks(num_classes=2)
    truth[3, 8:], answer[3, 8:] = 2, 2
    found = evaluate_segmentation(counts_of(truth, answer), CLASSES)
    assert np.isfinite([m.low for m in found.metrics.values()]).all()
    assert found.per_class["water"]["iou"] > 0.5
    low = found.metrics["miou"].low
    assert low is not None
    assert low > 0.5  # a resample without it has no IoU of 0 in its mean


def test_pictures_without_a_labelled_pixel_do_not_count() -> None:
    truth, answer = masks()
    blank = np.full_like(truth[:2], IGNORE)
    groups = np.arange(14) // 2
    with_blank = counts_of(np.concatenate([truth, blank]), np.concatenate([answer, answer[:2]]))
    found = evaluate_segmentation(with_blank, CLASSES, groups=groups)
    expected = evaluate_segmentation(counts_of(truth, answer), CLASSES, groups=groups[:12])
    assert found == expected
    assert np.isnan(image_scores(with_blank)[0][12:]).all()


def test_scores_of_pictures_are_those_of_each_alone() -> None:
    counts = counts_of(*masks())
    miou, accuracy = image_scores(counts)
    for i in (0, 7):
        alone = point_metrics(counts[i])
        assert (miou[i], accuracy[i]) == (alone["miou"], alone["pixel_accuracy"])


def test_a_boundary_a_little_off_is_found_and_one_far_off_is_not() -> None:
    truth = np.zeros((40, 60), dtype=int)
    truth[:, 30:] = 1
    for shift, expected in ((0, 1.0), (2, 1.0), (3, 0.0)):
        answer = np.roll(truth, shift, axis=1)
        answer[:, :5] = 0
        boundary = count_boundary(truth, answer, 2, tolerance_pixels=2)
        assert boundary.shape == (2, 4)
        assert (boundary[:, [0, 2]] == 40).all()
        counts = count_confusion(truth, answer, 2)[None]
        found = evaluate_segmentation(counts, ("a", "b"), boundary=boundary[None])
        assert float(found.metrics["boundary_f1"]) == expected


def test_near_is_what_a_dilation_by_a_square_reaches() -> None:
    truth, answer = masks(4)
    counts = count_boundary(truth[0], answer[0], 3, tolerance_pixels=2)
    known, cross = truth[0] != IGNORE, ndimage.generate_binary_structure(2, 1)
    for k in range(3):

        def edge(of: NDArray) -> NDArray:
            return (of == k) & known & ndimage.binary_dilation((of != k) & known, cross)  # noqa: B023

        of_answer, of_truth = edge(answer[0]), edge(truth[0])
        near = [ndimage.binary_dilation(e, np.ones((5, 5))) for e in (of_truth, of_answer)]
        expected = [e.sum() for e in (of_answer, of_answer & near[0], of_truth, of_truth & near[1])]
        assert counts[k].tolist() == expected


def test_what_cannot_be_counted_says_why() -> None:
    flat = np.zeros((4, 4), dtype=int)
    with pytest.raises(DataError, match=r"\(4, 4\).*\(4, 5\)"):
        count_confusion(flat, np.zeros((4, 5), dtype=int), 2)
    with pytest.raises(DataError, match="mask has class indices from 0 to 2"):
        count_confusion(np.array([0, 2]), np.array([0, 0]), 2)
    with pytest.raises(DataError, match="answer has class indices from -1"):
        count_confusion(np.array([0, 1]), np.array([0, -1]), 2)
    with pytest.raises(DataError, match="None of the 3 pictures has a labelled pixel"):
        evaluate_segmentation(np.zeros((3, 2, 2), dtype=np.int64), ("a", "b"))
    with pytest.raises(DataError, match="there are 3 classes"):
        evaluate_segmentation(np.ones((3, 2, 2), dtype=np.int64), CLASSES)
    ones = np.ones((3, 2, 2), dtype=np.int64)
    with pytest.raises(DataError, match="as many groups, not 2"):
        evaluate_segmentation(ones, ("a", "b"), groups=np.arange(2))
    with pytest.raises(DataError, match=r"\(3, 2, 4\) is needed"):
        evaluate_segmentation(ones, ("a", "b"), boundary=np.ones((3, 4), dtype=np.int64))
