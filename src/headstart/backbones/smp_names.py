"""From the names of segmentation_models_pytorch to those of timm and of `decoders`.

Its U-Nets on an EfficientNet have the encoder of `efficientnet_pytorch`, whose layers are timm's
under other names. Knows names and tensors only: no file, no network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

# Layers of a block whose first convolution widens, and of one that does not widen: there timm
# counts its norms from the depthwise convolution on.
_WIDENING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
# Layers before a classifier, which the encoder of a U-Net has and never uses.
_UNUSED = ("_conv_head", "_bn1")
_BLOCK = re.compile(r"_blocks\.(\d+)\.([^.]+)\.(\w+)")


def split_unet(
    tensors: Mapping[str, Tensor], stage_sizes: Sequence[int], *, reference: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a U-Net as those of a timm EfficientNet and of a `decoders.Decoder`.

    Args:
        tensors: By the names of segmentation_models_pytorch, with or without `model.` before them.
        stage_sizes: How many blocks each stage of the EfficientNet has.
        reference: Of the weights, for the error.

    Raises:
        WeightsError: A tensor is of neither; says which.

    Example:
        >>> import torch
        >>> trunk, decoder = split_unet(
        ...     {"encoder._blocks.2._bn0.weight": torch.ones(1),
        ...      "segmentation_head.0.bias": torch.ones(1)},
        ...     [1, 2], reference="a.onnx")
        >>> list(trunk), list(decoder)
        (['blocks.1.1.bn1.weight'], ['classifier.bias'])
    """
    bare = {name.removeprefix("model."): value for name, value in tensors.items()}
    places = [(stage, i) for stage, size in enumerate(stage_sizes) for i in range(size)]
    widening = {
        int(match[1])
        for name in bare
        if (match := _BLOCK.fullmatch(name.removeprefix("encoder."))) and match[2] == "_bn0"
    }
    trunk: dict[str, Tensor] = {}
    decoder: dict[str, Tensor] = {}
    unknown = []
    for name, value in bare.items():
        part, _, rest = name.partition(".")
        if part == "encoder" and rest.split(".")[0] in _UNUSED:
            continue
        if part == "decoder":
            decoder[name] = value
        elif part == "segmentation_head" and rest in ("0.weight", "0.bias"):
            decoder[f"classifier.{rest.removeprefix('0.')}"] = value
        elif part == "encoder" and (own := _timm_name(rest, places, widening)):
            trunk[own] = value
        else:
            unknown.append(name)
    if unknown:
        raise WeightsError(
            f"`{reference}` is no U-Net of segmentation_models_pytorch on an EfficientNet of "
            f"{len(places)} blocks: {len(unknown)} tensors are of none of its layers, such as "
            f"`{unknown[0]}`. Choose other weights with --weights."
        )
    return trunk, decoder


def _timm_name(name: str, places: Sequence[tuple[int, int]], widening: set[int]) -> str:
    """timm's name of a tensor of the encoder; empty where it is of no layer."""
    layer, _, kind = name.partition(".")
    if layer in _STEM:
        return f"{_STEM[layer]}.{kind}"
    match = _BLOCK.fullmatch(name)
    if match is None or int(match[1]) >= len(places):
        return ""
    names = _WIDENING if int(match[1]) in widening else _PLAIN
    if match[2] not in names:
        return ""
    stage, place = places[int(match[1])]
    return f"blocks.{stage}.{place}.{names[match[2]]}.{match[3]}"
