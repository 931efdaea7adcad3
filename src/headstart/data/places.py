"""Where pictures lie, and how far apart: on the ground in metres, or within one file in pixels.

Knows headers, no labels and no splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import reproject
from headstart.errors import DataError

_EARTH_RADIUS_M = 6_371_008.8  # mean radius of GRS 80, Moritz 2000 (Journal of Geodesy 74)
# One scale for all of an area serves while it is right to within this at its corners.
_FLAT = 0.05


@dataclass(frozen=True, eq=False)
class Places:
    """Pictures in one frame of reference, as rectangles.

    Attributes:
        ids: Sample ids.
        centres: (n, 2) east and north in the unit; on a globe longitude and latitude in degrees.
        halves: (n, 2) half of the width and of the height, in the unit. A picture that lies askew
            has those of its own sides: its bounding box would cover its neighbours.
        unit: `m` or `px`.
        is_globe: Whether the area is so large, or its pictures in so many coordinate reference
            systems, that no flat frame serves.
    """

    ids: tuple[str, ...]
    centres: np.ndarray
    halves: np.ndarray
    unit: str = "m"
    is_globe: bool = False

    def offsets(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far apart centres are east and north, both (len(rows), len(columns)), in the unit.

        On a globe by the scale at the mean latitude of the two, which is right for neighbours.
        """
        first, second = self.centres[rows][:, None], self.centres[columns][None]
        east, north = np.moveaxis(np.abs(first - second), -1, 0)
        if not self.is_globe:
            return east, north
        east = np.minimum(east, 360 - east)
        latitude = np.radians((first[..., 1] + second[..., 1]) / 2)
        degree = np.radians(1) * _EARTH_RADIUS_M
        return east * degree * np.cos(latitude), north * degree

    def distances(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Between centres, (len(rows), len(columns))."""
        return np.asarray(np.hypot(*self.offsets(rows, columns)))

    def gaps(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Between the edges of pictures, both (len(rows), len(columns)).

        Returns:
            The distance, 0 where they touch or overlap; and the share of the smaller one that they
            have in common.
        """
        sums = self.halves[rows][:, None] + self.halves[columns][None]
        least = 2 * np.minimum(self.halves[rows][:, None], self.halves[columns][None])
        apart = [o - s for o, s in zip(self.offsets(rows, columns), np.moveaxis(sums, -1, 0),
                                       strict=True)]  # fmt: skip
        gap = np.hypot(*(a.clip(min=0) for a in apart))
        common = [(-a).clip(0, least[..., axis]) for axis, a in enumerate(apart)]
        return gap, np.asarray(common[0] * common[1] / least.prod(axis=-1))

    @cached_property
    def side(self) -> float:
        """Of a picture, the longer one, in the median."""
        return float(np.median(2 * self.halves.max(axis=1)))

    @cached_property
    def spacing(self) -> float:
        """From a picture to its nearest neighbour, in the median of some 500."""
        if len(self.ids) < 2:
            return self.side
        some = np.unique(np.linspace(0, len(self.ids) - 1, 500).round().astype(int))
        everything = np.arange(len(self.ids))

        def nearest(row: int) -> float:
            distances = self.distances(np.array([row]), everything)[0]
            distances[row] = np.inf
            return float(distances.min())

        return float(np.median([nearest(row) for row in some]))

    def blocks(self, size: float) -> list[tuple[int, int]]:
        """The cell (column, row) of a square grid that each centre lies in.

        Args:
            size: Of a cell, in the unit. The grid begins at the corner of the area, so that cells
                as large as pictures that adjoin hold one each.
        """
        if not self.is_globe:
            corner = (self.centres - self.halves).min(axis=0)
            cells = np.floor((self.centres - corner) / size).astype(int)
            return [(int(column), int(row)) for column, row in cells]
        degree = np.radians(1) * _EARTH_RADIUS_M
        rows = np.floor(self.centres[:, 1] * degree / size)
        shrinking = np.cos(np.radians((rows + 0.5) * size / degree)).clip(min=0.01)
        columns = np.floor(self.centres[:, 0] * degree * shrinking / size)
        return [(int(column), int(row)) for column, row in zip(columns, rows, strict=True)]


def places_on_earth(headers: Mapping[str, RasterFacts]) -> Places | None:
    """The places of georeferenced pictures, in metres; None where there are none.

    Args:
        headers: Sample id -> header; those without georeference are passed over.
    """
    ids = tuple(id_ for id_, header in headers.items() if header.is_georeferenced)
    if not ids:
        return None
    corners = np.array([headers[id_].corners for id_ in ids])  # (n, 4, 2)
    systems = {headers[id_].crs for id_ in ids}
    if len(systems) == 1:
        flat = _flat(ids, corners, crs=systems.pop())
        if flat is not None:
            return flat
    degrees = np.empty_like(corners)
    for crs in {headers[id_].crs for id_ in ids}:
        members = [i for i, id_ in enumerate(ids) if headers[id_].crs == crs]
        degrees[members] = _in_degrees(corners[members].reshape(-1, 2), crs).reshape(-1, 4, 2)
    centres = degrees.mean(axis=1)
    scale = np.radians(1) * _EARTH_RADIUS_M * np.ones_like(centres)
    scale[:, 0] *= np.cos(np.radians(centres[:, 1]))
    return Places(ids, centres, _halves(degrees * scale[:, None]), is_globe=True)


def places_in_file(windows: Mapping[str, tuple[int, int, int, int]]) -> Places:
    """The places of windows (left, top, width, height) of one file, in pixels."""
    rows = np.array(list(windows.values()), float)
    halves = rows[:, 2:] / 2
    return Places(tuple(windows), rows[:, :2] + halves, halves, unit="px")


def _flat(ids: tuple[str, ...], corners: np.ndarray, *, crs: str) -> Places | None:
    """A frame that is the coordinates times a scale; None where one scale does not serve."""
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    middle = (low + high) / 2
    step = max(float(np.ptp(corners[0], axis=0).max()), 1e-9)
    anchors = np.array([middle, low, high, (low[0], high[1]), (high[0], low[1])])
    try:
        scales = _metres_a_unit(anchors, step, crs)
    except DataError:  # a frame of somebody's own, which has no place on Earth
        scales = np.ones((1, 2))
    if not np.isfinite(scales).all() or (np.abs(scales / scales[0] - 1) > _FLAT).any():
        return None
    if (high - low)[0] * scales[0, 0] > np.pi * _EARTH_RADIUS_M:
        return None  # more than half around: what is east of the date line may be near what is west
    placed = corners * scales[0]
    return Places(ids, placed.mean(axis=1), _halves(placed))


def _halves(corners: np.ndarray) -> np.ndarray:
    """(n, 2): half the sides of rectangles (n, 4, 2), first of that which rather lies east-west."""
    across, down = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    sides = np.column_stack([np.hypot(*across.T), np.hypot(*down.T)]) / 2
    is_upright = np.abs(across[:, 0]) >= np.abs(across[:, 1])
    return np.asarray(np.where(is_upright[:, None], sides, sides[:, ::-1]))


def _metres_a_unit(anchors: np.ndarray, step: float, crs: str) -> np.ndarray:
    """(n, 2): metres of a unit east and north of some places."""
    moved = [anchors, anchors + np.array([step, 0.0]), anchors + np.array([0.0, step])]
    at, east, north = (np.radians(_in_degrees(points, crs)) for points in moved)
    return np.column_stack([_apart_m(at, east) / step, _apart_m(at, north) / step])


def _apart_m(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) metres between places (n, 2) in radians; of neighbours."""
    change = second - first
    latitude = (first[:, 1] + second[:, 1]) / 2
    return np.asarray(_EARTH_RADIUS_M * np.hypot(change[:, 0] * np.cos(latitude), change[:, 1]))


def _in_degrees(points: np.ndarray, crs: str) -> np.ndarray:
    """(n, 2) longitude and latitude of points (n, 2).

    Raises:
        DataError: There is no way from the system to degrees.
    """
    geometry = {"type": "MultiPoint", "coordinates": points.tolist()}
    placed: Sequence[Mapping[str, Sequence[Sequence[float]]]]
    placed = reproject([geometry], source=crs, target="EPSG:4326")
    return np.array([point[:2] for point in placed[0]["coordinates"]], float)
