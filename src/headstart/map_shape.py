"""Feature maps of several sizes as one row of numbers, which is what caches and batches hold.

Knows tensors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MapShape:
    """What the feature maps of a backbone are like, and how they become one row of numbers.

    Rows are what caches and batches hold. Within a row each map lies pixel by pixel, its channels
    together, which is the memory layout that convolutions on CPUs are fastest in.

    Attributes:
        channels: Of the maps, fine to coarse.
        strides: Of the maps.

    Example:
        >>> shape = MapShape((2, 3), (1, 2))
        >>> maps = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 2, 2)]
        >>> shape.flat(maps).shape, shape.length(4, 4)
        (torch.Size([1, 44]), 44)
        >>> [level.shape[1:] for level in shape.maps(shape.flat(maps), 4, 4)]
        [torch.Size([2, 4, 4]), torch.Size([3, 2, 2])]
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def sizes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(rows, columns, channels) of each map of a picture, whose sides the strides divide."""
        pairs = zip(self.channels, self.strides, strict=True)
        return [(height // s, width // s, c) for c, s in pairs]

    def length(self, height: int, width: int) -> int:
        """Numbers in the row of a picture."""
        return sum(rows * columns * c for rows, columns, c in self.sizes(height, width))

    def flat(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, h, w) -> (B, length)."""
        return torch.cat([level.permute(0, 2, 3, 1).flatten(1) for level in maps], dim=1)

    def maps(self, rows: Tensor, height: int, width: int) -> list[Tensor]:
        """(B, length) of pictures (height, width) -> maps (B, C, h, w), channels last."""
        sizes = self.sizes(height, width)
        parts = torch.split(rows, [h * w * c for h, w, c in sizes], dim=1)
        return [
            part.reshape(-1, *size).permute(0, 3, 1, 2)
            for part, size in zip(parts, sizes, strict=True)
        ]
