"""Backbones whose weights bring a decoder: a whole segmentation model, as it was published.

The decoder is the pretrained head. It takes the maps of the backbone as a pyramid, see `pyramid`,
not the vector that a classifier takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from headstart.backbones.mapping import fit_weights
from headstart.contracts import Backbone
from headstart.decoders import Decoder

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.catalog import CatalogRow


def brings_decoder(backbone: Backbone) -> bool:
    """Whether its weights answer pixel by pixel as they come."""
    return isinstance(backbone.pretrained_head, Decoder)


def with_decoder(backbone: Backbone, row: CatalogRow, tensors: Mapping[str, Tensor]) -> Backbone:
    """The same backbone with the decoder that its weights bring.

    Args:
        backbone: As a row of the catalogue says.
        row: Names the decoder and its classes.
        tensors: By the decoder's own names.

    Raises:
        WeightsError: They do not fit the decoder.
    """
    trunk: Any = backbone.module
    contract = backbone.contract
    picture = torch.zeros(1, len(contract.bands), contract.height, contract.width)
    with torch.no_grad():
        maps = trunk.forward_intermediates(picture, intermediates_only=True)
    decoder = Decoder(
        row.decoder,
        channels=[level.shape[1] for level in maps],
        strides=[contract.height // level.shape[2] for level in maps],
        num_classes=len(row.decoder_classes),
    )
    described = f"{row.architecture} with the decoder {row.decoder}"
    fit_weights(decoder, tensors, reference=row.reference, architecture=described)
    return replace(backbone, pretrained_head=decoder.eval(), pretrained_classes=row.decoder_classes)
