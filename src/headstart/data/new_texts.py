"""Texts to predict: files, folders, columns of tables, and standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.contracts import Sample
from headstart.data.columns import require
from headstart.data.decoding import decode
from headstart.data.listing import is_text_name
from headstart.data.table_files import TABLE_READERS, Table, table_blocks
from headstart.data.text_columns import is_text_header, text_column
from headstart.data.text_rows import cleaned
from headstart.data.text_tables import joined
from headstart.errors import DataError

_STANDARD_INPUT = "-"


def find_texts(
    sources: Sequence[Path | str],
    *,
    columns: tuple[str, ...] | None = None,
    notes: list[str] | None = None,
) -> list[Sample]:
    """The texts of some sources, in order.

    A `.txt` file is one text, and so is each in a folder. In a table each row is one, by the column
    that is given or seems to hold texts. Standard input, `-`, is one text a line, or JSON objects
    with one, a line each.

    Args:
        sources: Files, folders, and `-`.
        columns: Of tables and JSON objects; several are joined with their names.
        notes: Is told what was guessed.

    Returns:
        Samples without labels, with the ids `new.csv#17`, `mails/1.txt` or `line 3`; where two
        would be alike, behind their source.

    Raises:
        DataError: There is nothing, it cannot be read, or it cannot be told which column is meant.
    """
    told = [] if notes is None else notes
    given = dict.fromkeys(map(str, sources))  # what is named twice is read once
    found = [(source, sample) for source in given for sample in _of(source, columns, told)]
    samples = [sample for _, sample in found]
    if len({sample.id for sample in samples}) < len(samples):  # `a/new.csv` and `b/new.csv`
        samples = [replace(sample, id=f"{source}: {sample.id}") for source, sample in found]
    if not samples:
        raise DataError(
            f"No text in {', '.join(f'`{source}`' for source in sources)}. Give .txt files, "
            f"folders of them, tables ({', '.join(TABLE_READERS)}), or - for standard input."
        )
    return samples


def _of(source: Path | str, columns: tuple[str, ...] | None, notes: list[str]) -> Iterator[Sample]:
    if str(source) == _STANDARD_INPUT:
        yield from _of_lines(sys.stdin.buffer.read(), columns, notes)
        return
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if is_text_name(p.name) and p.is_file())
        for file in files:
            yield _whole(file, file.relative_to(path).as_posix(), notes)
    elif path.suffix.lower() in TABLE_READERS:
        yield from _of_table(path, columns, notes)
    elif path.is_file():
        yield _whole(path, path.name, notes)
    else:
        raise DataError(f"There is no file or folder `{path}`. Check the path.")


def _whole(path: Path, id_: str, notes: list[str]) -> Sample:
    try:
        text = cleaned(decode(path.read_bytes(), id_, notes))
    except OSError as error:
        raise DataError(
            f"`{path}` cannot be read ({error.strerror or error}). Check the file."
        ) from error
    return Sample(id_, path, text=text)


def _of_table(path: Path, columns: tuple[str, ...] | None, notes: list[str]) -> Iterator[Sample]:
    number = 0
    for block in table_blocks(path, notes, is_header=is_text_header):
        if columns is None:
            columns = _guessed(block, notes)
        for name in columns:
            require(block, name)
        for row in zip(*(block.columns[name] for name in columns), strict=True):
            number += 1
            text = joined(dict(zip(columns, row, strict=True)))
            yield Sample(f"{path.name}#{number}", path, text=text)


def _guessed(table: Table, notes: list[str]) -> tuple[str, ...]:
    name = text_column(table)
    if name is None:
        raise DataError(
            f"No column of `{table.path}` seems to hold texts; it has {', '.join(table.columns)}. "
            "Name one with --text-column."
        )
    notes.append(f"Column `{name}` of {table.path.name} holds the texts.")
    return (name,)


def _of_lines(data: bytes, columns: tuple[str, ...] | None, notes: list[str]) -> Iterator[Sample]:
    where = Path(_STANDARD_INPUT)
    lines = decode(data, "standard input", notes).splitlines()
    is_json = next((line.lstrip()[:1] == "{" for line in lines if line.strip()), False)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
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
