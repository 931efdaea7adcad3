from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headstart.backbones import load_backbone, load_text_backbone
from headstart.errors import ConfigError
from headstart.model import LabelModel, Normalise
from headstart.strategies import StrategySettings, make_strategy

pytest.importorskip("peft", reason="needs the extra `text`")

SETTINGS = StrategySettings(classes=("a", "b"))


def text_model(family: str, folder: Path) -> tuple[LabelModel, Tensor]:
    from tiny_language_models import write_model

    backbone = load_text_backbone(str(write_model(family, folder)))
    head = make_strategy("lora", SETTINGS).new_head(backbone)
    ids = torch.tensor([[2, 9, 14, 3], [2, 30, 3, -1]])
    return LabelModel(backbone, head, before=nn.Identity()).eval(), ids


def picture_model(name: str) -> tuple[LabelModel, Tensor]:
    backbone = load_backbone(name, weights="random")
    head = make_strategy("lora", SETTINGS).new_head(backbone)
    side = backbone.contract.height
    pictures = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    return LabelModel(backbone, head, before=Normalise(backbone.contract)).eval(), pictures


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "vit"])
@torch.no_grad()
def test_the_merged_model_predicts_as_the_unmerged_one(family: str, tmp_path: Path) -> None:
    model, inputs = picture_model("test_vit") if family == "vit" else text_model(family, tmp_path)
    for parameter in model.head.parameters():  # one that was fitted says something
        nn.init.normal_(parameter)
    names, before = list(model.state_dict()), model(inputs)
    strategy = make_strategy("lora", SETTINGS)
    groups = strategy.prepare(model)
    assert torch.allclose(model(inputs), before, atol=1e-5)  # changes begin at nothing
    for parameter in groups[-1].parameters:
        nn.init.normal_(parameter, std=0.1)
    unmerged = model(inputs)
    assert not torch.allclose(unmerged, before, atol=1e-2)
    strategy.finish(model)
    assert list(model.state_dict()) == names
    assert torch.allclose(model(inputs), unmerged, atol=1e-3)


def test_low_rank_changes_and_the_head_learn_and_nothing_else(tmp_path: Path) -> None:
    model, _ = text_model("bert", tmp_path)
    strategy = make_strategy("lora", SETTINGS)
    again: list[Any] = [strategy.prepare(model), strategy.prepare(model)]
    assert [len(group.parameters) for group in again[0]] == [
        len(group.parameters) for group in again[1]
    ]
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning
    assert all(name.startswith("head.") or ".lora_" in name for name in learning)
    assert any(name.startswith("head.") for name in learning)
    assert any(".lora_" in name for name in learning)
    num_learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert num_learning < sum(p.numel() for p in model.parameters()) / 2


def test_a_backbone_without_linear_layers_is_refused() -> None:
    model, _ = picture_model("test_resnet")
    with pytest.raises(ConfigError, match="has none: it is no transformer"):
        make_strategy("lora", SETTINGS).prepare(model)
