"""The linear SVM against scikit-learn's LIBLINEAR, and its calibration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from headstart.errors import DataError
from headstart.strategies.linear_fit import fit_at, label_features
from headstart.strategies.linear_losses import SquaredHinge
from headstart.strategies.linear_solver import rotate
from headstart.strategies.svm import calibrate, cross_validate_svm


def samples(n: int, width: int, *, num_classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % num_classes
    centres = torch.randn(num_classes, width, generator=generator)
    return centres[targets] + 2.0 * torch.randn(n, width, generator=generator), targets


def reference_decisions(features: Tensor, targets: Tensor, *, c: float) -> np.ndarray:
    """By LIBLINEAR, with the penalty that it puts on the bias made negligible."""
    standard = StandardScaler().fit_transform(features.double().numpy())
    model = LinearSVC(C=c, dual=False, tol=1e-8, max_iter=10_000, intercept_scaling=100.0)
    return model.fit(standard, targets.numpy()).decision_function(standard)


@pytest.mark.parametrize(("n", "width"), [(80, 10), (40, 60)])
def test_decision_values_agree_with_liblinear(n: int, width: int) -> None:
    for num_classes in (2, 3):
        features, targets = samples(n, width, num_classes=num_classes)
        data = label_features(features, targets, num_classes=num_classes)
        fit = fit_at(rotate(features), data, SquaredHinge(), c=0.05)
        got = fit.logits(features)
        got = got[:, 1] - got[:, 0] if num_classes == 2 else got
        expected = reference_decisions(features, targets, c=0.05)
        np.testing.assert_allclose(got, expected, atol=5e-3)
        assert fit.has_converged


def test_probabilities_are_calibrated_on_unseen_samples() -> None:
    features, targets = samples(600, 30, num_classes=3)
    found = cross_validate_svm(
        features[:300], targets[:300], torch.arange(300) // 3 % 5, num_classes=3
    )
    unseen = found.fit.logits(features[300:]).softmax(dim=1)
    confidence, predicted = unseen.max(dim=1)
    accuracy = (predicted == targets[300:]).float().mean()
    assert abs(float(confidence.mean() - accuracy)) < 0.06
    assert accuracy > 0.7


def test_the_fit_is_a_plain_linear_layer_with_calibrated_logits() -> None:
    features, targets = samples(90, 12, num_classes=2)
    found = cross_validate_svm(features, targets, torch.arange(90) // 2 % 5, num_classes=2)
    assert found.fit.weight.shape == (2, 12)
    # on unseen folds the mean calibrated probability of a class is its share, up to the smoothing
    shares = found.out_of_fold_logits.softmax(dim=1).mean(dim=0)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.5]), atol=0.02, rtol=0.0)


def test_scale_and_shift_are_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    decisions = torch.randn(20_000, 1, generator=generator)
    logits = 3.0 * decisions + 0.7
    marks = (torch.rand(20_000, 1, generator=generator) < logits.sigmoid()).float()
    data = label_features(decisions, marks, num_classes=1)
    found = calibrate(decisions, data)
    assert float(found.scale) == pytest.approx(3.0, abs=0.15)
    assert float(found.shift) == pytest.approx(0.7, abs=0.1)


def test_decisions_that_separate_unseen_samples_do_not_end_in_certainty() -> None:
    decisions = torch.tensor([[1.0, -1.0]] * 5 + [[-1.0, 1.0]] * 5)
    data = label_features(decisions, torch.tensor([0] * 5 + [1] * 5), num_classes=2)
    p = calibrate(decisions, data).apply(decisions).softmax(dim=1)
    torch.testing.assert_close(p[0], torch.tensor([6 / 7, 1 / 7]), atol=1e-4, rtol=0.0)


def test_decisions_that_mislead_are_given_no_weight() -> None:
    decisions = torch.tensor([[1.0, -1.0]] * 6 + [[-1.0, 1.0]] * 6)
    data = label_features(decisions, torch.tensor([1] * 6 + [0] * 6), num_classes=2)
    found = calibrate(decisions, data)
    assert (found.scale > 0).all()
    p = found.apply(decisions).softmax(dim=1)
    torch.testing.assert_close(p, torch.full((12, 2), 0.5), atol=1e-3, rtol=0.0)


def test_several_labels_are_decided_one_by_one() -> None:
    features, targets = samples(200, 10, num_classes=4)
    marks = torch.stack([targets == 0, targets < 2, targets >= 4], dim=1).float()
    found = cross_validate_svm(features, marks, torch.arange(200) // 4 % 5, num_classes=3)
    got = found.fit.logits(features).sigmoid()
    assert ((got[:, :2] >= 0.5) == (marks[:, :2] >= 0.5)).float().mean() > 0.8
    assert got[:, 2].max() < 0.1
    assert np.isfinite(found.log_loss).all()


def test_a_rare_class_and_two_samples_are_no_obstacle() -> None:
    features, targets = samples(30, 8, num_classes=2)
    targets = targets.clone()
    targets[0] = 2
    found = cross_validate_svm(features, targets, torch.arange(30) // 2 % 3, num_classes=3)
    assert found.fit.logits(features).isfinite().all()
    two = cross_validate_svm(
        torch.eye(2), torch.tensor([0, 1]), torch.tensor([0, 1]), num_classes=2
    )
    assert two.fit.logits(torch.eye(2)).isfinite().all()


def test_features_that_are_not_finite_are_named() -> None:
    features, targets = samples(10, 4, num_classes=2)
    features[2] = torch.nan
    with pytest.raises(DataError, match="1 of 10"):
        cross_validate_svm(features, targets, torch.arange(10) // 2 % 2, num_classes=2)
