"""Decoders that begin with the weights of another one."""

from __future__ import annotations

import torch

from headstart.decoder_weights import select_classes, start_decoder
from headstart.decoders import Decoder, make_decoder

PYRAMID = {"channels": [4, 8, 8, 8], "strides": [4, 8, 16, 32]}
# As plain transformers give them: a neck makes a pyramid of these.
EVEN = {"channels": [8] * 4, "strides": [16] * 4}


def decoder_of(maps: dict[str, list[int]], *, num_classes: int, seed: int = 0) -> Decoder:
    decoder = make_decoder("unet", **maps, num_classes=num_classes, seed=seed)
    assert isinstance(decoder, Decoder)
    return decoder


def test_all_but_the_last_layer_begins_as_that_of_the_other() -> None:
    for maps in (PYRAMID, EVEN):
        decoder, start = (decoder_of(maps, num_classes=n, seed=n) for n in (2, 5))
        before = decoder.classifier.weight.clone()
        assert start_decoder(decoder, start)
        state = start.state_dict()
        for name, tensor in decoder.state_dict().items():
            if not name.startswith("classifier."):
                assert torch.equal(tensor, state[name]), name
        assert torch.equal(decoder.classifier.weight, before)


def test_a_decoder_on_other_maps_is_no_start() -> None:
    decoder = decoder_of(PYRAMID, num_classes=2)
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    assert not start_decoder(decoder, decoder_of(EVEN, num_classes=2))
    assert not start_decoder(decoder, None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())


@torch.no_grad()
def test_some_classes_are_answered_as_before() -> None:
    decoder = decoder_of(PYRAMID, num_classes=4).eval()
    levels = [torch.randn(1, c, 64 // s, 64 // s) for c, s in zip(*PYRAMID.values(), strict=True)]
    chosen = select_classes(decoder, [3, 1])
    assert torch.equal(chosen(levels), decoder(levels)[:, [3, 1]])
