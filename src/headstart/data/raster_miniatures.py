"""Rasters as a person would see them, tiny and grey; and whether there is anything to see.

What near-duplicates among rasters are told by. Knows neither samples nor labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.data.bands import common_name
from headstart.data.miniatures import SIDE
from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import Raster, Window, holds_data

# Pixels that percentiles are taken of: enough for half a percent of the range.
_SAMPLED = 1 << 16
_LOOKED_AT = (
    1 << 18
)  # values that are looked at for data at a time: most pictures have some at once


def raster_miniature(raster: Raster, window: Window | None = None) -> bytes:
    """What a person would see of a raster, as SIDE x SIDE grey values, row by row.

    Args:
        raster: Open.
        window: A part of it; None is all of it.

    Raises:
        PictureError: It cannot be read.
    """
    places = visible_bands(raster.facts.bands, sensor=raster.facts.sensor)
    return stretched_miniature(*raster.read(window, bands=[place + 1 for place in places]))


def stretched_miniature(values: np.ndarray, valid: np.ndarray) -> bytes:
    """The mean of visible bands, as SIDE x SIDE grey values, row by row.

    Each is stretched between its own percentiles: values of 16 bits, or reflectances, use a small
    part of their range. What is compared is the pattern alone, so that a stretch by the picture's
    own extremes does no harm here.

    Args:
        values: (bands, height, width).
        valid: (height, width) bool, where there is data.
    """
    small = np.zeros((SIDE, SIDE))
    for band in values:
        known = band[valid]
        known = known[:: 1 + len(known) // _SAMPLED].astype(np.float32)
        low, high = np.percentile(known, (2, 98)) if len(known) else (0.0, 0.0)
        if high > low:
            stretched = (band.astype(np.float32).clip(low, high) - low) / (high - low)
            small += _shrunk(np.where(valid, stretched, 0))
    return (255 * small / max(len(values), 1)).round().astype(np.uint8).tobytes()


def visible_bands(names: Sequence[str], *, sensor: str = "") -> list[int]:
    """Places (from 0) of red, green and blue by their names; else of the first three bands, or one.

    Args:
        names: Of all bands of a file.
        sensor: A row of `bands.SENSORS`, or empty.

    Example:
        >>> visible_bands(["B02", "B03", "B04", "B08"]), visible_bands(["vv", "vh"])
        ([2, 1, 0], [0])
    """
    common = [common_name(name, sensor=sensor) for name in names]
    if {"red", "green", "blue"} <= set(common):
        return [common.index(name) for name in ("red", "green", "blue")]
    return [0, 1, 2] if len(names) >= 3 else [0]


def bands_without_data(raster: Raster, window: Window | None = None) -> tuple[str, ...]:
    """Names of the bands that hold no data in any pixel; all of them where a raster is empty.

    Pixels are read only until every band has shown some.

    Args:
        raster: Open.
        window: A part of it; None is all of it.

    Raises:
        PictureError: It cannot be read.
    """
    facts = raster.facts
    is_dead = np.ones(len(facts.bands), bool)
    for piece in _pieces(facts, window or Window(0, 0, facts.width, facts.height)):
        values, opaque = raster.read_stored(piece)
        # In all bands at once, as they are learnt from; else which of them spoil it.
        if (opaque & holds_data(values, facts.nodata)).any():
            return ()
        for place in np.flatnonzero(is_dead):
            alive = opaque & holds_data(values[place : place + 1], facts.nodata)
            is_dead[place] = not alive.any()
    return tuple(name for name, dead in zip(facts.bands, is_dead, strict=True) if dead)


def _pieces(facts: RasterFacts, whole: Window) -> list[Window]:
    """Windows over all of a part of a raster, of about as many blocks as may be read at a time."""
    most = max(1, _LOOKED_AT // len(facts.bands))
    rows, columns = min(facts.block[0], whole.height), min(facts.block[1], whole.width)
    across = min(whole.width, max(1, most // (rows * columns)) * columns)
    down = max(1, most // (rows * across)) * rows
    right, bottom = whole.left + whole.width, whole.top + whole.height
    return [
        Window(left, top, min(across, right - left), min(down, bottom - top))
        for top in range(whole.top, bottom, down)
        for left in range(whole.left, right, across)
    ]


def _shrunk(band: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) means of the cells of a band (height, width)."""
    for axis in (0, 1):
        length = band.shape[axis]
        edges = np.arange(SIDE + 1) * length // SIDE
        starts = np.minimum(edges[:-1], length - 1)
        sums = np.add.reduceat(band, starts, axis=axis, dtype=np.float64)
        counts = np.maximum(np.diff(np.append(starts, length)), 1)
        band = sums / np.expand_dims(counts, 1 - axis)
    return band
