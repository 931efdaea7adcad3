"""What is known of a timm backbone before its weights are read.

Takes timm's descriptions of weights (`PretrainedCfg`) as they come, and imports no timm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headstart.contracts import InputContract
from headstart.errors import WeightsError

if TYPE_CHECKING:
    from headstart.backbones.catalog import CatalogRow


@dataclass(frozen=True)
class Recipe:
    """What is known of a backbone before any weights are read.

    Attributes:
        architecture: timm's name, with the tag of the weights where there is one.
        cfg: timm's description of the weights: input, number and names of classes, licence.
        contract: What the weights expect as input.
        weights: Reference of the weights; empty when none can be fetched.
        sha256: Of the referenced file; empty when unknown.
        licence: Of the weights.
        domain: What they were trained on.
        is_by_order: Whether tensors may be mapped by their order.
        is_smp_unet: Whether they are those of a whole U-Net, see `smp_names`.
        structure: The part of BackboneSpec.arguments that is not the number of classes.
    """

    architecture: str
    cfg: Any
    contract: InputContract
    weights: str
    sha256: str = ""
    licence: str = "unknown"
    domain: str = "general"
    is_by_order: bool = False
    is_smp_unet: bool = False
    structure: Mapping[str, Any] = field(default_factory=dict)


def contract_of(cfg: Any, name: str) -> InputContract:
    """Source: timm's evaluation, `timm.data.resolve_data_config` without test-time sizes."""
    bands, height, width = cfg.input_size
    if bands != 3:
        raise WeightsError(
            f"`{name}` takes pictures of {bands} bands; only R, G, B are supported. Choose "
            "another model (`headstart models QUERY`)."
        )
    if cfg.crop_mode not in ("center", "squash"):
        raise WeightsError(
            f"`{name}` wants its pictures padded (crop mode `{cfg.crop_mode}`), which is not "
            "supported. Choose another model (`headstart models QUERY`)."
        )
    if cfg.interpolation not in ("bilinear", "bicubic"):
        raise WeightsError(
            f"`{name}` wants its pictures resized by `{cfg.interpolation}`; supported are "
            "bilinear and bicubic. Choose another model (`headstart models QUERY`)."
        )
    return InputContract(
        bands=("R", "G", "B"),
        height=height,
        width=width,
        mean=tuple(cfg.mean),
        std=tuple(cfg.std),
        interpolation="bilinear" if cfg.interpolation == "bilinear" else "bicubic",
        crop_fraction=cfg.crop_pct,
        resize="squash" if cfg.crop_mode == "squash" else "crop",
    )


def structure_of(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Only what is not empty, so that specs stay short."""
    return {"model_args": dict(model_args)} if model_args else {}


def structure_of_row(row: CatalogRow) -> dict[str, Any]:
    """The same of a row of the catalogue, with what `trunks.shape_trunk` is to do."""
    told = {"is_trunk": row.is_trunk, "stages": list(row.stages), "padded_for": row.padded_for}
    return {**structure_of(row.model_args), **{key: value for key, value in told.items() if value}}


def shaping_of(cfg: Any) -> dict[str, Any]:
    """The part of a config.json that shapes the module; its architecture may differ by tag."""
    return {
        "architecture": cfg.architecture,
        "input_size": list(cfg.input_size),
        "fixed_input_size": cfg.fixed_input_size,
        "first_conv": cfg.first_conv,
        "classifier": cfg.classifier,
        "num_classes": cfg.num_classes,
    }
