"""Polygons as labels: GeoPackage, GeoJSON and Shapefile, drawn onto a scene's grid by window.

Reads by pyogrio and shapely (extra `geo`). Knows nothing of samples or data sets: it
gives class indices for a window of a raster.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headstart.contracts import IGNORE
from headstart.data.columns import is_missing, label_rank
from headstart.data.listing import count, series
from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import Window, rasterise, reproject
from headstart.errors import DataError, MissingExtraError, did_you_mean

POLYGON_SUFFIXES = frozenset({".gpkg", ".geojson", ".shp", ".fgb"})
_SEEN_POINTS = 21  # along each side of a scene, by which its place in other coordinates is found
_MAX_LABELS = 64  # a column with more different values is rather a number or a name of places


@dataclass(frozen=True)
class Polygons:
    """Labelled polygons.

    Attributes:
        path: The file.
        geometries: GeoJSON geometries, each a Polygon or MultiPolygon.
        labels: Class names, one a geometry.
        crs: As rasters have it.
        notes: What was guessed, mended and left out, in sentences.
    """

    path: Path
    geometries: tuple[Mapping[str, Any], ...]
    labels: tuple[str, ...]
    crs: str
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted."""
        return tuple(sorted(set(self.labels)))

    @cached_property
    def shapes(self) -> np.ndarray:
        """(n,) the geometries as shapely has them."""
        import shapely

        return np.array([shapely.geometry.shape(geometry) for geometry in self.geometries], object)

    @cached_property
    def bounds(self) -> np.ndarray:
        """(n, 4) left, bottom, right and top of each."""
        import shapely

        return np.asarray(shapely.bounds(self.shapes))


def read_polygons(path: Path, *, column: str | None = None, layer: str | None = None) -> Polygons:
    """Read labelled polygons.

    Polygons whose outline crosses itself are mended; those without outline or label are left out.

    Args:
        path: A file with a suffix of POLYGON_SUFFIXES, or anything else that GDAL reads.
        column: The column of labels; found out when not given.
        layer: Of a file with several; by default the first, and said when there are more.

    Raises:
        DataError: It cannot be read, has no polygons or no coordinate reference system, or it
            cannot be told which column holds the labels.
        MissingExtraError: pyogrio or shapely are not installed.
    """
    if not all(importlib.util.find_spec(name) for name in ("pyogrio", "shapely")):
        raise MissingExtraError("Reading polygons", extra="geo")
    import pyogrio
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.is_file():
        raise DataError(f"There is no file `{path}`. Check the path.")
    notes: list[str] = []
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        if layer is None and len(layers) > 1:
            notes.append(f"{path.name} has the layers {series(layers)}; {layers[0]} is read.")
        meta, _, wkb, fields = pyogrio.raw.read(path, layer=layer or 0)
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise DataError(
            f"`{path}` cannot be read ({str(error).rstrip('.')}). A GeoPackage, GeoJSON or "
            "Shapefile with polygons is needed: export it anew."
        ) from error
    if not meta["crs"]:
        raise DataError(
            f"`{path}` does not say its coordinate reference system (of a Shapefile the .prj is "
            "missing). Add it, so that the polygons can be laid on the scene."
        )
    columns = {str(n): list(c) for n, c in zip(meta["fields"], fields, strict=True)}
    labels = columns[_label_column(path, columns, column, notes)]
    geometries, kept, num_mended = [], [], 0
    for shape, label in zip(shapely.from_wkb(wkb), labels, strict=True):
        if shape is None or shape.is_empty or is_missing(label):
            continue
        if shape.geom_type not in ("Polygon", "MultiPolygon"):
            raise DataError(
                f"`{path}` holds a {shape.geom_type}, but only polygons can be drawn as areas. "
                "Remove it, or buffer it to a polygon."
            )
        if not shape.is_valid:
            shape, num_mended = _areas_only(shapely.make_valid(shape)), num_mended + 1
        geometries.append(shapely.geometry.mapping(shape))
        kept.append(_as_name(label))
    if not geometries:
        raise DataError(f"`{path}` has no labelled polygon. At least one is needed.")
    if num_mended:
        notes.append(f"{count(num_mended, 'polygon')} of {path.name} crossed itself: mended.")
    if len(kept) < len(labels):
        num_left_out = len(labels) - len(kept)
        notes.append(
            f"{count(num_left_out, 'row')} of {path.name} without outline or label left out."
        )
    return Polygons(path, tuple(geometries), tuple(kept), str(meta["crs"]), tuple(notes))


def overlapping_labels(polygons: Polygons) -> Counter[tuple[str, str]]:
    """Pairs of different labels, sorted -> how many polygons of the two share ground.

    Neighbours that were drawn by hand share slivers, so that less than a hundredth of the smaller
    one is no overlap.
    """
    import shapely

    shapes = polygons.shapes
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    labels = np.array(polygons.labels, object)
    is_wanted = (first < second) & (labels[first] != labels[second])
    first, second = first[is_wanted], second[is_wanted]
    shared = shapely.area(shapely.intersection(shapes[first], shapes[second]))
    smaller = np.minimum(shapely.area(shapes[first]), shapely.area(shapes[second]))
    pairs = zip(first[shared > 0.01 * smaller], second[shared > 0.01 * smaller], strict=True)
    names = [sorted((str(labels[i]), str(labels[j]))) for i, j in pairs]
    return Counter((low, high) for low, high in names)


class PolygonMask:
    """The mask that polygons make of a scene, drawn window by window."""

    def __init__(
        self,
        polygons: Polygons,
        scene: RasterFacts,
        *,
        classes: Sequence[str],
        outside: int = IGNORE,
    ) -> None:
        """Bring the polygons onto the pixel grid of a scene.

        Args:
            polygons: In any coordinate reference system.
            scene: Georeferenced; its transform may be rotated.
            classes: Class names in the order of their indices.
            outside: The class index of pixels in no polygon, or IGNORE.

        Raises:
            DataError: The scene is not georeferenced, no polygon touches it, or a label is no
                class.
        """
        import shapely

        if not scene.is_georeferenced or scene.transform is None:
            raise DataError(
                f"The scene that `{polygons.path}` is to be laid on is not georeferenced. Give one "
                "with a transform and a coordinate reference system, or masks instead of polygons."
            )
        unknown = set(polygons.labels) - set(classes)
        if unknown:
            raise DataError(
                f"`{polygons.path}` has the label `{min(unknown)}`, which is no class. "
                + did_you_mean(min(unknown), classes)
            )
        index_of = {name: index for index, name in enumerate(classes)}
        # One file may have the polygons of many scenes: those of others are not looked at.
        near = _near(polygons, scene)
        there = reproject(
            [polygons.geometries[i] for i in near], source=polygons.crs, target=scene.crs
        )
        shapes = np.array([shapely.geometry.shape(geometry) for geometry in there], object)
        pixels = shapely.transform(shapes, _to_pixels(scene.transform))
        for i in np.flatnonzero(
            ~shapely.is_valid(pixels)
        ):  # corners that came to lie on each other
            pixels[i] = _areas_only(shapely.make_valid(pixels[i]))
        is_on = shapely.intersects(pixels, shapely.box(0, 0, scene.width, scene.height))
        if not is_on.any():
            raise _elsewhere(polygons, scene)
        near, pixels = near[is_on], pixels[is_on]
        # Where polygons overlap, the smaller lies on top, since the larger would hide all of it.
        order = np.argsort(-shapely.area(pixels), kind="stable")
        self._shapes = pixels[order]
        self._values = [index_of[polygons.labels[i]] + 1 for i in near[order]]
        self._tree = shapely.STRtree(self._shapes)
        self._outside = outside

    def read(self, window: Window) -> np.ndarray:
        """The class of each pixel of a window, by the polygon that its centre lies in.

        Returns:
            (height, width) int64: class indices, and what `outside` says elsewhere.
        """
        import shapely

        right, bottom = window.left + window.width, window.top + window.height
        frame = shapely.box(window.left, window.top, right, bottom)
        places = np.sort(self._tree.query(frame))
        # Cut to the window: of a coastline, a million corners may lie elsewhere.
        near = shapely.transform(
            shapely.intersection(self._shapes[places], frame),
            lambda xy: xy - (window.left, window.top),
        )
        shapes = [
            (shapely.geometry.mapping(_areas_only(shape)), self._values[place])
            for shape, place in zip(near, places, strict=True)
            if shape.area > 0
        ]
        drawn = rasterise(shapes, window.height, window.width).astype(np.int64)
        return np.where(drawn > 0, drawn - 1, self._outside)


def _near(polygons: Polygons, scene: RasterFacts) -> np.ndarray:
    """The numbers of the polygons that may touch a scene, by its place in their coordinates."""
    everything = np.arange(len(polygons.geometries))
    assert scene.transform is not None
    a, b, c, d, e, f = scene.transform
    columns, rows = np.meshgrid(
        np.linspace(0, scene.width, _SEEN_POINTS), np.linspace(0, scene.height, _SEEN_POINTS)
    )
    places = np.stack([a * columns + b * rows + c, d * columns + e * rows + f], -1).reshape(-1, 2)
    geometry = {"type": "MultiPoint", "coordinates": places.tolist()}
    try:
        (there,) = reproject([geometry], source=scene.crs, target=polygons.crs)
    except DataError:  # there may still be a way back
        return everything
    points = np.array([point[:2] for point in there["coordinates"]], float)
    bounds = polygons.bounds
    # Degrees that go on behind 180 are the same places as those that begin anew at -180.
    goes_on = np.abs(bounds[:, [0, 2]]).max() > 180 >= np.abs(points[:, 0]).max()
    if not np.isfinite(points).all() or goes_on:
        return everything
    low, high = points.min(axis=0), points.max(axis=0)
    margin = (high - low) / (_SEEN_POINTS - 1)  # an edge bends less between two of the points
    low, high = low - margin, high + margin
    is_near = (bounds[:, :2] <= high).all(axis=1) & (bounds[:, 2:] >= low).all(axis=1)
    return np.flatnonzero(is_near)


def _elsewhere(polygons: Polygons, scene: RasterFacts) -> DataError:
    """That no polygon touches a scene, with the places of both."""
    import shapely

    bounds = polygons.bounds
    around = shapely.box(*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0))
    (there,) = reproject([shapely.geometry.mapping(around)], source=polygons.crs, target=scene.crs)
    return DataError(
        f"No polygon of `{polygons.path}` touches the scene: they reach from "
        f"{_told(shapely.geometry.shape(there).bounds)}, the scene from "
        f"{_told(_bounds(scene.corners))}, in {scene.crs[:60]}. Check that both are of the same "
        "place, and that the coordinate reference systems are right."
    )


def _label_column(
    path: Path, columns: Mapping[str, Sequence[Any]], wanted: str | None, notes: list[str]
) -> str:
    """The column of labels: as asked for, by its name, or the only one that can be."""
    if wanted is not None:
        if wanted not in columns:
            raise DataError(
                f"`{path}` has no column `{wanted}` (`--label-column {wanted}`). "
                + did_you_mean(wanted, columns)
            )
        return wanted
    kinds = {n: {str(v) for v in c if not is_missing(v)} for n, c in columns.items()}
    likely = [n for n, values in kinds.items() if 0 < len(values) <= _MAX_LABELS]
    named = [n for n in likely if label_rank(n) is not None]
    found = min(named, key=lambda n: label_rank(n) or 0) if named else None
    if found is None and len(likely) == 1:
        found = likely[0]
    if found is None:
        raise DataError(
            f"It cannot be told which column of `{path}` holds the labels; it has "
            f"{series((f'`{n}`' for n in columns), limit=20) or 'none'}. Give its name with "
            "--label-column."
        )
    sizes = Counter(str(v) for v in columns[found] if not is_missing(v))
    told = series(f"{name} ({n:,})" for name, n in sizes.most_common())
    notes.append(f"Column `{found}` of {path.name} holds the labels: {told}.")
    return found


def _as_name(label: Any) -> str:
    """A label as a class name: a number loses `.0` when it is whole."""
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label).strip()


def _areas_only(shape: Any) -> Any:
    """The polygons of a shape, without the lines and points that mending and cutting may leave."""
    import shapely

    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    parts = [p for p in shapely.get_parts(shape) if p.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts)


def _to_pixels(transform: tuple[float, float, float, float, float, float]) -> Any:
    """A function from (n, 2) coordinates to (n, 2) pixels: column and row."""
    a, b, c, d, e, f = transform
    inverse = np.linalg.inv(np.array([[a, b], [d, e]]))
    return lambda xy: (xy - (c, f)) @ inverse.T


def _bounds(corners: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _told(bounds: Sequence[float]) -> str:
    left, bottom, right, top = bounds
    return f"({left:.6g}, {bottom:.6g}) to ({right:.6g}, {top:.6g})"
