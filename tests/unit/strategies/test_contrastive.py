from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headstart.contracts import Batch
from headstart.strategies import StrategySettings, make_strategy
from headstart.strategies.contrastive import ContrastiveLoss, contrastive_loss

pytest.importorskip("transformers", reason="needs the extra `text`")

from headstart.backbones import load_text_backbone
from headstart.model import LabelModel
from tiny_language_models import write_model

SETTINGS = StrategySettings(classes=("a", "b"))


def by_the_formula(features: Tensor, targets: list[int], temperature: float) -> float:
    """Equation 2 of Khosla et al. 2020, read word by word."""
    z = features / features.norm(dim=1, keepdim=True)
    n, losses = len(z), []
    for i in range(n):
        likes = [p for p in range(n) if p != i and targets[p] == targets[i]]
        others = sum(math.exp(float(z[i] @ z[a]) / temperature) for a in range(n) if a != i)
        terms = [float(z[i] @ z[p]) / temperature - math.log(others) for p in likes]
        if likes:
            losses.append(-sum(terms) / len(likes))
    return sum(losses) / len(losses)


def test_the_loss_is_that_of_the_paper() -> None:
    features = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    targets = [0, 0, 0, 1, 1, 2, 2, 2, 3]  # the last one has no like, and no say
    found = contrastive_loss(features, torch.tensor(targets), temperature=0.2)
    assert float(found) == pytest.approx(by_the_formula(features, targets, 0.2), rel=1e-5)


def test_lengths_of_features_do_not_count() -> None:
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 1, 0, 1, 2, 2])
    longer = features * torch.arange(1, 7)[:, None]
    assert torch.allclose(contrastive_loss(features, targets), contrastive_loss(longer, targets))


def test_several_labels_are_alike_by_the_share_they_have_in_common() -> None:
    near, far = torch.tensor([1.0, 0.1]), torch.tensor([0.1, 1.0])
    labels = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1]]).float()
    together = torch.stack([near, near, far, far])
    apart = torch.stack([near, far, near, far])
    assert contrastive_loss(together, labels) < contrastive_loss(apart, labels)
    single = torch.tensor([0, 0, 1, 1])
    one_hot = nn.functional.one_hot(single).float()
    assert torch.allclose(contrastive_loss(apart, one_hot), contrastive_loss(apart, single))


def test_a_batch_without_likes_has_a_loss_of_zero_and_finite_gradients() -> None:
    features = torch.randn(3, 4, requires_grad=True)
    loss = contrastive_loss(features, torch.tensor([0, 1, 2]))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert features.grad is not None
    assert bool(features.grad.isfinite().all())


def tiny(folder: Path, family: str = "bert") -> LabelModel:
    backbone = load_text_backbone(str(write_model(family, folder)))
    head = make_strategy("contrastive", SETTINGS).new_head(backbone)
    return LabelModel(backbone, head, before=nn.Identity()).eval()


def test_texts_read_by_length_give_the_loss_of_all_read_at_once(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(4, 160, (40, 20), generator=generator)
    for row, length in enumerate(torch.randint(2, 21, (40,), generator=generator)):
        ids[row, length:] = -1
    targets = torch.arange(40) % 3
    with torch.no_grad():
        found = ContrastiveLoss().loss(model, Batch(("",) * 40, inputs=ids, targets=targets))
        expected = contrastive_loss(model.embed(ids), targets)
    assert torch.allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_blocks_learn_and_neither_words_nor_head_do(family: str, tmp_path: Path) -> None:
    model = tiny(tmp_path, family)
    strategy = make_strategy("contrastive", SETTINGS)
    groups = strategy.prepare(model)
    strategy.on_epoch(model, 0, num_epochs=1)
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    lowest = {f"backbone.{name}" for name in model.layer_groups[0]}
    assert learning == {f"backbone.{n}" for g in model.layer_groups[1:] for n in g}
    assert not learning & lowest
    assert sum(len(group.parameters) for group in groups) == len(learning)
    strategy.train_mode(model)
    assert not any(m.training for m in model.modules() if isinstance(m, nn.Dropout))


def test_angles_are_told_apart_beside_half_precision() -> None:
    features = torch.randn(24, 384, generator=torch.Generator().manual_seed(3)) + 3.0
    targets = torch.arange(24) % 4
    whole = contrastive_loss(features, targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(contrastive_loss(features, targets), whole)
