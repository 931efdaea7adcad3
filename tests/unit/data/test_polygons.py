from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.contracts import IGNORE
from headstart.data import polygons as polygons_module
from headstart.data.polygons import PolygonMask, Polygons, read_polygons
from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import Window, reproject
from headstart.errors import DataError

pytest.importorskip("pyogrio")
pytest.importorskip("shapely")

CRS = "EPSG:32632"
PLACE = (10.0, 0.0, 500000.0, 0.0, -10.0, 5300000.0)


def scene(**more: Any) -> RasterFacts:
    return RasterFacts(
        "GTiff", 40, 30, ("band_1",), "uint8", **{"crs": CRS, "transform": PLACE, **more}
    )


def box(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    """A rectangle, given in pixels of the scene."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    ring = [(500000 + 10 * x, 5300000 - 10 * y) for x, y in corners]
    return {"type": "Polygon", "coordinates": [ring]}


def write(path: Path, *shapes: tuple[dict[str, Any] | None, dict[str, Any]]) -> Path:
    """A GeoJSON file, which is in degrees."""
    features = []
    for geometry, properties in shapes:
        if geometry is not None:
            (geometry,) = map(dict, reproject([geometry], source=CRS, target="EPSG:4326"))
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    return write(
        tmp_path / "fields.geojson",
        (box(2, 3, 12, 13), {"id": 1, "crop": "wheat", "label": "wheat"}),
        (box(8, 5, 30, 25), {"id": 2, "crop": "maize", "label": "maize"}),
        (box(35, 25, 60, 60), {"id": 3, "crop": "wheat", "label": "wheat"}),
    )


def expected() -> np.ndarray:
    mask = np.full((30, 40), IGNORE)
    mask[5:25, 8:30] = 0
    mask[3:13, 2:12] = 1
    mask[25:, 35:] = 1
    return mask


def test_polygons_in_degrees_are_drawn_on_a_metric_grid(fields: Path) -> None:
    polygons = read_polygons(fields)
    assert polygons.classes == ("maize", "wheat")
    assert polygons.notes == (
        "Column `label` of fields.geojson holds the labels: wheat (2), maize (1).",
    )
    mask = PolygonMask(polygons, scene(), classes=polygons.classes)
    np.testing.assert_array_equal(mask.read(Window(0, 0, 40, 30)), expected())


def test_a_window_is_the_same_part_of_the_whole(fields: Path) -> None:
    polygons = read_polygons(fields)
    mask = PolygonMask(polygons, scene(), classes=polygons.classes, outside=0)
    whole = np.where(expected() == IGNORE, 0, expected())
    for window in (Window(0, 0, 7, 9), Window(5, 4, 20, 11), Window(33, 20, 7, 10)):
        rows = slice(window.top, window.top + window.height)
        columns = slice(window.left, window.left + window.width)
        np.testing.assert_array_equal(mask.read(window), whole[rows, columns])
    assert not mask.read(Window(0, 26, 5, 4)).any()


def test_a_rotated_grid_is_followed() -> None:
    polygons = Polygons(Path("a.gpkg"), (box(0, 0, 10, 10),), ("a",), CRS)
    # A quarter turn: rows run east, columns run south.
    turned = scene(transform=(0.0, 10.0, 500000.0, -10.0, 0.0, 5300000.0))
    mask = PolygonMask(polygons, turned, classes=["a"], outside=5).read(Window(0, 0, 40, 30))
    assert (mask[:10, :10] == 0).all()
    assert (mask == 0).sum() == 100


def test_a_polygon_that_only_touches_a_window_leaves_no_line_in_it() -> None:
    corners = [(0, 0), (10, 0), (10, 5), (20, 5), (20, 8), (10, 8), (10, 30), (0, 30), (0, 0)]
    ring = [(500000 + 10 * x, 5300000 - 10 * y) for x, y in corners]
    shape = {"type": "Polygon", "coordinates": [ring]}
    mask = PolygonMask(Polygons(Path("a"), (shape,), ("a",), CRS), scene(), classes=["a"])
    drawn = mask.read(Window(10, 0, 20, 30))
    assert (drawn[5:8, :10] == 0).all()
    assert (drawn == 0).sum() == 30


def test_polygons_that_miss_the_scene_are_refused_with_both_places(fields: Path) -> None:
    away = scene(transform=(10.0, 0.0, 700000.0, 0.0, -10.0, 5300000.0))
    with pytest.raises(DataError, match=r"touches the scene: .* the scene from \(700000, 5.2997e"):
        PolygonMask(read_polygons(fields), away, classes=["maize", "wheat"])


def test_a_scene_without_georeference_and_an_unknown_class_are_refused(fields: Path) -> None:
    polygons = read_polygons(fields)
    with pytest.raises(DataError, match="not georeferenced"):
        PolygonMask(polygons, scene(crs=""), classes=polygons.classes)
    with pytest.raises(DataError, match=r"the label `maize`, which is no class"):
        PolygonMask(polygons, scene(), classes=["wheat"])


def test_the_column_of_labels_is_asked_for_when_it_cannot_be_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", (box(0, 0, 9, 9), {"farm": "north", "crop": "rye"}))
    with pytest.raises(DataError, match=r"it has `farm`, `crop`\. Give its name with --label-col"):
        read_polygons(path)
    assert read_polygons(path, column="crop").labels == ("rye",)
    with pytest.raises(DataError, match=r"no column `crops`.*Did you mean `crop`"):
        read_polygons(path, column="crops")


def test_crossed_outlines_are_mended_and_empty_rows_left_out(tmp_path: Path) -> None:
    bow = box(0, 0, 10, 10)
    ring = bow["coordinates"][0]
    bow["coordinates"] = [[ring[0], ring[2], ring[1], ring[3], ring[0]]]
    path = write(tmp_path / "a.geojson", (bow, {"label": 3.0}), (None, {"label": 4}))
    polygons = read_polygons(path)
    assert polygons.labels == ("3",)
    assert "1 polygon of a.geojson crossed itself: mended." in polygons.notes
    assert "1 row of a.geojson without outline or label left out." in polygons.notes
    drawn = PolygonMask(polygons, scene(), classes=["3"]).read(Window(0, 0, 40, 30))
    assert 40 <= (drawn == 0).sum() <= 60


def test_geopackage_and_shapefile_say_the_same(fields: Path, tmp_path: Path) -> None:
    import pyogrio

    meta, _, geometry, columns = pyogrio.raw.read(fields)
    first = read_polygons(fields)
    for name in ("a.gpkg", "a.shp"):
        pyogrio.raw.write(
            tmp_path / name, geometry, columns, meta["fields"], crs=meta["crs"],
            geometry_type="Polygon",
        )  # fmt: skip
        other = read_polygons(tmp_path / name)
        assert other.labels == first.labels
        masks = [
            PolygonMask(p, scene(), classes=p.classes).read(Window(0, 0, 40, 30))
            for p in (first, other)
        ]
        np.testing.assert_array_equal(*masks)
    (tmp_path / "a.prj").unlink()
    with pytest.raises(DataError, match="does not say its coordinate reference system"):
        read_polygons(tmp_path / "a.shp")


def test_what_is_no_polygon_file_says_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_text("nothing")
    with pytest.raises(DataError, match=r"a.gpkg` cannot be read .* export it anew"):
        read_polygons(tmp_path / "a.gpkg")
    with pytest.raises(DataError, match="There is no file"):
        read_polygons(tmp_path / "b.gpkg")
    point = {"type": "Point", "coordinates": (500000, 5300000)}
    with pytest.raises(DataError, match="holds a Point, but only polygons"):
        read_polygons(write(tmp_path / "c.geojson", (point, {"label": "a"})))


def test_of_many_polygons_those_of_the_scene_alone_are_brought_onto_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = tuple(box(x, 0, x + 10, 10) for x in range(-4000, 4000, 20))
    degrees = reproject(shapes, source=CRS, target="EPSG:4326")
    brought: list[int] = []

    def watched(geometries, **options):  # type: ignore[no-untyped-def]
        brought.append(len(geometries))
        return reproject(geometries, **options)

    monkeypatch.setattr(polygons_module, "reproject", watched)
    polygons = Polygons(Path("a"), tuple(degrees), ("a",) * len(shapes), "EPSG:4326")
    mask = PolygonMask(polygons, scene(), classes=["a"]).read(Window(0, 0, 40, 30))
    assert (mask[:10] == np.where(np.arange(40) % 20 < 10, 0, IGNORE)).all()
    assert max(brought) <= 8


def test_degrees_that_go_on_behind_the_date_line_are_found() -> None:
    crossing = scene(crs="EPSG:32601", transform=(1000.0, 0.0, 300000.0, 0.0, -1000.0, 30000.0))
    places = [(-180 + x / 100, y / 100) for x, y in ((120, 1), (150, 1), (150, 20), (120, 20))]
    shape = {"type": "Polygon", "coordinates": [[(x + 360, y) for x, y in (*places, places[0])]]}
    mask = PolygonMask(Polygons(Path("a"), (shape,), ("a",), "EPSG:4326"), crossing, classes=["a"])
    assert (mask.read(Window(0, 0, 40, 30)) == 0).any()
