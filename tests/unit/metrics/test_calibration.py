"""Reliability bins and the temperature that is only kept where it helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from headstart.errors import DataError
from headstart.metrics.calibration import calibrated_log_loss, fit_temperature, reliability
from headstart.metrics.classification import evaluate_single_label
from headstart.metrics.intervals import wilson


def logits_of(n: int, *, scale: float, num_classes: int = 3, seed: int = 0) -> tuple:
    """Logits whose probabilities are right as they stand at scale 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, size=(n, num_classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1).clip(0, num_classes - 1)
    return scale * logits, truth


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def test_bins_add_up_to_the_calibration_error_of_the_metrics() -> None:
    logits, truth = logits_of(300, scale=2.0)
    p = softmax(logits)
    found = reliability(p, truth)
    assert found.ece == pytest.approx(
        evaluate_single_label(p, truth, list("abc")).metrics["ece"].value
    )
    assert sum(one.n for one in found.bins) == 300
    gap = sum(one.n * abs(one.accuracy - one.confidence) for one in found.bins) / 300
    assert gap == pytest.approx(found.ece)


def test_each_bin_has_wilsons_interval_and_holds_its_confidences() -> None:
    logits, truth = logits_of(300, scale=2.0)
    for one in reliability(softmax(logits), truth).bins:
        assert (one.low, one.high) == pytest.approx(wilson(round(one.accuracy * one.n), one.n))
        assert one.start < one.confidence <= one.stop


def test_bins_of_groups_are_less_certain() -> None:
    logits, truth = logits_of(60, scale=1.0)
    p, groups = softmax(logits), np.repeat(np.arange(60), 5)
    alone = reliability(np.repeat(p, 5, axis=0), np.repeat(truth, 5), num_bins=2).bins
    grouped = reliability(np.repeat(p, 5, axis=0), np.repeat(truth, 5), groups=groups, num_bins=2)
    for one, other in zip(alone, grouped.bins, strict=True):
        assert other.high - other.low > 1.5 * (one.high - one.low)


def test_multilabel_bins_hold_every_decision() -> None:
    found = reliability(np.array([[0.9, 0.2], [0.6, 0.4]]), np.array([[1, 0], [0, 0]]))
    assert sum(one.n for one in found.bins) == 4
    assert found.to_json()["bins"][0]["accuracy"] == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [0.4, 3.0])
def test_the_temperature_undoes_a_known_scale(scale: float) -> None:
    logits, truth = logits_of(3000, scale=scale)
    found = fit_temperature(logits, truth)
    assert found.is_kept
    assert found.value == pytest.approx(scale, rel=0.1)
    assert found.log_loss_after < found.log_loss_before


def test_the_temperature_is_that_of_a_plain_search() -> None:
    logits, truth = logits_of(500, scale=2.0)
    slack = 1 / 502

    def loss(log_temperature: float) -> float:
        p = softmax(logits / np.exp(log_temperature))
        wanted = np.full(p.shape, slack / 2)
        wanted[np.arange(500), truth] = 1 - slack
        return float(-(wanted * np.log(p)).sum(axis=1).mean())

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-8})
    assert fit_temperature(logits, truth).value == pytest.approx(np.exp(best.x), rel=1e-4)


def test_a_temperature_that_does_not_help_unseen_samples_is_not_kept() -> None:
    results = [fit_temperature(*logits_of(40, scale=1.0, seed=seed)) for seed in range(20)]
    dropped = [one for one in results if not one.is_kept]
    assert len(dropped) >= 5
    assert all(one.value == 1.0 for one in dropped)
    assert all(one.log_loss_after >= one.log_loss_before for one in dropped)


def test_too_few_samples_keep_the_logits_as_they_are() -> None:
    found = fit_temperature(np.eye(2)[[0, 1] * 3], np.array([0, 1] * 3))
    assert (found.value, found.is_kept) == (1.0, False)
    many_in_few_groups = fit_temperature(*logits_of(100, scale=3.0), groups=np.arange(100) // 20)
    assert not many_in_few_groups.is_kept


def test_logits_without_an_error_get_a_finite_temperature() -> None:
    truth = np.arange(40) % 2
    found = fit_temperature(np.eye(2)[truth], truth)
    assert 0.05 <= found.value < 1.0


def test_numpy_and_torch_give_the_same_temperature() -> None:
    logits, truth = logits_of(200, scale=2.0)
    tensors = torch.from_numpy(logits).requires_grad_(), torch.from_numpy(truth)
    assert fit_temperature(*tensors) == fit_temperature(logits, truth)


def test_multilabel_logits_have_a_temperature_by_sigmoid() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, size=(1500, 2))
    truth = (rng.random((1500, 2)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    found = fit_temperature(3 * logits, truth)
    assert found.is_kept
    assert found.value == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (np.zeros((3, 2)), np.zeros(4)),
        (np.zeros(3), np.zeros(3)),
        (np.full((2, 2), np.nan), [0, 1]),
    ],
)
def test_what_gives_no_temperature_is_refused(logits: np.ndarray, targets: object) -> None:
    with pytest.raises(DataError, match="give no temperature"):
        fit_temperature(logits, targets)


def test_the_calibrated_loss_does_not_mind_how_sure_all_answers_are() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=300)
    logits = np.eye(3)[truth] + rng.normal(size=(300, 3))
    loss = calibrated_log_loss(logits, truth)
    assert calibrated_log_loss(5 * logits, truth) == pytest.approx(loss, abs=1e-6)
    better = calibrated_log_loss(2 * np.eye(3)[truth] + rng.normal(size=(300, 3)), truth)
    assert better < loss


def test_the_calibrated_loss_of_what_is_not_finite_is_none() -> None:
    assert np.isnan(calibrated_log_loss(np.array([[np.nan, 0.0]]), np.array([0])))
