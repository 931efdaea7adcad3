"""Texts to predict: files, folders, columns of tables, and standard input; of any number.

They come a part at a time, so that a table may be larger than memory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from headstart.contracts import Sample
from headstart.data.columns import require
from headstart.data.decoding import decode, decoded, lines
from headstart.data.listing import is_text_name
from headstart.data.table_files import TABLE_READERS, Table, table_blocks
from headstart.data.text_columns import is_text_header, text_column
from headstart.data.text_rows import cleaned
from headstart.data.text_tables import joined
from headstart.errors import DataError

_STANDARD_INPUT = "-"
# A part is held at once, with its features: as many as are sorted by length together, so that parts
# cost nothing in padding; see `text_batches`.
TEXTS_A_PART = 16_384
CHARACTERS_A_PART = 16_000_000


@dataclass(frozen=True)
class TextPart:
    """Some of the texts, in order.

    Attributes:
        samples: Without labels.
        share_read: Of all bytes that there are how many are read by now, 0 to 1; None where that
            cannot be told, of standard input.
    """

    samples: list[Sample]
    share_read: float | None


@dataclass(frozen=True)
class _File:
    """One file of a source, and how the ids of what is in it begin."""

    source: str
    path: Path
    name: str
    size: int


def find_texts(
    sources: Sequence[Path | str],
    *,
    columns: tuple[str, ...] | None = None,
    notes: list[str] | None = None,
) -> list[Sample]:
    """All texts of some sources; see `text_parts`."""
    parts = text_parts(sources, columns=columns, notes=notes)
    return [sample for part in parts for sample in part.samples]


def text_parts(
    sources: Sequence[Path | str],
    *,
    columns: tuple[str, ...] | None = None,
    notes: list[str] | None = None,
) -> Iterator[TextPart]:
    """The texts of some sources, in order, a part at a time; at least one.

    A `.txt` file is one text, and so is each in a folder. In a table each row is one, by the column
    that is given or seems to hold texts. Standard input, `-`, is one text a line, or JSON objects
    with one, a line each.

    Args:
        sources: Files, folders, and `-`.
        columns: Of tables and JSON objects; several are joined with their names.
        notes: Is told what was guessed; complete when the last part was read.

    Yields:
        Samples without labels, with the ids `new.csv#17`, `mails/1.txt` or `line 3`; where two
        would be alike, behind their source.

    Raises:
        DataError: There is nothing, it cannot be read, or it cannot be told which column is meant.
    """
    told = [] if notes is None else notes
    given = dict.fromkeys(map(str, sources))  # what is named twice is read once
    files = [file for source in given for file in _files_of(source)]
    are_alike = len({file.name for file in files}) < len(files)  # `a/new.csv` and `b/new.csv`
    total = sum(file.size for file in files)
    is_counted = all(file.source != _STANDARD_INPUT for file in files)
    samples: list[Sample] = []
    num_characters = num_read = 0
    is_any = False

    def part(position: int) -> TextPart:
        share = min(1.0, (num_read + position) / max(1, total)) if is_counted else None
        return TextPart(samples, share)

    for file in files:
        for sample, position in _texts_of(file, columns, told):
            if are_alike:
                sample = replace(sample, id=f"{file.source}: {sample.id}")
            samples.append(sample)
            num_characters += len(sample.text or "")
            if len(samples) >= TEXTS_A_PART or num_characters >= CHARACTERS_A_PART:
                yield part(position)
                samples, num_characters, is_any = [], 0, True
        num_read += file.size
    if samples:
        yield part(0)
    elif not is_any:
        raise DataError(
            f"No text in {', '.join(f'`{source}`' for source in sources)}. Give .txt files, "
            f"folders of them, tables ({', '.join(TABLE_READERS)}), or - for standard input."
        )


def _files_of(source: str) -> Iterator[_File]:
    path = Path(source)
    if source == _STANDARD_INPUT:
        yield _File(source, path, "line", 0)
    elif path.is_dir():
        for found in sorted(p for p in path.rglob("*") if is_text_name(p.name) and p.is_file()):
            yield _File(source, found, found.relative_to(path).as_posix(), found.stat().st_size)
    elif path.is_file():
        yield _File(source, path, path.name, path.stat().st_size)
    else:
        raise DataError(f"There is no file or folder `{path}`. Check the path.")


def _texts_of(
    file: _File, columns: tuple[str, ...] | None, notes: list[str]
) -> Iterator[tuple[Sample, int]]:
    """Each text of a file, and how many bytes of it are read by then, about."""
    if file.source == _STANDARD_INPUT:
        yield from ((sample, 0) for sample in _of_lines(columns, notes))
    elif file.path.suffix.lower() in TABLE_READERS:
        yield from _of_table(file.path, columns, notes)
    else:
        yield _whole(file, notes), file.size


def _whole(file: _File, notes: list[str]) -> Sample:
    try:
        text = cleaned(decode(file.path.read_bytes(), file.name, notes))
    except OSError as error:
        raise DataError(
            f"`{file.path}` cannot be read ({error.strerror or error}). Check the file."
        ) from error
    return Sample(file.name, file.path, text=text)


def _of_table(
    path: Path, columns: tuple[str, ...] | None, notes: list[str]
) -> Iterator[tuple[Sample, int]]:
    number = 0
    for block in table_blocks(path, notes, is_header=is_text_header, least_columns=1):
        if columns is None:
            columns = _guessed(block, notes)
        if not number:
            for name in columns:
                require(block, name)
        none = [None] * len(block)  # of JSONL a block may lack a column
        for row in zip(*(block.columns.get(name, none) for name in columns), strict=True):
            number += 1
            text = joined(dict(zip(columns, row, strict=True)))
            yield Sample(f"{path.name}#{number}", path, text=text), block.position


def _guessed(table: Table, notes: list[str]) -> tuple[str, ...]:
    name = text_column(table)
    if name is None:
        raise DataError(
            f"No column of `{table.path}` seems to hold texts; it has {', '.join(table.columns)}. "
            "Name one with --text-column."
        )
    notes.append(f"Column `{name}` of {table.path.name} holds the texts.")
    return (name,)


def _of_lines(columns: tuple[str, ...] | None, notes: list[str]) -> Iterator[Sample]:
    where, name = Path(_STANDARD_INPUT), "standard input"
    pieces = decoded(sys.stdin.buffer, name, notes)
    numbered = ((n, line) for n, line in enumerate(lines(pieces, name), start=1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    is_json = first[1].lstrip()[:1] == "{"
    for number, line in chain([first], numbered):
        text = _of_object(number, line, columns) if is_json else cleaned(line)
        yield Sample(f"line {number}", where, text=text)


def _of_object(number: int, line: str, columns: tuple[str, ...] | None) -> str:
    try:
        found: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"Line {number} of standard input is no JSON ({error.msg}), but the first one is. Each "
            'line needs one object, such as {"text": "..."}, or none may be one.'
        ) from None
    if not isinstance(found, dict):
        raise DataError(
            f"Line {number} of standard input is a {type(found).__name__}. Each line needs one "
            'object, such as {"text": "..."}.'
        )
    names = columns or _text_names(found)
    missing = [name for name in names if name not in found]
    if missing or not names:
        raise DataError(
            f"Line {number} of standard input has no entry `{', '.join(missing) or 'text'}`; it "
            f"has {', '.join(found) or 'none'}. Name another with --text-column."
        )
    return joined({name: found[name] for name in names})


def _text_names(found: dict[str, Any]) -> tuple[str, ...]:
    """The entry of an object that holds its text: `text`, or the only one that is a string."""
    if "text" in found:
        return ("text",)
    strings = [name for name, value in found.items() if isinstance(value, str)]
    return tuple(strings) if len(strings) == 1 else ()
