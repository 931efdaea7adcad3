"""Features from several depths of a backbone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import headstart
from headstart.backbones import build_backbone, load_backbone
from headstart.backbones.depths import _spread, gives_depths, with_depths
from headstart.contracts import BackboneSpec
from headstart.errors import ConfigError


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
@torch.no_grad()
def test_the_features_of_the_last_layer_are_among_them(name: str) -> None:
    plain = load_backbone(name, weights="random")
    deep = with_depths(plain)
    images = torch.randn(2, 3, plain.contract.height, plain.contract.width)
    features, widths = deep.module(images), deep.spec.arguments["depths"]["widths"]
    assert gives_depths(plain)
    assert not gives_depths(deep)
    assert features.shape == (2, deep.spec.num_features) == (2, sum(widths))
    torch.testing.assert_close(features[:, -widths[-1] :], plain.module(images))
    own = sorted(name for name, _ in deep.module.named_parameters())
    assert sorted(name for group in deep.layer_groups for name in group) == own
    assert len(deep.layer_groups) == len(plain.layer_groups)


@torch.no_grad()
def test_its_spec_alone_builds_the_module_that_its_weights_fit() -> None:
    deep = with_depths(load_backbone("test_efficientnet", weights="random"))
    spec = BackboneSpec.from_json(json.loads(json.dumps(deep.spec.to_json())))
    again = build_backbone(spec).eval()
    again.load_state_dict(deep.module.state_dict())
    images = torch.randn(1, 3, deep.contract.height, deep.contract.width)
    assert torch.equal(again(images), deep.module(images))


def test_of_many_stages_six_are_taken_the_last_among_them() -> None:
    assert _spread(4) == [0, 1, 2, 3]
    assert _spread(12) == [1, 3, 5, 7, 9, 11]
    assert _spread(24)[-1] == 23
    assert len(_spread(13)) <= 6


def test_a_backbone_without_stages_is_refused() -> None:
    plain = load_backbone("test_resnet", weights="random")
    with pytest.raises(ConfigError, match="does not give the outputs of its stages"):
        with_depths(replace(plain, module=nn.Flatten()))


def test_a_run_at_depths_loads_from_its_folder_alone(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    photos = make_photos({"cat": 15, "dog": 15})
    run = headstart.fit(
        photos,
        backbone="test_resnet",
        weights="random",
        strategy="probe",
        features="depths",
        output=tmp_path / "run",
    )
    config = json.loads((run.path / "config.json").read_text())
    widths = config["model"]["backbone"]["arguments"]["depths"]["widths"]
    assert len(widths) > 1
    assert config["model"]["backbone"]["num_features"] == sum(widths)
    test = [str(path) for path in sorted(photos.rglob("*.png"))]
    predicted = headstart.load(run.path).predict(test)
    assert sum(label in id_ for id_, label in zip(test, predicted.labels, strict=True)) >= 27


@pytest.mark.parametrize("strategy", ["auto", "full"])
def test_depths_are_refused_for_what_is_no_probe(strategy: str) -> None:
    with pytest.raises(ConfigError, match=f"for the probe, and the strategy is {strategy}"):
        headstart.fit("nowhere", features="depths", strategy=strategy)
