"""Decoders that begin with the weights of another one: all of them, or all but the last layer.

Knows decoders only: no backbone, no strategy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from headstart.decoders import Decoder, build_decoder, describe_decoder


def start_decoder(decoder: nn.Module, start: nn.Module | None) -> bool:
    """Give a new decoder the weights of one that came with the backbone, but for the last layer.

    The last layer stays as it was drawn: its classes are others.

    Args:
        decoder: Changed in place.
        start: What the backbone's weights bring, if they bring any.

    Returns:
        Whether it was done: both must be of one kind, on the same maps.
    """
    if not isinstance(decoder, Decoder) or not isinstance(start, Decoder):
        return False
    if _but_classes(decoder) != _but_classes(start):
        return False
    state = {k: v for k, v in start.state_dict().items() if not k.startswith("classifier.")}
    left = decoder.load_state_dict(state, strict=False)
    assert {name.partition(".")[0] for name in left.missing_keys} == {"classifier"}
    return True


@torch.no_grad()
def select_classes(decoder: Decoder, rows: Sequence[int]) -> Decoder:
    """The same decoder answering in some of its classes only.

    The softmax over what is left is the distribution over these classes, given that it is one of
    them.

    Args:
        decoder: Stays as it is.
        rows: Its classes in the new order.
    """
    selected = build_decoder({**describe_decoder(decoder), "num_classes": len(rows)})
    assert isinstance(selected, Decoder)
    state = decoder.state_dict()
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = state[name][list(rows)]
    selected.load_state_dict(state)
    return selected.eval()


def _but_classes(decoder: Decoder) -> dict[str, object]:
    return {key: value for key, value in describe_decoder(decoder).items() if key != "num_classes"}
