"""Convolutions padded as for pictures of one size, whatever the size of a picture is."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from headstart.backbones.fixed_padding import PaddedConv2d, fix_paddings


def _efficientnet() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model("tf_efficientnet_b0", num_classes=0).eval()
    return model


def test_paddings_are_those_of_the_size_that_is_named() -> None:
    # Worked out by hand from the sizes 380, 190, 95, 48, 24, 12; 95 and 48 pad other sides.
    model = _efficientnet()
    fix_paddings(model, 380)
    sides = [m.sides for m in model.modules() if isinstance(m, PaddedConv2d)]
    assert [(before, behind) for before, behind, *_ in sides] == [
        (0, 1),
        (0, 1),
        (2, 2),
        (0, 1),
        (1, 2),
    ]


@torch.no_grad()
def test_pictures_of_that_size_are_seen_as_before_and_others_are_not() -> None:
    before, after = _efficientnet(), _efficientnet()
    fix_paddings(after, 380)
    picture, other = torch.randn(1, 3, 380, 380), torch.randn(1, 3, 256, 256)
    torch.testing.assert_close(before(picture), after(picture))
    assert not torch.allclose(before(other), after(other))


def test_names_and_values_of_all_tensors_stay() -> None:
    before, after = _efficientnet(), _efficientnet()
    fix_paddings(after, 380)
    old, new = before.state_dict(), after.state_dict()
    assert list(old) == list(new)
    assert all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (160, 32)])
@torch.no_grad()
def test_maps_have_the_sizes_that_the_strides_say(height: int, width: int) -> None:
    model = _efficientnet()
    fix_paddings(model, 380)
    maps = model.forward_intermediates(  # type: ignore[operator] # timm's
        torch.randn(1, 3, height, width), intermediates_only=True
    )
    assert [tuple(level.shape[2:]) for level in maps] == [
        (height // s, width // s) for s in (2, 4, 8, 16, 32)
    ]
