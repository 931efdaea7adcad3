"""The decoder of the probe, and rows of maps."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.decoders import build_decoder, describe_decoder, make_decoder
from headstart.linear_decoder import LINEAR, LinearDecoder
from headstart.map_shape import MapShape

SHAPE = MapShape((3, 4, 5), (2, 4, 8))


def maps_of(shape: MapShape, *, n: int = 2, height: int = 16, width: int = 24) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(n, c, height // s, width // s, generator=generator)
        for c, s in zip(shape.channels, shape.strides, strict=True)
    ]


def decoder_of(shape: MapShape, *, num_classes: int = 3) -> LinearDecoder:
    decoder = make_decoder(
        LINEAR, channels=shape.channels, strides=shape.strides, num_classes=num_classes
    )
    assert isinstance(decoder, LinearDecoder)
    torch.manual_seed(0)
    decoder.load(torch.randn(num_classes, sum(shape.channels)), torch.randn(num_classes))
    return decoder


@torch.no_grad()
def test_it_is_a_linear_layer_on_all_maps_enlarged() -> None:
    decoder, maps = decoder_of(SHAPE), maps_of(SHAPE)
    enlarged = [F.interpolate(m, size=(16, 24), mode="bilinear") for m in maps]
    weight = torch.cat(list(decoder.weights), dim=1)
    wanted = F.conv2d(torch.cat(enlarged, dim=1), weight[:, :, None, None], decoder.bias)
    torch.testing.assert_close(decoder(maps), wanted, rtol=1e-4, atol=1e-4)


def test_it_begins_with_all_classes_alike() -> None:
    decoder = make_decoder(LINEAR, channels=[3, 4, 5], strides=[2, 4, 8], num_classes=3)
    assert torch.equal(decoder(maps_of(SHAPE)), torch.zeros(2, 3, 16, 24))


@torch.no_grad()
def test_it_is_built_again_from_its_description_and_weights() -> None:
    decoder, maps = decoder_of(SHAPE), maps_of(SHAPE)
    again = build_decoder(json.loads(json.dumps(describe_decoder(decoder))))
    again.load_state_dict(decoder.state_dict())
    assert torch.equal(again(maps), decoder(maps))


@torch.no_grad()
def test_its_scores_keep_their_precision_in_a_bfloat16_copy() -> None:
    decoder = decoder_of(SHAPE, num_classes=2)
    maps = [m.bfloat16() + 100 for m in maps_of(SHAPE)]
    exact = decoder([m.float() for m in maps])
    copied = decoder.to(torch.bfloat16)(maps)
    assert copied.dtype == torch.float32
    # Weights are rounded to 8 bits; sums of some hundreds are not.
    assert float((copied - exact).abs().max()) < 2.0**-8 * 100 * 12


@torch.no_grad()
@pytest.mark.parametrize("strides", [(16, 16, 16), (14, 14, 14)])
def test_maps_of_one_size_will_do(strides: tuple[int, int, int]) -> None:
    shape = MapShape((3, 3, 3), strides)
    side = 4 * strides[0]
    assert decoder_of(shape)(maps_of(shape, height=side, width=side)).shape == (2, 3, side, side)


def test_rows_become_the_maps_that_they_were_made_of() -> None:
    maps = maps_of(SHAPE)
    rows = SHAPE.flat(maps)
    assert rows.shape == (2, SHAPE.length(16, 24))
    for before, after in zip(maps, SHAPE.maps(rows, 16, 24), strict=True):
        assert torch.equal(before, after)
        assert after[:1].is_contiguous(memory_format=torch.channels_last)
