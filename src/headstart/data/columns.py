"""Which column of a table holds the pictures, the labels, the splits and the groups.

Goes by the names that columns have in published data sets, and by what is in them: a cell that is
the path of a file is a picture. Each guess is written down for the user.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.data.folders import SPLIT_NAMES, Request
from headstart.data.listing import count, is_picture_name, series
from headstart.data.table_files import Table
from headstart.errors import DataError, did_you_mean

# Names that columns have in published data sets; the earlier wins where several would do.
_IMAGE_NAMES = (
    *("file_name", "filename", "file", "filepath", "file_path", "path", "image_path", "image"),
    *("img_path", "img", "image_file", "image_name", "picture", "photo", "name", "id"),
)
_LABEL_NAMES = (
    *("label", "labels", "class", "classes", "class_name", "category", "target", "tag", "tags"),
    *("y", "species", "diagnosis", "sentiment", "polarity", "topic", "intent", "emotion"),
)
_SPLIT_COLUMNS = ("split", "subset", "partition")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PROBED_CELLS = 100  # how many cells of a column are looked up on disk to know what it holds


@dataclass(frozen=True)
class Roles:
    """Which column is which."""

    image: str
    label: str
    split: str | None
    group: str | None


def require(table: Table, name: str, option: str = "") -> None:
    """Make sure that a table has a column.

    Raises:
        DataError: It has not; the message names those it has.
    """
    if name not in table.columns:
        given = f" (`{option} {name}`)" if option else ""
        raise DataError(
            f"The table `{table.path}` has no column `{name}`{given}; it has "
            f"{series((f'`{c}`' for c in table.columns), limit=30)}. "
            + did_you_mean(name, table.columns)
        )


def find_roles(table: Table, request: Request, notes: list[str]) -> Roles:
    """Which column holds pictures, labels, splits and groups: as asked for, or found out.

    Args:
        table: With at least one row.
        request: The columns that the user named.
        notes: Guesses are added here.

    Raises:
        DataError: A column asked for does not exist, or it cannot be told which one is meant.
    """
    name = table.path.name
    image = request.image_column
    if image is None:
        image, why = _guess_image(table)
        notes.append(f"Column `{image}` of {name} holds the pictures: {why}.")
    require(table, image, "--image-column")
    label, split, group = find_other_roles(table, request, notes, taken=(image,), noun="picture")
    if label == image:
        raise DataError(
            f"Column `{label}` of `{table.path}` cannot hold both pictures and labels. "
            "Give --image-column and --label-column different names."
        )
    return Roles(image, label, split, group)


def find_other_roles(
    table: Table, request: Request, notes: list[str], *, taken: Sequence[str], noun: str
) -> tuple[str, str | None, str | None]:
    """The columns of labels, splits and groups, whatever the samples are.

    Args:
        table: With at least one row.
        request: The columns that the user named.
        notes: Guesses are added here.
        taken: Columns that hold the samples.
        noun: What a sample is called.

    Raises:
        DataError: A column asked for does not exist, or it cannot be told which one is meant.
    """
    name = table.path.name
    split = find_split(table)
    if split is not None:
        notes.append(f"Column `{split}` of {name} says which split a {noun} belongs to.")
    group = request.group if request.group in table.columns else None
    label = request.label_column
    if label is None:
        label, why = guess_label(table, {*taken, split, group})
        notes.append(f"Column `{label}` of {name} holds the labels: {why}.")
    require(table, label, "--label-column")
    return label, split, group


def _rank(name: str, names: Sequence[str]) -> int:
    name = name.strip().lower()
    return names.index(name) if name in names else len(names)


def image_rank(name: str) -> int:
    """How likely the name of a column says that it holds pictures: 0 is the likeliest."""
    return _rank(name, _IMAGE_NAMES)


def label_rank(name: str) -> int | None:
    """How likely the name of a column says that it holds labels: 0 is the likeliest; None: not."""
    rank = _rank(name, _LABEL_NAMES)
    return rank if rank < len(_LABEL_NAMES) else None


def _guess_image(table: Table) -> tuple[str, str]:
    """The column whose cells are files, and why."""
    order = sorted(table.columns, key=lambda c: _rank(c, _IMAGE_NAMES))  # stable: then from left
    shares = {column: probe(table.columns[column], table.path.parent) for column in order}
    best = max(order, key=lambda c: shares[c][0])
    if shares[best][0]:
        return best, f"{shares[best][0]:.0%} of the cells tried are files"
    for column in order:
        cells = _texts(table.columns[column])
        if cells and all(is_picture_name(cell) for cell in cells):
            return column, "its cells are names of pictures"
    examples = series(f"`{c}` (such as `{_example(table.columns[c])}`)" for c in table.columns)
    raise DataError(
        f"No column of `{table.path}` seems to hold texts, and none holds paths of existing "
        f"pictures, relative to `{table.path.parent}` or absolute; it has {examples}. "
        + " ".join(
            (
                "If a column holds texts to classify, name it with --text-column; of pictures mend "
                "the paths, move the table to them, or give --image-column.",
                *table.notes,
            )
        )
    )


def guess_label(table: Table, taken: set[str | None]) -> tuple[str, str]:
    """The column that can be the label, and why.

    Args:
        table: All of it, or its first rows.
        taken: Columns that hold something else.

    Raises:
        DataError: None can be, or several.
    """
    free = [c for c in table.columns if c not in taken]
    by_name = sorted((_rank(c, _LABEL_NAMES), i) for i, c in enumerate(free))
    if by_name and by_name[0][0] < len(_LABEL_NAMES):
        return free[by_name[0][1]], "its name says so"
    # A label recurs; a few rows are too few to tell.
    likely = []
    for column in free:
        kinds = {str(cell) for cell in table.columns[column] if not is_missing(cell)}
        if kinds and len(kinds) <= max(len(table) / 2, 20 if len(free) == 1 else 2):
            likely.append((column, sorted(kinds)))
    if len(likely) == 1:
        return likely[0][0], f"it has {count(len(likely[0][1]), 'different value')}"
    if not free:
        raise DataError(
            f"`{table.path}` has no column besides {series(f'`{c}`' for c in table.columns)}, so "
            "that none can hold the labels. Add one; to have a model answer, take `headstart "
            "predict`."
        )
    described = series(f"`{c}` ({len(k)} different: {series(k, limit=3)})" for c, k in likely)
    seen = f"may be {described}" if likely else f"is none of {series(f'`{c}`' for c in free)}"
    raise DataError(
        f"It cannot be told which column of `{table.path}` holds the labels; it {seen}. "
        "Give its name with --label-column."
    )


def find_split(table: Table) -> str | None:
    """The column that says which split a row belongs to.

    Raises:
        DataError: There is one called `split` with other values than names of splits.
    """
    for column in table.columns:
        if column.strip().lower() not in _SPLIT_COLUMNS:
            continue
        values = {str(cell) for cell in table.columns[column] if not is_missing(cell)}
        unknown = sorted(v for v in values if v.strip().lower() not in SPLIT_NAMES)
        if values and not unknown:
            return column
        if values and column.strip().lower() == "split":
            raise DataError(
                f"Column `{column}` of `{table.path}` has the values {series(unknown)}, but train, "
                "validation (or val, valid, dev) and test are needed. Change them, or rename the "
                "column to have Headstart split."
            )
    return None


def probe(cells: Sequence[Any], folder: Path) -> tuple[float, Path]:
    """Share of the cells that are files, and the folder that they are relative to.

    That is the folder of the table, or else the one directly in it where most are found.
    """
    tried = _texts(cells)[:_PROBED_CELLS]
    if not tried:
        return 0.0, folder

    def share(base: Path) -> float:
        found = (os.path.isfile(base / cell.replace("\\", "/")) for cell in tried)  # noqa: PTH113 - unlike a Path it takes a long text for no file, not for an error
        return sum(found) / len(tried)

    here = share(folder)
    if here >= 0.5:
        return here, folder
    inner = sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    best = max(((share(base), base) for base in inner), key=lambda s: s[0], default=(0.0, folder))
    return best if best[0] > here else (here, folder)


def _texts(cells: Sequence[Any]) -> list[str]:
    return [cell for cell in cells if isinstance(cell, str)]


def _example(cells: Sequence[Any]) -> str:
    return next((str(cell)[:60] for cell in cells if not is_missing(cell)), "")


def mended(text: str) -> str:
    """A text in whole characters: JSON escapes can stand for halves of one."""
    if not text.isascii() and _SURROGATE.search(text):
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def is_missing(cell: Any) -> bool:
    """Whether a cell is empty, None or not a number."""
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())
