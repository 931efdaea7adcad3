"""The page of an inspection of data with masks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from headstart.data.raster_header import RasterFacts
from headstart.inspecting import inspect
from headstart.report.footprint_map import Footprint, footprint_map, footprints

NAMES = ("B02", "B03", "B04", "B08")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(6):
        rng = np.random.default_rng(i)
        values = (1000 + 3000 * np.kron(rng.random((4, 6, 6)), np.ones((1, 8, 8)))).astype("u2")
        values[:, :4, :4] = 0
        path = tmp_path / "d" / "images" / f"{i}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path, "w", driver="GTiff", width=48, height=48, count=4, dtype="uint16", nodata=0,
            crs="EPSG:32632", transform=rasterio.Affine(10, 0, 5e5 + 480 * i, 0, -10, 53e5),
        ) as file:  # fmt: skip
            file.write(values)
            file.descriptions = NAMES
        (tmp_path / "d" / "masks").mkdir(exist_ok=True)
        mask = (values[2] > 2500).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "d" / "masks" / f"{i}.png")
    (tmp_path / "d" / "classes.txt").write_text("0 bare & dry\n1 forest\n")
    return tmp_path / "d"


def test_the_page_shows_classes_by_pixels_masks_bands_and_the_map(
    folder: Path, tmp_path: Path
) -> None:
    found = inspect(folder, output=tmp_path / "page.html")
    (unit,) = found.findings  # uint16 that does not say what it counts: a fit would stop, too
    assert unit.kind == "bands-or-units"
    assert sum(sum(of.values()) for of in found.pixels.values()) == 6 * 48 * 48
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Share of the labelled pixels" in page
    assert "bare &amp; dry" in page
    assert page.count("data:image/webp") == 12
    assert all(f"Band {i}: {name}" in page for i, name in enumerate(NAMES, 1))
    assert "6 of 6 pictures are georeferenced" in page
    assert page.count("<polygon") + page.count("<circle") >= 6
    assert "Contact sheets" not in page


def test_where_there_is_no_data_nothing_is_counted(folder: Path, tmp_path: Path) -> None:
    inspect(folder, output=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    row = page[page.index('<th scope="row">B08</th><td class="num">') :]
    least = row.split('<td class="num">')[1].split("<")[0]
    assert float(least.replace(",", "")) >= 1000


def test_photos_with_masks_have_neither_a_map_nor_trouble(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "d" / name).mkdir(parents=True)
    for i in range(4):
        pixels = np.kron(rng.integers(0, 255, (5, 5, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "d" / "images" / f"{i}.jpg")
        Image.fromarray((pixels[..., 0] > 90).astype(np.uint8)).save(
            tmp_path / "d" / "masks" / f"{i}.png"
        )
    inspect(tmp_path / "d", output=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "georeferenced" not in page
    assert "Band 1: red" in page


def test_footprints_of_different_systems_lie_on_one_map() -> None:
    def header(crs: str, x: float, y: float, side: float) -> RasterFacts:
        return RasterFacts(
            "GTiff", 10, 10, ("red",), "uint8", crs=crs, transform=(side, 0, x, 0, -side, y)
        )

    found = footprints(
        {
            "utm": header("EPSG:32632", 500000, 5300000, 10),
            "degrees": header("EPSG:4326", 9.0, 47.8, 0.01),
            "nowhere": RasterFacts("GTiff", 10, 10, ("red",), "uint8"),
        },
        {"utm": "train"},
    )
    assert [(place.id, place.split) for place in found] == [("degrees", "all"), ("utm", "train")]
    assert found[1].corners[0] == pytest.approx((9.0, 47.85), abs=0.02)
    assert "2 pictures between" in footprint_map(found, title="Map")


def test_a_kilometre_is_as_long_to_the_north_as_to_the_east() -> None:
    at = 60.0  # where a degree of longitude is half as long as one of latitude
    square = ((0.0, at - 0.1), (0.4, at - 0.1), (0.4, at + 0.1), (0.0, at + 0.1))
    drawn = footprint_map([Footprint("<a>", "all", square)], title="Map")
    points = drawn.split('points="')[1].split('"')[0].split()
    (x0, y0), (x1, _), (_, y2), _ = (map(float, point.split(",")) for point in points)
    assert math.isclose(x1 - x0, y0 - y2, rel_tol=0.02)
    assert "&lt;a&gt;" in drawn


def test_a_map_needs_a_place_and_can_tell_three_splits() -> None:
    with pytest.raises(ValueError, match="no outline"):
        footprint_map([], title="Map")
    places = [Footprint(str(i), str(i), ((0, 0), (1, 1))) for i in range(4)]
    with pytest.raises(ValueError, match="4 splits"):
        footprint_map(places, title="Map")


def test_a_sheet_shows_masks_changed_with_their_pictures(folder: Path, tmp_path: Path) -> None:
    found = inspect(folder, augment="aerial", output=tmp_path / "sheet.png")
    assert found.sheet == tmp_path / "sheet.png"
    with Image.open(found.sheet) as sheet:
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 20) or []}
    assert len(colours) > 100
