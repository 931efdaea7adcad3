"""Paddings that were worked out for pictures of one size, and are used for all.

TensorFlow's "same" padding of a convolution with a stride depends on the size of its input, and
timm works it out anew for each picture. Networks that were trained with the paddings of one size
(`efficientnet_pytorch` with `image_size`, as segmentation_models_pytorch uses it) need those: where
a padding differs, all that comes after is shifted by a pixel. Knows modules only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PaddedConv2d(nn.Conv2d):
    """A convolution whose input is padded differently before and behind.

    Attributes:
        sides: Pixels on the left, right, top and bottom.
    """

    sides: tuple[int, int, int, int] = (0, 0, 0, 0)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, C, H, W) -> (B, out, H', W')."""
        output: Tensor = self._conv_forward(F.pad(images, self.sides), self.weight, self.bias)
        return output


def fix_paddings(module: nn.Module, side: int) -> None:
    """Give all convolutions with a stride the paddings that pictures of a size would have.

    They must come one after the other, which is so where no branch has a stride of its own. Names
    of tensors stay as they are.

    Args:
        module: Changed in place.
        side: Height and width of those pictures, in pixels.
    """
    strided = [
        (name, child)
        for name, child in module.named_modules()
        if isinstance(child, nn.Conv2d) and max(child.stride) > 1
    ]
    for name, old in strided:
        stride, reach = old.stride[0], old.dilation[0] * (old.kernel_size[0] - 1)
        following = math.ceil(side / stride)
        # Source: TensorFlow, `tf.nn.convolution`, padding "SAME".
        total = max((following - 1) * stride + reach + 1 - side, 0)
        before, behind = total // 2, total - total // 2
        with torch.device(old.weight.device):
            new = PaddedConv2d(
                old.in_channels,
                old.out_channels,
                old.kernel_size,  # type: ignore[arg-type] # a pair, as nn.Conv2d keeps it
                stride=stride,
                dilation=old.dilation,  # type: ignore[arg-type]
                groups=old.groups,
                bias=old.bias is not None,
            )
        new.sides = (before, behind, before, behind)
        new.load_state_dict(old.state_dict())
        module.set_submodule(name, new)
        side = following
