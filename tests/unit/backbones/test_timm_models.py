"""Backbones of many kinds: pooled features, a classifier that fits them, groups, and rebuilding."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from headstart.backbones import (
    build_backbone,
    build_unset_backbone,
    list_models,
    load_backbone,
    pull,
)
from headstart.contracts import BackboneSpec
from headstart.errors import ConfigError, UnreachableError, WeightsError

State = Callable[..., dict[str, torch.Tensor]]

# One of each family that users ask for, the smallest of it. VGG has no small one (its
# file would be 500 MB) and has a test of its own below.
ARCHITECTURES = (
    "test_resnet",
    "test_vit",
    "test_convnext",
    "test_efficientnet",
    "test_byobnet",
    "test_nfnet",
    "test_maxvit",
    "swin_tiny_patch4_window7_224",
    "mobilenetv3_small_050",
    "regnety_002",
    "inception_v3",
)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_keeps_the_contract_of_backbones(
    name: str, tmp_path: Path, random_state: State
) -> None:
    state = random_state(name)
    original = timm.create_model(name)
    original.load_state_dict(state)
    save_file(state, tmp_path / "w.safetensors")
    backbone = load_backbone(name, weights=str(tmp_path / "w.safetensors"))

    contract = backbone.contract
    shape = (2, 3, contract.height, contract.width)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = backbone.module(images)
        assert features.shape == (2, backbone.spec.num_features)
        assert backbone.pretrained_head is not None
        logits = backbone.pretrained_head(features)
        torch.testing.assert_close(logits, original.eval()(images), rtol=1e-4, atol=1e-4)
    assert len(backbone.pretrained_classes) == len(set(backbone.pretrained_classes)) == 1000

    grouped = [parameter for group in backbone.layer_groups for parameter in group]
    assert sorted(grouped) == sorted(n for n, _ in backbone.module.named_parameters())
    assert len(backbone.layer_groups) >= 3
    first_parameter = next(n for n, p in backbone.module.named_parameters() if p.ndim == 4)
    assert first_parameter in backbone.layer_groups[0], "the stem comes first"

    spec = BackboneSpec.from_json(backbone.spec.to_json())
    rebuilt = build_unset_backbone(spec).eval()
    rebuilt.load_state_dict(backbone.module.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(images), features)


def test_a_rebuilt_backbone_has_random_weights_and_the_same_structure(random_state: State) -> None:
    backbone = load_backbone("test_vit", weights="random")
    rebuilt = build_backbone(backbone.spec)
    mine, theirs = backbone.module.state_dict(), rebuilt.state_dict()
    assert {n: t.shape for n, t in mine.items()} == {n: t.shape for n, t in theirs.items()}
    assert not torch.equal(mine["blocks.0.attn.qkv.weight"], theirs["blocks.0.attn.qkv.weight"])


def test_weights_that_are_not_drawn_leave_the_random_state_alone() -> None:
    spec = load_backbone("test_convnext", weights="random").spec
    before = torch.get_rng_state()
    build_unset_backbone(spec)
    assert torch.equal(torch.get_rng_state(), before)


def test_vgg_gives_the_features_before_its_last_layer() -> None:
    backbone = load_backbone("vgg11", weights="random")
    assert backbone.spec.num_features == 4096
    assert len(backbone.layer_groups) == 8 + 1, "eight convolutions, then the first two dense ones"


def test_the_contract_is_that_of_the_weights() -> None:
    one = load_backbone("timm:test_resnet", weights="random").contract
    cfg = timm.get_pretrained_cfg("test_resnet")
    assert (one.mean, one.std, one.height) == (cfg.mean, cfg.std, cfg.input_size[1])
    clip = load_backbone("test_vit", weights="random").contract
    assert clip.crop_fraction == timm.get_pretrained_cfg("test_vit").crop_pct


def test_a_tag_chooses_among_weights() -> None:
    from headstart.backbones.timm_models import weights_of
    from headstart.progress import Progress

    assert weights_of("resnet50.a1_in1k", Progress())[0] == "hf://timm/resnet50.a1_in1k"
    with pytest.raises(
        ConfigError, match=r"no weights `a9_in1k` for `resnet50`.*`resnet50\.a3_in1k`"
    ):
        load_backbone("resnet50.a9_in1k")


def test_random_weights_need_no_network_and_bring_no_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    backbone = load_backbone("timm:test_vit", weights="random")
    assert backbone.spec.weights == "random"
    assert backbone.pretrained_head is None
    assert backbone.pretrained_classes == ()


def test_the_published_weights_are_asked_of_the_hub(
    hub: Any, random_state: State, tmp_path: Path
) -> None:
    save_file(random_state("test_resnet"), tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    with pytest.raises(WeightsError, match=r"knows no model repository `timm/test_resnet"):
        load_backbone("timm:test_resnet")
    hub.add("timm/test_resnet.r160_in1k", "model.safetensors", content)
    backbone = load_backbone("timm:test_resnet")
    assert backbone.spec.weights == "hf://timm/test_resnet.r160_in1k"
    assert backbone.pretrained_classes[1] == "goldfish, Carassius auratus"
    hub.fault = "broken"
    assert pull("timm:test_resnet").is_file()
    cards = {card.name: card for card in list_models("test_resnet")}
    assert cards["timm:test_resnet.r160_in1k"].is_here


def test_names_of_the_authors_go_through_timm_s_converter(
    tmp_path: Path, random_state: State
) -> None:
    state = random_state("test_vit", num_classes=1000)
    theirs = {**state, "mask_token": torch.zeros(1, 64)}  # as DINOv2's files have it
    save_file(theirs, tmp_path / "w.safetensors")
    backbone = load_backbone("test_vit", weights=str(tmp_path / "w.safetensors"))
    own = backbone.module.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)


def test_a_classifier_of_other_classes_is_taken_with_them(
    tmp_path: Path, random_state: State
) -> None:
    save_file(random_state("test_resnet", num_classes=4), tmp_path / "w.safetensors")
    backbone = load_backbone("test_resnet", weights=str(tmp_path / "w.safetensors"))
    assert backbone.pretrained_classes == ("class 0", "class 1", "class 2", "class 3")
    assert backbone.pretrained_head is not None


def test_weights_without_a_classifier_give_features_alone(
    tmp_path: Path, random_state: State, recorded: Any, recorder: Any
) -> None:
    save_file(random_state("test_resnet", num_classes=0), tmp_path / "w.safetensors")
    path = str(tmp_path / "w.safetensors")
    backbone = load_backbone("test_resnet", weights=path, progress=recorded)
    assert backbone.pretrained_head is None
    assert "does not say what input it expects" in recorder.text
    build_backbone(backbone.spec).load_state_dict(backbone.module.state_dict())


def test_weights_of_another_architecture_are_refused_with_the_tensors(
    tmp_path: Path, random_state: State
) -> None:
    save_file(random_state("test_vit"), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"do not fit the architecture `test_resnet") as error:
        load_backbone("test_resnet", weights=str(tmp_path / "w.safetensors"))
    assert "missing: `conv1" in str(error.value)
    assert "unexpected: `blocks.0" in str(error.value)


def test_weights_from_a_repository_bring_its_contract(tiny_repository: Any) -> None:
    backbone = load_backbone("test_resnet", weights="hf://org/tiny")
    assert backbone.contract.mean == (0.1, 0.2, 0.3)
    assert backbone.pretrained_classes == ("ant", "bee", "wasp")
    with pytest.raises(WeightsError, match="are for the architecture `test_resnet`"):
        load_backbone("test_vit", weights="hf://org/tiny")


def test_a_classifier_that_is_more_than_a_layer_on_the_features_is_left_out(
    tmp_path: Path, random_state: State, recorded: Any, recorder: Any
) -> None:
    name = "deit_tiny_distilled_patch16_224"  # two classifiers, averaged
    save_file(random_state(name), tmp_path / "w.safetensors")
    path = str(tmp_path / "w.safetensors")
    backbone = load_backbone(name, weights=path, progress=recorded)
    assert backbone.pretrained_head is None
    assert "`as-is` is not possible" in recorder.text


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("resnet5O", "Did you mean `resnet50`"),
        ("efficientnet-lite9", "Did you mean `efficientnet-lite"),
        ("tim:resnet50", "no `tim`. Did you mean `timm`"),
    ],
)
def test_a_mistyped_backbone_gets_the_nearest_names(reference: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_backbone(reference)


def test_a_spec_of_an_unknown_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="no source of backbones `tim`"):
        build_backbone(BackboneSpec("tim", "resnet50", 1))


def test_models_are_found_by_words_and_stars(hub_home: Path) -> None:
    assert [card.name for card in list_models("vgg16-hed")] == ["vgg16-hed"]
    names = [card.name for card in list_models("vgg16")]
    assert names[:2] == ["vgg16-hed", "timm:vgg16.tv_in1k"]
    assert "timm:resnet50.a1_in1k" in [card.name for card in list_models("resnet50 a1_")]
    assert all("lite0" in card.name for card in list_models("*lite0*"))
    assert list_models("no-such-thing") == []
    assert len(list_models()) > 1000


def test_neither_torch_nor_timm_is_imported_before_a_backbone_is_needed() -> None:
    code = (
        "import sys, headstart.backbones as b; b.list_models('efficientnet-lite0'); "
        "print({'torch', 'timm', 'huggingface_hub'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


def test_an_unreachable_hub_is_named_with_what_needs_none(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fault = "broken"
    with pytest.raises(UnreachableError, match="--backbone efficientnet-lite0"):
        load_backbone("resnet50")
