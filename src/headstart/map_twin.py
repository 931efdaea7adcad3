"""The frozen twin of a backbone that gives feature maps, for caches and classifiers of pixels.

Wiring of model and compute; knows no task, no strategy and no data.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.compute import FrozenTwin
from headstart.contracts import ComputeFormat
from headstart.map_shape import MapShape
from headstart.model import DenseModel


class _Rows(nn.Module):
    """The maps of a model's backbone as rows, see `MapShape`."""

    def __init__(self, model: DenseModel) -> None:
        super().__init__()
        self.model = model
        shape = model.head.shape
        assert isinstance(shape, MapShape)
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) raw values -> (B, length)."""
        return self.shape.flat(self.model.embed(images))


class MapTwin:
    """Gives the feature maps of pictures, of a backbone that does not learn.

    Args:
        model: On its device; its decoder is not used but for the sizes that it takes.
        compute_format: How to compute.
        example: One input (1, bands, H, W), on the device.

    Attributes:
        shape: Of the maps.
        divisor: Pictures are enlarged to multiples of this, as the model does it.
        dtype: That the maps are computed in.
    """

    def __init__(
        self, model: DenseModel, compute_format: ComputeFormat, *, example: Tensor
    ) -> None:
        rows = _Rows(model)
        self.shape = rows.shape
        self.divisor = model.divisor
        self.device = example.device
        self.dtype: torch.dtype = getattr(torch, compute_format.dtype)
        self._twin = FrozenTwin(rows, compute_format, example=example)

    def rows(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) raw, on any device -> (B, length) float32, on its device."""
        return self._twin(images.to(self.device, non_blocking=True))

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """The sides of a picture as enlarged."""
        return height + -height % self.divisor, width + -width % self.divisor

    def maps(self, images: Tensor) -> list[Tensor]:
        """images: (B, bands, H, W) raw -> maps (B, C, h, w) float32, fine to coarse."""
        return self.shape.maps(self.rows(images), *self.padded(*images.shape[2:]))
