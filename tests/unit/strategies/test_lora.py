from __future__ import annotations

from dataclasses import replace
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


def small(name: str) -> nn.Module:
    """One of timm's that multiply by the weights of query, key and value themselves."""
    from timm.models.beit import Beit
    from timm.models.eva import Eva
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    plain = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "num_classes": 0}
    if name == "beit":
        return Beit(**plain, depth=2, num_heads=2, qkv_bias=True)
    if name == "eva":
        return Eva(**plain, depth=2, num_heads=2, qkv_fused=True)
    return SwinTransformerV2(
        img_size=32, patch_size=4, embed_dim=16, depths=(2,), num_heads=(2,), window_size=4,
        num_classes=0,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["beit", "eva", "swin-v2"])
def test_layers_whose_weights_are_read_by_their_owner_learn_too(name: str) -> None:
    torch.manual_seed(0)
    shared = load_backbone("test_vit", weights="random")
    module = small(name).eval()
    for layer in module.modules():
        if isinstance(layer, nn.LayerNorm):  # those of Swin v2 let nothing pass at first
            nn.init.ones_(layer.weight)
    num_features = module(torch.zeros(1, 3, 32, 32)).shape[1]
    backbone = replace(shared, module=module, spec=replace(shared.spec, num_features=num_features))
    head = make_strategy("lora", SETTINGS).new_head(backbone)
    model = LabelModel(backbone, head, before=nn.Identity())
    nn.init.normal_(model.head[-1].weight)
    pictures = torch.randn(2, 3, 32, 32)
    names, before = set(model.state_dict()), model(pictures)
    strategy = make_strategy("lora", SETTINGS)
    changes = strategy.prepare(model)[-1].parameters
    assert torch.allclose(model(pictures), before, atol=1e-5)
    model(pictures).square().sum().backward()
    learning = [p for n, p in model.named_parameters() if ".lora_B" in n]
    assert len(learning) == len(changes) / 2
    assert all(p.grad is not None and bool(p.grad.any()) for p in learning)
    with torch.no_grad():
        for parameter in changes:
            nn.init.normal_(parameter, std=0.1)
        unmerged = model(pictures)
        strategy.finish(model)
        assert set(model.state_dict()) == names
        assert torch.allclose(model(pictures), unmerged, atol=1e-3)


def test_a_layer_whose_dtype_alone_is_asked_for_is_changed_by_peft(tmp_path: Path) -> None:
    from peft.tuners.lora import LoraLayer

    model, _ = text_model("t5", tmp_path)
    make_strategy("lora", SETTINGS).prepare(model)
    outputs = [m for n, m in model.backbone.named_modules() if n.endswith("DenseReluDense.wo")]
    assert outputs
    assert all(isinstance(layer, LoraLayer) for layer in outputs)
