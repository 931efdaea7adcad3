"""Makes of the finished rows of a scene the files that the user gets."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headstart.data.own_files import SOFTWARE, TIFF_FIELD
from headstart.data.polygon_writing import Outlining, RowBlock, WrittenAreas, write_polygons
from headstart.data.raster_header import RasterFacts
from headstart.data.raster_writing import RasterLook, write_cog
from headstart.scenes.blending import PROBABILITY_STEPS
from headstart.scenes.spec import NODATA, PolygonSpec, SceneSpec
from headstart.scenes.work import RawRaster

_OUTLINED_PIXELS = 1 << 22  # whose areas are sought at once
_GOLDEN_SECTION = 0.618033988749895  # of a turn: any number of hues in a row then lie well apart


def write_classes(rows: RawRaster, output: Path, *, spec: SceneSpec, facts: RasterFacts) -> None:
    """The raster of classes: a COG with a colour table, and category names beside it.

    Raises:
        DataError: It cannot be written.
    """
    colours = spec.colours or made_up_colours(len(spec.classes))
    look = RasterLook(
        ("class",),
        NODATA,
        colours=dict(enumerate(colours)),
        categories=spec.classes,
        tags=_tags(spec),
    )
    write_cog(rows.path, output, place=facts, look=look)


def write_probabilities(
    rows: RawRaster, output: Path, *, spec: SceneSpec, facts: RasterFacts
) -> None:
    """The probability of each class: a COG of 8 bits with a scale, a band a class.

    Raises:
        DataError: It cannot be written.
    """
    look = RasterLook(
        spec.classes,
        NODATA,
        scale=1 / PROBABILITY_STEPS,
        tags=_tags(spec),
        resampling="average",
    )
    write_cog(rows.path, output, place=facts, look=look)


def _tags(spec: SceneSpec) -> dict[str, str]:
    return {**spec.tags, TIFF_FIELD: SOFTWARE}


def write_areas(
    rows: RawRaster, polygons: PolygonSpec, *, classes: tuple[str, ...], facts: RasterFacts
) -> WrittenAreas:
    """The areas of the finished rows as polygons.

    Raises:
        DataError: They cannot be written.
        MissingExtraError: The extra `geo` is not installed.
    """
    outlining = Outlining(classes, polygons.min_pixels, polygons.tolerance_pixels)
    blocks = _row_blocks(rows.path, facts)
    return write_polygons(polygons.path, blocks, place=facts, outlining=outlining)


def _row_blocks(path: Path, facts: RasterFacts) -> Iterator[RowBlock]:
    num_rows = max(1, _OUTLINED_PIXELS // facts.width)
    with path.open("rb") as file:
        for top in range(0, facts.height, num_rows):
            height = min(num_rows, facts.height - top)
            rows = np.frombuffer(file.read(height * facts.width), np.uint8)
            classes = rows.reshape(height, facts.width)
            yield RowBlock(top, classes, classes != NODATA)


def made_up_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Colours that tell classes apart, each (red, green, blue), 0-255.

    Example:
        >>> made_up_colours(2)
        ((217, 98, 98), (98, 132, 217))
    """
    hues = (i * _GOLDEN_SECTION % 1 for i in range(count))
    colours = (colorsys.hsv_to_rgb(hue, 0.55, 0.85) for hue in hues)
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colours)
