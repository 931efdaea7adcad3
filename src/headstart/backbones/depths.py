"""Features from several depths of a backbone, in place of those of its last layer alone.

Early layers know textures and edges that the last one has forgotten, which helps on pictures unlike
those of the pretraining. Knows modules and tensors, no data.

Source: Evci, Dumoulin, Larochelle and Mozer, "Head2Toe: Utilizing intermediate representations for
better transfer learning" (ICML 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.text_depths import gives_text_depths, with_text_depths
from headstart.contracts import Backbone, TextContract
from headstart.errors import ConfigError

# Networks have four to six stages; of a transformer's blocks so many are taken, evenly spread.
_MOST_DEPTHS = 6


class DepthFeatures(nn.Module):
    """The pooled outputs of some stages, then the features of the last layer, in one vector.

    Outputs of stages are scaled to length 1 each, so that the last layer still decides by its size
    what is near what.

    Args:
        trunk: A backbone with timm's `forward_intermediates`.
        places: Which of its stages, ascending.
    """

    def __init__(self, trunk: nn.Module, places: Sequence[int]) -> None:
        super().__init__()
        self.trunk = trunk
        self.places = list(places)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) -> (B, sum of the widths), the last layer's features last."""
        trunk: Any = self.trunk
        last, between = trunk.forward_intermediates(images, indices=self.places)
        pooled = [F.normalize(stage.mean(dim=(2, 3)), dim=1) for stage in between]
        return torch.cat([*pooled, trunk.forward_head(last)], dim=1)


def with_depths(backbone: Backbone[Any]) -> Backbone[Any]:
    """The same backbone, giving features from several depths; of texts and poolings, too.

    Its spec tells the widths, the nearest to the input first, so that the same module is built
    again from it. The weights' own classifier does not fit such features and is left out.

    Raises:
        ConfigError: The architecture does not tell its intermediate outputs.

    Example:
        >>> from headstart.backbones import load_backbone
        >>> deep = with_depths(load_backbone("test_resnet", weights="random"))
        >>> deep.spec.arguments["depths"]["widths"], deep.spec.num_features
        ([32, 32, 48, 192, 96, 96], 496)
    """
    if isinstance(backbone.contract, TextContract):
        return with_text_depths(backbone)
    name, contract = backbone.spec.reference, backbone.contract
    if not gives_depths(backbone):
        raise ConfigError(
            f"`{name}` does not give the outputs of its stages, which --features depths needs. "
            "Leave --features away, or choose another backbone."
        )
    trunk: Any = backbone.module
    picture = torch.zeros(1, len(contract.bands), contract.height, contract.width)
    device = next(backbone.module.parameters()).device
    with torch.no_grad():
        stages = trunk.forward_intermediates(picture.to(device), intermediates_only=True)
    places = _spread(len(stages))
    widths = [int(stages[place].shape[1]) for place in places] + [backbone.spec.num_features]
    arguments = {**backbone.spec.arguments, "depths": {"places": places, "widths": widths}}
    module = DepthFeatures(backbone.module, places).eval()
    return replace(
        backbone,
        spec=replace(backbone.spec, num_features=sum(widths), arguments=arguments),
        module=module,
        layer_groups=tuple(
            tuple(f"trunk.{name}" for name in group) for group in backbone.layer_groups
        ),
        pretrained_head=None,
        pretrained_classes=(),
    )


def gives_depths(backbone: Backbone[Any]) -> bool:
    """Whether `with_depths` can be had of it, and is not what it is already."""
    if isinstance(backbone.contract, TextContract):
        return gives_text_depths(backbone)
    return hasattr(backbone.module, "forward_intermediates")


def _spread(num_stages: int) -> list[int]:
    """At most so many stages, evenly spread, the last one among them."""
    step = -(-num_stages // _MOST_DEPTHS)
    return list(range(num_stages - 1, -1, -step))[::-1]
