"""Areas of one class as polygons: merged over the seams of row blocks, simplified, written.

Beside `polygons`, which reads, the only importer of pyogrio and shapely (extra `geo`). A raster of
any size goes through in blocks of rows; only areas that reach the last row so far are held.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.own_files import GEOJSON_START, SOFTWARE
from headstart.data.raster_header import RasterFacts
from headstart.data.raster_writing import outlines
from headstart.data.rasters import reproject
from headstart.errors import DataError, MissingExtraError

_WRITTEN_AT_ONCE = 4096  # polygons; a file is opened anew for each part
_DEGREES = "EPSG:4326"


@dataclass(frozen=True, eq=False)
class RowBlock:
    """Some rows of a raster of classes.

    Attributes:
        top: Number of the first row.
        classes: (rows, width) uint8.
        valid: (rows, width) bool, where there is a class.
    """

    top: int
    classes: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Outlining:
    """How areas become polygons.

    Attributes:
        classes: Names; the place of each is its value.
        min_pixels: Smaller areas are left out, and smaller holes filled.
        tolerance_pixels: How far an outline may be moved to have fewer corners. Each polygon is
            simplified by itself, so that neighbours may overlap or part by as much.
    """

    classes: tuple[str, ...]
    min_pixels: int
    tolerance_pixels: float


@dataclass(frozen=True)
class WrittenAreas:
    """What became of the areas of a raster.

    Attributes:
        num_polygons: Areas that were written.
        num_below: Areas that were left out as smaller than the least.
        largest_below: Pixels of the largest of them; 0 where none was.
    """

    num_polygons: int
    num_below: int = 0
    largest_below: int = 0


def write_polygons(
    output: Path, blocks: Iterable[RowBlock], *, place: RasterFacts, outlining: Outlining
) -> WrittenAreas:
    """Write the areas of a raster of classes, with the fields `class` and `num_pixels`.

    Args:
        output: `.gpkg`, or `.geojson`, which is in degrees (WGS 84) where that can be said;
            replaced when it is there.
        blocks: All rows, from the first to the last.
        place: Of the raster: its size, transform and coordinate reference system.
        outlining: How areas become polygons.

    Raises:
        DataError: It cannot be written.
        MissingExtraError: pyogrio or shapely are not installed.
    """
    require_polygons()
    below = _Below()
    areas = find_areas(blocks, height=place.height)
    found = _prepared(_large_enough(areas, outlining.min_pixels, below), place, outlining)
    temporary = output.with_name(f".{output.name}.unfinished{output.suffix}")
    temporary.unlink(missing_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        write = _write_geojson if output.suffix.lower() == ".geojson" else _write_geopackage
        num_written = write(temporary, found, place)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return WrittenAreas(num_written, below.count, below.largest)


def require_polygons() -> None:
    """Raise MissingExtraError unless polygons can be written."""
    if not all(importlib.util.find_spec(name) for name in ("pyogrio", "shapely")):
        raise MissingExtraError("Writing polygons", extra="geo")


def find_areas(blocks: Iterable[RowBlock], *, height: int) -> Iterator[tuple[Any, int]]:
    """Areas of pixels of one class that share a side, as shapely polygons in pixels, with classes.

    Areas that lie in several blocks come as one polygon. Memory holds a block's areas, and those
    that reach its last row.

    Args:
        blocks: All rows, from the first to the last.
        height: Of the raster.
    """
    import shapely

    open_areas: list[tuple[Any, int]] = []
    for block in blocks:
        bottom = block.top + len(block.classes)
        areas = [
            (shapely.geometry.shape(shape), value)
            for shape, value in outlines(block.classes, block.valid, top=block.top)
        ]
        if open_areas:
            areas = _merged(open_areas, areas, seam=block.top)
            open_areas = []
        for area, value in areas:
            if bottom < height and shapely.bounds(area)[3] == bottom:
                open_areas.append((area, value))
            else:
                yield area, value
    yield from open_areas


def _merged(
    above: Sequence[tuple[Any, int]], below: Sequence[tuple[Any, int]], *, seam: int
) -> list[tuple[Any, int]]:
    """Areas above and below a seam, those of one class that share a part of it made one."""
    import shapely

    at_seam: dict[int, list[Any]] = {}
    merged = []
    for area, value in above:
        at_seam.setdefault(value, []).append(area)
    for area, value in below:
        if shapely.bounds(area)[1] == seam:
            at_seam.setdefault(value, []).append(area)
        else:
            merged.append((area, value))
    for value, areas in sorted(at_seam.items()):
        whole = shapely.union_all(areas)
        merged += [(area, value) for area in shapely.get_parts(whole)]
    return merged


@dataclass
class _Below:
    """How many areas were too small, and how large the largest of them was, in pixels."""

    count: int = 0
    largest: int = 0


def _large_enough(
    areas: Iterable[tuple[Any, int]], min_pixels: int, below: _Below
) -> Iterator[tuple[Any, int]]:
    """Areas of so many pixels at the least; all others are counted."""
    for area, value in areas:
        num_pixels = round(area.area)
        if num_pixels < min_pixels:
            below.count += 1
            below.largest = max(below.largest, num_pixels)
        else:
            yield area, value


def _prepared(
    areas: Iterable[tuple[Any, int]], place: RasterFacts, outlining: Outlining
) -> Iterator[tuple[Any, str, int]]:
    """Polygons in the scene's coordinates, with class names and sizes in pixels."""
    import shapely

    for area, value in areas:
        num_pixels = round(area.area)
        holes = [
            hole
            for hole in area.interiors
            if shapely.Polygon(hole).area >= max(outlining.min_pixels, 1)
        ]
        polygon = shapely.Polygon(area.exterior, holes)
        polygon = shapely.simplify(
            polygon, outlining.tolerance_pixels, preserve_topology=True
        ).normalize()
        if place.transform is not None:
            a, b, c, d, e, f = place.transform
            turn = np.array([[a, b], [d, e]])
            polygon = shapely.transform(polygon, lambda xy, m=turn, o=(c, f): xy @ m.T + o)
        yield polygon, outlining.classes[value], num_pixels


def _write_geopackage(path: Path, found: Iterable[tuple[Any, str, int]], place: RasterFacts) -> int:
    import shapely
    from pyogrio.errors import DataSourceError, FieldError, GeometryError
    from pyogrio.raw import write

    num_written = 0
    for part in _parts(found):
        shapes, names, sizes = zip(*part, strict=True) if part else ((), (), ())
        fields = [np.array(names, object), np.array(sizes, np.int64)]
        with warnings.catch_warnings():  # a scene without one is told before it comes to this
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            try:
                write(
                    str(path),
                    shapely.to_wkb(np.array(shapes, object)),
                    fields,
                    ["class", "num_pixels"],
                    layer="classes",
                    driver="GPKG",
                    geometry_type="Polygon",
                    crs=place.crs or None,
                    append=num_written > 0,
                    **({} if num_written else {"layer_options": {"DESCRIPTION": SOFTWARE}}),
                )
            except (DataSourceError, FieldError, GeometryError, OSError) as error:
                raise DataError(
                    f"Polygons cannot be written to `{path.parent}` ({str(error).rstrip('.')}). "
                    "Make sure that there is room on the disk."
                ) from error
        num_written += len(part)
    return num_written


def _parts(found: Iterable[tuple[Any, str, int]]) -> Iterator[list[tuple[Any, str, int]]]:
    """In parts to be written at once; an empty one when there is nothing."""
    part: list[tuple[Any, str, int]] = []
    is_first = True
    for item in found:
        part.append(item)
        if len(part) == _WRITTEN_AT_ONCE:
            yield part
            part, is_first = [], False
    if part or is_first:
        yield part


def _write_geojson(path: Path, found: Iterable[tuple[Any, str, int]], place: RasterFacts) -> int:
    """Line by line: GDAL would hold all of it.

    Source: RFC 7946, sections 3.1.6 (outer rings counter-clockwise) and 4 (WGS 84).
    """
    import shapely

    num_written = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(GEOJSON_START)
        for polygon, name, num_pixels in found:
            geometry = shapely.geometry.mapping(polygon)
            if place.is_georeferenced:
                (geometry,) = reproject([geometry], source=place.crs, target=_DEGREES)
            turned = shapely.orient_polygons(shapely.geometry.shape(geometry))
            feature = {
                "type": "Feature",
                "properties": {"class": name, "num_pixels": num_pixels},
                "geometry": shapely.geometry.mapping(turned),
            }
            file.write(("," if num_written else "") + "\n" + json.dumps(feature))
            num_written += 1
        file.write("\n]}\n")
    return num_written
