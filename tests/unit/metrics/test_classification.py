"""Metrics against scikit-learn and torchmetrics, and where those leave off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torchmetrics.functional.classification import multiclass_calibration_error

from headstart.errors import DataError
from headstart.metrics.classification import (
    evaluate_multilabel,
    evaluate_single_label,
    point_metrics,
)

NAMES = ["ant", "bee", "cat", "dog"]


def exclusive(n: int, *, num_classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(num_classes, size=n)
    scores = rng.normal(size=(n, num_classes))
    scores[np.arange(n), truth] += 1.5
    probabilities = np.exp(scores)
    return probabilities / probabilities.sum(axis=1, keepdims=True), truth


def independent(n: int, *, num_classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, num_classes)) < 0.3).astype(np.int64)
    return 1 / (1 + np.exp(1 - 3 * truth - rng.normal(size=truth.shape))), truth


def test_single_label_metrics_agree_with_scikit_learn() -> None:
    probabilities, truth = exclusive(300)
    predicted = probabilities.argmax(axis=1)
    got = {
        k: m.value for k, m in evaluate_single_label(probabilities, truth, NAMES).metrics.items()
    }
    assert got["accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert got["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(truth, predicted)
    )
    assert got["macro_f1"] == pytest.approx(reference.f1_score(truth, predicted, average="macro"))
    assert got["log_loss"] == pytest.approx(reference.log_loss(truth, probabilities))


def test_calibration_error_agrees_with_torchmetrics() -> None:
    probabilities, truth = exclusive(500)
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(truth), num_classes=4, n_bins=15
    )
    got = evaluate_single_label(probabilities, truth, NAMES).metrics["ece"].value
    assert got == pytest.approx(float(expected), abs=1e-6)


def test_per_class_and_confusion_agree_with_scikit_learn() -> None:
    probabilities, truth = exclusive(200)
    predicted = probabilities.argmax(axis=1)
    got = evaluate_single_label(probabilities, truth, NAMES)
    rows = reference.precision_recall_fscore_support(truth, predicted)
    for k, name in enumerate(NAMES):
        keys = ("precision", "recall", "f1", "n")
        assert [got.per_class[name][key] for key in keys] == pytest.approx([r[k] for r in rows])
    assert got.confusion is not None
    assert got.confusion["classes"] == NAMES
    assert got.confusion["counts"] == reference.confusion_matrix(truth, predicted).tolist()


def test_multilabel_metrics_agree_with_scikit_learn() -> None:
    probabilities, truth = independent(250)
    predicted = probabilities >= 0.5
    got = {k: m.value for k, m in evaluate_multilabel(probabilities, truth, NAMES).metrics.items()}
    assert got["accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert got["micro_f1"] == pytest.approx(reference.f1_score(truth, predicted, average="micro"))
    assert got["macro_f1"] == pytest.approx(reference.f1_score(truth, predicted, average="macro"))
    assert got["map"] == pytest.approx(reference.average_precision_score(truth, probabilities))
    columns = [
        reference.log_loss(truth[:, k], probabilities[:, k], labels=[0, 1]) for k in range(4)
    ]
    assert got["log_loss"] == pytest.approx(np.mean(columns))
    balanced = [reference.balanced_accuracy_score(truth[:, k], predicted[:, k]) for k in range(4)]
    assert got["balanced_accuracy"] == pytest.approx(np.mean(balanced))


def test_average_precision_with_equal_scores_agrees_with_scikit_learn() -> None:
    probabilities, truth = independent(120)
    rounded = probabilities.round(1)
    got = evaluate_multilabel(rounded, truth, NAMES).metrics["map"].value
    assert got == pytest.approx(reference.average_precision_score(truth, rounded))


def test_the_interval_of_map_is_near_its_bootstrap() -> None:
    probabilities, truth = independent(300)
    measure = evaluate_multilabel(probabilities, truth, NAMES).metrics["map"]
    rng = np.random.default_rng(0)
    draws = [rng.integers(300, size=300) for _ in range(300)]
    values = [reference.average_precision_score(truth[d], probabilities[d]) for d in draws]
    low, high = np.quantile(values, [0.025, 0.975])
    assert measure.low == pytest.approx(low, abs=0.015)
    assert measure.high == pytest.approx(high, abs=0.015)


def test_point_metrics_are_those_of_the_evaluation() -> None:
    for evaluate, make in ((evaluate_single_label, exclusive), (evaluate_multilabel, independent)):
        probabilities, truth = make(80)
        full = evaluate(probabilities, truth, NAMES).metrics
        point = point_metrics(probabilities, truth.astype(np.float32) if truth.ndim == 2 else truth)
        assert point.pop("loss") == full["log_loss"].value
        assert point == {name: full[name].value for name in point}
        assert set(point) == {"accuracy", "balanced_accuracy", "macro_f1"}


@pytest.mark.parametrize("has_groups", [False, True])
def test_every_interval_holds_its_value(has_groups: bool) -> None:
    groups = np.arange(60) // 3 if has_groups else None
    for evaluate, make in ((evaluate_single_label, exclusive), (evaluate_multilabel, independent)):
        probabilities, truth = make(60)
        for measure in evaluate(probabilities, truth, NAMES, groups=groups).metrics.values():
            assert measure.low is not None
            assert measure.high is not None
            assert measure.low <= measure.value <= measure.high
            assert measure.low < measure.high
            assert measure.n == 60


def test_the_interval_of_accuracy_holds_the_truth_about_as_often_as_said() -> None:
    held = 0
    for seed in range(100):
        truth = (np.random.default_rng(seed).random(40) < 0.1).astype(np.int64)
        sure = np.tile([0.8, 0.2], (40, 1))  # always the first class: right 90% of the time
        measure = evaluate_single_label(sure, truth, ["a", "b"]).metrics["accuracy"]
        assert measure.low is not None
        assert measure.high is not None
        held += measure.low <= 0.9 <= measure.high
    assert held >= 90


def test_a_class_without_samples_counts_in_no_macro_average() -> None:
    probabilities, truth = exclusive(90)
    keep = truth != 2
    probabilities, truth = probabilities[keep], truth[keep]
    predicted = probabilities.argmax(axis=1)
    got = evaluate_single_label(probabilities, truth, NAMES)
    present = [0, 1, 3]
    expected = reference.f1_score(truth, predicted, labels=present, average="macro")
    recall = reference.recall_score(truth, predicted, labels=present, average="macro")
    assert got.metrics["macro_f1"].value == pytest.approx(expected)
    assert got.metrics["balanced_accuracy"].value == pytest.approx(recall)
    row = got.per_class["cat"]
    assert row["n"] == 0
    assert (row["recall_low"], row["recall_high"]) == (0.0, 1.0)


@pytest.mark.parametrize("is_right", [True, False])
def test_all_right_or_all_wrong_on_few_samples_is_not_certain(is_right: bool) -> None:
    truth = np.array([0, 1, 0, 1, 0])
    probabilities = np.eye(2)[truth if is_right else 1 - truth]
    metrics = evaluate_single_label(probabilities, truth, ["a", "b"]).metrics
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        measure = metrics[name]
        assert measure.low is not None
        assert measure.high is not None
        assert measure.high - measure.low > 0.3
    assert np.isfinite(metrics["log_loss"].value)


def test_nothing_is_ever_nan() -> None:
    single = evaluate_single_label(np.array([[0.5, 0.5, 0.0]]), np.array([2]), ["a", "b", "c"])
    nothing = evaluate_multilabel(np.zeros((3, 2)), np.zeros((3, 2)), ["a", "b"])
    everything = evaluate_multilabel(np.ones((3, 2)), np.ones((3, 2)), ["a", "b"])
    for got in (single, nothing, everything):
        for measure in got.metrics.values():
            assert np.isfinite([measure.value, measure.low, measure.high]).all()
        for row in got.per_class.values():
            assert np.isfinite(list(row.values())).all()
    assert nothing.metrics["map"].high == 1.0  # no positive: nothing was found out


def test_the_interval_of_f1_holds_it_and_shrinks_with_samples() -> None:
    widths = []
    for n in (40, 640):
        probabilities, truth = exclusive(n)
        row = evaluate_single_label(probabilities, truth, NAMES).per_class["ant"]
        assert row["f1_low"] < row["f1"] < row["f1_high"]
        assert row["recall_low"] < row["recall"] < row["recall_high"]
        widths.append(row["f1_high"] - row["f1_low"])
    assert widths[1] < widths[0] / 2


def test_grouped_samples_get_the_interval_of_their_groups() -> None:
    probabilities, truth = exclusive(30)
    alone = evaluate_single_label(probabilities, truth, NAMES).metrics["accuracy"]
    groups = np.repeat(np.arange(5), 6)
    grouped = evaluate_single_label(probabilities, truth, NAMES, groups=groups).metrics["accuracy"]
    assert alone.value == grouped.value
    assert (alone.low, alone.high) != (grouped.low, grouped.high)


@pytest.mark.parametrize(
    ("probabilities", "truth", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "at least one row"),
        (np.full((2, 3), 0.3), np.array([0, 1]), "2 columns"),
        (np.full((2, 2), 0.5), np.array([0, 1, 1]), "there are 3"),
        (np.full((2, 2), 0.5), np.array([0, 2]), "from 0 to 1"),
        (np.array([[np.nan, 0.5], [0.5, 0.5]]), np.array([0, 1]), "1 of 2 .* not finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    probabilities: np.ndarray, truth: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        evaluate_single_label(probabilities, truth, ["a", "b"])


def test_a_truth_that_is_neither_yes_nor_no_is_refused() -> None:
    with pytest.raises(DataError, match="zeros and ones with 2 columns"):
        evaluate_multilabel(np.full((2, 2), 0.5), np.array([[0, 2], [1, 0]]), ["a", "b"])
