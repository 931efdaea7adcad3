"""Values of options: how several are written in one, what a duration is, how mistakes are told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from cyclopts import Group, Parameter
from pydantic import BeforeValidator, ValidationError

from headstart.errors import ConfigError, did_you_mean


def with_commas(group: Group) -> Parameter:
    """Of an option of this group that is given with commas, several times, or both."""
    return Parameter(
        group=group, converter=_split_at_commas, n_tokens=1, accepts_keys=False, negative=""
    )


def _split_at_commas(_: Any, tokens: Sequence[Any]) -> tuple[str, ...]:
    """The parts of an option that is given with commas, several times, or both."""
    return tuple(part for token in tokens for part in token.value.split(","))


def parts_of(value: Any) -> list[str] | None:
    """What is given as one text with commas, or as a list, part by part; None stays None."""
    if value is None:
        return None
    values = value if isinstance(value, list | tuple) else [value]
    return [part.strip() for item in values for part in str(item).split(",")]


def columns_of(text: str | None) -> tuple[str, ...] | None:
    """The columns that are named in one text, with commas between them."""
    found = parts_of(text)
    return None if found is None else tuple(found)


def named_once(value: Any, *, expected: str) -> tuple[str, ...] | None:
    """`title,body`, or a list of names; None stays None.

    Raises:
        ValueError: With what is expected, as a name is empty or stands twice.
    """
    parts = parts_of(value)
    if parts is None:
        return None
    if not parts or not all(parts) or len(set(parts)) < len(parts):
        raise ValueError(expected)
    return tuple(parts)


def _columns(value: Any) -> Any:
    expected = "names of columns with a comma between them, each once: title,body"
    return named_once(value, expected=expected)


# Of a field: names with commas between them, or a list of them, each once.
ColumnNames = Annotated[tuple[str, ...] | None, BeforeValidator(_columns)]


def parse_duration_s(text: str) -> float:
    """Seconds in a duration such as `90s`, `5m`, `1.5h` or `120`.

    Raises:
        ConfigError: It is no positive duration.

    Example:
        >>> parse_duration_s("5m")
        300.0
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h)?\s*", text.lower())
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise ConfigError(f"`{text}` is no duration. Write it like 90s, 5m or 2h.")
    return seconds


def _duration(value: Any) -> Any:
    """A duration as it is written; a number, as a YAML file has it, is one of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value}s"
    if isinstance(value, str):
        parse_duration_s(value)
    return value


# Of a field that holds a duration.
DURATION = BeforeValidator(_duration)


def explain(error: ValidationError, *, source: str, known: Iterable[str]) -> str:
    """All mistakes of a validation as sentences, one a line.

    Args:
        error: Of a model of options.
        source: Where they were given.
        known: The names of all options.
    """
    names = list(known)
    lines = []
    for item in error.errors():
        name = str(item["loc"][0])
        if item["type"] == "extra_forbidden":
            lines.append(f"`{name}` is no option. {did_you_mean(name, names)}")
        elif item["type"] == "literal_error":
            expected = re.findall(r"'([^']*)'", item["ctx"]["expected"])
            given = str(item["input"])
            lines.append(f"`{name}` cannot be `{given}`. {did_you_mean(given, expected)}")
        else:
            message = item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            if item["type"] == "path_type":
                message = "a path"
            lines.append(f"`{name}` cannot be `{item['input']}`: it must be {message}.")
    return f"In {source}: " + "\n".join(lines)
