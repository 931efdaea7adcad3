"""Backbones that give feature maps of several sizes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from headstart.backbones import build_backbone, load_backbone
from headstart.backbones.pyramid import Pyramid, as_pyramid, gives_pyramid
from headstart.contracts import BackboneSpec
from headstart.errors import ConfigError

ARCHITECTURES = ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"]


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_maps_have_the_channels_and_strides_that_the_spec_tells(name: str) -> None:
    plain = load_backbone(name, weights="random")
    pyramid = as_pyramid(plain)
    levels = pyramid.spec.arguments["pyramid"]
    assert gives_pyramid(plain)
    assert not gives_pyramid(pyramid)
    assert levels["strides"] == sorted(levels["strides"])
    for height, width in ((64, 96), (224, 160)):
        maps = pyramid.module(torch.randn(2, 3, height, width))
        assert [tuple(m.shape) for m in maps] == [
            (2, c, height // s, width // s)
            for c, s in zip(levels["channels"], levels["strides"], strict=True)
        ]


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_maps_are_those_of_the_backbone_which_is_left_as_it_was(name: str) -> None:
    plain = load_backbone(name, weights="random")
    before = {key: value.clone() for key, value in plain.module.state_dict().items()}
    pyramid = as_pyramid(plain)
    images = torch.randn(1, 3, 160, 160)
    places = pyramid.spec.arguments["pyramid"]["places"]
    expected = plain.module.forward_intermediates(  # type: ignore[operator] # timm's
        images, indices=places, intermediates_only=True
    )
    for found, wanted in zip(pyramid.module(images), expected, strict=True):
        assert torch.equal(found, wanted)
    after = plain.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_parameter_that_is_left_learns_and_is_in_one_layer_group(name: str) -> None:
    pyramid = as_pyramid(load_backbone(name, weights="random"))
    sum(m.square().mean() for m in pyramid.module(torch.randn(1, 3, 64, 64))).backward()
    parameters = dict(pyramid.module.named_parameters())
    assert all(p.grad is not None for p in parameters.values())
    assert sorted(n for group in pyramid.layer_groups for n in group) == sorted(parameters)


def test_a_projection_after_the_last_map_is_gone() -> None:
    plain = load_backbone("test_efficientnet", weights="random")
    pyramid = as_pyramid(plain)
    assert {"conv_head", "bn2"} <= set(pyramid.spec.arguments["pyramid"]["unused"])
    assert len(list(pyramid.module.parameters())) == len(list(plain.module.parameters())) - 3


@pytest.mark.parametrize("name", ["test_efficientnet", "vit_tiny_patch16_224"])
@torch.no_grad()
def test_its_spec_alone_builds_the_module_that_its_weights_fit(name: str) -> None:
    pyramid = as_pyramid(load_backbone(name, weights="random"))
    spec = BackboneSpec.from_json(json.loads(json.dumps(pyramid.spec.to_json())))
    again = build_backbone(spec).eval()
    again.load_state_dict(pyramid.module.state_dict())
    images = torch.randn(1, 3, 96, 128)
    for found, wanted in zip(again(images), pyramid.module(images), strict=True):
        assert torch.equal(found, wanted)


@torch.no_grad()
def test_a_transformer_for_one_size_is_made_to_take_any() -> None:
    plain = load_backbone("vit_tiny_patch16_224", weights="random")
    pyramid = as_pyramid(plain)
    assert [m.shape[2:] for m in pyramid.module(torch.randn(1, 3, 64, 96))] == [(4, 6)] * 4
    places = pyramid.spec.arguments["pyramid"]["places"]
    images = torch.randn(1, 3, 224, 224)
    expected = plain.module.forward_intermediates(  # type: ignore[operator] # timm's
        images, indices=places, intermediates_only=True
    )
    torch.testing.assert_close(pyramid.module(images), expected)


def test_parameters_that_nothing_depends_on_become_buffers_of_the_same_name() -> None:
    trunk = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    pyramid = Pyramid(trunk, [0], ["0.bias", "1"])
    assert set(pyramid.state_dict()) == {"trunk.0.weight", "trunk.0.bias"}
    assert [name for name, _ in pyramid.named_parameters()] == ["trunk.0.weight"]


def test_a_backbone_without_stages_is_refused() -> None:
    plain = load_backbone("test_resnet", weights="random")
    with pytest.raises(ConfigError, match="does not give the outputs of its stages"):
        as_pyramid(replace(plain, module=nn.Flatten()))


def test_a_backbone_for_one_size_is_refused_with_its_size() -> None:
    plain = load_backbone("test_resnet", weights="random")

    class OneSize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward_intermediates(self, images: torch.Tensor, **_: object) -> list[torch.Tensor]:
            raise AssertionError("Input height (224) doesn't match model (160).")

    with pytest.raises(ConfigError, match=r"other sizes than 160 x 160 \(Input height"):
        as_pyramid(replace(plain, module=OneSize()))
