from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from headstart.data.images import PictureError
from headstart.data.rasters import (
    Window,
    is_same_crs,
    open_raster,
    raster_facts,
    rasterise,
    read_window,
    reproject,
    verify_raster,
)
from headstart.errors import DataError

ROTATED = Affine(10, 2, 500000, 2, -10, 5300000)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a GeoTIFF: `write(values, "a.tif", crs="EPSG:32632")`."""

    def make(values: np.ndarray, name: str = "scene.tif", **profile: Any) -> Path:
        path = tmp_path / name
        bands, height, width = values.shape
        profile = {"crs": "EPSG:32632", "transform": ROTATED, **profile}
        descriptions = profile.pop("descriptions", ())
        tags = profile.pop("tags", {})
        profile = {k: v for k, v in profile.items() if v is not None}
        with rasterio.open(
            path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=values.dtype,
            **profile,
        ) as file:  # fmt: skip
            file.write(values)
            file.update_tags(**tags)
            for i, name in enumerate(descriptions, 1):
                file.set_band_description(i, name)
        return path

    return make


def ramp(bands: int = 2, height: int = 30, width: int = 40) -> np.ndarray:
    """Values that tell band, row and column apart, none of them 0."""
    return np.arange(1, bands * height * width + 1, dtype=np.uint16).reshape(bands, height, width)


def test_the_header_is_told_without_reading_pixels(write: Write) -> None:
    path = write(ramp(), descriptions=("B02", "B08"), nodata=0, tiled=True, blockxsize=16,
                 blockysize=16)  # fmt: skip
    facts = raster_facts(path)
    assert (facts.format, facts.width, facts.height, facts.dtype) == ("GTiff", 40, 30, "uint16")
    assert facts.bands == ("B02", "B08")
    assert facts.sensor == "sentinel-2"
    assert facts.nodata == 0
    assert facts.crs == "EPSG:32632"
    assert facts.transform == tuple(ROTATED)[:6]
    assert facts.block == (16, 16)
    assert facts.is_georeferenced


def test_corners_of_a_rotated_raster_are_rotated(write: Write) -> None:
    facts = raster_facts(write(ramp()))
    assert facts.corners[1] == (500000 + 40 * 10, 5300000 + 40 * 2)
    assert facts.corners[2] == (500000 + 40 * 10 + 30 * 2, 5300000 + 40 * 2 - 30 * 10)


def test_a_window_is_read_as_the_same_part_of_the_whole(write: Write) -> None:
    values = ramp()
    path = write(values)
    part, valid = read_window(path, Window(5, 7, 11, 13))
    np.testing.assert_array_equal(part, values[:, 7:20, 5:16])
    assert valid.all()


@pytest.mark.parametrize(
    "window", [Window(-3, -4, 10, 10), Window(35, 25, 10, 10), Window(-5, -5, 60, 60)]
)
def test_what_lies_outside_is_invalid_and_zero(write: Write, window: Window) -> None:
    values = ramp()
    part, valid = read_window(write(values), window)
    padded = np.pad(values, ((0, 0), (60, 60), (60, 60)))
    rows = slice(window.top + 60, window.top + 60 + window.height)
    columns = slice(window.left + 60, window.left + 60 + window.width)
    np.testing.assert_array_equal(part, padded[:, rows, columns])
    np.testing.assert_array_equal(valid, padded[0, rows, columns] > 0)


def test_a_window_beside_the_raster_is_all_invalid(write: Write) -> None:
    part, valid = read_window(write(ramp()), Window(100, 100, 4, 5))
    assert part.shape == (2, 5, 4)
    assert not part.any()
    assert not valid.any()


def test_bands_come_in_the_order_asked_for(write: Write) -> None:
    values = ramp(3)
    path = write(values, descriptions=("B02", "B03", "B04"))
    part, _ = read_window(path, bands=["red", 1])
    np.testing.assert_array_equal(part, values[[2, 0]])
    with pytest.raises(DataError, match="no band `nir`"):
        read_window(path, bands=["nir"])


def test_nodata_of_zero_must_be_in_all_bands(write: Write) -> None:
    values = ramp()
    values[0, 0, 0] = 0
    values[:, 1, 1] = 0
    _, valid = read_window(write(values, nodata=0))
    assert valid[0, 0]
    assert not valid[1, 1]
    assert valid.sum() == valid.size - 1


def test_other_nodata_and_nan_may_be_in_any_band(write: Write) -> None:
    values = ramp().astype(np.float32)
    values[0, 0, 0] = -9999
    values[1, 2, 2] = np.nan
    values[1, 3, 3] = np.inf
    part, valid = read_window(write(values, nodata=-9999))
    assert {tuple(map(int, p)) for p in np.argwhere(~valid)} == {(0, 0), (2, 2), (3, 3)}
    assert np.isfinite(part).all()
    assert part[:, 2, 2].tolist() == [0, 0]
    # Of a band that is not asked for, nodata does not matter.
    assert read_window(write(values, nodata=-9999), bands=[2])[1][0, 0]


def test_alpha_is_no_band_and_hides_pixels(tmp_path: Path) -> None:
    values = ramp(4).astype(np.uint8)
    values[3] = 255
    values[3, :5] = 0
    path = tmp_path / "alpha.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=40, height=30, count=4, dtype="uint8", transform=ROTATED
    ) as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        file.write(values)
    facts = raster_facts(path)
    assert facts.bands == ("red", "green", "blue")
    assert facts.has_alpha
    part, valid = read_window(path)
    assert part.shape == (3, 30, 40)
    assert not valid[:5].any()
    assert valid[5:].all()


def test_a_fourth_band_that_is_named_is_no_alpha(tmp_path: Path) -> None:
    """GDAL marks the fourth of 8 bits as alpha where nobody says otherwise."""
    values = ramp(4).astype(np.uint8)
    values[3, :5] = 0
    path = tmp_path / "rgbn.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=40, height=30, count=4, dtype="uint8", transform=ROTATED
    ) as file:
        file.descriptions = ("red", "green", "blue", "nir")
        file.write(values)
        assert file.colorinterp[3] is ColorInterp.alpha
    facts = raster_facts(path)
    assert facts.bands == ("red", "green", "blue", "nir")
    assert not facts.has_alpha
    part, valid = read_window(path)
    np.testing.assert_array_equal(part, values)
    assert valid.all()


def test_several_windows_are_read_from_one_open_file(write: Write) -> None:
    values = ramp()
    with open_raster(write(values)) as raster:
        for top in (0, 10, 20):
            part, _ = raster.read(Window(0, top, 40, 10))
            np.testing.assert_array_equal(part, values[:, top : top + 10])


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("driver", ["GTiff", "COG", "PNG"])
def test_a_cut_file_is_found(tmp_path: Path, driver: str, decode: bool) -> None:
    path = tmp_path / "scene.tif"
    values = np.random.default_rng(0).integers(0, 60000, (1, 400, 400), dtype=np.uint16)
    if driver == "PNG":
        Image.fromarray(values[0]).save(path, format="PNG")
    else:
        with rasterio.open(
            path, "w", driver=driver, width=400, height=400, count=1, dtype="uint16",
            crs="EPSG:32632", transform=ROTATED,
        ) as file:  # fmt: skip
            file.write(values)
    verify_raster(path, decode=decode)
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(PictureError, match=r"scene.tif` is truncated") as caught:
        verify_raster(path, decode=decode)
    assert caught.value.kind == "truncated"


def test_a_file_without_georeference_is_read_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    Image.fromarray(np.eye(5, dtype=np.uint8)).save(path)
    facts = raster_facts(path)
    assert (facts.transform, facts.crs, facts.is_georeferenced) == (None, "", False)
    assert facts.corners == ()
    assert read_window(path)[0].sum() == 5


def test_each_trouble_with_a_file_has_its_kind(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("no raster")
    for name, kind in (("gone", "missing-file"), ("empty", "zero-byte"), ("text", "unreadable")):
        with pytest.raises(PictureError, match=f"{name}.tif`") as caught:
            raster_facts(tmp_path / f"{name}.tif")
        assert caught.value.kind == kind


def test_a_stac_item_beside_the_file_names_its_bands(write: Write) -> None:
    path = write(ramp())
    item = {
        "type": "Feature",
        "properties": {"s2:processing_baseline": "05.09"},
        "assets": {
            "other": {"href": "other.tif", "eo:bands": [{"name": "B01"}, {"name": "B09"}]},
            "data": {
                "href": "./scene.tif",
                "eo:bands": [{"name": "B04"}, {"common_name": "nir"}],
                "raster:bands": [{"scale": 0.0001, "offset": -0.1}, {"scale": 0.0001}],
            },
        },
    }
    path.with_suffix(".json").write_text(json.dumps(item))
    facts = raster_facts(path)
    assert facts.bands == ("B04", "nir")
    assert facts.sensor == "sentinel-2"
    assert facts.scales == (0.0001, 0.0001)
    assert facts.offsets == (-0.1, 0.0)
    assert facts.tags["s2:processing_baseline"] == "05.09"


def test_a_damaged_item_is_an_error_and_another_json_is_passed_over(write: Write) -> None:
    path = write(ramp())
    path.with_suffix(".json").write_text('{"anything": 1}')
    assert raster_facts(path).bands == ("band_1", "band_2")
    path.with_suffix(".json").write_text("{")
    with pytest.raises(DataError, match=r"scene.json` lies beside a raster"):
        raster_facts(path)


def test_a_single_band_is_named_by_its_file(write: Write) -> None:
    facts = raster_facts(write(ramp(1), "T32UQD_20230101T101411_B8A_20m.tif"))
    assert facts.bands == ("B8A",)
    assert facts.sensor == "sentinel-2"


def test_category_names_and_palette_are_read(write: Write) -> None:
    path = write(ramp(1).astype(np.uint8), "classes.tif", photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (10, 20, 30, 255)})
    Path(f"{path}.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category/>'
        "<Category>forest</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    facts = raster_facts(path)
    assert facts.colours[1] == (10, 20, 30)
    assert facts.categories == {1: "forest"}


def test_a_crs_is_the_same_however_it_is_written() -> None:
    wkt = rasterio.crs.CRS.from_epsg(32632).to_wkt()
    assert is_same_crs("EPSG:32632", wkt)
    assert not is_same_crs("EPSG:32633", wkt)


def test_a_strip_that_is_very_wide_is_read_by_window(write: Write) -> None:
    path = write(np.ones((1, 3, 40_000), np.uint8))
    part, valid = read_window(path, Window(39_990, 0, 20, 3))
    assert part.sum() == valid.sum() == 30


def test_shapes_are_drawn_where_pixel_centres_lie_the_last_on_top() -> None:
    def square(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        return {"type": "Polygon", "coordinates": [ring]}

    drawn = rasterise([(square(1, 1, 4, 3), 7), (square(3, 2, 9, 9), 300)], 5, 6)
    assert (drawn[1:3, 1:4] == [[7, 7, 7], [7, 7, 300]]).all()
    assert (drawn == 7).sum() == 5
    assert (drawn == 300).sum() == 9
    assert not rasterise([], 5, 6).any()


def test_geometries_are_reprojected_and_impossible_ways_refused() -> None:
    point = {"type": "Point", "coordinates": (9.0, 47.0)}
    (there,) = reproject([point], source="EPSG:4326", target="EPSG:32632")
    np.testing.assert_allclose(there["coordinates"], (500000, 5205000), rtol=1e-3)
    with pytest.raises(DataError, match="cannot be brought to nonsense"):
        reproject([point], source="EPSG:4326", target="nonsense")
