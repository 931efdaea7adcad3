from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.contracts import IGNORE
from headstart.data.polygon_writing import (
    Outlining,
    RowBlock,
    WrittenAreas,
    find_areas,
    write_polygons,
)
from headstart.data.polygons import PolygonMask, read_polygons
from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import Window

pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

CLASSES = ("water", "forest", "field")
EXACT = Outlining(CLASSES, 1, 0.0)


def place(height: int, width: int, **more: Any) -> RasterFacts:
    where = {"crs": "EPSG:32632", "transform": (10.0, 1.0, 500000.0, 2.0, -10.0, 5300000.0)}
    return RasterFacts("GTiff", width, height, ("class",), "uint8", **{**where, **more})


def patches(height: int = 60, width: int = 50, seed: int = 0) -> np.ndarray:
    """Classes in random patches, some pixels of them 255."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 1, 2, 255], (height // 3 + 1, width // 3 + 1), p=[0.4, 0.3, 0.2, 0.1])
    return np.kron(coarse, np.ones((3, 3)))[:height, :width].astype(np.uint8)


def blocks_of(classes: np.ndarray, num_rows: int) -> list[RowBlock]:
    tops = range(0, len(classes), num_rows)
    parts = [(top, classes[top : top + num_rows]) for top in tops]
    return [RowBlock(top, part, part != 255) for top, part in parts]


@pytest.mark.parametrize("num_rows", [1, 7, 20])
def test_areas_are_the_same_whatever_blocks_they_are_found_in(num_rows: int) -> None:
    classes = patches()

    def areas(num_rows: int) -> list[tuple[int, str]]:
        found = find_areas(blocks_of(classes, num_rows), height=len(classes))
        return sorted((value, shapely.simplify(area, 0).normalize().wkt) for area, value in found)

    assert areas(num_rows) == areas(len(classes))


@pytest.mark.parametrize("name", ["areas.gpkg", "areas.geojson"])
def test_polygons_drawn_again_are_the_raster(tmp_path: Path, name: str) -> None:
    classes = patches()
    scene = place(*classes.shape)
    path = tmp_path / name
    written = write_polygons(path, blocks_of(classes, 16), place=scene, outlining=EXACT)
    polygons = read_polygons(path)
    assert len(polygons.geometries) == written.num_polygons > 10
    mask = PolygonMask(polygons, scene, classes=CLASSES)
    drawn = mask.read(Window(0, 0, 50, 60))
    wanted = np.where(classes == 255, IGNORE, classes.astype(int))
    assert (drawn == wanted).all()


def test_small_areas_are_left_out_and_small_holes_filled(tmp_path: Path) -> None:
    classes = np.zeros((20, 20), np.uint8)
    classes[5:7, 5:7] = 1
    classes[10:15, 10:15] = 2
    path = tmp_path / "areas.geojson"
    written = write_polygons(
        path,
        blocks_of(classes, 6),
        place=place(20, 20, crs="", transform=None),
        outlining=Outlining(CLASSES, 10, 0.0),
    )
    found = json.loads(path.read_text())["features"]
    assert written == WrittenAreas(len(found), num_below=1, largest_below=4)
    assert len(found) == 2
    (water,) = (f for f in found if f["properties"]["class"] == "water")
    assert len(water["geometry"]["coordinates"]) == 2  # its outline, and the hole of the field
    assert water["properties"]["num_pixels"] == 400 - 4 - 25
    assert shapely.geometry.shape(water["geometry"]).area == 400 - 25


def test_a_diagonal_of_pixels_becomes_a_straight_line(tmp_path: Path) -> None:
    classes = np.tri(40, dtype=np.uint8)
    path = tmp_path / "areas.geojson"
    write_polygons(
        path,
        blocks_of(classes, 9),
        place=place(40, 40, crs="", transform=None),
        outlining=Outlining(CLASSES, 1, 1.0),
    )
    for feature in json.loads(path.read_text())["features"]:
        assert len(feature["geometry"]["coordinates"][0]) <= 6


def test_no_area_is_an_empty_file_that_can_be_opened(tmp_path: Path) -> None:
    import pyogrio

    classes = np.full((10, 10), 255, np.uint8)
    for name in ("areas.gpkg", "areas.geojson"):
        path = tmp_path / name
        written = write_polygons(path, blocks_of(classes, 4), place=place(10, 10), outlining=EXACT)
        assert written == WrittenAreas(0)
        assert pyogrio.read_info(path)["features"] == 0


def test_polygons_of_a_scene_without_a_place_are_in_pixels(tmp_path: Path) -> None:
    import pyogrio

    classes = np.zeros((10, 12), np.uint8)
    path = tmp_path / "areas.gpkg"
    nowhere = place(10, 12, crs="", transform=None)
    write_polygons(path, blocks_of(classes, 4), place=nowhere, outlining=EXACT)
    assert tuple(pyogrio.read_info(path)["total_bounds"]) == (0, 0, 12, 10)
