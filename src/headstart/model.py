"""The module that every task adapts: backbone and head; of pictures normalisation before them.

Knows tensors only: no task, no strategy, no data.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.contracts import Backbone, InputContract


class Normalise(nn.Module):
    """Raw values to what the backbone was trained on, by the input contract.

    It is part of the model, so that training, prediction and export cannot differ in it.
    """

    def __init__(self, contract: InputContract) -> None:
        super().__init__()
        mean = torch.tensor(contract.mean).view(1, -1, 1, 1) * contract.scale
        std = torch.tensor(contract.std).view(1, -1, 1, 1) * contract.scale
        # Not in the weights: the contract itself is saved beside them, as input.json.
        self.register_buffer("shift", mean, persistent=False)
        self.register_buffer("divisor", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) raw values, any dtype -> the same shape, dtype of the model."""
        assert isinstance(self.shift, Tensor)
        assert isinstance(self.divisor, Tensor)
        # In float32 also in a bfloat16 copy: a difference of near numbers loses digits there.
        normalised = (images.float() - self.shift.float()) / self.divisor.float()
        return normalised.to(self.shift.dtype)


class Model(nn.Module):
    """What a task builds: backbone and head. All that the strategies and the engine know of it.

    Attributes:
        backbone: Inputs -> features (B, num_features).
        head: Features -> logits (B, num_classes).
        layer_groups: Names of the backbone's parameters, the group nearest the input first.
        stem: Names of those of the backbone's parameters that were made for bands that its weights
            do not know (`backbones.stem`): they learn in every strategy that learns at all.
    """

    def __init__(self, backbone: Backbone[Any], head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.module
        self.layer_groups = backbone.layer_groups
        made = set(backbone.spec.arguments.get("stem", {}).get("parameters", ()))
        names = [name for name, _ in backbone.module.named_parameters()]
        # Around a pyramid the same parameters are those of its trunk.
        self.stem = tuple(name for name in names if name.removeprefix("trunk.") in made)
        self.head = head


class PictureModel(Model):
    """A model that answers for whole pictures, of raw values as their files have them.

    Attributes:
        normalise: By the input contract.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__(backbone, head)
        self.normalise = Normalise(backbone.contract)

    def embed(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) raw values -> features (B, num_features)."""
        features: Tensor = self.backbone(self.normalise(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) raw values -> logits (B, num_classes)."""
        logits: Tensor = self.head(self.embed(images))
        return logits


class DenseModel(Model):
    """A model that answers for each pixel, of pictures of any size.

    Attributes:
        normalise: By the input contract.
        backbone: Normalised images -> feature maps, fine to coarse.
        head: A decoder: feature maps -> logits (B, num_classes, h, w).
        divisor: Pictures are enlarged to multiples of this, by repeating their last row and column.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__(backbone, head)
        self.normalise = Normalise(backbone.contract)
        self.divisor = int(head.divisor)  # type: ignore[arg-type] # decoders have it, as an int

    def embed(self, images: Tensor) -> list[Tensor]:
        """images: (B, bands, H, W) raw values -> maps (B, C, H' / stride, W' / stride).

        H' and W' are the sides of the enlarged picture.
        """
        height, width = images.shape[2:]
        below, right = -height % self.divisor, -width % self.divisor
        normalised = self.normalise(images)
        if below or right:
            normalised = F.pad(normalised, (0, right, 0, below), mode="replicate")
        maps: list[Tensor] = self.backbone(normalised)
        return maps

    def decode(self, maps: list[Tensor], height: int, width: int) -> Tensor:
        """Feature maps of pictures (height, width) -> logits (B, num_classes, height, width)."""
        logits: Tensor = self.head(maps)
        padded = (height + -height % self.divisor, width + -width % self.divisor)
        if logits.shape[2:] != padded:
            logits = F.interpolate(logits, size=padded, mode="bilinear", align_corners=False)
        return logits[:, :, :height, :width]

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) raw values -> logits (B, num_classes, H, W)."""
        height, width = images.shape[2:]
        return self.decode(self.embed(images), height, width)
