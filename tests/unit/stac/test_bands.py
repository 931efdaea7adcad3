from __future__ import annotations

from typing import Any

import pystac
import pytest

from headstart.errors import ConfigError, DataError
from headstart.stac.bands import choose_bands, parse_bands

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@pytest.fixture
def sentinel_2(make: Any) -> pystac.Item:
    """Bands as assets of their own, one picture for the eye, one mask of codes."""
    assets = {
        "visual": {
            "href": "TCI.tif",
            "type": COG,
            "roles": ["visual"],
            "eo:bands": [
                {"name": n, "common_name": c} for n, c in (("B04", "red"), ("B02", "blue"))
            ],
        },
        "blue": {
            "href": "B02.tif",
            "type": COG,
            "eo:bands": [{"name": "B02", "common_name": "blue", "center_wavelength": 0.49}],
            "raster:bands": [{"nodata": 0, "scale": 0.0001, "offset": -0.1}],
        },
        "nir": {"href": "B08.tif", "type": COG, "eo:bands": [{"name": "B08"}]},
        "scl": {"href": "SCL.tif", "type": COG},
        "thumbnail": {"href": "x.jpg", "type": "image/jpeg"},
    }
    return pystac.Item.from_dict(make.item("S2A_1", (0, 0, 1, 1), assets))


@pytest.mark.parametrize("name", ["B02", "b02", "blue", "BLUE"])
def test_a_band_is_found_by_any_of_its_names_where_it_was_measured(
    name: str, sentinel_2: pystac.Item
) -> None:
    [band] = choose_bands(sentinel_2, [name])
    assert (band.asset, band.index, band.name) == ("blue", 1, "B02")
    assert (band.nodata, band.scale, band.offset) == (0, 0.0001, -0.1)
    assert band.wavelength_nm == pytest.approx(490)


def test_a_key_of_an_asset_stands_for_its_only_band(sentinel_2: pystac.Item) -> None:
    assert [b.name for b in choose_bands(sentinel_2, ["nir", "scl"])] == ["B08", "scl"]


def test_codes_are_known_as_such(sentinel_2: pystac.Item) -> None:
    assert [band.is_code for band in choose_bands(sentinel_2, ["B08", "scl"])] == [False, True]


def test_a_band_only_a_picture_for_the_eye_has_is_taken_from_there(
    sentinel_2: pystac.Item,
) -> None:
    [band] = choose_bands(sentinel_2, ["red"])
    assert (band.asset, band.index) == ("visual", 1)


def test_bands_of_stac_1_1_are_read_with_what_they_inherit(make: Any) -> None:
    asset = {
        "href": "x.tif",
        "type": COG,
        "nodata": "nan",
        "raster:scale": 0.5,
        "bands": [{"name": "a", "eo:common_name": "red"}, {"name": "b", "raster:scale": 2}],
    }
    values = make.item("x", (0, 0, 1, 1), {"data": asset})
    item = pystac.Item.from_dict({**values, "stac_version": "1.1.0"})
    first, second = choose_bands(item, [])
    assert (first.name, first.common_name, first.scale, first.index) == ("a", "red", 0.5, 1)
    assert (second.scale, second.index) == (2, 2)
    assert first.nodata is not None
    assert first.nodata != first.nodata


def test_a_missing_band_is_told_with_the_nearest_and_all_there_are(
    sentinel_2: pystac.Item,
) -> None:
    with pytest.raises(DataError, match=r"no band `B20`.*`B02`.*B02 \(blue\)"):
        choose_bands(sentinel_2, ["B20"])


def test_without_names_an_item_must_have_one_picture(sentinel_2: pystac.Item) -> None:
    with pytest.raises(DataError, match=r"has 3 pictures: `blue`, `nir`, `scl`.*--bands"):
        choose_bands(sentinel_2, [])


def test_an_item_without_any_raster_is_told(make: Any) -> None:
    item = pystac.Item.from_dict(
        make.item("x", (0, 0, 1, 1), {"thumb": {"href": "x.png", "type": "image/png"}})
    )
    with pytest.raises(DataError, match=r"no picture that can be read by window.*`thumb`"):
        choose_bands(item, ["B02"])


@pytest.mark.parametrize("text", ["", ",", "B02,b02"])
def test_lists_of_bands_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"no band|twice"):
        parse_bands(text)


def test_names_of_another_sensor_are_meant_by_what_they_see(make: Any) -> None:
    names = {"B4": "red", "B5": "nir08", "B6": "swir16", "B8": "pan", "B11": "lwir12"}
    assets = {
        common: {"href": f"{n}.tif", "type": COG, "eo:bands": [{"name": n, "common_name": common}]}
        for n, common in names.items()
    }
    landsat = pystac.Item.from_dict(make.item("LC08_L2SP_1", (0, 0, 1, 1), assets))
    found = choose_bands(landsat, ["B04", "B08", "B11"])
    assert [band.asset for band in found] == ["red", "nir08", "swir16"]
    assert [band.asset for band in choose_bands(landsat, ["B11", "nir"])] == ["lwir12", "nir08"]
