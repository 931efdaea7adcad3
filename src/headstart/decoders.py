"""DECODERS: from feature maps of several sizes to a class for each pixel.

The only file that imports segmentation_models_pytorch, which takes seconds: it does so when the
first decoder is made. Knows tensors only: no backbone, no task, no data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.errors import ConfigError, RunError, did_you_mean
from headstart.linear_decoder import LINEAR, LinearDecoder
from headstart.map_shape import MapShape

# Channels of the maps of a U-Net, from full size to coarse: 16, 32, ... 256, as in
# segmentation_models_pytorch, whose measured scripts are the peers of bench/.
_FINEST_WIDTH, _MOST_WIDTH = 16, 256
# Of the necks on plain transformers: as wide as the widest of a U-Net.
_NECK_WIDTH = 256
# The strides that such a neck makes of one, as other networks have them.
_NECK_STRIDES = (4, 8, 16, 32)

# What a row of DECODERS makes: the decoder, the channels it gives, and the size of the filters of
# the convolution after it.
Made = tuple[nn.Module, int, int]


class PlainNeck(nn.Module):
    """Maps of one size, as plain transformers give them, made into a pyramid of four sizes.

    Each is normalised and narrowed, then enlarged by transposed convolutions or pooled, to 4, 2, 1
    and 1/2 times its size.

    Args:
        channels: Of four maps, the nearest to the input first.

    Source: Bao, Dong, Piao and Wei, "BEiT" (ICLR 2022), on segmentation; Li, Mao, Girshick and He,
    "Exploring Plain Vision Transformer Backbones for Object Detection" (ECCV 2022).
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        width = min(_NECK_WIDTH, max(channels))

        def narrowed(num_channels: int) -> list[nn.Module]:
            return [nn.GroupNorm(1, num_channels), nn.Conv2d(num_channels, width, 1)]

        def doubled() -> nn.Module:
            return nn.ConvTranspose2d(width, width, 2, stride=2)

        first, second, third, fourth = channels
        self.width = width
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*narrowed(first), doubled(), nn.GELU(), doubled()),
                nn.Sequential(*narrowed(second), doubled()),
                nn.Sequential(*narrowed(third)),
                nn.Sequential(*narrowed(fourth), nn.MaxPool2d(2)),
            ]
        )

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Four maps (B, C, h, w) -> (B, width, 4h, 4w), (..., 2h, 2w), (..., h, w), half."""
        return [branch(level) for branch, level in zip(self.branches, levels, strict=True)]


class Decoder(nn.Module):
    """Feature maps -> scores of the classes, on a grid a quarter of the picture's size or finer.

    Args:
        name: A row of DECODERS.
        channels: Of the maps, fine to coarse.
        strides: Of the maps: how many pixels of the picture lie between two of theirs.
        num_classes: K.

    Attributes:
        divisor: The sides of the picture must be multiples of this.
        shape: Of the maps that it takes.

    Raises:
        ConfigError: There is no such decoder, or it cannot be had with these maps.
    """

    def __init__(
        self, name: str, *, channels: Sequence[int], strides: Sequence[int], num_classes: int
    ) -> None:
        super().__init__()
        if name not in DECODERS:
            raise ConfigError(f"There is no decoder `{name}`. {did_you_mean(name, DECODERS)}")
        self.description = {
            "kind": "decoder",
            "name": name,
            "channels": list(channels),
            "strides": list(strides),
            "num_classes": num_classes,
        }
        self.divisor = max(strides)
        self.shape = MapShape(tuple(channels), tuple(strides))
        self.neck: PlainNeck | None = None
        if len(strides) == len(_NECK_STRIDES) and len(set(strides)) == 1:
            self.divisor = 2 * strides[0]
            self.neck = PlainNeck(channels)
            channels, strides = [self.neck.width] * len(_NECK_STRIDES), _NECK_STRIDES
        # Maps as fine as the picture are left out: they are large, and know only edges.
        self.first = next((i for i, stride in enumerate(strides) if stride > 1), len(strides))
        kept = list(strides[self.first :])
        _check_strides(kept, name)
        self.num_absent = kept[0].bit_length() - 2  # of the strides 2, 4, ... before the first
        filled = [0] * self.num_absent + list(channels[self.first :])
        self.decoder, width, filters = DECODERS[name](filled)
        self.classifier = nn.Conv2d(width, num_classes, filters, padding=filters // 2)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps (B, C, h, w), fine to coarse -> logits (B, K, H / s, W / s) with s of 1, 2 or 4."""
        if self.neck is not None:
            levels = self.neck(levels)
        levels = levels[self.first :]
        # In place of maps that the backbone does not have, and of the picture itself, decoders of
        # segmentation_models_pytorch want ones without channels.
        for _ in range(self.num_absent + 1):
            batch, _, height, width = levels[0].shape
            levels = [levels[0].new_empty((batch, 0, 2 * height, 2 * width)), *levels]
        logits: Tensor = self.classifier(self.decoder(levels))
        return logits


class DeepLab(nn.Module):
    """DeepLabV3+ on maps of a backbone that was not dilated.

    The paper takes strides out of the backbone's last stage, so that its map is 1/16 of the
    picture. Here the map of 1/32 is enlarged to that, which leaves the backbone as pretrained.

    Args:
        channels: Of the maps of strides 1, 2, 4, ...

    Source: Chen, Zhu, Papandreou, Schroff and Adam, "Encoder-Decoder with Atrous Separable
    Convolution for Semantic Image Segmentation" (ECCV 2018).
    """

    def __init__(self, channels: Sequence[int], *, width: int) -> None:
        from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

        super().__init__()
        self.decoder = DeepLabV3PlusDecoder(
            encoder_channels=channels,
            encoder_depth=4,
            out_channels=width,
            atrous_rates=(12, 24, 36),
            output_stride=16,
            aspp_separable=True,
            aspp_dropout=0.5,
        )
        # The branch of the picture's mean has one pixel a picture: a norm over the batch fails on a
        # batch of one, and learns noise from a small one.
        pooling = self.decoder.aspp[0].convs[-1]
        pooling[2] = nn.GroupNorm(1, width)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps of strides 1, 2, 4, ... -> (B, width, H / 4, W / 4)."""
        grid = levels[4].shape[2:]
        last = F.interpolate(levels[-1], size=grid, mode="bilinear", align_corners=False)
        decoded: Tensor = self.decoder([*levels[:4], last])
        return decoded


def _unet(channels: Sequence[int]) -> Made:
    from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

    widths = _unet_widths(len(channels))
    decoder = UnetDecoder([0, *channels], widths, n_blocks=len(widths), add_center_block=False)
    return decoder, widths[-1], 3


def _unet_plus_plus(channels: Sequence[int]) -> Made:
    from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder

    if 0 in channels[1:]:
        raise _too_few("unet++", "maps of 1/4 of the picture and of all coarser sizes")
    widths = _unet_widths(len(channels))
    return UnetPlusPlusDecoder([0, *channels], widths, n_blocks=len(widths)), widths[-1], 3


def _unet_widths(depth: int) -> list[int]:
    """Channels of the decoder's maps, coarse to fine."""
    return [min(_MOST_WIDTH, _FINEST_WIDTH * 2**i) for i in reversed(range(depth))]


def _fpn(channels: Sequence[int]) -> Made:
    from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder

    if len(channels) < 4 or 0 in channels[-4:]:
        raise _too_few("fpn", "its four coarsest maps")
    decoder = FPNDecoder([0, *channels], encoder_depth=len(channels))
    return decoder, decoder.out_channels, 1


def _deeplab(channels: Sequence[int]) -> Made:
    if len(channels) < 4 or not channels[1]:
        raise _too_few("deeplabv3+", "maps of 1/4 and 1/16 of the picture")
    width = 256
    return DeepLab([0, *channels[:3], channels[-1]], width=width), width, 1


def _segformer(channels: Sequence[int]) -> Made:
    from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder

    if len(channels) < 3 or 0 in channels[1:]:
        raise _too_few("segformer", "maps of 1/4, 1/8 and 1/16 of the picture")
    width = 256
    decoder = SegformerDecoder([0, *channels], len(channels), segmentation_channels=width)
    return decoder, width, 1


# Each maker takes the channels of the maps of strides 2, 4, 8, ..., 0 where there is no such map.
# unet: Ronneberger et al., MICCAI 2015; unet++: Zhou et al., DLMIA 2018; fpn: Kirillov et al.,
# "Panoptic Feature Pyramid Networks", CVPR 2019; segformer: Xie et al., NeurIPS 2021.
DECODERS: dict[str, Callable[[Sequence[int]], Made]] = {
    "unet": _unet,
    "unet++": _unet_plus_plus,
    "fpn": _fpn,
    "deeplabv3+": _deeplab,
    "segformer": _segformer,
}


AnyDecoder = Decoder | LinearDecoder


def make_decoder(
    name: str,
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    num_classes: int,
    seed: int = 0,
) -> AnyDecoder:
    """A new decoder; the same seed gives the same weights.

    Filters are drawn as He et al. 2015 (for ReLU), those of the last layer as Glorot and Bengio
    2010, which is what segmentation_models_pytorch does too.

    Args:
        name: A row of DECODERS, or LINEAR.
        channels: Of the backbone's maps, fine to coarse.
        strides: Of the backbone's maps.
        num_classes: K.
        seed: Of the weights.

    Raises:
        ConfigError: There is no such decoder, or it cannot be had with these maps.

    Example:
        >>> decoder = make_decoder("fpn", channels=[8, 8, 8, 8], strides=[4, 8, 16, 32],
        ...                        num_classes=3)
        >>> maps = [torch.zeros(1, 8, 64 // s, 64 // s) for s in (4, 8, 16, 32)]
        >>> decoder(maps).shape
        torch.Size([1, 3, 16, 16])
    """
    if name == LINEAR:
        return LinearDecoder(channels=channels, strides=strides, num_classes=num_classes)
    from segmentation_models_pytorch.base.initialization import (
        initialize_decoder,
        initialize_head,
    )

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        decoder = Decoder(name, channels=channels, strides=strides, num_classes=num_classes)
        initialize_decoder(decoder.decoder)
        initialize_head(decoder.classifier)
    return decoder


def describe_decoder(decoder: AnyDecoder) -> dict[str, Any]:
    """The JSON from which `build_decoder` makes the same module, with other weights."""
    return dict(decoder.description)


def build_decoder(description: Mapping[str, Any]) -> AnyDecoder:
    """The decoder that `describe_decoder` described, with weights still to be loaded.

    Raises:
        RunError: A kind that this version does not know.
    """
    if description["kind"] != "decoder" or description["name"] not in (*DECODERS, LINEAR):
        found = description.get("name", description["kind"])
        raise RunError(
            f"The run has a decoder `{found}`, which this version of Headstart does not know. Use "
            "the version that is named in its config.json."
        )
    told = {key: description[key] for key in ("channels", "strides", "num_classes")}
    if description["name"] == LINEAR:
        return LinearDecoder(**told)
    return Decoder(description["name"], **told)


def _check_strides(strides: Sequence[int], name: str) -> None:
    """Each map must be half as large as the one before it.

    Raises:
        ConfigError: It is not.
    """
    first = strides[0] if strides else 0
    if first not in (2, 4, 8) or list(strides) != [first * 2**i for i in range(len(strides))]:
        raise ConfigError(
            f"The backbone gives maps at strides of {', '.join(map(str, strides)) or 'none'}, and "
            f"the decoder {name} needs each to be half as large as the one before, from a stride "
            "of 2, 4 or 8. Choose another backbone, such as efficientnet-lite0."
        )


def _too_few(name: str, needed: str) -> ConfigError:
    return ConfigError(
        f"The decoder {name} needs {needed}, which the backbone does not give. "
        "Use --decoder unet, or another backbone."
    )
