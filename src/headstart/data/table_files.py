"""CSV, TSV, JSONL and Parquet files as columns of cells: whole, or block by block.

How CSV and TSV are taken apart is in `delimited_files`. Knows nothing of pictures, labels or data
sets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from headstart.data.decoding import decoded, lines
from headstart.data.delimited_files import (
    BLOCK_CHARACTERS,
    BLOCK_ROWS,
    Block,
    IsHeader,
    OnBad,
    read_delimited,
)
from headstart.errors import DataError

_PARQUET_ROWS = 1024  # at once; a row may be a long text


@dataclass(frozen=True)
class Table:
    """The cells of a table, or of some of its rows.

    Attributes:
        path: The file.
        columns: Name -> cells from top to bottom: text for CSV and TSV, what was stored for the
            others; None where there is nothing.
        notes: What was guessed about the file.
        position: How far in the file its last row is, in bytes, about; 0 where all was read.
    """

    path: Path
    columns: dict[str, list[Any]]
    notes: tuple[str, ...] = ()
    position: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


def read_table(path: Path, *, is_header: IsHeader) -> Table:
    """Read a table.

    Args:
        path: A file with a suffix of TABLE_READERS.
        is_header: Whether the first of some rows of a CSV or TSV names the columns; when not, they
            are called `column_1`, `column_2`, ...

    Raises:
        DataError: It is no such table, is empty, or has rows of unequal length.
    """
    notes: list[str] = []
    columns: dict[str, list[Any]] = {}
    num_rows = 0
    for block in table_blocks(path, notes, is_header=is_header):
        for name in block.columns:
            if name not in columns:
                columns[name] = [None] * num_rows
        for name, cells in columns.items():
            cells += block.columns.get(name, [None] * len(block))
        num_rows += len(block)
    return Table(path, columns, tuple(notes))


def first_rows(path: Path, *, is_header: IsHeader) -> Table:
    """The first rows of a table, some thousand at the most, to know what it holds.

    Raises:
        DataError: See `read_table`; of what is wrong further down nothing is known.
    """
    notes: list[str] = []
    block = next(table_blocks(path, notes, is_header=is_header))
    return Table(path, block.columns, tuple(notes))


def table_blocks(
    path: Path,
    notes: list[str],
    *,
    is_header: IsHeader,
    least_columns: int = 2,
    on_bad: OnBad | None = None,
) -> Generator[Table, None, None]:
    """A table of any size, some thousand rows at a time; at least one.

    A column that a block lacks (in JSONL) is None in all of its rows.

    Args:
        path: A file with a suffix of TABLE_READERS.
        notes: Is told what was guessed about the file; complete when the last block was read.
        is_header: See `read_table`.
        least_columns: How many a CSV or TSV must have.
        on_bad: Is told of each row that cannot be read, by its number, before its block comes, in
            which it is None in all columns; None: such rows are an error.

    Raises:
        DataError: See `read_table`.
    """
    num_rows = 0
    read = TABLE_READERS[path.suffix.lower()]
    if read is read_delimited:
        read = partial(read_delimited, least_columns=least_columns)
    try:
        for columns, position in read(path, is_header, notes, on_bad):
            block = Table(path, columns, position=position)
            num_rows += len(block)
            yield block
    except OSError as error:
        raise DataError(
            f"The table `{path}` cannot be read ({error.strerror or error}). Check the file."
        ) from error
    if not num_rows:
        needed = "one is" if least_columns == 1 else "two samples are"
        raise DataError(f"The table `{path}` has no rows. At least {needed} needed.")


def _read_jsonl(
    path: Path, is_header: IsHeader, notes: list[str], on_bad: OnBad | None
) -> Iterator[Block]:
    """One JSON object a line. Keys that a line lacks are None there."""
    rows: list[dict[str, Any]] = []
    length = num_before = 0
    with path.open("rb") as file:
        for number, line in enumerate(lines(decoded(file, path.name, notes), path.name), 1):
            if not line.strip():
                continue
            try:
                rows.append(_parse_object(path, number, line))
            except DataError as error:
                if on_bad is None:
                    raise
                rows.append({})
                on_bad(num_before + len(rows), error)
            length += len(line)
            # A block of broken lines alone would have no column, and wait for one that has.
            if (len(rows) >= BLOCK_ROWS or length >= BLOCK_CHARACTERS) and any(rows):
                yield _columns_of(rows), file.tell()
                num_before += len(rows)
                rows, length = [], 0
        if any(rows):
            yield _columns_of(rows), file.tell()


def _parse_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = getattr(error, "msg", error)
        raise DataError(
            f"Line {number} of `{path}` is no JSON ({why}). Each line needs one object, "
            'such as {"file_name": "a.jpg", "label": "cat"} or {"text": "...", "label": "cat"}.'
        ) from None
    if not isinstance(row, dict):
        raise DataError(
            f"Line {number} of `{path}` is a {type(row).__name__}. Each line needs one object, "
            'such as {"file_name": "a.jpg", "label": "cat"} or {"text": "...", "label": "cat"}.'
        )
    return row


def _columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _read_parquet(
    path: Path, is_header: IsHeader, notes: list[str], on_bad: OnBad | None
) -> Iterator[Block]:
    """The columns of a Parquet file; class indices of the `datasets` library become names."""
    import pyarrow as pa
    from pyarrow import parquet

    size, num_rows = path.stat().st_size, 0
    try:
        with parquet.ParquetFile(path) as file:
            embedded = [f.name for f in file.schema_arrow if _has_bytes(f.type, pa)]
            notes += [
                f"The column `{name}` of {path.name} holds binary data, such as whole pictures, "
                "and was left out: export the pictures to files."
                for name in embedded
            ]
            named = _class_names(file.schema_arrow.metadata)
            wanted = [n for n in file.schema_arrow.names if n not in embedded]
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted):
                columns = {name: _cells(batch.column(name), name, path) for name in wanted}
                for name in columns.keys() & named.keys():
                    columns[name] = [_named(value, named[name]) for value in columns[name]]
                num_rows += len(batch)
                yield columns, size * num_rows // max(1, file.metadata.num_rows)
    except pa.ArrowException as error:
        raise DataError(
            f"`{path}` is no Parquet file that can be read ({error}). Write it anew."
        ) from error


def _cells(column: Any, name: str, path: Path) -> list[Any]:
    """The values of an Arrow array; of some, such as dates after the year 9999, Python has none."""
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"The column `{name}` of `{path}` holds a value that cannot be read ({error}). Mend "
            "it, or write the table without that column."
        ) from error
    return values


def _has_bytes(kind: Any, pa: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(_has_bytes(kind.field(i).type, pa) for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Column -> class names, as the `datasets` library notes them in the schema of its files."""
    try:
        noted = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    except json.JSONDecodeError:
        return {}
    features = noted.get("info", {}).get("features", {})
    found = {}
    for name, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
        if isinstance(inner, dict) and isinstance(inner.get("names"), list):
            found[name] = [str(n) for n in inner["names"]]
    return found


def _named(value: Any, classes: list[str]) -> Any:
    if isinstance(value, list):
        return [_named(v, classes) for v in value]
    if isinstance(value, int) and 0 <= value < len(classes):
        return classes[value]
    return None  # -1 stands for no label there


TABLE_READERS: dict[str, Callable[[Path, IsHeader, list[str], OnBad | None], Iterator[Block]]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
