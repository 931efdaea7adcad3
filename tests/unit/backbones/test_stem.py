from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from headstart.backbones import build_unset_backbone, load_backbone
from headstart.backbones.pyramid import as_pyramid
from headstart.backbones.stem import (
    adapt_stem,
    frozen_stem_warning,
    origins,
    stem_is_adapted,
)
from headstart.contracts import Backbone, BackboneSpec
from headstart.data.bands import wavelength
from headstart.errors import ConfigError
from headstart.model import PictureModel
from headstart.strategies import StrategySettings, make_strategy

RED, GREEN, BLUE = range(3)


def trained(name: str = "test_resnet") -> Backbone:
    """Weights that pretend to be trained, as none can be fetched here."""
    torch.manual_seed(0)
    backbone = load_backbone(name, weights="random")
    spec = BackboneSpec(**{**backbone.spec.to_json(), "weights": "file.safetensors"})
    return Backbone(spec, backbone.contract, backbone.module, backbone.layer_groups)


def filters(backbone: Backbone, name: str = "conv1.0.weight") -> Tensor:
    return dict(backbone.module.named_parameters())[name].detach()


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return trained()


def test_a_band_that_is_known_has_its_own_filter_whatever_it_is_called(backbone: Backbone) -> None:
    old = filters(backbone)
    adapted = adapt_stem(backbone, ["B02", "green", "B04", "B08"])
    new = filters(adapted)
    for place, colour in enumerate((BLUE, GREEN, RED, RED)):
        assert torch.allclose(new[:, place], old[:, colour] * 3 / 4)
    assert adapted.contract.bands == ("B02", "green", "B04", "B08")


def test_bands_between_two_are_mixed_by_wavelength(backbone: Backbone) -> None:
    old = filters(backbone)
    new = filters(adapt_stem(backbone, ["B03", "yellow"]))
    low, high, yellow = (wavelength(name) for name in ("G", "R", "yellow"))
    assert low is not None
    assert high is not None
    assert yellow is not None
    share = (yellow - low) / (high - low)
    expected = ((1 - share) * old[:, GREEN] + share * old[:, RED]) * 3 / 2
    assert torch.allclose(new[:, 1], expected, atol=1e-6)


def test_bands_beyond_all_have_the_nearest_and_unknown_ones_the_mean(backbone: Backbone) -> None:
    old = filters(backbone)
    new = filters(adapt_stem(backbone, ["coastal", "swir16", "3", "VV"]))
    assert torch.allclose(new[:, 0], old[:, BLUE] * 3 / 4)
    assert torch.allclose(new[:, 1], old[:, RED] * 3 / 4)
    for place in (2, 3):  # a number is no place: the third is not taken for blue
        assert torch.allclose(new[:, place], old.mean(dim=1) * 3 / 4)


def test_a_single_band_answers_as_a_grey_photo(backbone: Backbone) -> None:
    grey = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        expected = backbone.module(grey.expand(-1, 3, -1, -1))
        found = adapt_stem(backbone, ["red"]).module(grey)
    assert torch.allclose(found, expected, atol=1e-5)


def test_what_all_bands_share_is_answered_as_before(backbone: Backbone) -> None:
    grey = torch.randn(2, 1, 64, 64)
    doubled = adapt_stem(backbone, ["B04", "B03", "B02", "red_2", "band_5", "band_6"])
    with torch.no_grad():
        expected = backbone.module(grey.expand(-1, 3, -1, -1))
        found = doubled.module(grey.expand(-1, 6, -1, -1))
    assert torch.allclose(found, expected, atol=1e-5)


def test_another_order_changes_nothing_but_the_order(backbone: Backbone) -> None:
    photo = torch.randn(2, 3, 64, 64)
    swapped = adapt_stem(backbone, ["B02", "B03", "B04"])
    with torch.no_grad():
        assert torch.allclose(swapped.module(photo.flip(1)), backbone.module(photo), atol=1e-6)
    assert not stem_is_adapted(swapped)
    assert swapped.contract.mean == backbone.contract.mean[::-1]


def test_weights_that_know_the_bands_give_their_own_filters(backbone: Backbone) -> None:
    satellite = adapt_stem(backbone, ["B02", "B03", "B04", "B08"])
    again = adapt_stem(satellite, ["nir", "B04", "B11"], sensor="sentinel-2")
    four, three = filters(satellite), filters(again)
    assert torch.allclose(three[:, 0], four[:, 3] * 4 / 3)
    assert torch.allclose(three[:, 1], four[:, 2] * 4 / 3)
    assert torch.allclose(three[:, 2], four[:, 3] * 4 / 3)  # B11 lies beyond: from B08
    assert adapt_stem(satellite, satellite.contract.bands) is satellite


def test_b5_is_what_its_sensor_says() -> None:
    (origin, _) = origins("RGB", ["B3", "B5"], sensor="landsat-8")
    assert origin.shares == {"G": 1.0}
    (origin, _) = origins("RGB", ["B3", "B5"], sensor="landsat-7")
    assert origin.shares == {"R": 1.0}


def test_it_is_built_again_from_its_spec_alone(backbone: Backbone) -> None:
    adapted = adapt_stem(backbone, [f"band_{i}" for i in range(13)])
    spec = BackboneSpec.from_json(adapted.spec.to_json())
    again = build_unset_backbone(spec)
    again.load_state_dict(adapted.module.state_dict())
    again.eval()
    images = torch.randn(1, 13, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(images), adapted.module(images))
    assert stem_is_adapted(adapted)


def test_what_stays_as_it_was_made_is_warned_about(backbone: Backbone) -> None:
    assert frozen_stem_warning(backbone) == ""
    told = frozen_stem_warning(adapt_stem(backbone, ["B03", "B08"]))
    assert "(B03 as G; B08 from R)" in told
    assert "points of mean IoU" in told


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_nfnet", "repvgg_a0"])
def test_stems_of_all_kinds_are_found(name: str) -> None:
    adapted = adapt_stem(trained(name), ["B04", "B03", "B02", "B08"])
    side = adapted.contract.height
    with torch.no_grad():
        assert adapted.module(torch.randn(1, 4, side, side)).isfinite().all()


def test_a_stem_that_moves_pixels_into_channels_is_refused(backbone: Backbone) -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.ModuleList([nn.Conv2d(48, 16, 3)])

    odd = Backbone(backbone.spec, backbone.contract, Blocks(), ())
    with pytest.raises(ConfigError, match=r"does not see bands one by one.*--bands red,green,blue"):
        adapt_stem(odd, ["red", "nir"])


def test_random_weights_have_nothing_to_start_from() -> None:
    torch.manual_seed(0)
    plain = load_backbone("test_resnet", weights="random")
    adapted = adapt_stem(plain, ["B04", "B03", "B02", "B08"])
    assert not stem_is_adapted(adapted)
    assert filters(adapted).shape[1] == 4
    assert not torch.allclose(filters(adapted)[:, 0], filters(adapted)[:, 3])


@pytest.mark.parametrize("strategy", ["head", "gradual", "full"])
@pytest.mark.parametrize("is_pyramid", [False, True])
def test_an_adapted_stem_learns_from_the_first_epoch_on(
    backbone: Backbone, strategy: str, is_pyramid: bool
) -> None:
    adapted = adapt_stem(backbone, ["B04", "B03", "B02", "B08"])
    if is_pyramid:
        adapted = as_pyramid(adapted)
    model = PictureModel(adapted, nn.Linear(adapted.spec.num_features, 2))
    chosen = make_strategy(strategy, StrategySettings(("a", "b")))
    groups = chosen.prepare(model)
    chosen.on_epoch(model, 0, num_epochs=10)
    chosen.train_mode(model)
    named = dict(model.backbone.named_parameters())
    (name,) = model.stem
    assert named[name].shape[1] == 4
    assert named[name].requires_grad
    (stem,) = (group for group in groups if group.name == "stem")
    assert (stem.lr_scale, [id(p) for p in stem.parameters]) == (1.0, [id(named[name])])
    every = [id(p) for group in groups for p in group.parameters]
    assert len(every) == len(set(every))
    if strategy == "head":
        others = [n for n, p in named.items() if p.requires_grad and n != name]
        assert others == []
        norms = [m for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
        assert not any(norm.training for norm in norms)


def test_a_backbone_as_it_came_has_no_stem_to_train(backbone: Backbone) -> None:
    model = PictureModel(backbone, nn.Linear(backbone.spec.num_features, 2))
    assert model.stem == ()
    groups = make_strategy("head", StrategySettings(("a", "b"))).prepare(model)
    assert {group.name for group in groups} <= {"head", "head.no_decay"}
