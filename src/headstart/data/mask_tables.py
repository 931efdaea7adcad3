"""Tables with a column of pictures and one of masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.contracts import Dataset, Finding, Sample
from headstart.data.columns import find_split, image_rank, is_missing, probe, require
from headstart.data.folders import SPLIT_NAMES, Request
from headstart.data.legend_files import LEGEND_NAMES
from headstart.data.listing import count, is_picture_name, series
from headstart.data.mask_datasets import Read, dataset_of_masks
from headstart.data.mask_layouts import MASK_FOLDERS
from headstart.data.table_files import TABLE_READERS, Table, first_rows, read_table
from headstart.data.tables import TableSource, is_header, locate, metadata_sources, table_sources
from headstart.errors import DataError


@dataclass
class _Rows:
    """What was read so far, from all tables of a data set."""

    samples: dict[str, Sample] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=lambda: {"picture": [], "mask": []})
    repeated: list[str] = field(default_factory=list)


def recognises_mask_table(path: Path) -> str | None:
    """Why this is a table of pictures and masks (a file, or a folder with one), or None."""
    sources = _sources(path)
    if not sources:
        return None
    table = first_rows(sources[0].path, is_header=is_header)
    mask = _mask_column(table, _file_columns(table))
    return None if mask is None else f"column `{mask}` of {sources[0].path.name} holds masks"


def read_mask_table(path: Path, request: Request) -> Dataset:
    """Read a table with pictures and masks, or the one in a folder, or `train.csv` and the like.

    Raises:
        DataError: A table cannot be read, or it cannot be told which column holds the pictures.
    """
    root = path.parent if path.is_file() else path
    rows = _Rows()
    notes: list[str] = []
    columns: list[str] = []
    for source in _sources(path):
        table = read_table(source.path, is_header=is_header)
        columns = columns or list(table.columns)
        notes += table.notes
        image, mask = _roles(table, request)
        notes.append(f"Columns `{image}` and `{mask}` of {source.path.name} hold pictures, masks.")
        _collect(rows, root, table, source, (image, mask, request.group))
    return dataset_of_masks(
        root,
        list(rows.samples.values()),
        request,
        Read(None, notes, _findings(rows)),
        columns=columns,
    )


def _sources(path: Path) -> list[TableSource]:
    if path.is_file():
        return [TableSource(path)] if path.suffix.lower() in TABLE_READERS else []
    return metadata_sources(path) or table_sources(path, but=LEGEND_NAMES)


def _file_columns(table: Table) -> list[str]:
    """Columns most of whose cells are pictures that exist."""
    found = []
    for name, cells in table.columns.items():
        texts = [cell for cell in cells[:100] if isinstance(cell, str)]
        is_named = bool(texts) and all(is_picture_name(text) for text in texts)
        if is_named and probe(cells, table.path.parent)[0] >= 0.5:
            found.append(name)
    return found


def _mask_column(table: Table, files: Sequence[str]) -> str | None:
    """The column that holds masks by its name; None when fewer than two columns hold files."""
    if len(files) < 2:
        return None
    named = [name for name in files if set(re.split(r"[\s_-]+", name.lower())) & MASK_FOLDERS]
    return named[0] if len(named) == 1 else None


def _roles(table: Table, request: Request) -> tuple[str, str]:
    """The columns of pictures and of masks."""
    files = _file_columns(table)
    mask = request.label_column or _mask_column(table, files)
    if mask is None:
        raise DataError(
            f"It cannot be told which column of `{table.path}` holds the masks; files are in "
            f"{series(f'`{c}`' for c in files) or 'none'}. Give its name with --label-column."
        )
    require(table, mask, "--label-column")
    image = request.image_column
    if image is None:
        others = sorted((name for name in files if name != mask), key=image_rank)
        if not others:
            raise DataError(
                f"No column of `{table.path}` but `{mask}` holds paths of existing pictures. Give "
                "the column of pictures with --image-column."
            )
        image = others[0]
    require(table, image, "--image-column")
    return image, mask


def _collect(
    rows: _Rows,
    root: Path,
    table: Table,
    source: TableSource,
    roles: tuple[str, str, str | None],
) -> None:
    """Add the rows of a table whose files exist; note the others."""
    image, mask, group = roles
    bases = [probe(table.columns[name], table.path.parent)[1] for name in (image, mask)]
    prefixes = ["" if b == root else b.relative_to(root).as_posix() + "/" for b in bases]
    split_column = find_split(table)
    blank = [None] * len(table)
    splits = table.columns[split_column] if split_column else blank
    groups = table.columns.get(group or "", blank)
    cells = zip(table.columns[image], table.columns[mask], splits, groups, strict=True)
    for number, (*pair, split, member) in enumerate(cells, 1):
        located = []
        for what, cell, base, prefix in zip(
            ("picture", "mask"), pair, bases, prefixes, strict=True
        ):
            if is_missing(cell):
                rows.missing[what].append(f"{table.path.name}, row {number}: no path")
                break
            identity, place = locate(str(cell), base, prefix, root)
            if not Path(place).is_file():
                rows.missing[what].append(identity)
                break
            located.append((identity, Path(place)))
        if len(located) < 2:
            continue
        (identity, path), (_, mask_path) = located
        if identity in rows.samples:
            rows.repeated.append(identity)
            continue
        named = None if is_missing(split) else SPLIT_NAMES[str(split).strip().lower()]
        of_group = None if is_missing(member) else str(member)
        rows.samples[identity] = Sample(
            identity, path, (), named or source.split, of_group, mask_path
        )


def _findings(rows: _Rows) -> list[Finding]:
    found = [
        Finding(
            "missing-file",
            "error",
            f"{count(len(names), 'row')} whose {what} does not exist.",
            "Mend the paths, or leave the rows out with `--on-bad skip`.",
            tuple(names),
        )
        for what, names in rows.missing.items()
        if names
    ]
    if rows.repeated:
        found.append(
            Finding(
                "repeated-row",
                "warning",
                f"{count(len(rows.repeated), 'row')} with a picture of an earlier one, left out.",
                "Keep one row a picture.",
                tuple(rows.repeated),
            )
        )
    return found
