from __future__ import annotations

import pytest
import torch

from headstart.strategies.logistic import (
    answer_by_parts,
    cross_validate_logistic,
    fit_logistic,
    fit_logistic_on_parts,
)


def samples(n: int, width: int, *, num_classes: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % num_classes
    features = (
        torch.randn(n, width, generator=generator) + 2 * torch.eye(num_classes, width)[targets]
    )
    return features, targets


@pytest.mark.parametrize(("num_classes", "width"), [(2, 8), (3, 8), (3, 100)])
def test_a_part_of_all_samples_is_the_plain_fit(num_classes: int, width: int) -> None:
    features, targets = samples(60, width, num_classes=num_classes)
    plain = fit_logistic(features, targets, num_classes=num_classes, C=0.05)
    whole, half = fit_logistic_on_parts(
        features,
        targets,
        [torch.arange(60), torch.arange(30)],
        num_classes=num_classes,
        C=0.05,
    )
    torch.testing.assert_close(
        whole.logits(features).softmax(1), plain.logits(features).softmax(1), atol=2e-3, rtol=0
    )
    assert whole.has_converged
    assert not torch.allclose(half.weight, whole.weight, atol=1e-3)


def test_labels_outside_of_a_part_change_nothing() -> None:
    features, targets = samples(60, 8, num_classes=3)
    part = torch.arange(0, 30)
    (first,) = fit_logistic_on_parts(features, targets, [part], num_classes=3, C=0.1)
    targets[30:] = targets[30:].flip(0)
    (second,) = fit_logistic_on_parts(features, targets, [part], num_classes=3, C=0.1)
    torch.testing.assert_close(first.weight, second.weight)


def test_standardised_features_give_the_fit_on_the_part_alone() -> None:
    features, targets = samples(40, 5, num_classes=2)
    features[20:] = features[:20]  # so that the part and the whole have the same mean and spread
    targets[20:] = targets[:20]
    (found,) = fit_logistic_on_parts(features, targets, [torch.arange(20)], num_classes=2, C=0.1)
    alone = fit_logistic(features[:20], targets[:20], num_classes=2, C=0.1)
    torch.testing.assert_close(found.weight, alone.weight, atol=2e-3, rtol=1e-2)


def test_a_class_that_a_part_lacks_is_improbable() -> None:
    features, targets = samples(60, 8, num_classes=3)
    part = torch.nonzero(targets < 2)[:, 0]
    (found,) = fit_logistic_on_parts(features, targets, [part], num_classes=3, C=0.1)
    assert bool((found.logits(features[part]).softmax(dim=1)[:, 2] < 0.1).all())


def test_groups_of_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets = samples(60, 8, num_classes=3)
    parts = [torch.arange(size) for size in (20, 30, 40, 60)]
    together = fit_logistic_on_parts(features, targets, parts, num_classes=3, C=0.1)
    monkeypatch.setattr("headstart.strategies.logistic._GROUP_ELEMENTS", 1)
    apart = fit_logistic_on_parts(features, targets, parts, num_classes=3, C=0.1)
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one.weight, other.weight, atol=1e-3, rtol=1e-3)


def test_multi_label_parts_are_fitted_too() -> None:
    features, classes = samples(60, 8, num_classes=3)
    targets = torch.nn.functional.one_hot(classes).float()
    (found,) = fit_logistic_on_parts(features, targets, [torch.arange(45)], num_classes=3, C=0.1)
    assert float(((found.logits(features) >= 0) == (targets > 0)).float().mean()) > 0.8


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_answers_by_parts_are_those_of_the_fits(num_classes: int) -> None:
    features, targets = samples(60, 8, num_classes=num_classes)
    parts = [torch.arange(30), torch.arange(60)]
    fits = fit_logistic_on_parts(features, targets, parts, num_classes=num_classes, C=0.1)
    answers = answer_by_parts(features, targets, parts, num_classes=num_classes, C=0.1)
    for fit, answer in zip(fits, answers, strict=True):
        torch.testing.assert_close(answer, fit.logits(features), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n", [30, 300])
def test_the_basis_of_other_samples_leads_to_the_same_fits(n: int) -> None:
    features, targets = samples(500, 40, num_classes=3)
    folds = torch.arange(200) // 3 % 5
    basis = cross_validate_logistic(features[:200], targets[:200], folds, num_classes=3).basis
    own, lent = (
        fit_logistic_on_parts(
            features[-n:], targets[-n:], [torch.arange(n)], num_classes=3, C=0.1, basis=each
        )[0]
        for each in (None, basis)
    )
    assert basis is not None
    torch.testing.assert_close(
        lent.logits(features).softmax(dim=1), own.logits(features).softmax(dim=1), atol=3e-3, rtol=0
    )


def test_too_few_samples_have_no_basis_to_lend() -> None:
    features, targets = samples(30, 40, num_classes=3)
    folds = torch.arange(30) // 3 % 5
    assert cross_validate_logistic(features, targets, folds, num_classes=3).basis is None
