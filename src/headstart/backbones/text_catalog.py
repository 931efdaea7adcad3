"""The named language models of text_models.toml, read and checked. Knows no download."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from headstart.backbones.toml_rows import (
    Keys,
    mistakes_in_keys,
    mistakes_in_reference,
    mistakes_in_sum,
    read_rows,
)

PACKAGED_TEXT_DEFAULT = "minilm"
_LANGUAGES = ("english", "many")


@dataclass(frozen=True)
class TextRow:
    """A language model with a name of its own, in a package or on a hub.

    Attributes:
        name: As typed on the command line.
        reference: `pypi://PACKAGE==VERSION/FOLDER/IN/WHEEL` or `hf://ORG/REPO`.
        licence: SPDX identifier, or `unknown`.
        num_parameters: Of the part that is used, without heads.
        why: What it is good for, one sentence.
        sha256: File in the folder -> its sha256; of packages, where the folder's other files are
            then left alone.
        prefix: What every text begins with.
        languages: `english` or `many`; empty where that is not known.
    """

    name: str
    reference: str
    licence: str
    num_parameters: int
    why: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    languages: str = ""


_KEYS: Keys = {
    "reference": (str, True),
    "licence": (str, True),
    "num_parameters": (int, True),
    "why": (str, True),
    "sha256": (dict, False),
    "prefix": (str, False),
    "languages": (str, False),
}


@functools.cache
def text_catalog() -> Mapping[str, TextRow]:
    """All rows by name, in the order of the file."""
    file = resources.files("headstart.backbones").joinpath("text_models.toml")
    return read_text_catalog(file.read_text("utf-8"))


def row_of_repository(repository: str) -> TextRow | None:
    """The row whose weights are those of a hub repository, `ORG/REPO`."""
    wanted = f"hf://{repository}".lower()
    return next((r for r in text_catalog().values() if r.reference.lower() == wanted), None)


def read_text_catalog(text: str) -> dict[str, TextRow]:
    """Rows from TOML.

    Raises:
        ConfigError: It is no TOML, or a row has a missing, unknown or wrong key; all mistakes are
            listed at once, each with its row and key.
    """
    return read_rows(text, title="list of language models", mistakes=_mistakes, make=_row)


def _mistakes(name: str, table: Mapping[str, Any]) -> list[str]:
    found = mistakes_in_keys(name, table, _KEYS, choices={"languages": _LANGUAGES})
    reference, sums = table.get("reference"), table.get("sha256", {})
    found += mistakes_in_reference(name, reference)
    if str(reference).startswith("pypi://") and not sums:
        found.append(f"[{name}] is of a package and names no `sha256` of its files.")
    for path, digits in sums.items() if isinstance(sums, dict) else ():
        found += mistakes_in_sum(f"{name}.sha256", path, digits)
    return found


def _row(name: str, table: Mapping[str, Any]) -> TextRow:
    return TextRow(name=name, **table)
