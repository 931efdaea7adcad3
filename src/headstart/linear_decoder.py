"""The decoder of the probe: one linear classifier of single pixels, on all maps of a backbone.

Knows tensors only: how it is fitted is told in `fitting.mask_probe`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.map_shape import MapShape

# Its name in runs. It is no row of DECODERS, since no strategy trains it.
LINEAR = "linear"


class LinearDecoder(nn.Module):
    """One linear classifier of single pixels, on all maps enlarged to the size of the picture.

    Enlarging is linear too, so that each map is narrowed to the classes first, and only the sum of
    scores is enlarged. It starts at 0; `load` gives it the weights of a fit.

    Args:
        channels: Of the maps, fine to coarse.
        strides: Of the maps.
        num_classes: K.

    Attributes:
        divisor: The sides of the picture must be multiples of this.
        shape: Of the maps that it takes.

    Source: Hariharan, Arbeláez, Girshick and Malik, "Hypercolumns for Object Segmentation and
    Fine-grained Localization" (CVPR 2015), section 3.
    """

    def __init__(
        self, *, channels: Sequence[int], strides: Sequence[int], num_classes: int
    ) -> None:
        super().__init__()
        self.description = {
            "kind": "decoder",
            "name": LINEAR,
            "channels": list(channels),
            "strides": list(strides),
            "num_classes": num_classes,
        }
        self.divisor = max(strides)
        self.shape = MapShape(tuple(channels), tuple(strides))
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(num_classes, c)) for c in channels)
        self.bias = nn.Parameter(torch.zeros(num_classes))

    @torch.no_grad()
    def load(self, weight: Tensor, bias: Tensor) -> None:
        """Set all: weight (K, sum of the channels) of the maps fine to coarse, bias (K,)."""
        parts = torch.split(weight, list(self.shape.channels), dim=1)
        for own, part in zip(self.weights, parts, strict=True):
            own.copy_(part)
        self.bias.copy_(bias)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps (B, C, h, w), fine to coarse -> logits (B, K, H, W)."""
        stride = self.shape.strides[0]
        size = (levels[0].shape[2] * stride, levels[0].shape[3] * stride)
        # In float32 also in a bfloat16 copy: the scores are small differences of large sums.
        total = self.bias[None, :, None, None].float()
        for level, weight in zip(levels, self.weights, strict=True):
            scores = F.conv2d(level.float(), weight[:, :, None, None].float())
            total = total + F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return total
