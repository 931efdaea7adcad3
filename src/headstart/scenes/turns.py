"""A model's answer as the mean over mirrored and turned pictures (test-time augmentation)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from headstart.scenes.spec import Turns

# How often each is turned by a right angle, and whether it is mirrored before.
_TURNS: dict[Turns, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "all": tuple((turn, is_mirrored) for is_mirrored in (False, True) for turn in range(4)),
}


def turned(forward: Callable[[Tensor], Tensor], turns: Turns) -> Callable[[Tensor], Tensor]:
    """Like `forward`, but the mean over all turns.

    Args:
        forward: images (B, bands, h, w) -> probabilities (B, K, h, w).
        turns: Which of them.
    """
    if turns == "none":
        return forward

    def mean(images: Tensor) -> Tensor:
        total: Tensor | None = None
        for turn, is_mirrored in _TURNS[turns]:
            seen = images.flip(-1) if is_mirrored else images
            answer = forward(torch.rot90(seen, turn, (-2, -1)).contiguous())
            back = torch.rot90(answer, -turn, (-2, -1))
            back = back.flip(-1) if is_mirrored else back
            total = back if total is None else total + back
        assert total is not None
        return total / len(_TURNS[turns])

    return mean
