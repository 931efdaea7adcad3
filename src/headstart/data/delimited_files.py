"""CSV, TSV, and columns set apart by white space: rows block by block, whatever their separator.

Knows nothing of pictures, texts, labels or data sets.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from headstart.data.decoding import decoded, lines
from headstart.errors import DataError

# Column -> cells of some rows, and how far in the file they end, in bytes.
Block = tuple[dict[str, list[Any]], int]
# Whether the first of some rows names the columns.
IsHeader = Callable[[Sequence[Sequence[str]]], bool]
# Is told of each row that cannot be read, by its number from 1; there it stands as one of nothing.
OnBad = Callable[[int, DataError], None]
# A block is held at once; smaller ones cost more bookkeeping than they save.
BLOCK_ROWS = 4096
BLOCK_CHARACTERS = 1 << 22
# Longer than any text one would classify. A quote that is not closed makes all that follows one
# cell, and is met here before memory is full.
MAX_CELL = 1 << 24
_SNIFFED_LINES = 50
_SNIFFED_CHARACTERS = 1 << 20
# A cell that recurs below is no name of a column: of 77 classes, the first row's is in nearly any
# thousand rows, and in every second fifty.
_ROWS_BELOW_HEADER = 1000
# A quote that is closed by that of a later row makes one cell of all between. Told of a row that
# has so many lines, this often.
_LEAST_SWALLOWED, _MOST_TOLD = 4, 3


def read_delimited(
    path: Path,
    is_header: IsHeader,
    notes: list[str],
    on_bad: OnBad | None = None,
    *,
    least_columns: int = 2,
) -> Iterator[Block]:
    """Column -> cells, block by block; empty cells are None.

    Args:
        path: A CSV or TSV file.
        is_header: Whether the first row names the columns.
        notes: Is told what was guessed.
        on_bad: Is told of uneven rows; None: they are an error.
        least_columns: How many it must have; with 1 white space separates nothing.

    Raises:
        DataError: It is empty, has too few columns, a name twice in its header, or (when all before
            them was read) a line that cannot be read, or uneven rows.
    """
    if csv.field_size_limit() < MAX_CELL:  # of the process; raised, and never lowered again
        csv.field_size_limit(MAX_CELL)
    with path.open("rb") as file:
        rest = lines(decoded(file, path.name, notes), path.name)
        begun = _beginning(rest)
        shown = [line for line in begun if line.strip()]
        if not shown:
            raise _empty(path)
        separator = (
            "\t"
            if path.suffix.lower() == ".tsv"
            else _sniff(shown[:_SNIFFED_LINES], or_space=least_columns > 1)
        )
        all_lines = chain(begun, rest)
        if separator == " ":
            numbered: Iterator[tuple[int, list[str]]] = (
                (n, line.split()) for n, line in enumerate(all_lines, 1)
            )
        elif separator == "\t" and _is_unquoted(path):
            numbered = _split_plainly(all_lines)
        else:
            numbered = _split_quoted(path, all_lines, separator, notes)
        readable = _Readable(numbered)
        rows = iter(
            _in_place(readable) if least_columns == 1 else filter(_says_something, readable)
        )
        first_line = shown[0].strip()
        first = _first(rows)
        if not first:  # rows of nothing but separators
            raise readable.error or _empty(path)
        _require_columns(path, first[0][1], first_line, least_columns=least_columns)
        names = _header(path, first, is_header, notes)
        blocks = _blocks(path, names, chain(first, rows), on_bad)
        for columns in blocks:
            yield columns, file.tell()
        if readable.error is not None:
            raise readable.error


class _Readable:
    """Rows up to one that cannot be read.

    Attributes:
        error: Why it cannot; None until then, and where all can.
    """

    def __init__(self, rows: Iterator[tuple[int, list[str]]]) -> None:
        self.error: DataError | None = None
        self._rows = rows

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        try:
            yield from self._rows
        except DataError as error:
            self.error = error


def _says_something(numbered: tuple[int, list[str]]) -> bool:
    return any(cell.strip() for cell in numbered[1])


def _in_place(rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Rows that can be counted: with those of separators alone, unless they end the table.

    Of a single column an empty cell, in quotes, is a row; an empty line never is.
    """
    num_empty = width = 0
    for numbered in rows:
        row = numbered[1]
        is_lone_cell = len(row) == 1 and (width == 1 or (width == 0 and row == [""]))
        if _says_something(numbered) or is_lone_cell:
            yield from ((numbered[0], [""] * width) for _ in range(num_empty))
            num_empty, width = 0, width or len(row)
            yield numbered
        elif len(row) > 1 and width:
            num_empty += 1


def _empty(path: Path) -> DataError:
    return DataError(f"The table `{path}` is empty. A header and a line a sample are needed.")


def _beginning(rest: Iterator[str]) -> list[str]:
    """The first lines, enough to tell the separator by."""
    begun: list[str] = []
    length = 0
    for line in islice(rest, 4 * _SNIFFED_LINES):
        begun.append(line)
        length += len(line)
        if length > _SNIFFED_CHARACTERS:
            break
    return begun


def _first(rows: Iterator[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """The first rows, enough to tell a header by."""
    first: list[tuple[int, list[str]]] = []
    length = 0
    for numbered in islice(rows, _ROWS_BELOW_HEADER):
        first.append(numbered)
        length += sum(map(len, numbered[1]))
        if length > _SNIFFED_CHARACTERS:
            break
    return first


def _sniff(shown: list[str], *, or_space: bool) -> str:
    """The separator that gives most rows the same number of cells, at least two.

    A space stands for any run of white space; it is tried last, as file names have spaces too.
    """
    best, best_score = ",", (0.0, 0)
    for separator in "\t;,":
        try:
            rows = [row for row in csv.reader(shown, delimiter=separator) if row]
        except csv.Error:  # told, with its line, when the table is read
            continue
        widths = Counter(map(len, rows))
        width, number = widths.most_common(1)[0]
        score = (number / widths.total(), width)
        if width > 1 and score > best_score:
            best, best_score = separator, score
    if or_space and best_score[0] < 1.0:
        widths = Counter(len(line.split()) for line in shown)
        if len(widths) == 1 and max(widths) > 1:
            return " "
    return best


def _is_unquoted(path: Path) -> bool:
    """Whether each line of a file has as many tabs: then no quote in it hides one, or a line break.

    Texts in such files often begin with a quote that is just a quote, and a reader that takes it
    for more makes one cell of all lines up to the next. Read by bytes, until one line differs.
    """
    with path.open("rb") as file:
        some = (line for line in file if line.strip())
        first = next(some, b"").count(b"\t")
        return first > 0 and all(
            line.count(b"\t") == first and not (b'"' in line and b"\r" in line.rstrip(b"\r\n"))
            for line in some
        )


def _split_plainly(all_lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Cells between tabs; quotes around a whole cell are taken off."""
    for number, line in enumerate(all_lines, 1):
        if not line.strip("\r\n"):
            continue
        cells = line.rstrip("\r\n").split("\t")
        if '"' in line:
            cells = [
                cell[1:-1].replace('""', '"')
                if len(cell) > 1 and cell[0] == cell[-1] == '"'
                else cell
                for cell in cells
            ]
        yield number, cells


def _split_quoted(
    path: Path, all_lines: Iterable[str], separator: str, notes: list[str]
) -> Iterator[tuple[int, list[str]]]:
    is_over = False
    num_like_rows = 0

    def watched() -> Iterator[str]:
        nonlocal is_over
        yield from all_lines
        is_over = True

    reader = csv.reader(watched(), delimiter=separator)
    last = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hint = "Mend the line."
            if "field larger" in str(error):
                hint = f"From line {last + 1} on, look for a quote that is not closed."
            raise DataError(
                f"Line {reader.line_num} of `{path}` cannot be read ({error}). {hint}"
            ) from None
        if is_over:  # it asks for more than there is within quotes alone
            raise DataError(
                f"`{path}` ends within quotes. From line {last + 1} on, look for a quote that is "
                "not closed."
            )
        if reader.line_num - last >= _LEAST_SWALLOWED and _holds_rows(row, separator):
            num_like_rows += 1
            if num_like_rows <= _MOST_TOLD:
                notes.append(
                    f"Lines {last + 1} to {reader.line_num} of {path.name} are one row by their "
                    "quotes, but look like many. If they are, look for a quote in the first of "
                    "them that is not closed."
                )
        last = reader.line_num
        yield last, row


def _holds_rows(row: Sequence[str], separator: str) -> bool:
    """Whether most lines within a cell would be rows of the same table."""
    for cell in row:
        within = cell.split("\n")[1:-1]
        like = sum(line.count(separator) == len(row) - 1 for line in within)
        if len(row) > 1 and within and like > 0.8 * len(within):
            return True
    return False


def _require_columns(
    path: Path, row: Sequence[str], first_line: str, *, least_columns: int
) -> None:
    if len(row) < least_columns:
        raise DataError(
            f"The table `{path}` has a single column (first line: `{first_line[:80]}`). At least a "
            "column of texts or of picture paths and one of labels are needed, with comma, "
            "semicolon, tab or spaces between."
        )


def _header(
    path: Path, first: list[tuple[int, list[str]]], is_header: IsHeader, notes: list[str]
) -> list[str]:
    """Names of the columns; the row that gives them is taken away from the first ones."""
    width = len(first[0][1])
    if is_header([row for _, row in first]):
        names = [name.strip() for name in first.pop(0)[1]]
        names = [name or f"column_{i}" for i, name in enumerate(names, 1)]
        if width == 1:
            notes.append(f"The first row of {path.name}, `{names[0]}`, names its column.")
    else:
        names = [f"column_{i}" for i in range(1, width + 1)]
        notes.append(f"{path.name} has no header; its columns are called {', '.join(names)}.")
    if len(set(names)) < width:
        twice = [name for name, n in Counter(names).items() if n > 1]
        raise DataError(
            f"The header of `{path}` has the name `{twice[0]}` more than once. Rename one of them."
        )
    return names


def _blocks(
    path: Path,
    names: Sequence[str],
    rows: Iterable[tuple[int, list[str]]],
    on_bad: OnBad | None,
) -> Iterator[dict[str, list[Any]]]:
    width = len(names)
    uneven: list[str] = []  # once there is one, all that follow are looked for, and no block comes
    num_uneven, length = 0, 0
    block: list[list[str]] = []
    for place, (line, row) in enumerate(rows, 1):
        if len(row) != width and on_bad is not None:
            on_bad(place, _uneven(path, width, f"line {line} has {len(row)}"))
            row = [""] * width
        elif len(row) != width:
            num_uneven += 1
            if len(uneven) < 10:
                uneven.append(f"line {line} has {len(row)}")
        if num_uneven:
            continue
        block.append(row)
        length += sum(map(len, row))
        if len(block) >= BLOCK_ROWS or length >= BLOCK_CHARACTERS:
            yield _columns(names, block)
            block, length = [], 0
    if num_uneven:
        more = f", and {num_uneven - 10:,} more lines differ" if num_uneven > 10 else ""
        raise _uneven(path, width, f"{', '.join(uneven)}{more}")
    if block:
        yield _columns(names, block)


def _uneven(path: Path, width: int, others: str) -> DataError:
    return DataError(
        f"The first line of `{path}` has {width} cells, but {others}. Each needs the same number: "
        "put cells that contain the separator into double quotes."
    )


def _columns(names: Sequence[str], block: Sequence[Sequence[str]]) -> dict[str, list[Any]]:
    return {
        name: [cell.strip() or None for cell in column]
        for name, column in zip(names, zip(*block, strict=True), strict=True)
    }
