"""What every row of DECODERS promises, and how pyramids of each kind fit."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from headstart.decoders import (
    DECODERS,
    build_decoder,
    describe_decoder,
    make_decoder,
)
from headstart.errors import ConfigError, RunError

PYRAMIDS = {
    "five levels": ([8, 12, 16, 24, 32], [2, 4, 8, 16, 32]),
    "from a quarter": ([12, 16, 24, 32], [4, 8, 16, 32]),
    "from full size": ([8, 8, 12, 16, 24], [1, 2, 4, 8, 16]),
    "plain transformer": ([24, 24, 24, 24], [16, 16, 16, 16]),
    "patches of 14": ([24, 24, 24, 24], [14, 14, 14, 14]),
}


def maps_for(channels: list[int], strides: list[int], *, height: int, width: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, c, height // s, width // s, generator=generator)
        for c, s in zip(channels, strides, strict=True)
    ]


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_each_decoder_answers_on_a_quarter_of_the_size_or_finer(name: str, pyramid: str) -> None:
    channels, strides = PYRAMIDS[pyramid]
    decoder = make_decoder(name, channels=channels, strides=strides, num_classes=3)
    height, width = 2 * decoder.divisor, 3 * decoder.divisor
    # In training mode, on a single picture: norms over a batch of one pixel would fail.
    logits = decoder.train()(maps_for(channels, strides, height=height, width=width))
    assert logits.shape[:2] == (1, 3)
    assert 4 * logits.shape[2] >= height
    assert logits.shape[2] * width == logits.shape[3] * height
    logits.square().mean().backward()
    assert all(p.grad is not None for p in decoder.classifier.parameters())


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_a_decoder_is_built_again_from_its_description_and_weights(name: str) -> None:
    channels, strides = PYRAMIDS["five levels"]
    decoder = make_decoder(name, channels=channels, strides=strides, num_classes=2).eval()
    again = build_decoder(json.loads(json.dumps(describe_decoder(decoder)))).eval()
    again.load_state_dict(decoder.state_dict())
    maps = maps_for(channels, strides, height=64, width=64)
    assert torch.equal(again(maps), decoder(maps))


def test_the_seed_decides_the_weights_and_nothing_else_is_drawn() -> None:
    channels, strides = PYRAMIDS["from a quarter"]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    made = [
        make_decoder("fpn", channels=channels, strides=strides, num_classes=2, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(torch.random.get_rng_state(), before)
    first, same, other = (decoder.decoder.p5.weight for decoder in made)  # type: ignore[union-attr]
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_an_unknown_decoder_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean `unet"):
        make_decoder("unett", channels=[8, 8], strides=[2, 4], num_classes=2)


def test_maps_that_are_not_halved_each_time_are_refused_with_their_strides() -> None:
    with pytest.raises(ConfigError, match="strides of 2, 4, 16"):
        make_decoder("unet", channels=[8, 8, 8], strides=[2, 4, 16], num_classes=2)


@pytest.mark.parametrize("name", [name for name in DECODERS if name != "unet"])
def test_what_cannot_be_made_of_coarse_maps_names_the_unet_which_can(name: str) -> None:
    with pytest.raises(ConfigError, match="--decoder unet"):
        make_decoder(name, channels=[8, 8, 8], strides=[8, 16, 32], num_classes=2)
    decoder = make_decoder("unet", channels=[8, 8, 8], strides=[8, 16, 32], num_classes=2)
    maps = maps_for([8, 8, 8], [8, 16, 32], height=64, width=32)
    assert decoder(maps).shape == (1, 2, 64, 32)


def test_a_decoder_of_a_later_version_is_refused() -> None:
    with pytest.raises(RunError, match="does not know"):
        build_decoder({"kind": "decoder", "name": "mask2former"})
