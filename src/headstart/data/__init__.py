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
from headstart.data.tiling import tiled
from headstart.errors import DataError

__all__ = ["FORMATS", "Format", "Request", "find_pictures", "open_dataset"]


@dataclass(frozen=True)
class Format:
    """A layout of data on disk.

    Attributes:
        layout: What it looks like, in a few words, for the error that lists all formats.
        recognises: Path -> why it is of this format (a clause such as "it holds the table
            labels.csv"), or None when it is not.
        read: Path and request -> Dataset; its `format` and `reason` are filled in by the caller.
    """

    layout: str
    recognises: Callable[[Path], str | None]
    read: Callable[[Path, Request], Dataset]


# Tried from top to bottom: what says more about the pictures comes first. Masks say the most: as
# folders or tables of labelled pictures they would be read as pictures of a class `masks`.
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
}


def open_dataset(
    path: Path | str,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    group: str | None = None,
    ignore_values: tuple[int, ...] | None = None,
    outside: Literal["background", "ignore"] | None = None,
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

    Raises:
        DataError: There is nothing there, no format fits, or it cannot be read as asked.

    Example:
        >>> open_dataset("photos/").classes  # doctest: +SKIP
        ('cat', 'dog')
    """
    path = Path(path)
    if not path.exists():
        raise missing_path(path)
    request = Request(image_column, label_column, group, ignore_values, outside)
    for name, layout in FORMATS.items():
        reason = layout.recognises(path)
        if reason is not None:
            dataset = tiled(layout.read(path, request))
            return replace(dataset, format=name, reason=f"Read as {name}, because {reason}.")
    raise _unrecognised(path)


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
