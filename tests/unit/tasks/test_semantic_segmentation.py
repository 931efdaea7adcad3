"""The task of segmentation with real small backbones, from raw values to scores a pixel."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.backbones import load_backbone
from headstart.backbones.pyramid import as_pyramid
from headstart.compute import FrozenTwin
from headstart.contracts import IGNORE, Backbone, Batch, ComputeFormat, Legend
from headstart.decoders import DECODERS
from headstart.errors import ConfigError, DataError
from headstart.metrics.segmentation import count_confusion
from headstart.model import DenseModel
from headstart.strategies.freezing import backbone_groups, head_groups
from headstart.tasks.semantic_segmentation import SemanticSegmentation

LEGEND = Legend(("soil", "forest", "water"), ((0,), (1,), (2,)))


@lru_cache
def pyramid(name: str) -> Backbone:
    torch.manual_seed(0)
    return as_pyramid(load_backbone(name, weights="random"))


def model_of(name: str, task: SemanticSegmentation) -> DenseModel:
    backbone = pyramid(name)
    return task.build(backbone, task.new_head(backbone, 3, seed=1)).eval()


def batch_of(*, n: int = 2, height: int = 48, width: int = 64) -> Batch:
    """Pictures whose colour tells the class of each pixel."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 3, (n, height // 8 + 1, width // 8 + 1), generator=generator)
    targets = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width]
    inputs = (torch.stack([targets == k for k in range(3)], dim=1) * 200 + 20).to(torch.uint8)
    return Batch(tuple(map(str, range(n))), inputs=inputs, targets=targets.clone())


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit"])
@torch.no_grad()
def test_scores_are_of_the_size_of_the_picture(decoder: str, backbone: str) -> None:
    task = SemanticSegmentation(LEGEND, decoder=decoder)
    model = model_of(backbone, task)
    for height, width in ((33, 50), (64, 32), (1, 7)):
        logits = task.logits(model, batch_of(n=1, height=height, width=width))
        assert logits.shape == (1, 3, height, width)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_a_picture_is_answered_alike_alone_and_in_a_batch(decoder: str) -> None:
    task = SemanticSegmentation(LEGEND, decoder=decoder)
    model, batch = model_of("test_resnet", task), batch_of(n=3)
    together = task.logits(model, batch)
    assert batch.inputs is not None
    alone = task.logits(model, Batch(("2",), inputs=batch.inputs[2:]))
    torch.testing.assert_close(together[2:], alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_maps_decoded_later_give_the_same_scores() -> None:
    task = SemanticSegmentation(LEGEND)
    model, batch = model_of("test_efficientnet", task), batch_of(height=40, width=50)
    assert batch.inputs is not None
    maps = model.embed(batch.inputs)
    assert torch.equal(model.decode(maps, 40, 50), model(batch.inputs))


@torch.no_grad()
def test_the_copy_for_inference_folds_norms_and_scores_alike() -> None:
    task = SemanticSegmentation(LEGEND)
    model, batch = model_of("test_efficientnet", task), batch_of()
    assert batch.inputs is not None
    twin = FrozenTwin(model, ComputeFormat(channels_last=True), example=batch.inputs[:1])
    assert twin.num_folded > 10
    torch.testing.assert_close(twin(batch.inputs), model(batch.inputs), rtol=1e-3, atol=1e-3)


def test_each_parameter_that_learns_is_in_exactly_one_group() -> None:
    task = SemanticSegmentation(LEGEND)
    model = model_of("test_efficientnet", task)
    groups = head_groups(model) + backbone_groups(model, layer_decay=0.7)
    listed = [id(p) for group in groups for p in group.parameters]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_few_steps_learn_two_pictures_by_heart(decoder: str) -> None:
    task = SemanticSegmentation(LEGEND, decoder=decoder)
    model, batch = model_of("test_resnet", task), batch_of()
    assert batch.targets is not None
    batch.targets[:, :5] = IGNORE
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    torch.manual_seed(0)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = task.loss(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def scores_for(answer: Tensor) -> Tensor:
    return 30.0 * torch.nn.functional.one_hot(answer, 3).permute(0, 3, 1, 2).float()


def test_the_tally_of_batches_of_several_sizes_is_that_of_all_pixels() -> None:
    task = SemanticSegmentation(LEGEND)
    tally, counts = task.tally(), []
    generator = torch.Generator().manual_seed(0)
    losses: list[Tensor] = []
    for height, width in ((5, 8), (3, 3)):
        targets = torch.randint(-1, 3, (2, height, width), generator=generator)
        logits = torch.randn(2, 3, height, width, generator=generator)
        tally.add(logits, targets)
        answer = logits.argmax(dim=1)
        counts += [
            count_confusion(t.numpy(), a.numpy(), 3) for t, a in zip(targets, answer, strict=True)
        ]
        each = -logits.log_softmax(1).gather(1, targets.clamp(min=0)[:, None])[:, 0]
        losses.append(each[targets != IGNORE])
    found, evaluation = tally.metrics(), task.evaluate(np.stack(counts), LEGEND.names)
    assert set(found) == {"loss", "miou", "pixel_accuracy", "macro_f1"}
    for name in ("miou", "pixel_accuracy", "macro_f1"):
        assert found[name] == float(evaluation.metrics[name])
    assert found["loss"] == pytest.approx(float(torch.cat(losses).mean()), rel=1e-5)


def test_perfect_scores_measure_as_perfect_and_no_labels_are_an_error() -> None:
    tally = SemanticSegmentation(LEGEND).tally()
    targets = torch.tensor([[[0, 1], [2, IGNORE]]])
    with pytest.raises(DataError, match="labelled pixel"):
        tally.metrics()
    tally.add(scores_for(targets.clamp(min=0)), targets)
    assert tally.metrics() == pytest.approx(
        {"loss": 0.0, "miou": 1.0, "pixel_accuracy": 1.0, "macro_f1": 1.0}, abs=1e-6
    )


def test_answers_that_are_no_finite_numbers_have_no_score() -> None:
    tally = SemanticSegmentation(LEGEND).tally()
    targets = torch.tensor([[[0, 1], [2, IGNORE]]])
    tally.add(scores_for(targets.clamp(min=0)), targets)
    names = tally.metrics().keys()
    tally.add(torch.full((1, 3, 2, 2), math.nan), targets)
    assert tally.metrics().keys() == names
    assert all(map(math.isnan, tally.metrics().values()))


def test_with_another_loss_it_is_the_same_task() -> None:
    task = SemanticSegmentation(LEGEND, decoder="fpn", losses=("focal", "lovasz"))
    weights = torch.tensor([1.0, 2.0, 3.0])
    other = task.with_loss(label_smoothing=0.1, class_weights=weights)
    assert (other.legend, other.decoder, other.losses) == (LEGEND, "fpn", ("focal", "lovasz"))
    assert (other.loss_settings.class_weights, other.loss_settings.label_smoothing) == (
        weights,
        0.1,
    )


def test_unknown_decoders_and_losses_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean `segformer`"):
        SemanticSegmentation(LEGEND, decoder="segforme")
    with pytest.raises(ConfigError, match="Did you mean `lovasz`"):
        SemanticSegmentation(LEGEND, losses=("lovas",))
