"""CSV, TSV, JSONL and Parquet files as columns of cells, whatever their separator and encoding.

Knows nothing of pictures, labels or data sets.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import DataError

_SNIFFED_LINES = 50


@dataclass(frozen=True)
class Table:
    """The cells of a table.

    Attributes:
        path: The file.
        columns: Name -> cells from top to bottom: text for CSV and TSV, what was stored for the
            others; None where there is nothing.
        notes: What was guessed about the file.
    """

    path: Path
    columns: dict[str, list[Any]]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


def read_table(path: Path, *, is_header: Callable[[list[str]], bool]) -> Table:
    """Read a table.

    Args:
        path: A file with a suffix of TABLE_READERS.
        is_header: Whether the first row of a CSV or TSV names the columns; when not, they are
            called `column_1`, `column_2`, ...

    Raises:
        DataError: It is no such table, is empty, or has rows of unequal length.
    """
    try:
        table = TABLE_READERS[path.suffix.lower()](path, is_header)
    except OSError as error:
        raise DataError(
            f"The table `{path}` cannot be read ({error.strerror or error}). Check the file."
        ) from error
    if not len(table):
        raise DataError(f"The table `{path}` has no rows. At least two samples are needed.")
    return table


def _read_delimited(path: Path, is_header: Callable[[list[str]], bool]) -> Table:
    """CSV, TSV, or columns set apart by white space."""
    text, notes = _decode(path)
    lines = [line for line in text.splitlines()[: _SNIFFED_LINES + 1] if line.strip()]
    if not lines:
        raise DataError(f"The table `{path}` is empty. A header and a line a sample are needed.")
    separator = "\t" if path.suffix.lower() == ".tsv" else _sniff(lines[:_SNIFFED_LINES])
    rows, numbers = _split_rows(path, text, separator)
    width = len(rows[0])
    if width < 2:
        raise DataError(
            f"The table `{path}` has a single column (first line: `{lines[0][:80]}`). At least "
            "a column of picture paths and one of labels are needed, with comma, semicolon, tab "
            "or spaces between."
        )
    uneven = [(n, len(row)) for n, row in zip(numbers, rows, strict=True) if len(row) != width]
    if uneven:
        shown = ", ".join(f"line {n} has {cells}" for n, cells in uneven[:10])
        more = f", and {len(uneven) - 10} more lines differ" if len(uneven) > 10 else ""
        raise DataError(
            f"The first line of `{path}` has {width} cells, but {shown}{more}. Each needs the "
            "same number: put cells that contain the separator into double quotes."
        )
    if is_header(rows[0]):
        names = [name.strip() for name in rows.pop(0)]
        names = [name or f"column_{i}" for i, name in enumerate(names, 1)]
    else:
        names = [f"column_{i}" for i in range(1, width + 1)]
        notes.append(f"{path.name} has no header; its columns are called {', '.join(names)}.")
    if len(set(names)) < width:
        twice = [name for name, n in Counter(names).items() if n > 1]
        raise DataError(
            f"The header of `{path}` has the name `{twice[0]}` more than once. Rename one of them."
        )
    cells = zip(*rows, strict=True) if rows else ([] for _ in names)
    columns = {
        name: [cell.strip() or None for cell in column]
        for name, column in zip(names, cells, strict=True)
    }
    return Table(path, columns, tuple(notes))


def _decode(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and a note when it is not UTF-8."""
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), [f"{path.name} was read as UTF-16."]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("latin-1"), [f"{path.name} is not UTF-8 and was read as Latin-1."]


def _sniff(lines: list[str]) -> str:
    """The separator that gives most lines the same number of cells, at least two.

    A space stands for any run of white space; it is tried last, as file names have spaces too.
    """
    best, best_score = ",", (0.0, 0)
    for separator in "\t;,":
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=separator) if row)
        width, number = widths.most_common(1)[0]
        score = (number / widths.total(), width)
        if width > 1 and score > best_score:
            best, best_score = separator, score
    if best_score[0] < 1.0:
        widths = Counter(len(line.split()) for line in lines)
        if len(widths) == 1 and max(widths) > 1:
            return " "
    return best


def _split_rows(path: Path, text: str, separator: str) -> tuple[list[list[str]], list[int]]:
    """The rows that are not blank, and their line numbers."""
    if separator == " ":
        numbered = [(n, line.split()) for n, line in enumerate(text.splitlines(), 1)]
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            numbered = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            raise DataError(
                f"Line {reader.line_num} of `{path}` cannot be read ({error}). Mend the line."
            ) from None
    kept = [(n, row) for n, row in numbered if any(cell.strip() for cell in row)]
    return [row for _, row in kept], [n for n, _ in kept]


def _read_jsonl(path: Path, is_header: Callable[[list[str]], bool]) -> Table:
    """One JSON object a line. Keys that a line lacks are None there."""
    text, notes = _decode(path)
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"Line {number} of `{path}` is no JSON ({error.msg}). Each line needs one object, "
                'such as {"file_name": "a.jpg", "label": "cat"}.'
            ) from None
        if not isinstance(row, dict):
            raise DataError(
                f"Line {number} of `{path}` is a {type(row).__name__}. Each line needs one object, "
                'such as {"file_name": "a.jpg", "label": "cat"}.'
            )
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Table(path, {name: [row.get(name) for row in rows] for name in names}, tuple(notes))


def _read_parquet(path: Path, is_header: Callable[[list[str]], bool]) -> Table:
    """The columns of a Parquet file; class indices of the `datasets` library become names."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            embedded = [f.name for f in file.schema_arrow if _has_bytes(f.type, pa)]
            arrow = file.read(columns=[n for n in file.schema_arrow.names if n not in embedded])
    except pa.ArrowException as error:
        raise DataError(
            f"`{path}` is no Parquet file that can be read ({error}). Write it anew."
        ) from error
    columns = {name: arrow.column(name).to_pylist() for name in arrow.column_names}
    for name, classes in _class_names(arrow.schema.metadata).items():
        if name in columns:
            columns[name] = [_named(value, classes) for value in columns[name]]
    notes = [
        f"The column `{name}` of {path.name} holds binary data, such as whole pictures, and was "
        "left out: export the pictures to files."
        for name in embedded
    ]
    return Table(path, columns, tuple(notes))


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


TABLE_READERS: dict[str, Callable[[Path, Callable[[list[str]], bool]], Table]] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
