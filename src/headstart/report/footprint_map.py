"""Where pictures lie on Earth, as outlines: longitude across, latitude up. Needs no network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from headstart.report.axes import Axis, Scale
from headstart.report.drawing import BOTTOM, LEFT, RIGHT, WIDTH, Series, frame, legend, svg
from headstart.report.wording import count

if TYPE_CHECKING:
    from headstart.data.raster_header import RasterFacts

_TOP = 34
_TALLEST = 420.0  # units; a country from north to south would else be a page long
_SMALLEST = 4.0  # units: an outline smaller than this is drawn as a dot


@dataclass(frozen=True)
class Footprint:
    """The outline of a picture: corners as (longitude, latitude) in degrees."""

    id: str
    split: str
    corners: tuple[tuple[float, float], ...]


def footprints(
    facts: Mapping[str, RasterFacts], splits: Mapping[str, str]
) -> tuple[Footprint, ...]:
    """The outlines of those that are georeferenced, whatever their coordinate reference system.

    Args:
        facts: Sample id -> header of its raster.
        splits: Sample id -> split; those without one are in `all`.

    Raises:
        DataError: There is no way from a coordinate reference system to degrees.
    """
    from headstart.data.rasters import reproject

    by_crs: dict[str, list[str]] = {}
    for id_, header in facts.items():
        if header.is_georeferenced:
            by_crs.setdefault(header.crs, []).append(id_)
    found = []
    for crs, ids in by_crs.items():
        rings = [[*facts[id_].corners, facts[id_].corners[0]] for id_ in ids]
        outlines = [{"type": "Polygon", "coordinates": [ring]} for ring in rings]
        placed = reproject(outlines, source=crs, target="EPSG:4326")
        for id_, outline in zip(ids, placed, strict=True):
            corners = tuple((float(x), float(y)) for x, y, *_ in outline["coordinates"][0][:-1])
            if all(math.isfinite(value) for corner in corners for value in corner):
                found.append(Footprint(id_, splits.get(id_, "all"), corners))
    return tuple(sorted(found, key=lambda footprint: footprint.id))


def footprint_map(places: Sequence[Footprint], *, title: str) -> str:
    """The outlines on axes of degrees, by split, as far apart as they are on the ground.

    Raises:
        ValueError: There is no outline, or there are over three splits.
    """
    if not places:
        raise ValueError(f"`{title}` has no outline to draw. Leave the map out.")
    splits = list(dict.fromkeys(place.split for place in places))
    if len(splits) > 3:
        raise ValueError(f"{len(splits)} splits were given, and three can be told apart.")
    across, up, height = scales_of([corner for place in places for corner in place.corners])
    parts = [
        frame(across, up, Axis("longitude in degrees"), Axis("latitude in degrees")),
        legend([Series(split, (), ()) for split in splits]),
    ]
    parts += _outlines(places, splits, across, up)
    west, east, south, north = across.low, across.high, up.low, up.high
    told = (
        f"{count(len(places), 'picture')} between {west:.2f} and {east:.2f} degrees of longitude, "
        f"{south:.2f} and {north:.2f} of latitude."
    )
    return svg("".join(parts), height, title, told)


def scales_of(corners: Sequence[tuple[float, float]]) -> tuple[Scale, Scale, float]:
    """Longitude across and latitude up, a kilometre alike in both; and the height of it all."""
    west, east = min(x for x, _ in corners), max(x for x, _ in corners)
    south, north = min(y for _, y in corners), max(y for _, y in corners)
    margin = 0.06 * max(east - west, north - south, 1e-6)
    west, east, south, north = west - margin, east + margin, south - margin, north + margin
    shrinking = max(0.05, math.cos(math.radians((south + north) / 2)))  # of a degree of longitude
    width = WIDTH - RIGHT - LEFT
    tall = width * (north - south) / ((east - west) * shrinking)
    if tall > _TALLEST:  # more room at both sides
        wanted = (north - south) * width / (_TALLEST * shrinking)
        west, east = (west + east - wanted) / 2, (west + east + wanted) / 2
        tall = _TALLEST
    elif tall < 0.3 * width:
        wanted = 0.3 * (east - west) * shrinking
        south, north = (south + north - wanted) / 2, (south + north + wanted) / 2
        tall = 0.3 * width
    height = _TOP + tall + BOTTOM
    across = Scale(west, east, LEFT, WIDTH - RIGHT)
    return across, Scale(south, north, height - BOTTOM, _TOP), height


def _outlines(
    places: Sequence[Footprint], splits: Sequence[str], across: Scale, up: Scale
) -> Iterable[str]:
    for place in places:
        colour = splits.index(place.split) + 1
        points = [(across(x), up(y)) for x, y in place.corners]
        name = f"<title>{escape(f'{place.id}, {place.split}')}</title>"
        sides = [max(values) - min(values) for values in zip(*points, strict=True)]
        if max(sides) < _SMALLEST:
            x, y = (sum(values) / len(values) for values in zip(*points, strict=True))
            yield f'<circle class="f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.5">{name}</circle>'
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield (
            f'<polygon class="f{colour}" fill-opacity="0.25" points="{path}"/>'
            f'<polygon class="l{colour}" points="{path}">{name}</polygon>'
        )
