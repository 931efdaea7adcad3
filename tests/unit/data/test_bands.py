from __future__ import annotations

import pytest

from headstart.data.bands import (
    SENSORS,
    band_in_file_name,
    choose_bands,
    common_name,
    sensor_of,
    wavelength,
)
from headstart.errors import DataError

S2 = [band.name for band in SENSORS["sentinel-2"]]


def test_a_band_is_found_by_its_name_its_common_name_and_its_number() -> None:
    assert choose_bands(["B08", "b4", "blue", 1, "2"], S2, source="a.tif") == [7, 3, 1, 0, 1]


def test_the_narrow_infrared_band_is_not_taken_for_the_wide_one() -> None:
    assert choose_bands(["nir", "nir08"], S2, source="a.tif") == [7, 8]
    landsat = ["B4", "B5"]
    assert choose_bands(["nir"], landsat, sensor="landsat-8", source="a.tif") == [1]


def test_photo_letters_are_the_visible_bands() -> None:
    assert choose_bands(["B", "G", "R"], ["red", "green", "blue"], source="a.tif") == [2, 1, 0]


def test_a_band_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(DataError, match=r"`a.tif` has no band `swir16`; it has B02, B03\."):
        choose_bands(["swir16"], ["B02", "B03"], source="a.tif")
    with pytest.raises(DataError, match=r"no band 3: it has 2 \(B02, B03\)"):
        choose_bands([3], ["B02", "B03"], source="a.tif")
    with pytest.raises(DataError, match="give their numbers, from 1"):
        choose_bands(["blue"], ["band_1", "band_2"], source="a.tif")


def test_a_name_that_may_be_two_bands_is_refused() -> None:
    with pytest.raises(DataError, match=r"2 bands that may be `blue`: B02 \(band 1\), b"):
        choose_bands(["blue"], ["B02", "b"], source="a.tif")


def test_one_digit_names_mean_nothing_without_a_sensor() -> None:
    assert common_name("B5") == ""
    assert wavelength("B5") is None
    assert wavelength("B5", sensor="landsat-8") == 865.0
    assert wavelength("B5", sensor="sentinel-2") == 704.1


def test_every_band_of_every_sensor_has_its_own_name_and_lies_in_order_of_sources() -> None:
    for sensor, bands in SENSORS.items():
        assert len({band.name for band in bands}) == len(bands)
        for band in bands:
            assert wavelength(band.name, sensor=sensor) == band.wavelength
            assert wavelength(band.common, sensor=sensor) == band.wavelength


@pytest.mark.parametrize(
    ("product", "sensor"),
    [
        ("S2A_MSIL2A_20230101T101411_N0509_R022_T32UQD_1", "sentinel-2"),
        ("T32UQD_20230101T101411_B8A_20m", "sentinel-2"),
        ("LC08_L2SP_193026_20200101", "landsat-8"),
        ("LE07_L1TP_193026_20020101", "landsat-7"),
        ("us2a_scene", ""),
        ("photo_1", ""),
    ],
)
def test_products_are_known_by_their_names(product: str, sensor: str) -> None:
    assert sensor_of(["band_1"], product=product) == sensor


def test_the_band_of_a_single_band_file_is_at_the_end_of_its_name() -> None:
    assert band_in_file_name("LC08_L2SP_193026_20200101_SR_B4") == "B4"
    assert band_in_file_name("B12") == "B12"
    assert band_in_file_name("B12_crop_7") == ""


def test_names_of_sentinel_2_mean_what_they_see_on_another_sensor() -> None:
    landsat = ["B2", "B3", "B4", "B5", "B6", "B8", "B11"]
    chosen = choose_bands(["B02", "B08", "B11"], landsat, sensor="landsat-8", source="a.tif")
    assert [landsat[place] for place in chosen] == ["B2", "B5", "B6"]
    with pytest.raises(DataError, match=r"has no band `B12`"):
        choose_bands(["B02", "B12"], landsat, sensor="landsat-8", source="a.tif")
    assert choose_bands(["B11"], landsat, sensor="landsat-8", source="a.tif") == [6]
