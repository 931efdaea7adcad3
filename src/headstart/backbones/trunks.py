"""What is done to a fresh architecture so that it is the network that some weights are from.

Knows the attributes of timm's modules, and imports no timm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from headstart.backbones.fixed_padding import fix_paddings


def shape_trunk(model: nn.Module, arguments: Mapping[str, Any]) -> None:
    """Change a new model as its arguments say; names of what is left stay as they are.

    Args:
        model: Of timm. Changed in place.
        arguments: See `BackboneSpec.arguments`. `is_trunk`: its layers between the last stage and
            the classifier are taken off. `stages`: which of an EfficientNet's stages give maps, 0
            the stem. `padded_for`: see `fixed_padding`.
    """
    whole: Any = model
    if arguments.get("is_trunk"):
        if hasattr(whole, "pre_logits"):  # VGG: two layers as wide as the picture
            whole.pre_logits = nn.Identity()
        else:  # EfficientNet: a widening layer and its norm
            whole.num_features = whole.conv_head.in_channels
            whole.conv_head, whole.bn2 = nn.Identity(), nn.Identity()
            whole.reset_classifier(whole.num_classes)
    if arguments.get("stages"):
        whole.stage_ends = list(arguments["stages"])
    if arguments.get("padded_for"):
        fix_paddings(model, arguments["padded_for"])
