"""The one grid of pixels that several rasters are put on. Reads no pixels.

With `cogs`, the only file of the room that knows rasterio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rasterio import warp
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine, array_bounds

from headstart.errors import ConfigError, DataError
from headstart.stac.criteria import BBox

# WGS 84: one degree of the equator is 6378.137 km * 2 pi / 360.
METRES_A_DEGREE = 111_319.5
# A full Sentinel-2 tile has 120 million; beyond this it was a slip of the finger.
_MOST_PIXELS = 4_000_000_000


class OutsideError(DataError):
    """A picture has no pixel in the box."""


@dataclass(frozen=True)
class Wanted:
    """What is to be cut out of items.

    Attributes:
        bands: Names; none stands for all of an item's one picture.
        bbox: West, south, east and north in degrees; None takes all of it.
        resolution_m: Metres a pixel; None is that of the finest band asked for.
        crs: Such as `EPSG:32620`; None is that of the finest band asked for.
    """

    bands: tuple[str, ...] = ()
    bbox: BBox | None = None
    resolution_m: float | None = None
    crs: str | None = None


@dataclass(frozen=True)
class Header:
    """What a raster says of itself."""

    crs: CRS
    transform: Affine
    width: int
    height: int
    dtypes: tuple[str, ...]
    nodata: float | None

    @property
    def pixel_m(self) -> float:
        """How long a pixel is in metres, from north to south."""
        return _length_m(self.crs, self.transform)


@dataclass(frozen=True)
class Grid:
    """The pixels that are written: north up unless the source's own grid is kept as it is."""

    crs: CRS
    transform: Affine
    width: int
    height: int

    @property
    def pixel_m(self) -> float:
        """How long a pixel is in metres, from north to south."""
        return _length_m(self.crs, self.transform)

    @property
    def bbox(self) -> BBox:
        """West, south, east and north in degrees."""
        bounds = array_bounds(self.height, self.width, self.transform)
        west, south, east, north = warp.transform_bounds(
            self.crs, "EPSG:4326", *bounds, densify_pts=21
        )
        return (west, south, east, north)


def settle_grid(headers: Sequence[Header], wanted: Wanted) -> Grid:
    """The one grid for all bands: that of the finest, unless another is asked for.

    A pixel of the finest band stays a pixel, with its value, where no other resolution or
    coordinate system is asked for. Otherwise the edges of pixels lie on multiples of their size,
    so that all items fall on one grid.

    Raises:
        ConfigError: There is no such coordinate system, or the grid would be absurdly large.
        OutsideError: No pixel lies in the box.
    """
    finest = min(headers, key=lambda header: header.pixel_m)
    try:
        crs = finest.crs if wanted.crs is None else CRS.from_user_input(wanted.crs)
    except CRSError:
        raise ConfigError(
            f"--crs {wanted.crs} is no coordinate system. Give a code such as EPSG:32633."
        ) from None
    is_own = crs == finest.crs and wanted.resolution_m is None
    transform, width, height = (
        (finest.transform, finest.width, finest.height)
        if is_own and finest.transform.b == finest.transform.d == 0
        else _even_grid(finest, crs, wanted.resolution_m)
    )
    if wanted.bbox is not None:
        transform, width, height = _cut(crs, transform, width, height, wanted.bbox)
    if width * height > _MOST_PIXELS:
        raise ConfigError(
            f"That makes {width:,} × {height:,} pixels. Give a smaller --bbox or a coarser "
            "--resolution."
        )
    return Grid(crs, transform, width, height)


def _length_m(crs: CRS, transform: Affine) -> float:
    unit_m = METRES_A_DEGREE if crs.is_geographic else crs.linear_units_factor[1]
    return math.hypot(transform.b, transform.e) * float(unit_m)


def _even_grid(finest: Header, crs: CRS, resolution_m: float | None) -> tuple[Affine, int, int]:
    """A grid north up over a raster, whose edges lie on multiples of the pixel's size."""
    own_bounds = array_bounds(finest.height, finest.width, finest.transform)
    if resolution_m is None:
        found, _, _ = warp.calculate_default_transform(
            finest.crs, crs, finest.width, finest.height, *own_bounds
        )
        dx, dy = found.a, -found.e
    elif crs.is_geographic:
        _, south, _, north = warp.transform_bounds(finest.crs, crs, *own_bounds)
        dy = resolution_m / METRES_A_DEGREE
        dx = dy / math.cos(math.radians((south + north) / 2))
    else:
        dx = dy = resolution_m / crs.linear_units_factor[1]
    west, south, east, north = warp.transform_bounds(finest.crs, crs, *own_bounds, densify_pts=21)
    left, top = math.floor(west / dx + 1e-6), math.ceil(north / dy - 1e-6)
    right, bottom = math.ceil(east / dx - 1e-6), math.floor(south / dy + 1e-6)
    transform = Affine(dx, 0, left * dx, 0, -dy, top * dy)
    return transform, max(1, right - left), max(1, top - bottom)


def _cut(
    crs: CRS, transform: Affine, width: int, height: int, bbox: BBox
) -> tuple[Affine, int, int]:
    """The part of a grid that a box in degrees touches, in whole pixels."""
    if bbox[0] > bbox[2]:
        raise ConfigError(
            "The box lies across the date line, where no map has a grid without a seam. Fetch its "
            "two halves one after the other."
        )
    west, south, east, north = warp.transform_bounds("EPSG:4326", crs, *bbox, densify_pts=21)
    columns = sorted((x - transform.c) / transform.a for x in (west, east))
    rows = sorted((y - transform.f) / transform.e for y in (south, north))
    # A millionth of a pixel is rounding, not ground.
    left, right = math.floor(columns[0] + 1e-6), math.ceil(columns[1] - 1e-6)
    top, bottom = math.floor(rows[0] + 1e-6), math.ceil(rows[1] - 1e-6)
    left, right, top, bottom = max(0, left), min(width, right), max(0, top), min(height, bottom)
    if left >= right or top >= bottom:
        raise OutsideError(
            f"The box {','.join(f'{v:g}' for v in bbox)} lies outside the picture, though the "
            "item's outline touches it."
        )
    dx, dy = transform.a, transform.e
    moved = Affine(dx, 0, transform.c + left * dx, 0, dy, transform.f + top * dy)
    return moved, right - left, bottom - top
