"""FORMATS: `open_dataset(path)` recognises a folder or table, says why, and reads it.

To add a format, write `data/x.py` with a function that recognises it and one that reads it, and
add a line to FORMATS. Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headstart.contracts import Dataset
from headstart.data.coco import read_coco, recognises_coco
from headstart.data.folders import (
    Request,
    find_pictures,
    read_class_folders,
    recognises_class_folders,
)
from headstart.data.images import PICTURE_SUFFIXES
from headstart.data.listing import describe_contents, missing_path
from headstart.data.mask_tables import read_mask_table, recognises_mask_table
from headstart.data.masks import read_mask_folders, recognises_mask_folders
from headstart.data.scene_folders import read_scene_folders, recognises_scene_folders
from headstart.data.table_files import TABLE_READERS
from headstart.data.tables import (
    read_metadata,
    read_tables,
    recognises_metadata,
    recognises_table,
)
from headstart.data.text_folders import read_text_folders, recognises_text_folders
from headstart.data.text_tables import has_text_table, read_text_tables, recognises_text_table
from headstart.data.tiling import tiled
from headstart.errors import DataError

__all__ = ["FORMATS", "Format", "Request", "find_pictures", "open_dataset", "read_dataset"]


@dataclass(frozen=True)
class Format:
    """A layout of data on disk.

    Attributes:
        layout: What it looks like, in a few words, for the error that lists all formats.
        recognises: Path -> why it is of this format (a clause such as "it holds the table
            labels.csv"), or None when it is not.
        read: Path and request -> Dataset; its `format` and `reason` are filled in by the caller.
        holds: What its samples are.
    """

    layout: str
    recognises: Callable[[Path], str | None]
    read: Callable[[Path, Request], Dataset]
    holds: Literal["pictures", "texts"] = "pictures"


# Tried from top to bottom: what says more about the pictures comes first. Masks say the most: as
# folders or tables of labelled pictures they would be read as pictures of a class `masks`. Any
# table may be one of pictures that are missing; so one of texts is recognised before that, by what
# is in it, and not where a column names pictures. Folders of texts are those without a picture.
FORMATS: dict[str, Format] = {
    "mask-table": Format(
        "a table with a column of picture paths and one of mask paths",
        recognises_mask_table,
        read_mask_table,
    ),
    "coco-masks": Format(
        "a COCO .json file with segmentations, beside its pictures or in annotations/",
        recognises_coco,
        read_coco,
    ),
    "mask-folders": Format(
        "pictures with masks of the same name: images/ and masks/, also within or around train/, "
        "val/ and test/, or a_mask.png beside a.jpg; Cityscapes, CamVid and Pascal VOC",
        recognises_mask_folders,
        read_mask_folders,
    ),
    "scene-polygons": Format(
        "GeoTIFFs with polygons as labels (.geojson, .gpkg, .shp or .fgb): one file for all, or "
        "one of the same name a scene",
        recognises_scene_folders,
        read_scene_folders,
    ),
    "metadata-table": Format(
        "metadata.csv, .jsonl or .parquet beside the pictures, with the columns file_name and "
        "label; also in train/, validation/ and test/",
        recognises_metadata,
        read_metadata,
    ),
    "text-table": Format(
        "a .csv, .tsv, .jsonl or .parquet file with a column of texts and one of labels, or a "
        "folder with one such file, or with train.csv, dev.csv and test.csv",
        recognises_text_table,
        read_text_tables,
        "texts",
    ),
    "table": Format(
        "a .csv, .tsv, .jsonl or .parquet file with a column of picture paths and one of labels, "
        "or a folder with one such file",
        recognises_table,
        read_tables,
    ),
    "class-folders": Format(
        "a folder of pictures a class (cat/*.jpg, dog/*.jpg), also under train/, val/ and test/",
        recognises_class_folders,
        read_class_folders,
    ),
    "text-folders": Format(
        "a folder of .txt files a class (pos/*.txt, neg/*.txt), also under train/, val/ and test/",
        recognises_text_folders,
        read_text_folders,
        "texts",
    ),
}


def open_dataset(
    path: Path | str,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    group: str | None = None,
    ignore_values: tuple[int, ...] | None = None,
    outside: Literal["background", "ignore"] | None = None,
    text_columns: tuple[str, ...] | None = None,
) -> Dataset:
    """Recognise labelled data, say why, and read it.

    No pixel of a picture is read yet; masks are, where nothing but their values tells the classes.
    Large pictures with masks become windows, see `tiling`.

    Args:
        path: A folder, or a table.
        image_column: The column of a table that holds picture paths; found out when not given.
        label_column: The column of a table that holds labels, or masks; found out when not given.
        group: A column of the table, or else a pattern on sample ids with one bracket that matches
            every one, such as `patient_(\\d+)`: samples of one group never straddle a split.
        ignore_values: Values of masks that stand for no class; found out when not given, and an
            empty tuple says that none does.
        outside: What pixels in no polygon are: the class `background`, or ignored; by default it
            goes by the number of classes.
        text_columns: The columns of a table that hold texts, to be joined with their names; one is
            found out when none is given.

    Raises:
        DataError: There is nothing there, no format fits, or it cannot be read as asked.

    Example:
        >>> open_dataset("photos/").classes  # doctest: +SKIP
        ('cat', 'dog')
    """
    request = Request(image_column, label_column, group, ignore_values, outside, text_columns)
    return read_dataset(Path(path), request)


def read_dataset(path: Path, request: Request) -> Dataset:
    """`open_dataset` with all that can be asked for in one.

    Raises:
        DataError: See `open_dataset`; or both pictures and texts are asked for.
    """
    if not path.exists():
        raise missing_path(path)
    if request.image_column is not None and request.text_columns is not None:
        raise DataError(
            f"`--image-column {request.image_column}` and `--text-column "
            f"{','.join(request.text_columns)}` were given, but a sample is a picture or a text. "
            "Leave one of them out."
        )
    for name, layout in FORMATS.items():
        reason = _recognised(path, name, layout, request)
        if reason is not None:
            dataset = tiled(layout.read(path, request))
            return replace(dataset, format=name, reason=f"Read as {name}, because {reason}.")
    raise _unrecognised(path)


def _recognised(path: Path, name: str, layout: Format, request: Request) -> str | None:
    """Why a path is of a format, or None; a column that was asked for says what samples are."""
    if request.image_column is not None and layout.holds == "texts":
        return None
    if request.text_columns is not None:
        if name == "text-table" and has_text_table(path):
            return "--text-column names what to read"
        if layout.holds == "pictures" and has_text_table(path):
            return None
    return layout.recognises(path)


def _unrecognised(path: Path) -> DataError:
    layouts = "".join(f"\n- {layout.layout}" for layout in FORMATS.values())
    needed = f"One of these is needed:{layouts}"
    if path.is_dir():
        found = describe_contents(path)
        hint = (
            " Its pictures have no label: put each into a folder named after its class, or add a "
            "table; to predict on them, use `headstart predict`."
            if found.endswith(("pictures", "picture")) and not found.endswith("no pictures")
            else ""
        )
        return DataError(f"No labelled data in `{path}`: it {found}.{hint} {needed}")
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return DataError(f"`{path}` is a single picture. {needed}")
    suffixes = ", ".join(TABLE_READERS)
    return DataError(
        f"`{path}` is no table: its suffix is `{path.suffix}`, but {suffixes} is needed. {needed}"
    )
