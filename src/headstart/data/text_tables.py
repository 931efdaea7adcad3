"""Tables of texts and their labels: where they lie, and what each row says.

Read block by block, so that a table may be larger than memory. Which column is which is found out
in `text_columns`, from the first block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.contracts import Dataset, Split
from headstart.data.columns import is_missing, require
from headstart.data.folders import SPLIT_NAMES, Request
from headstart.data.listing import series, subfolders_with_pictures
from headstart.data.table_files import TABLE_READERS, Table, first_rows, table_blocks
from headstart.data.tables import TableSource, read_labels, table_sources
from headstart.data.text_columns import (
    TextRoles,
    find_text_roles,
    header_of_texts,
    is_text_header,
    text_column,
)
from headstart.data.text_rows import TextLabels, TextRow, TextRows, cleaned, dataset_of_texts
from headstart.errors import DataError


@dataclass(frozen=True)
class _Sources:
    """The tables to read, and others in the folder that are not."""

    tables: tuple[TableSource, ...]
    others: tuple[str, ...] = ()


def recognises_text_table(path: Path) -> str | None:
    """Why this is a table of texts (a file, or a folder with one), or None when it is not."""
    sources = _sources(path)
    if not sources.tables:
        return None
    table = sources.tables[0].path
    column = text_column(first_rows(table, is_header=is_text_header))
    return None if column is None else f"column `{column}` of {table.name} holds texts"


def has_text_table(path: Path) -> bool:
    """Whether there is a table that may hold texts, if somebody says so."""
    return bool(_sources(path).tables)


def read_text_tables(path: Path, request: Request) -> Dataset:
    """Read a table of texts, or the one in a folder, or `train.csv` and the like.

    A text has the id `train.csv#17`, for the seventeenth row below the header. Of more texts than
    fit into memory (see `text_rows`) an even sample is kept.

    Raises:
        DataError: A table cannot be read, or it cannot be told which column is which.
    """
    root = path.parent if path.is_file() else path
    sources = _sources(path)
    rows = TextRows()
    if sources.others:
        rows.notes.append(f"{series(sources.others)} left out: beside tables called after splits.")
    is_header = header_of_texts(
        *(request.text_columns, request.usual_text_columns, request.label_column, request.group)
    )
    roles: TextRoles | None = None
    columns: list[str] = []
    total = sum(source.path.stat().st_size for source in sources.tables)
    with request.progress.bar("reading texts", total=max(1, total >> 20), unit="MB") as advance:
        for source in sources.tables:
            blocks = table_blocks(source.path, rows.notes, is_header=is_header)
            with closing(blocks):
                num_rows = position = 0
                for block in blocks:
                    if roles is None:
                        columns = list(block.columns)
                        roles = find_text_roles(block, request, rows.notes)
                    if not num_rows:
                        _require_all(block, roles)
                    _collect(rows, root, block, source, roles, above=num_rows)
                    num_rows += len(block)
                    advance((block.position >> 20) - (position >> 20))
                    position = block.position
    names, is_multilabel = read_labels(
        rows.finish(), rows.notes, noun="text", is_multilabel=request.is_multilabel
    )
    labels = TextLabels(names, is_multilabel)
    if roles is not None:
        labels = replace(labels, group=roles.group, columns=columns, texts=tuple(roles.texts))
    return dataset_of_texts(root, rows, labels, request)


def _sources(path: Path) -> _Sources:
    """The table itself; or of a folder its only one, or those of splits, or in split folders.

    A table beside several folders of pictures is none: it is about them, or about something else.
    """
    if path.is_file():
        is_table = path.suffix.lower() in TABLE_READERS
        return _Sources((TableSource(path),) if is_table else ())
    if not path.is_dir() or len(subfolders_with_pictures(path)) > 1:
        return _Sources(())
    found = table_sources(path)
    if found:  # what the columns are is found out in train, if there is one
        return _Sources(tuple(sorted(found, key=lambda s: s.split != "train")))
    tables = [p for p in sorted(path.iterdir()) if _is_table(p)]
    named = {p: split_of(p.stem) for p in tables}
    if "train" in named.values():
        chosen = tuple(TableSource(p, split) for p, split in named.items() if split)
        return _Sources(chosen, tuple(p.name for p, split in named.items() if not split))
    if tables:
        return _Sources(())  # it cannot be told which of them is meant
    return _Sources(
        tuple(
            TableSource(table, SPLIT_NAMES[folder.name.lower()])
            for folder in sorted(path.iterdir())
            if folder.name.lower() in SPLIT_NAMES and folder.is_dir()
            for table in sorted(folder.iterdir())
            if _is_table(table)
        )
    )


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in TABLE_READERS and path.name[0] != "." and path.is_file()


def split_of(stem: str) -> Split | None:
    """The split that a file is called after; `train-00000-of-00002` is a part of train.

    Example:
        >>> split_of("dev"), split_of("test-00000-of-00001"), split_of("trainers")
        ('validation', 'test', None)
    """
    name, _, part = stem.lower().partition("-")
    is_part = not part or all(p.isdigit() for p in part.split("-of-"))
    return SPLIT_NAMES.get(name) if is_part else None


def _require_all(block: Table, roles: TextRoles) -> None:
    if roles.label not in block.columns and all(name in block.columns for name in roles.texts):
        raise DataError(
            f"`{block.path}` has texts, but no column `{roles.label}` with labels, as the table "
            "before it has. Add the labels, or give the other table alone; to have a model answer, "
            "take `headstart predict`."
        )
    for name in (*roles.texts, roles.label, roles.split, roles.group):
        if name is not None:
            require(block, name)


def _collect(
    rows: TextRows, root: Path, block: Table, source: TableSource, roles: TextRoles, *, above: int
) -> None:
    """Add the rows of a block; `above` is how many rows of its table came before."""
    none = [None] * len(block)

    def cells(name: str | None) -> Sequence[Any]:
        return none if name is None else block.columns.get(name, none)

    texts = [cells(name) for name in roles.texts]
    prefix = source.path.relative_to(root).as_posix() + "#"
    known: dict[str, str] = {}  # equal labels are one object
    columns = (cells(roles.label), cells(roles.split), cells(roles.group))
    numbers = rows.numbers(len(block))
    for at, (number, label, split, group) in enumerate(zip(numbers, *columns, strict=True)):
        named = source.split if is_missing(split) else _split_named(split, block, roles)
        if not rows.takes(number, label, named):
            continue
        text = joined({n: c[at] for n, c in zip(roles.texts, texts, strict=True)}, roles.texts)
        label = known.setdefault(label, label) if isinstance(label, str) else label
        of_group = None if is_missing(group) else str(group)
        identity = f"{prefix}{above + at + 1}"
        rows.add(number, TextRow(identity, source.path, text, label, named, of_group))


def _split_named(cell: Any, block: Table, roles: TextRoles) -> Split:
    split = SPLIT_NAMES.get(str(cell).strip().lower())
    if split is None:
        raise DataError(
            f"Column `{roles.split}` of `{block.path}` has the value {cell}, but train, validation "
            "(or val, valid, dev) and test are needed. Change it, or rename the column to have "
            "Headstart split."
        )
    return split


def joined(cells: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """One text of the cells of a row: of several columns each with its name, if it has something.

    Args:
        cells: Of each column.
        names: Of the columns, as they stand in the text; see `as_in_the_fit`.

    Raises:
        DataError: A cell is an object.
    """
    for name, cell in cells.items():
        if isinstance(cell, dict):
            raise DataError(
                f"Column `{name}` holds {str(cell)[:60]}, but a text is needed. Give another with "
                "--text-column."
            )
    texts = {name: cleaned(cell) for name, cell in cells.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{names[name]}: {text}" for name, text in texts.items() if text)
