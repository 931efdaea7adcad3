"""The named language models of text_models.toml, read and checked. Knows no download."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from headstart.errors import ConfigError, did_you_mean

PACKAGED_TEXT_DEFAULT = "minilm"
_LANGUAGES = ("english", "many")
_DIGITS = set("0123456789abcdef")


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


# key -> (type, is required)
_KEYS: dict[str, tuple[type, bool]] = {
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
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The list of language models is no TOML: {error}.") from None
    mistakes = [m for name, table in tables.items() for m in _mistakes(name, table)]
    if mistakes:
        raise ConfigError("In the list of language models:\n" + "\n".join(mistakes))
    return {name: TextRow(name=name, **table) for name, table in tables.items()}


def _mistakes(name: str, table: Any) -> Iterator[str]:
    if not isinstance(table, dict):
        yield f"`{name}` is no table: write [{name}] and its keys below."
        return
    for key, (kind, is_required) in _KEYS.items():
        if key not in table and is_required:
            yield f"[{name}] has no `{key}`, which is needed."
        elif key in table and not isinstance(table[key], kind):
            yield f"[{name}] `{key}` is {table[key]!r}, a {type(table[key]).__name__}."
    for key in table.keys() - _KEYS.keys():
        yield f"[{name}] has the unknown key `{key}`. {did_you_mean(key, _KEYS)}"
    if table.get("languages", "many") not in _LANGUAGES:
        yield f"[{name}] `languages` is {table['languages']!r}: write {' or '.join(_LANGUAGES)}."
    reference, sums = table.get("reference"), table.get("sha256", {})
    if isinstance(reference, str) and not reference.startswith(("pypi://", "hf://")):
        yield f"[{name}] `reference` does not start with `pypi://` or `hf://`."
    if isinstance(reference, str) and reference.startswith("pypi://") and not sums:
        yield f"[{name}] is of a package and names no `sha256` of its files."
    for path, digits in sums.items() if isinstance(sums, dict) else ():
        if not isinstance(digits, str) or len(digits) != 64 or set(digits) - _DIGITS:
            yield f"[{name}.sha256] `{path}` is not 64 lower-case hexadecimal digits."
