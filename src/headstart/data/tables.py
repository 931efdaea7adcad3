"""Tables that name pictures and their labels: where they lie, and what each row says.

How the files themselves are read is in `table_files`, which column is which in `columns`.
"""

from __future__ import annotations

import ast
import json
import os
import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.contracts import Dataset, Finding, Sample, Split
from headstart.data.columns import Roles, find_roles, is_missing, mended, probe, require
from headstart.data.folders import SPLIT_NAMES, Request, apply_groups
from headstart.data.listing import count, is_picture_name, series, subfolders_with_pictures
from headstart.data.table_files import TABLE_READERS, Table, first_rows, read_table
from headstart.errors import DataError

_METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


@dataclass(frozen=True)
class TableSource:
    """A table, and the split that its place or name gives to all of its rows."""

    path: Path
    split: Split | None = None


@dataclass
class _Rows:
    """What was read so far, from all tables of a data set."""

    files: list[tuple[str, Path]] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    splits: list[Split | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def recognises_table(path: Path) -> str | None:
    """Why this is a table of pictures (a file, or a folder with one), or None when it is not."""
    if path.is_file():
        is_table = path.suffix.lower() in TABLE_READERS
        return f"it is a {path.suffix.lower()} table" if is_table else None
    sources = table_sources(path)
    if not sources:
        return None
    names = series(source.path.name for source in sources)
    if len(sources) == 1 and len(subfolders_with_pictures(path)) > 1:
        # It may as well be a note beside class folders: only what it says can tell.
        table = first_rows(sources[0].path, is_header=is_header)
        if not any(probe(cells, path)[0] for cells in table.columns.values()):
            return None
    return f"it holds the table {names}" if len(sources) == 1 else f"it holds the tables {names}"


def read_tables(path: Path, request: Request) -> Dataset:
    """Read a CSV, TSV, JSONL or Parquet file, or the one in a folder, or `train.csv` and the like.

    Raises:
        DataError: A table cannot be read, or it cannot be told which column is which.
    """
    if path.is_file():
        return _read(path.parent, [TableSource(path)], request)
    return _read(path, table_sources(path), request)


def recognises_metadata(path: Path) -> str | None:
    """Why this is a folder with metadata files beside its pictures, or None when it is not."""
    sources = metadata_sources(path)
    if not sources:
        return None
    names = series(source.path.relative_to(path).as_posix() for source in sources)
    return f"it holds {names}, as the Hugging Face libraries lay pictures out"


def read_metadata(path: Path, request: Request) -> Dataset:
    """Read `metadata.csv`, `.jsonl` or `.parquet` beside the pictures, or in train/ and test/.

    Raises:
        DataError: A table cannot be read, or it cannot be told which column is which.
    """
    return _read(path, metadata_sources(path), request)


def table_sources(folder: Path, *, but: Collection[str] = ()) -> list[TableSource]:
    """The one table in a folder, or those called after splits; files called `but` are no tables."""
    if not folder.is_dir():
        return []
    tables = sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in TABLE_READERS and p.name[0] != "." and p.is_file()
        if p.name not in but
    )
    if len(tables) == 1:
        return [TableSource(tables[0])]
    splits = [SPLIT_NAMES.get(p.stem.lower()) for p in tables]
    if None in splits:
        return []  # it cannot be told which of them is meant
    return [TableSource(p, split) for p, split in zip(tables, splits, strict=True)]


def metadata_sources(folder: Path) -> list[TableSource]:
    """`metadata.csv` and the like in a folder, or in its split folders."""
    if not folder.is_dir():
        return []
    top = [TableSource(folder / n) for n in _METADATA_NAMES if (folder / n).is_file()]
    if top:
        return top[:1]
    found = []
    for inner in sorted(folder.iterdir()):
        split = SPLIT_NAMES.get(inner.name.lower())
        tables = [inner / n for n in _METADATA_NAMES if split and (inner / n).is_file()]
        found += [TableSource(tables[0], split)] if tables else []
    return found


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row of a table names its columns: one that names a picture does not."""
    return not any(is_picture_name(cell.strip()) for cell in rows[0])


def _read(root: Path, sources: Sequence[TableSource], request: Request) -> Dataset:
    rows = _Rows()
    roles: Roles | None = None
    columns: list[str] = []
    for source in sources:
        table = read_table(source.path, is_header=is_header)
        rows.notes += table.notes
        if roles is None:
            columns = list(table.columns)
            roles = find_roles(table, request, rows.notes)
        for name in (roles.image, roles.label, roles.split, roles.group):
            if name is not None:
                require(table, name)
        _collect(rows, root, table, source, roles)
    labels, is_multilabel = read_labels(
        rows.labels, rows.notes, is_multilabel=request.is_multilabel
    )
    samples, findings = _make_samples(rows, labels, is_multilabel=is_multilabel)
    if roles is not None and roles.group is not None:
        rows.notes.append(told_groups(roles.group, samples))
    else:
        samples, notes = apply_groups(samples, request.group, columns=columns)
        rows.notes += notes
    return Dataset(
        root=root,
        format="table",
        reason="",
        task="image-classification",
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
        classes=tuple(sorted({label for sample in samples for label in sample.labels})),
        is_multilabel=is_multilabel,
        notes=tuple(rows.notes),
        findings=tuple(findings),
    )


def _collect(rows: _Rows, root: Path, table: Table, source: TableSource, roles: Roles) -> None:
    """Add the rows of a table whose file exists; note the others."""
    images = table.columns[roles.image]
    base = probe(images, table.path.parent)[1]
    if base != table.path.parent:
        rows.notes.append(f"Paths in {table.path.name} are relative to {base.name}/.")
    prefix = "" if base == root else base.relative_to(root).as_posix() + "/"
    splits = table.columns[roles.split] if roles.split else [None] * len(table)
    groups = table.columns[roles.group] if roles.group else [None] * len(table)
    cells = zip(images, table.columns[roles.label], splits, groups, strict=True)
    for number, (image, label, split, group) in enumerate(cells, 1):
        if is_missing(image):
            rows.missing.append(f"{table.path.name}, row {number}: no path")
            continue
        identity, path = locate(str(image), base, prefix, root)
        if not os.path.isfile(path):  # noqa: PTH113 - half the time for 100,000 rows
            rows.missing.append(identity)
            continue
        rows.files.append((identity, Path(path)))
        rows.labels.append(label)
        named = None if is_missing(split) else SPLIT_NAMES[str(split).strip().lower()]
        rows.splits.append(named or source.split)
        rows.groups.append(None if is_missing(group) else str(group))


def told_groups(column: str, samples: Sequence[Sample]) -> str:
    """What the column of groups does, for the user."""
    num_groups = len({s.group for s in samples if s.group is not None})
    num_alone = sum(s.group is None for s in samples)
    told = f"Column `{column}` puts the samples into {count(num_groups, 'group')}"
    if num_alone:
        told += f"; {count(num_alone, 'sample')} with an empty cell: each is a group of its own"
    return told + "."


def locate(cell: str, base: Path, prefix: str, root: Path) -> tuple[str, str]:
    """The id (relative to the root, with forward slashes) and path that a cell stands for."""
    if os.sep == "/" or "\\" in cell:
        cell = cell.replace("\\", "/")
    if os.path.isabs(cell):  # noqa: PTH117 - half the time for 100,000 rows
        try:
            return os.path.relpath(cell, root).replace(os.sep, "/"), cell
        except ValueError:  # another drive on Windows
            return cell, cell
    identity = prefix + cell
    if "./" in identity or "//" in identity:
        identity = posixpath.normpath(identity)
    return identity, f"{base}/{cell}"


def read_labels(
    cells: Sequence[Any],
    notes: list[str],
    *,
    noun: str = "picture",
    is_multilabel: bool = False,
) -> tuple[list[tuple[str, ...] | None], bool]:
    """The labels of each row, None where they are missing; and whether a row may have several.

    Args:
        cells: Those of the column of labels: names, numbers, lists, or names joined by `|`.
        notes: Is told what was made of them.
        noun: What a row is.
        is_multilabel: A row may have several labels, even where none here has.

    Raises:
        DataError: A cell is none of that.
    """
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    if texts and all(t[0] == "[" and t[-1] == "]" for t in texts):
        cells = [_parse_list(c) if isinstance(c, str) and c.strip() else c for c in cells]
    has_lists = any(isinstance(cell, list) for cell in cells)
    if not has_lists and not is_multilabel and not any("|" in text for text in texts):
        return [None if t is None else (t,) for t in _as_names(cells)], False
    if not has_lists:
        num_blank = sum(map(is_missing, cells))
        if num_blank:
            notes.append(
                f"{count(num_blank, 'row')} with no label: among rows with several labels, that "
                "means none of the classes."
            )
        cells = [[] if is_missing(cell) else str(cell).split("|") for cell in cells]
    names = iter(_as_names([v for cell in cells if isinstance(cell, list) for v in cell]))
    labels: list[tuple[str, ...] | None] = []
    for cell in cells:
        if isinstance(cell, list):
            found = {name for name in (next(names) for _ in cell) if name is not None}
            labels.append(tuple(sorted(found)))
        else:
            labels.append(None if is_missing(cell) else (str(cell),))
    notes.append(f"A {noun} may have several labels: this is multi-label.")
    return labels, True


def _parse_list(text: str) -> Any:
    """A list written as text, in JSON or as Python prints it; the text itself when it is none."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return list(parse(text))
        except (ValueError, SyntaxError, TypeError):
            continue
    return text


def _as_names(cells: Sequence[Any]) -> list[str | None]:
    """Cells as class names: numbers lose `.0` when all are whole; None where nothing is."""
    names: list[str | None] = []
    for cell in cells:
        if is_missing(cell):
            names.append(None)
        elif isinstance(cell, dict | list):
            raise DataError(
                f"The label column holds {str(cell)[:60]}, but a name, a number or a list of them "
                "is needed. Give another with --label-column."
            )
        else:
            names.append(str(cell).lower() if isinstance(cell, bool) else mended(str(cell)).strip())
    present = [name for name in names if name is not None]
    if present and all(re.fullmatch(r"[+-]?\d+(\.0*)?", name) for name in present):
        return [name if name is None else name.partition(".")[0] for name in names]
    return names


def _make_samples(
    rows: _Rows, labels: Sequence[tuple[str, ...] | None], *, is_multilabel: bool
) -> tuple[list[Sample], list[Finding]]:
    """Samples with unique ids, and what is wrong with the rows.

    A picture in two rows with the same labels is one sample. With other labels it is a second
    sample, `a.jpg#2`, which the checks then find to be the same picture under two labels.
    """
    samples: dict[str, Sample] = {}
    seen: dict[str, set[tuple[str, ...]]] = {}
    unlabelled, repeated = [], []
    columns = zip(rows.files, labels, rows.splits, rows.groups, strict=True)
    for (identity, path), names, split, group in columns:
        if names is None or (not names and not is_multilabel):
            unlabelled.append(identity)
            continue
        known = seen.setdefault(identity, set())
        if names in known:
            repeated.append(identity)
            continue
        known.add(names)
        unique = identity if len(known) == 1 else f"{identity}#{len(known)}"
        samples[unique] = Sample(unique, path, names, split, group)
    return list(samples.values()), _row_findings(rows.missing, unlabelled, repeated)


def _row_findings(
    missing: Sequence[str], unlabelled: Sequence[str], repeated: Sequence[str]
) -> list[Finding]:
    findings = []
    if missing:
        findings.append(
            Finding(
                "missing-file",
                "error",
                f"{count(len(missing), 'row')} whose picture does not exist.",
                "Mend the paths, or leave the rows out with `--on-bad skip`.",
                tuple(missing),
            )
        )
    if unlabelled:
        findings.append(
            Finding(
                "missing-label",
                "warning",
                f"{count(len(unlabelled), 'row')} without a label, left out.",
                "Fill in the labels, if these pictures are to be learnt from.",
                tuple(unlabelled),
            )
        )
    if repeated:
        findings.append(
            Finding(
                "repeated-row",
                "warning",
                f"{count(len(repeated), 'row')} that repeat an earlier one, left out.",
                "Nothing; or remove them from the table.",
                tuple(repeated),
            )
        )
    return findings
