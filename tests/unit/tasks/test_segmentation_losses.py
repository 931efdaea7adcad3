"""Losses of segmentation: formulas, gradients, and pixels that do not count."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.contracts import IGNORE
from headstart.errors import ConfigError
from headstart.tasks.segmentation_losses import (
    LOSSES,
    LossSettings,
    check_losses,
    parse_losses,
    summed_loss,
)

PLAIN = LossSettings()


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def targets() -> Tensor:
    drawn = torch.randint(0, 3, (2, 5, 7), generator=torch.Generator().manual_seed(1))
    drawn[0, :2] = IGNORE
    return drawn


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_answers_cost_nothing_and_wrong_ones_much(name: str, targets: Tensor) -> None:
    right = 60.0 * F.one_hot(targets.clamp(min=0), 3).permute(0, 3, 1, 2)
    assert float(LOSSES[name](right, targets, PLAIN)) == pytest.approx(0.0, abs=1e-4)
    wrong = right.roll(1, dims=1)
    assert float(LOSSES[name](wrong, targets, PLAIN)) > 0.9


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_gradients_are_those_of_differences(
    name: str, is_weighted: bool, logits: Tensor, targets: Tensor
) -> None:
    weights = torch.tensor([1.0, 3.0, 0.5]) if is_weighted else None
    settings = LossSettings(weights, 0.1)
    small = logits[:, :, :3, :3].double().requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda scores: LOSSES[name](scores, targets[:, :3, :3], settings), (small,)
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 3.0])])
def test_a_batch_without_labels_costs_nothing_and_can_be_stepped(
    name: str, weights: Tensor | None, logits: Tensor
) -> None:
    scores = logits.requires_grad_(True)
    nothing = torch.full((2, 5, 7), IGNORE)
    loss = LOSSES[name](scores, nothing, LossSettings(weights, 0.1))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert scores.grad is not None
    assert torch.equal(scores.grad, torch.zeros_like(scores))


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_do_not_count_whatever_is_said_of_them(
    name: str, logits: Tensor, targets: Tensor
) -> None:
    other = torch.where((targets == IGNORE).unsqueeze(1), 100 * torch.randn_like(logits), logits)
    settings = LossSettings(label_smoothing=0.1)
    found = [float(LOSSES[name](scores, targets, settings)) for scores in (logits, other)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_cross_entropy_is_that_of_torch(logits: Tensor, targets: Tensor) -> None:
    for weights, smoothing in itertools.product((None, torch.tensor([1.0, 2.0, 4.0])), (0.0, 0.1)):
        found = LOSSES["cross-entropy"](logits, targets, LossSettings(weights, smoothing))
        expected = F.cross_entropy(
            logits,
            targets,
            weight=weights,
            ignore_index=IGNORE,
            label_smoothing=smoothing,
        )
        torch.testing.assert_close(found, expected)


def test_dice_of_hard_answers_is_dice(targets: Tensor) -> None:
    said = torch.randint(0, 3, (2, 5, 7), generator=torch.Generator().manual_seed(2))
    found = LOSSES["dice"](200.0 * F.one_hot(said, 3).permute(0, 3, 1, 2), targets, PLAIN)
    known = targets != IGNORE
    scores = []
    for k in range(3):
        answer, truth = (said == k) & known, targets == k
        scores.append(2 * (answer & truth).sum() / (answer.sum() + truth.sum()))
    assert float(found) == pytest.approx(1 - float(torch.stack(scores).mean()), rel=1e-4)


def test_lovasz_of_hard_answers_is_one_minus_the_iou(targets: Tensor) -> None:
    said = torch.randint(0, 3, (2, 5, 7), generator=torch.Generator().manual_seed(2))
    found = LOSSES["lovasz"](200.0 * F.one_hot(said, 3).permute(0, 3, 1, 2), targets, PLAIN)
    known = targets != IGNORE
    ious = []
    for k in range(3):
        answer, truth = (said == k) & known, targets == k
        ious.append((answer & truth).sum() / (answer | truth).sum())
    assert float(found) == pytest.approx(1 - float(torch.stack(ious).mean()), rel=1e-4)


def test_focal_loss_follows_its_formula(logits: Tensor, targets: Tensor) -> None:
    found = LOSSES["focal"](logits, targets, PLAIN)
    known = targets != IGNORE
    p = logits.softmax(dim=1).gather(1, targets.clamp(min=0).unsqueeze(1)).squeeze(1)[known]
    torch.testing.assert_close(found, (-((1 - p) ** 2) * p.log()).mean())


@pytest.mark.parametrize("name", ["dice", "lovasz"])
def test_a_class_that_the_batch_lacks_does_not_count(name: str) -> None:
    targets = torch.tensor([[[0, 0, 1, 1]]])
    two = torch.tensor([2.0, 0.5, -1.0, 0.3]).reshape(1, 1, 1, 4)
    logits = torch.cat([two, -two, torch.full_like(two, -80.0)], dim=1)
    expected = LOSSES[name](logits[:, :2], targets, PLAIN)
    torch.testing.assert_close(LOSSES[name](logits, targets, PLAIN), expected)


def test_a_class_of_more_weight_counts_more(logits: Tensor, targets: Tensor) -> None:
    def at(name: str, k: int) -> float:
        weights = torch.full((3,), 1e-6)
        weights[k] = 1.0
        return float(LOSSES[name](logits, targets, LossSettings(weights)))

    def in_between(name: str) -> Iterator[bool]:
        alone = [at(name, k) for k in range(3)]
        middle = float(LOSSES[name](logits, targets, PLAIN))
        yield min(alone) < middle < max(alone)

    assert all(all(in_between(name)) for name in LOSSES)


def test_sums_are_sums(logits: Tensor, targets: Tensor) -> None:
    names = parse_losses("cross-entropy+dice+lovasz")
    total = summed_loss(names, logits, targets, PLAIN)
    alone = [float(LOSSES[name](logits, targets, PLAIN)) for name in names]
    assert float(total) == pytest.approx(sum(alone), rel=1e-6)


def test_what_is_no_sum_of_losses_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean `dice`"):
        parse_losses("cross-entropy+dise")
    with pytest.raises(ConfigError, match="each is named once"):
        parse_losses("dice+dice")
    with pytest.raises(ConfigError, match="no sum of losses"):
        check_losses([])
