"""Files that name the values of masks: `classes.txt`, `classes.json`, `classes.csv` and the like.

Knows what stands in them, not what is in the masks; that is settled in `legends`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import DataError

Colour = tuple[int, int, int]

# Tried in this order in each folder. `class_dict.csv` and `codes.txt` come with CamVid as it is
# handed on, `label_colors.txt` with the original; `labelmap.txt` is what CVAT exports.
LEGEND_NAMES = (
    *("classes.csv", "classes.json", "classes.txt", "class_dict.csv", "labelmap.txt"),
    *("label_colors.txt", "label_colours.txt", "codes.txt"),
)
_NEEDED = (
    "One class a line is needed: `name`, `value name` or `red green blue name` in a .txt, the "
    "columns value, name and, if wanted, colour in a .csv, and {value: name} or a list of names "
    "in a .json."
)
_VALUE_COLUMNS = ("value", "id", "index", "class_id", "label_id", "code", "pixel_value")
_NAME_COLUMNS = ("name", "class", "class_name", "label", "category")
_COLOUR_COLUMNS = ("colour", "color", "rgb", "hex")
_CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A line of a legend file.

    Attributes:
        name: Of the class.
        value: In the masks; None where the file gives only names, or names and colours.
        colour: (red, green, blue), each 0-255; None where the file gives none.
    """

    name: str
    value: int | None = None
    colour: Colour | None = None


def find_legend_file(folders: Iterable[Path]) -> Path | None:
    """The first legend file in some folders, tried in the order given."""
    for folder in folders:
        for name in LEGEND_NAMES:
            if (folder / name).is_file():
                return folder / name
    return None


def legend_file_of(root: Path, masks: Iterable[Path]) -> Path | None:
    """The legend file that speaks for some masks; None where there is none.

    From the root down to a mask: the nearer to the root, the more it speaks for all of them.

    Args:
        root: The folder of the data set.
        masks: All of its masks, within it or elsewhere.
    """
    folders = {mask.parent for mask in masks}
    around = {folder.parent for folder in folders if root in folder.parents}
    return find_legend_file(dict.fromkeys((root, *sorted(around), *sorted(folders))))


def read_legend_file(path: Path) -> list[NamedValue]:
    """What a legend file says, in its order.

    Raises:
        DataError: It cannot be read or understood, or gives a value to two names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"`{path}` cannot be read ({error}). Save it as UTF-8 text.") from None
    if path.suffix.lower() == ".json":
        entries = _from_json(path, text)
    elif path.suffix.lower() == ".csv":
        entries = _from_csv(path, text)
    else:
        entries = _from_lines(path, text)
    if not entries:
        raise DataError(f"`{path}` names no class. {_NEEDED}")
    return _consistent(path, entries)


def _consistent(path: Path, entries: list[NamedValue]) -> list[NamedValue]:
    with_value = [e for e in entries if e.value is not None]
    with_colour = [e for e in entries if e.colour is not None]
    for some, what in ((with_value, "value"), (with_colour, "colour")):
        if some and len(some) < len(entries):
            lacking = next(e for e in entries if e not in some)
            raise DataError(
                f"`{path}` gives a {what} to {len(some)} of its {len(entries)} classes, but not "
                f"to `{lacking.name}`. Give one to each, or to none."
            )
    for key in ("value", "colour"):
        seen: dict[Any, str] = {}
        for entry in entries:
            value = getattr(entry, key)
            if value is not None and seen.setdefault(value, entry.name) != entry.name:
                raise DataError(
                    f"`{path}` gives the {key} {value} to both `{seen[value]}` and "
                    f"`{entry.name}`. Each {key} needs a single name."
                )
    if not with_value and not with_colour:
        twice = {e.name for e in entries if sum(e.name == o.name for o in entries) > 1}
        if twice:
            raise DataError(
                f"`{path}` lists `{min(twice)}` twice, without values. Give each line a value, as "
                "in `3 road`, if two values are of one class."
            )
    return entries


# --- text -------------------------------------------------------------------------------------


def _from_lines(path: Path, text: str) -> list[NamedValue]:
    """`name`, `value name`, `red green blue name`, or what CVAT writes."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if path.name == "labelmap.txt":
        return [_from_labelmap(path, line) for line in lines]
    return [_from_line(path, line) for line in lines]


def _from_line(path: Path, line: str) -> NamedValue:
    colour = re.fullmatch(r"(\d+)[\s,;]+(\d+)[\s,;]+(\d+)[\s,;:]+(\D.*)", line)
    if colour:
        return NamedValue(colour[4].strip(), None, _colour(path, colour.group(1, 2, 3)))
    valued = re.fullmatch(r"(-?\d+)\s*[\s,;:=]\s*(\S.*)", line)
    if valued:
        return NamedValue(valued[2].strip(), int(valued[1]))
    return NamedValue(line)


def _from_labelmap(path: Path, line: str) -> NamedValue:
    name, _, rest = line.partition(":")
    channels = rest.partition(":")[0].split(",")
    if len(channels) != 3:
        raise DataError(
            f"`{path}` has the line `{line}`, but `name:red,green,blue:parts:actions` is needed. "
            "Mend the line, or write a classes.txt instead."
        )
    return NamedValue(name.strip(), None, _colour(path, channels))


# --- json -------------------------------------------------------------------------------------


def _from_json(path: Path, text: str) -> list[NamedValue]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"`{path}` is no JSON ({error}). {_NEEDED}") from None
    if isinstance(content, dict) and isinstance(content.get("classes"), list | dict):
        content = content["classes"]
    if isinstance(content, dict):
        return [_from_pair(path, key, value) for key, value in content.items()]
    if isinstance(content, list):
        return [
            _from_cells(path, {str(k).lower(): v for k, v in item.items()})
            if isinstance(item, dict)
            else NamedValue(str(item))
            for item in content
        ]
    raise DataError(f"`{path}` holds a {type(content).__name__}. {_NEEDED}")


def _from_pair(path: Path, key: str, value: Any) -> NamedValue:
    """`"3": "road"`, `"road": 3`, `"road": [128, 64, 128]` or `"3": {"name": "road"}`."""
    if isinstance(value, dict):
        return _from_cells(path, {"value": key} | {str(k).lower(): v for k, v in value.items()})
    if isinstance(value, list):
        return NamedValue(key, None, _colour(path, value))
    if isinstance(value, int):
        return NamedValue(key, value)
    return NamedValue(str(value), _integer(path, key))


# --- csv --------------------------------------------------------------------------------------


def _from_csv(path: Path, text: str) -> list[NamedValue]:
    """Columns by their names; without a header value, name and, if wanted, colour."""
    separator = max(",;\t", key=text.partition("\n")[0].count)
    rows = [r for r in csv.reader(io.StringIO(text), delimiter=separator) if any(map(str.strip, r))]
    if not rows:
        return []
    header = [cell.strip().lower() for cell in rows[0]]
    if not set(header) & set(_NAME_COLUMNS):
        header = ["value", "name", "colour"][: len(header)] if len(header) > 1 else ["name"]
    else:
        rows = rows[1:]
    return [_from_cells(path, dict(zip(header, row, strict=False))) for row in rows]


def _from_cells(path: Path, cells: Mapping[str, Any]) -> NamedValue:
    """A class from named cells of a CSV file, or an object of a JSON file."""
    name = next((cells[c] for c in _NAME_COLUMNS if c in cells), None)
    if name is None or not str(name).strip():
        raise DataError(f"`{path}` has an entry without a name: {dict(cells)}. {_NEEDED}")
    value = next((cells[c] for c in _VALUE_COLUMNS if c in cells), None)
    colour: Any = next((cells[c] for c in _COLOUR_COLUMNS if cells.get(c)), None)
    channels = [next((cells[c] for c in names if c in cells), None) for names in _CHANNELS]
    if colour is None and None not in channels:
        colour = channels
    return NamedValue(
        str(name).strip(),
        None if value is None or value == "" else _integer(path, value),
        None if colour is None else _colour(path, colour),
    )


def _integer(path: Path, value: Any) -> int:
    try:
        return int(str(value).strip())
    except ValueError:
        raise DataError(
            f"`{path}` has the value `{value}`, but whole numbers are needed. {_NEEDED}"
        ) from None


def _colour(path: Path, given: Sequence[Any] | str) -> Colour:
    """`#8040ff`, `128 64 255`, `128,64,255` or a list of three."""
    words: Sequence[Any] = given
    if isinstance(given, str):
        hexadecimal = re.fullmatch(r"#?([0-9a-fA-F]{6})", given.strip())
        words = re.findall(r"\d+", given)
        if hexadecimal:
            words = list(bytes.fromhex(hexadecimal[1]))
    channels = [_integer(path, word) for word in words]
    if len(channels) != 3 or not all(0 <= c <= 255 for c in channels):
        raise DataError(
            f"`{path}` has the colour `{given}`, but three numbers from 0 to 255, or #rrggbb, are "
            "needed."
        )
    return channels[0], channels[1], channels[2]
