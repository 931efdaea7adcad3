"""Logistic regression against scikit-learn, and where that refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from headstart.errors import ConfigError, DataError
from headstart.strategies.linear_fit import label_features
from headstart.strategies.linear_losses import Softmax
from headstart.strategies.linear_solver import Problems, minimise, rotate
from headstart.strategies.logistic import cross_validate_logistic, fit_logistic


def samples(n: int, width: int, *, num_classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Overlapping classes in correlated features of different size and centre."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % num_classes
    centres = torch.randn(num_classes, width, generator=generator)
    noise = torch.randn(n, width, generator=generator)
    mix = torch.randn(width, width, generator=generator) / width**0.5
    features = (centres[targets] + 1.5 * noise) @ mix
    size = torch.logspace(-2, 1, width)
    return features * size + 5.0 * size, targets


def reference_fit(features: Tensor, targets: Tensor, **options: object) -> np.ndarray:
    """Probabilities (n, num_classes) by scikit-learn on standardised features."""
    standard = StandardScaler().fit_transform(features.double().numpy())
    model = LogisticRegression(tol=1e-10, max_iter=10_000, **options)
    return model.fit(standard, targets.numpy()).predict_proba(standard)


@pytest.mark.parametrize(
    ("n", "width", "num_classes", "c"),
    [(60, 12, 2, 0.1), (60, 12, 3, 1.0), (30, 80, 2, 0.01), (30, 80, 4, 1.0), (200, 5, 5, 100.0)],
)
def test_probabilities_agree_with_scikit_learn(
    n: int, width: int, num_classes: int, c: float
) -> None:
    features, targets = samples(n, width, num_classes=num_classes)
    fit = fit_logistic(features, targets, num_classes=num_classes, C=c)
    got = fit.logits(features).softmax(dim=1).numpy()
    np.testing.assert_allclose(got, reference_fit(features, targets, C=c), atol=1e-3)
    assert fit.has_converged
    assert fit.weight.shape == (num_classes, width)
    assert fit.weight.dtype == fit.bias.dtype == torch.float32


def test_coefficients_of_two_classes_are_those_of_scikit_learn_in_halves() -> None:
    features, targets = samples(80, 6, num_classes=2)
    features = (features - features.mean(dim=0)) / features.std(dim=0, correction=0)
    fit = fit_logistic(features, targets, num_classes=2, C=0.5)
    expected = LogisticRegression(C=0.5, tol=1e-10).fit(features.numpy(), targets.numpy())
    np.testing.assert_allclose(2 * fit.weight[1], expected.coef_[0], atol=1e-3)
    np.testing.assert_allclose(-2 * fit.weight[0], expected.coef_[0], atol=1e-3)
    np.testing.assert_allclose(2 * fit.bias[1], expected.intercept_[0], atol=1e-3)


def test_class_weights_agree_with_scikit_learn() -> None:
    features, targets = samples(90, 10, num_classes=3)
    weights = {0: 1.0, 1: 5.0, 2: 0.2}
    fit = fit_logistic(
        features, targets, num_classes=3, C=0.1, class_weights=torch.tensor([1.0, 5.0, 0.2])
    )
    expected = reference_fit(features, targets, C=0.1, class_weight=weights)
    np.testing.assert_allclose(fit.logits(features).softmax(dim=1), expected, atol=1e-3)


def test_each_label_of_several_is_fitted_as_if_alone() -> None:
    features, targets = samples(80, 20, num_classes=4)
    marks = torch.stack([targets == 0, targets < 2], dim=1)
    fit = fit_logistic(features, marks.float(), num_classes=2, C=0.2)
    for k in range(2):
        expected = reference_fit(features, marks[:, k].long(), C=0.2)[:, 1]
        np.testing.assert_allclose(fit.logits(features)[:, k].sigmoid(), expected, atol=1e-3)


def test_cross_validated_losses_agree_with_a_plain_loop() -> None:
    features, targets = samples(75, 30, num_classes=3)
    folds = (torch.arange(75) // 3) % 5
    found = cross_validate_logistic(
        features, targets, folds, num_classes=3, Cs=[0.3, 0.001, 0.01, 0.03]
    )
    standard = StandardScaler().fit_transform(features.double().numpy())
    assert found.Cs == (0.001, 0.01, 0.03, 0.3)
    for i, c in enumerate(found.Cs):
        held_out = np.zeros((75, 3))
        for fold in range(5):
            seen = (folds != fold).numpy()
            model = LogisticRegression(C=c, tol=1e-10, max_iter=10_000)
            model.fit(standard[seen], targets[seen].numpy())
            held_out[~seen] = model.predict_proba(standard[~seen])
        own = held_out[np.arange(75), targets.numpy()]
        assert found.log_loss[i] == pytest.approx(-np.log(own).mean(), abs=2e-3)
        assert found.accuracy[i] == pytest.approx(
            (held_out.argmax(axis=1) == targets.numpy()).mean(), abs=1.1 / 75
        )
        if c == found.C:
            got = found.out_of_fold_logits.softmax(dim=1)
            np.testing.assert_allclose(got, held_out, atol=5e-3)


def test_the_fit_of_a_search_is_the_fit_with_the_chosen_c() -> None:
    features, targets = samples(60, 90, num_classes=3)
    found = cross_validate_logistic(features, targets, torch.arange(60) // 3 % 4, num_classes=3)
    alone = fit_logistic(features, targets, num_classes=3, C=found.C)
    got, expected = found.fit.logits(features), alone.logits(features)
    torch.testing.assert_close(got.softmax(dim=1), expected.softmax(dim=1), atol=1e-4, rtol=0.0)


def test_a_solution_is_where_the_next_search_may_begin() -> None:
    features, targets = samples(50, 20, num_classes=3)
    data, rotated = label_features(features, targets, num_classes=3), rotate(features)
    is_live = torch.ones(3, 1, dtype=torch.bool)
    problem = Problems(Softmax(), data.coded, torch.ones(50, 1, 1), is_live, torch.ones(1))
    found = minimise(rotated, problem, tolerance=1e-8)
    again = minimise(rotated, problem, tolerance=1e-7, start=found.coefficients)
    assert found.num_steps > 3
    assert again.num_steps == 0
    torch.testing.assert_close(again.coefficients, found.coefficients)


def test_the_chosen_c_is_within_noise_of_the_least_loss_and_no_larger() -> None:
    features, targets = samples(60, 40, num_classes=2)
    found = cross_validate_logistic(features, targets, torch.arange(60) // 2 % 5, num_classes=2)
    chosen, best = found.Cs.index(found.C), int(np.argmin(found.log_loss))
    assert chosen <= best
    assert found.log_loss[chosen] < 1.1 * found.log_loss[best]


def test_problems_solved_together_are_solved_as_if_alone() -> None:
    features, targets = samples(50, 20, num_classes=3)
    data, rotated = label_features(features, targets, num_classes=3), rotate(features)
    seen = torch.stack([torch.arange(50) // 3 % 3 != fold for fold in range(3)], dim=1).float()
    weights = seen.repeat(1, 3)[:, None, :]
    cs = torch.tensor([0.001, 0.1, 3.0]).repeat_interleave(3)
    everything = Problems(Softmax(), data.coded, weights, torch.ones(3, 9, dtype=torch.bool), cs)
    together = minimise(rotated, everything, tolerance=1e-9)
    assert together.has_converged.all()
    for i in range(9):
        alone = minimise(rotated, everything.only(torch.tensor([i])), tolerance=1e-9)
        torch.testing.assert_close(
            together.logits[:, :, i], alone.logits[:, :, 0], atol=2e-3, rtol=1e-3
        )


def test_a_minimum_that_is_not_reached_is_owned_up_to() -> None:
    features, targets = samples(50, 20, num_classes=3)
    data = label_features(features, targets, num_classes=3)
    problem = Problems(
        Softmax(),
        data.coded,
        torch.ones(50, 1, 1),
        torch.ones(3, 1, dtype=torch.bool),
        torch.ones(1),
    )
    stopped = minimise(rotate(features), problem, tolerance=1e-10, max_steps=2)
    assert not stopped.has_converged.any()
    assert stopped.num_steps == 2


def test_the_same_data_gives_the_same_fit_bit_for_bit() -> None:
    features, targets = samples(60, 30, num_classes=3)
    folds = torch.arange(60) // 3 % 5
    first, second = (
        cross_validate_logistic(features, targets, folds, num_classes=3) for _ in range(2)
    )
    assert torch.equal(first.fit.weight, second.fit.weight)
    assert first.log_loss == second.log_loss


def test_a_class_that_one_fold_alone_holds_is_no_obstacle() -> None:
    features, targets = samples(40, 10, num_classes=2)
    targets = targets.clone()
    targets[0] = 2
    folds = torch.arange(40) // 2 % 4
    found = cross_validate_logistic(features, targets, folds, num_classes=3)
    assert np.isfinite(found.log_loss).all()
    assert found.fit.logits(features[:1]).isfinite().all()
    # its one sample is judged by a fit that had never met the class: improbable, not impossible
    assert 1e-4 < found.out_of_fold_logits.softmax(dim=1)[0, 2] < 0.1


@pytest.mark.parametrize("num_classes", [3, 5])
def test_a_class_without_samples_is_improbable_and_leaves_the_others_alone(
    num_classes: int,
) -> None:
    features, targets = samples(60, 10, num_classes=2)
    targets = targets * (num_classes - 1)  # the first and the last class
    fit = fit_logistic(features, targets, num_classes=num_classes, C=0.1)
    got = fit.logits(features).softmax(dim=1)
    assert got[:, 1 : num_classes - 1].max() < 0.1
    # for two of K exclusive classes the softmax has a logit each: half the C of one shared logit
    rest = got[:, [0, num_classes - 1]]
    expected = reference_fit(features, targets, C=0.2)
    np.testing.assert_allclose(rest / rest.sum(dim=1, keepdim=True), expected, atol=1e-3)


def test_a_label_that_all_samples_have_is_probable_not_certain() -> None:
    features, targets = samples(20, 5, num_classes=2)
    marks = torch.stack([torch.ones(20), torch.zeros(20), targets.float()], dim=1)
    got = fit_logistic(features, marks, num_classes=3, C=1.0).logits(features).sigmoid()
    torch.testing.assert_close(got[:, 0], torch.full((20,), 20.5 / 21))
    torch.testing.assert_close(got[:, 1], torch.full((20,), 0.5 / 21))


def test_two_samples_are_enough() -> None:
    features, targets = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 0.0]]), torch.tensor([0, 1])
    fit = fit_logistic(features, targets, num_classes=2, C=1.0)
    assert fit.logits(features).argmax(dim=1).tolist() == [0, 1]
    found = cross_validate_logistic(features, targets, torch.tensor([0, 1]), num_classes=2)
    assert np.isfinite(found.log_loss).all()


def test_equal_features_leave_the_base_rate() -> None:
    features, targets = torch.full((8, 3), 0.1), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    fit = fit_logistic(features, targets, num_classes=2, C=1.0)
    assert not fit.weight.any()
    torch.testing.assert_close(
        fit.logits(features)[0].softmax(dim=0), torch.tensor([0.75, 0.25]), atol=1e-4, rtol=0.0
    )


def test_features_that_are_dead_beside_the_others_get_no_weight() -> None:
    features, targets = (
        torch.randn(60, 3, generator=torch.Generator().manual_seed(0)),
        torch.arange(60) % 2,
    )
    features[:, 0] += 3 * targets
    features[:, 2] *= 1e-9  # as a layer norm leaves what it has turned off
    fit = fit_logistic(features, targets, num_classes=2, C=1.0)
    assert fit.weight[:, 2].abs().max() == 0
    assert fit.weight[:, 0].abs().max() > 0


def test_constant_features_get_no_weight() -> None:
    features, targets = samples(40, 6, num_classes=2)
    features[:, 3] = 1e4 / 3
    fit = fit_logistic(features, targets, num_classes=2, C=1.0)
    assert not fit.weight[:, 3].any()
    others = [0, 1, 2, 4, 5]
    alone = fit_logistic(features[:, others], targets, num_classes=2, C=1.0)
    torch.testing.assert_close(fit.weight[:, others], alone.weight, atol=1e-4, rtol=1e-3)


def test_repeated_samples_count_as_a_larger_c() -> None:
    features, targets = samples(40, 60, num_classes=2)
    twice = fit_logistic(features.repeat(2, 1), targets.repeat(2), num_classes=2, C=0.05)
    once = fit_logistic(features, targets, num_classes=2, C=0.1)
    torch.testing.assert_close(
        twice.logits(features).softmax(dim=1),
        once.logits(features).softmax(dim=1),
        atol=1e-3,
        rtol=0.0,
    )


def test_features_that_are_not_finite_are_named() -> None:
    features, targets = samples(10, 4, num_classes=2)
    features[3, 1], features[7, 0] = torch.nan, torch.inf
    with pytest.raises(DataError, match=r"2 of 10 .*rows 3, 7.*float32"):
        fit_logistic(features, targets, num_classes=2, C=1.0)


@pytest.mark.parametrize(
    ("targets", "num_classes", "message"),
    [
        (torch.tensor([0, 1, 2]), 2, "between 0 and 1"),
        (torch.tensor([0, 1]), 2, "do not go together"),
        (torch.tensor([0, 0, 0]), 1, "at least 2 classes"),
        (torch.tensor([[0.0], [2.0], [1.0]]), 1, "zeros and ones"),
    ],
)
def test_targets_that_are_no_classes_are_refused(
    targets: Tensor, num_classes: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        fit_logistic(torch.eye(3), targets, num_classes=num_classes, C=1.0)


def test_options_that_cannot_work_are_refused() -> None:
    features, targets = samples(10, 4, num_classes=2)
    with pytest.raises(ConfigError, match="C must be positive"):
        fit_logistic(features, targets, num_classes=2, C=0.0)
    with pytest.raises(ConfigError, match="Class weights"):
        fit_logistic(features, targets, num_classes=2, C=1.0, class_weights=torch.zeros(2))
    with pytest.raises(DataError, match="at least two folds"):
        cross_validate_logistic(features, targets, torch.zeros(10).long(), num_classes=2)
