"""Texts to predict: files, folders, columns of tables, and standard input; of any number.

They come a part at a time, so that a table may be larger than memory.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.contracts import Sample
from headstart.data.columns import require
from headstart.data.decoding import decode, decoded, lines
from headstart.data.listing import is_text_name, list_folder, refuse_names_of_bytes
from headstart.data.table_files import TABLE_READERS, Table, table_blocks
from headstart.data.text_columns import (
    as_in_the_fit,
    guess_texts,
    header_of_texts,
    names_columns,
    whole_names,
)
from headstart.data.text_rows import cleaned
from headstart.data.text_tables import joined
from headstart.errors import DataError

# Is told of a file or row that cannot be read, which is then left out.
OnError = Callable[[Sample, DataError], None]
_STANDARD_INPUT = "-"
# Of these one file is no text, though some can be read as one.
_NO_TEXTS = frozenset({".json", ".xml", ".rtf", ".pdf", ".doc", ".docx", ".odt", ".xls", ".xlsx"})
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
    usual: tuple[str, ...] = (),
    notes: list[str] | None = None,
    on_error: OnError | None = None,
) -> list[Sample]:
    """All texts of some sources; see `text_parts`."""
    parts = text_parts(sources, columns=columns, usual=usual, notes=notes, on_error=on_error)
    return [sample for part in parts for sample in part.samples]


def text_parts(
    sources: Sequence[Path | str],
    *,
    columns: tuple[str, ...] | None = None,
    usual: tuple[str, ...] = (),
    notes: list[str] | None = None,
    on_error: OnError | None = None,
) -> Iterator[TextPart]:
    """The texts of some sources, in order, a part at a time; at least one.

    A `.txt` file is one text, and so is each in a folder. In a table each row is one, by the column
    that is given or seems to hold texts. Standard input, `-`, is one text a line, or JSON objects
    with one, a line each.

    Args:
        sources: Files, folders, and `-`.
        columns: Of tables and JSON objects; several are joined with their names. None guesses.
        usual: Those that a model was fitted on: they are the guess where they are all there, and
            needed where they are several.
        notes: Is told what was guessed; complete when the last part was read.
        on_error: Told of each file and each row that cannot be read, which is then left out; None:
            the error is raised.

    Yields:
        Samples without labels, with the ids `new.csv#17`, `mails/1.txt` or `line 3`; where two
        would be alike, behind their source. Rows that are left out are counted.

    Raises:
        DataError: There is nothing, it cannot be read, or it cannot be told which column is meant.
    """
    reading = _Reading(columns, usual, [] if notes is None else notes, on_error)
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
        for sample, position in _texts_of(file, reading):
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
        named = ", ".join(f"`{source}`" for source in sources)
        if reading.num_left_out:
            raise DataError(
                f"Nothing in {named} can be read: all that is there had to be left out "
                f"({reading.num_left_out:,} files or rows). Mend it."
            )
        raise DataError(
            f"No text in {named}. Give .txt files, folders of them, tables "
            f"({', '.join(TABLE_READERS)}), or - for standard input."
        )


def _files_of(source: str) -> Iterator[_File]:
    path = Path(source)
    if source == _STANDARD_INPUT:
        yield _File(source, path, "line", 0)
    elif path.is_dir():
        for name, found in sorted(list_folder(path, is_wanted=is_text_name).files.items()):
            yield _File(source, Path(found), name, Path(found).stat().st_size)
    elif path.is_file():
        refuse_names_of_bytes([source])
        yield _File(source, path, path.name, path.stat().st_size)
    else:
        raise DataError(f"There is no file or folder `{path}`. Check the path.")


@dataclass
class _Reading:
    """How texts are read.

    Attributes:
        columns: Of tables and objects; None guesses.
        usual: See `text_parts`.
        notes: Is told what was guessed.
        on_error: See `text_parts`.
        num_left_out: How many files and rows could not be read.
    """

    columns: tuple[str, ...] | None
    usual: tuple[str, ...]
    notes: list[str]
    on_error: OnError | None
    num_left_out: int = 0

    def leave_out(self, sample: Sample, error: DataError, *, so_far: str = "") -> None:
        """Tell what cannot be read; without `on_error` it is raised.

        Args:
            sample: Stands for it.
            error: Why.
            so_far: What is kept of it, in a sentence.
        """
        if self.on_error is None:
            raise error
        self.num_left_out += 1
        self.on_error(sample, DataError(f"{error} {so_far}") if so_far else error)


def _texts_of(file: _File, reading: _Reading) -> Iterator[tuple[Sample, int]]:
    """Each text of a file, and how many bytes of it are read by then, about."""
    if file.source == _STANDARD_INPUT:
        yield from ((sample, 0) for sample in _of_lines(reading))
    elif file.path.suffix.lower() in TABLE_READERS:
        yield from _of_table(file.path, reading)
    else:
        try:
            sample = _whole(file, reading.notes)
        except DataError as error:
            reading.leave_out(Sample(file.name, file.path), error)
        else:
            yield sample, file.size


def _whole(file: _File, notes: list[str]) -> Sample:
    if file.path.suffix.lower() in _NO_TEXTS:
        raise _no_text(file)
    try:
        text = decode(file.path.read_bytes(), file.name, notes)
    except OSError as error:
        raise DataError(
            f"`{file.path}` cannot be read ({error.strerror or error}). Check the file."
        ) from error
    if "\0" in text:
        raise _no_text(file)
    text = cleaned(text)
    return Sample(file.name, file.path, text=text)


def _no_text(file: _File) -> DataError:
    return DataError(
        f"`{file.path}` is neither a plain text nor a table ({', '.join(TABLE_READERS)}). Export "
        "it as one: a spreadsheet as CSV, JSON with an object a line as .jsonl, a document as .txt."
    )


def _of_table(path: Path, reading: _Reading) -> Iterator[tuple[Sample, int]]:
    columns, number = reading.columns, 0
    names: dict[str, str] = {}
    bad: set[int] = set()
    for block in _blocks_of(path, reading, bad):
        if columns is None:
            columns = guess_texts(block, reading.notes, usual=reading.usual)
        if not number:
            given = whole_names(columns, block.columns)
            names = as_in_the_fit(given, reading.usual, reading.notes)
            for name in names:
                require(block, name)
        none = [None] * len(block)  # of JSONL a block may lack a column
        for row in zip(*(block.columns.get(name, none) for name in names), strict=True):
            number += 1
            if number in bad:
                bad.remove(number)
                continue
            id_ = f"{path.name}#{number}"
            try:
                text = joined(dict(zip(names, row, strict=True)), names)
            except DataError as error:
                reading.leave_out(Sample(id_, path), DataError(f"Row {number}: {error}"))
            else:
                yield Sample(id_, path, text=text), block.position


def _blocks_of(path: Path, reading: _Reading, bad: set[int]) -> Iterator[Table]:
    """The blocks of a table, up to where it cannot be read any more.

    Args:
        path: Of the table.
        reading: How it is read.
        bad: Is told the numbers of rows that cannot be read.
    """

    def note(number: int, error: DataError) -> None:
        bad.add(number)
        reading.leave_out(Sample(f"{path.name}#{number}", path), error)

    blocks = table_blocks(
        path,
        reading.notes,
        is_header=header_of_texts(reading.columns, reading.usual),
        least_columns=1,
        on_bad=None if reading.on_error is None else note,
    )
    num_rows = 0
    while True:
        try:
            block = next(blocks, None)
        except DataError as error:
            so_far = f"Its first {num_rows:,} rows are kept." if num_rows else ""
            reading.leave_out(Sample(path.name, path), error, so_far=so_far)
            return
        if block is None:
            return
        num_rows += len(block)
        yield block


def _of_lines(reading: _Reading) -> Iterator[Sample]:
    where, name = Path(_STANDARD_INPUT), "standard input"
    pieces = decoded(sys.stdin.buffer, name, reading.notes)
    numbered = enumerate(lines(pieces, name), start=1)
    is_json: bool | None = None
    while True:
        try:
            number, line = next(numbered)
        except StopIteration:
            return
        except DataError as error:  # a line without an end
            reading.leave_out(Sample(name, where), error)
            return
        if not line.strip():
            continue
        if "\0" in line:
            why = DataError(
                f"Line {number} of standard input is no text: it holds bytes of zero, as pictures "
                "and archives do. Give texts, one a line, or the path of a table."
            )
            reading.leave_out(Sample(f"line {number}", where), why)
            continue
        if is_json is None:
            _refuse_array(line)
            is_json = line.lstrip()[:1] == "{"
            if not is_json and names_columns(line):
                reading.notes.append(
                    f"The first line of standard input, `{line.strip()[:60]}`, looks like the "
                    "header of a table, and is read as a text. Give the path of the table instead."
                )
        try:
            text = _of_object(number, line, reading) if is_json else cleaned(line)
        except DataError as error:
            reading.leave_out(Sample(f"line {number}", where), error)
        else:
            yield Sample(f"line {number}", where, text=text)


def _refuse_array(first: str) -> None:
    """A list of texts or objects is no text; one in many lines begins with a bracket alone."""
    if first.strip() == "[" or re.match(r"\s*\[\s*(\{\s*\"|\".*\"\s*\]\s*$)", first):
        raise DataError(
            "Standard input is a JSON array. Give an object a line, such as "
            '{"text": "..."}; `jq -c \'.[]\'` makes them of an array.'
        )


def _of_object(number: int, line: str, reading: _Reading) -> str:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = getattr(error, "msg", error)
        raise DataError(
            f"Line {number} of standard input is no JSON ({why}), but the first begins with `{{` "
            'and was taken for it. Put an object on each line, such as {"text": "..."}; texts that '
            "begin like that can come as a .txt file each, or in a table."
        ) from None
    if not isinstance(found, dict):
        raise DataError(
            f"Line {number} of standard input is a {type(found).__name__}. Each line needs one "
            'object, such as {"text": "..."}.'
        )
    columns = whole_names(reading.columns or _text_names(found, reading.usual), found)
    names = as_in_the_fit(columns, reading.usual, reading.notes)
    missing = [name for name in names if name not in found]
    if missing or not names:
        raise DataError(
            f"Line {number} of standard input has no entry `{', '.join(missing) or 'text'}`; it "
            f"has {', '.join(found) or 'none'}. Name another with --text-column."
        )
    return joined({name: found[name] for name in names}, names)


def _text_names(found: dict[str, Any], usual: tuple[str, ...]) -> tuple[str, ...]:
    """The entries of an object that hold its text: the usual, `text`, or the only string."""
    if len(usual) > 1 or (usual and usual[0] in found):
        return usual
    if "text" in found:
        return ("text",)
    strings = [name for name, value in found.items() if isinstance(value, str)]
    return tuple(strings) if len(strings) == 1 else ()
