"""Mixup and cutmix: what is mixed, with which share, and decided by what."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from headstart.contracts import Batch, Sample
from headstart.data.loader import TrainLoader
from headstart.data.mixing import MixedBatches, Mixing
from headstart.errors import ConfigError


def make_batch(count: int = 6, *, targets: Tensor | None = None) -> Batch:
    """Picture i is filled with 40 * i, its class is i % 3."""
    values = torch.arange(count, dtype=torch.uint8) * 40
    inputs = values.view(-1, 1, 1, 1).expand(-1, 3, 20, 30).contiguous()
    targets = torch.arange(count) % 3 if targets is None else targets
    return Batch(tuple(map(str, range(count))), inputs=inputs, targets=targets)


def tensors(batch: Batch) -> tuple[Tensor, Tensor]:
    assert batch.inputs is not None
    assert batch.targets is not None
    return batch.inputs, batch.targets


def test_mixup_mixes_pictures_and_targets_by_one_share() -> None:
    # One class a picture, so that the targets tell partner and share.
    batch = make_batch(targets=torch.arange(6))
    mixing = Mixing(mixup_alpha=1.0, cutmix_alpha=0.0, num_classes=6)
    inputs, targets = tensors(mixing(batch, seed=0, epoch=0, step=0))
    assert inputs.dtype == targets.dtype == torch.float32
    assert targets.shape == (6, 6)
    expected = targets @ (torch.arange(6.0) * 40)
    assert torch.allclose(inputs, expected.view(-1, 1, 1, 1).expand_as(inputs), atol=1e-3)
    assert torch.allclose(targets.sum(dim=1), torch.ones(6))
    assert (targets.max(dim=1).values < 1).any()


def test_cutmix_pastes_a_rectangle_whose_area_is_the_targets_share() -> None:
    mixing = Mixing(mixup_alpha=0.0, cutmix_alpha=1.0, num_classes=6)
    pasted_somewhere = False
    for step in range(20):
        batch = make_batch(targets=torch.arange(6))
        inputs, targets = tensors(mixing(batch, seed=0, epoch=0, step=step))
        for i in range(6):
            kept = inputs[i, 0] == 40 * i
            assert targets[i, i].item() == pytest.approx(kept.float().mean().item(), abs=1e-6)
            pasted = ~kept
            if pasted.any():
                pasted_somewhere = True
                rows, columns = pasted.any(dim=1).sum(), pasted.any(dim=0).sum()
                assert pasted.sum() == rows * columns  # a rectangle
                assert inputs[i, 0][pasted].unique().numel() == 1  # of one other picture
        assert torch.allclose(targets.sum(dim=1), torch.ones(6))
    assert pasted_somewhere


def test_the_same_seed_epoch_and_step_mix_alike_and_any_other_differently() -> None:
    mixing = Mixing(mixup_alpha=0.4, cutmix_alpha=1.0, num_classes=3)
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    results = {
        key: tensors(mixing(make_batch(), seed=key[0], epoch=key[1], step=key[2]))
        for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    }
    again = tensors(mixing(make_batch(), seed=0, epoch=0, step=0))
    assert torch.equal(torch.rand(()), expected)  # the global generator was left alone
    first = results.pop((0, 0, 0))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not any(torch.equal(first[0], other[0]) for other in results.values())


def test_with_both_on_each_batch_gets_one_of_them() -> None:
    mixing = Mixing(mixup_alpha=1.0, cutmix_alpha=1.0, num_classes=3)
    cut = 0
    for step in range(200):
        inputs, _ = tensors(mixing(make_batch(), seed=0, epoch=0, step=step))
        is_original = torch.isin(inputs, torch.arange(6.0) * 40)
        cut += bool(is_original.all())
    assert 70 < cut < 130  # 100 expected, standard deviation 7


def test_multilabel_targets_are_mixed_too() -> None:
    targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    mixing = Mixing(mixup_alpha=1.0, cutmix_alpha=0.0, num_classes=3)
    _, mixed = tensors(mixing(make_batch(3, targets=targets), seed=0, epoch=0, step=0))
    assert mixed.min() >= 0
    assert mixed.max() <= 1
    assert torch.allclose(mixed.sum(dim=0), targets.sum(dim=0))  # every one is a partner once
    assert not torch.equal(mixed, targets)


def test_a_batch_of_one_stays_as_it_is() -> None:
    for mixup, cutmix in ((1.0, 0.0), (0.0, 1.0)):
        mixing = Mixing(mixup_alpha=mixup, cutmix_alpha=cutmix, num_classes=3)
        batch = make_batch(1)
        inputs, targets = tensors(mixing(batch, seed=0, epoch=0, step=0))
        assert torch.allclose(inputs, tensors(batch)[0].float())
        assert torch.allclose(targets, torch.tensor([[1.0, 0.0, 0.0]]))


def test_the_batch_that_is_given_stays_unchanged() -> None:
    batch = make_batch()
    Mixing(mixup_alpha=0.0, cutmix_alpha=1.0, num_classes=3)(batch, seed=0, epoch=0, step=0)
    assert torch.equal(tensors(batch)[0], tensors(make_batch())[0])
    assert torch.equal(tensors(batch)[1], tensors(make_batch())[1])


@pytest.mark.parametrize("alphas", [(0.0, 0.0), (-0.1, 1.0), (1.0, float("nan"))])
def test_impossible_strengths_are_refused(alphas: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="both must be at least 0"):
        Mixing(mixup_alpha=alphas[0], cutmix_alpha=alphas[1], num_classes=3)


def test_what_cannot_be_mixed_is_refused() -> None:
    mixing = Mixing(mixup_alpha=1.0, cutmix_alpha=0.0, num_classes=3)
    with pytest.raises(ConfigError, match="features are cached"):
        mixing(Batch(("a",), features=torch.zeros(1, 4)), seed=0, epoch=0, step=0)
    with pytest.raises(ConfigError, match="without targets"):
        mixing(Batch(("a",), inputs=torch.zeros(1, 3, 4, 4)), seed=0, epoch=0, step=0)
    with pytest.raises(ConfigError, match="5 columns"):
        mixing(make_batch(2, targets=torch.zeros(2, 5)), seed=0, epoch=0, step=0)


def test_mixed_batches_of_a_loader_resume_alike() -> None:
    loader = TrainLoader(
        [Sample(str(i), Path(str(i))) for i in range(9)],
        prepare=lambda sample: torch.rand(3, 4, 4),
        targets=[i % 3 for i in range(9)],
        batch_size=2,
        num_workers=0,
        seed=1,
    )
    mixing = Mixing(mixup_alpha=0.5, cutmix_alpha=0.5, num_classes=3)
    batches = MixedBatches(loader, mixing, seed=1)
    whole = list(batches.batches(2))
    rest = list(batches.batches(2, start=2))
    assert len(batches) == len(whole) == 4
    assert len(rest) == 2
    for a, b in zip(whole[2:], rest, strict=True):
        assert a.ids == b.ids
        assert torch.equal(tensors(a)[0], tensors(b)[0])
        assert torch.equal(tensors(a)[1], tensors(b)[1])
        assert tensors(a)[1].shape[1] == 3
    batches.close()
