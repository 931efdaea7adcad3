"""From a file of polygons, a scene and a legend to the class of each pixel of a window.

What stays the same from window to window, the polygons on the grid of their scene, is kept between
calls. Knows nothing of samples or data sets.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from headstart.contracts import IGNORE, Legend
from headstart.data.polygons import POLYGON_SUFFIXES, PolygonMask, Polygons, read_polygons
from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import Window, raster_facts
from headstart.data.stamps import Stamp, file_stamp

# Files and scenes whose polygons are kept: of a scene those alone that touch it, so that all scenes
# of a file keep little more than the file.
_NUM_FILES, _NUM_SCENES = 4, 4096


def is_polygon_file(path: Path) -> bool:
    """Whether a mask is a file of polygons, by its suffix."""
    return path.suffix.lower() in POLYGON_SUFFIXES


def polygons_of(path: Path, *, column: str | None) -> Polygons:
    """The polygons of a file, kept while it does not change.

    Raises:
        DataError: See `read_polygons`.
        MissingExtraError: See `read_polygons`.
    """
    return _kept_polygons(path, column, file_stamp(path))


def draw_mask(
    path: Path, scene: Path, legend: Legend, *, window: Window | None = None
) -> tuple[np.ndarray, RasterFacts]:
    """The class of each pixel of a scene, or of a window of it, by polygons.

    Args:
        path: The file of polygons.
        scene: Georeferenced.
        legend: Names the classes, the column of labels, and what lies in no polygon.
        window: None is the whole scene.

    Returns:
        (height, width) int64: class indices, or IGNORE; and the header of the scene.

    Raises:
        PictureError: The scene cannot be read.
        DataError: The polygons cannot be read, or do not lie on the scene.
    """
    mask, facts = _kept_mask(
        path,
        scene,
        (legend.names, legend.column, legend.outside),
        (file_stamp(path), file_stamp(scene)),
    )
    return mask.read(window or Window(0, 0, facts.width, facts.height)), facts


@lru_cache(maxsize=_NUM_FILES)
def _kept_polygons(path: Path, column: str | None, stamp: Stamp) -> Polygons:
    del stamp  # a part of the key
    return read_polygons(path, column=column)


@lru_cache(maxsize=_NUM_SCENES)
def _kept_mask(
    path: Path,
    scene: Path,
    reading: tuple[tuple[str, ...], str | None, str | None],
    stamps: tuple[Stamp, Stamp],
) -> tuple[PolygonMask, RasterFacts]:
    names, column, outside = reading
    facts = raster_facts(scene)
    index = IGNORE if outside is None else names.index(outside)
    polygons = _kept_polygons(path, column, stamps[0])
    return PolygonMask(polygons, facts, classes=names, outside=index), facts
