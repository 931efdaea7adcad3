"""What bands are called and which wavelengths they see: bands are chosen by name, never by place.

Knows no files. A band may be asked for by the name that its file gives it (`B02`), by what it is
commonly called (`blue`, `nir`), or by its number from 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headstart.errors import DataError, did_you_mean


@dataclass(frozen=True, slots=True)
class Band:
    """A band of a sensor.

    Attributes:
        name: As the sensor's makers call it, such as `B02`.
        common: As the STAC extension `eo` calls it, such as `blue`.
        wavelength: Of its centre, in nanometres.
    """

    name: str
    common: str
    wavelength: float


# Sources. Sentinel-2: ESA, MultiSpectral Instrument overview, spectral bands of Sentinel-2A.
# Landsat: USGS, "What are the band designations for the Landsat satellites?", centres of the ranges
# of OLI (8, 9) and of TM and ETM+ (5, 7). Common names: STAC extension eo 1.1, common band names.
SENSORS: dict[str, tuple[Band, ...]] = {
    "sentinel-2": (
        Band("B01", "coastal", 442.7),
        Band("B02", "blue", 492.7),
        Band("B03", "green", 559.8),
        Band("B04", "red", 664.6),
        Band("B05", "rededge071", 704.1),
        Band("B06", "rededge075", 740.5),
        Band("B07", "rededge078", 782.8),
        Band("B08", "nir", 832.8),
        Band("B8A", "nir08", 864.7),
        Band("B09", "nir09", 945.1),
        Band("B10", "cirrus", 1373.5),
        Band("B11", "swir16", 1613.7),
        Band("B12", "swir22", 2202.4),
    ),
    "landsat-8": (
        Band("B1", "coastal", 440.0),
        Band("B2", "blue", 480.0),
        Band("B3", "green", 560.0),
        Band("B4", "red", 655.0),
        Band("B5", "nir08", 865.0),
        Band("B6", "swir16", 1610.0),
        Band("B7", "swir22", 2200.0),
        Band("B8", "pan", 590.0),
        Band("B9", "cirrus", 1370.0),
        Band("B10", "lwir11", 10895.0),
        Band("B11", "lwir12", 12005.0),
    ),
    "landsat-7": (
        Band("B1", "blue", 485.0),
        Band("B2", "green", 560.0),
        Band("B3", "red", 660.0),
        Band("B4", "nir08", 835.0),
        Band("B5", "swir16", 1650.0),
        Band("B6", "lwir", 11450.0),
        Band("B7", "swir22", 2215.0),
        Band("B8", "pan", 710.0),
    ),
}
# These stand for each other where a sensor has but one of them.
NEAR_INFRARED = ("nir", "nir08")
# Where no sensor is known: the middle of the range that STAC's `eo` gives to each common name.
_COMMON_WAVELENGTHS = {
    **{"coastal": 425.0, "blue": 485.0, "green": 560.0, "yellow": 600.0, "red": 645.0},
    **{"pan": 675.0, "rededge": 742.5, "rededge071": 710.0, "rededge075": 745.0},
    **{"rededge078": 780.0, "nir": 875.0, "nir08": 865.0, "nir09": 945.0, "cirrus": 1375.0},
    **{"swir16": 1650.0, "swir22": 2200.0, "lwir": 11500.0, "lwir11": 10900.0, "lwir12": 12000.0},
}
# Other words for common names, as they stand in files and on command lines.
_SYNONYMS = {
    **{"r": "red", "g": "green", "b": "blue", "near_infrared": "nir", "near-infrared": "nir"},
    **{"infrared": "nir", "coastal aerosol": "coastal", "coastal_aerosol": "coastal"},
    **{"rededge1": "rededge071", "rededge2": "rededge075", "rededge3": "rededge078"},
    **{"narrow nir": "nir08", "nir narrow": "nir08", "water vapour": "nir09", "swir1": "swir16"},
    **{"swir2": "swir22", "panchromatic": "pan", "thermal": "lwir"},
}
# What a sensor's products are called: S2A_MSIL2A_..., T32UQD_..._B02_10m, LC08_..., LE07_...
_PRODUCTS = (
    ("sentinel-2", re.compile(r"(^|[^a-z])(s2[abc]?_|msil[12]|sentinel-?2)|^t\d\d[a-z]{3}_", re.I)),
    ("landsat-8", re.compile(r"(^|[^a-z])l[co]0[89]_|landsat-?[89]", re.I)),
    ("landsat-7", re.compile(r"(^|[^a-z])l[et]0[4-7]_|landsat-?[4-7]", re.I)),
)
_BAND_IN_NAME = re.compile(r"(?:^|[_.-])(B\d{1,2}A?)(?:[_.-](?:\d+m|sr|toa|boa))?$", re.I)


def common_name(name: str, *, sensor: str = "") -> str:
    """What a band is commonly called, or an empty string when its name does not say.

    Args:
        name: As a file or a user gives it.
        sensor: A row of SENSORS, which decides what `B5` is; empty when it is not known: then
            only names that mean the same in all of them are understood.

    Example:
        >>> common_name("B08"), common_name("R"), common_name("B5"), common_name("band_1")
        ('nir', 'red', '', '')
        >>> common_name("B5", sensor="landsat-8")
        'nir08'
    """
    band = _sensor_band(name, sensor)
    if band is not None:
        return band.common
    word = re.sub(r"[\s_-]+", " ", name.strip().lower())
    for form in (name.strip().lower(), word, word.replace(" ", "")):
        form = _SYNONYMS.get(form, form)
        if form in _COMMON_WAVELENGTHS:
            return form
    return ""


def wavelength(name: str, *, sensor: str = "") -> float | None:
    """The centre of a band in nanometres; None when its name does not say. See `common_name`.

    Example:
        >>> wavelength("B02"), wavelength("B2", sensor="landsat-8"), wavelength("blue")
        (492.7, 480.0, 485.0)
    """
    band = _sensor_band(name, sensor)
    if band is not None:
        return band.wavelength
    common = common_name(name, sensor=sensor)
    for band in SENSORS.get(sensor, ()):
        if band.common == common:
            return band.wavelength
    return _COMMON_WAVELENGTHS.get(common)


def sensor_of(names: Sequence[str], *, product: str = "") -> str:
    """The sensor whose habits band names or the name of a product follow; empty when none is.

    Args:
        names: Of all bands of a file.
        product: A file name or an item id, such as `LC08_L2SP_...`.

    Example:
        >>> sensor_of(["B02", "B03", "B8A"]), sensor_of(["B2", "B5"], product="LC08_L2SP_1.tif")
        ('sentinel-2', 'landsat-8')
    """
    for sensor, pattern in _PRODUCTS:
        if pattern.search(product):
            return sensor
    if any(_is_of_sentinel_2(name) for name in names):
        return "sentinel-2"
    return ""


def band_in_file_name(stem: str) -> str:
    """The band that the name of a single-band file ends in; empty when it names none.

    Example:
        >>> band_in_file_name("T32UQD_20230101T101411_B8A_20m"), band_in_file_name("scene_1")
        ('B8A', '')
    """
    found = _BAND_IN_NAME.search(stem)
    return found[1].upper() if found else ""


def choose_bands(
    wanted: Sequence[str | int], available: Sequence[str], *, sensor: str = "", source: str
) -> list[int]:
    """Places (from 0) of the bands asked for.

    The name in the file wins; else what it is commonly called; else it is a number from 1. `nir`
    and `nir08` stand for each other where only one of them is there. Names of Sentinel-2, asked of
    another sensor, are meant by what they see: with `B08` the near infrared of a Landsat scene is
    wanted, though its own B8 is panchromatic.

    Args:
        wanted: Names, common names, or numbers from 1.
        available: Names of the file's bands.
        sensor: A row of SENSORS, or empty.
        source: For messages.

    Raises:
        DataError: There is no such band, or several have that name.

    Example:
        >>> choose_bands(["nir", "B04", 1], ["B02", "B04", "B08"], source="a.tif")
        [2, 1, 0]
    """
    meant = meanings([str(name) for name in wanted], sensor=sensor)
    return [
        _choose(name, available, meaning=meaning, sensor=sensor, source=source)
        for name, meaning in zip(wanted, meant, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is meant by the name of a band that somebody asks for.

    Attributes:
        common: What it is commonly called; empty where the name does not say.
        is_foreign: Whether it is the name that another sensor gives, so that a band which is called
            the same here is not meant.
    """

    common: str
    is_foreign: bool


def meanings(wanted: Sequence[str], *, sensor: str) -> list[Meaning]:
    """What is meant by names that are asked for together of one sensor.

    Args:
        wanted: As a user or a model gives them.
        sensor: Of the bands that are there, a row of SENSORS; empty when it is not known.

    Example:
        >>> meanings(["B04", "B11"], sensor="landsat-8")[1]
        Meaning(common='swir16', is_foreign=True)
    """
    origin = sensor_of(wanted) or sensor
    is_another = bool(sensor) and origin != sensor
    return [
        Meaning(
            common_name(name, sensor=origin),
            is_another and _sensor_band(name, origin) is not None,
        )
        for name in wanted
    ]


def _choose(
    wanted: str | int, available: Sequence[str], *, meaning: Meaning, sensor: str, source: str
) -> int:
    """The place of one band."""
    listed = ", ".join(available)
    if isinstance(wanted, int) or wanted.strip().isdigit():
        number = int(wanted)
        if not 1 <= number <= len(available):
            raise DataError(
                f"`{source}` has no band {number}: it has {len(available)} ({listed}), and bands "
                f"are counted from 1. Give one of 1 to {len(available)}, or a name."
            )
        return number - 1
    name = wanted.strip()
    is_foreign, common = meaning.is_foreign, meaning.common
    tests = (
        lambda band: not is_foreign and band == name,
        lambda band: not is_foreign and _plain(band) == _plain(name),
        lambda band: bool(common) and common_name(band, sensor=sensor) == common,
    )
    for test in tests:
        places = [i for i, band in enumerate(available) if test(band)]
        if len(places) == 1:
            return places[0]
        if places:
            raise DataError(
                f"`{source}` has {len(places)} bands that may be `{name}`: "
                f"{', '.join(f'{available[i]} (band {i + 1})' for i in places)}. "
                "Give the number of the one that is meant."
            )
    near = _nearby_infrared(common, available, sensor)
    if near is not None:
        return near
    # A user who asks for `blue` of bands that are called band_1 needs to know that names are unset.
    unnamed = all(re.fullmatch(r"band_\d+", band) for band in available)
    hint = (
        "Its bands have no names: give their numbers, from 1."
        if unnamed
        else did_you_mean(name, available)
    )
    raise DataError(f"`{source}` has no band `{name}`; it has {listed}. {hint}")


def _is_of_sentinel_2(name: str) -> bool:
    """Only Sentinel-2 writes two digits with a zero, or has a B8A."""
    return re.fullmatch(r"B(0\d|8A)", name.strip(), re.I) is not None


def _nearby_infrared(common: str, available: Sequence[str], sensor: str) -> int | None:
    """The one near-infrared band, where `nir` or `nir08` was asked for and the other is there."""
    if common not in NEAR_INFRARED:
        return None
    commons = [common_name(band, sensor=sensor) for band in available]
    places = [i for i, common in enumerate(commons) if common in NEAR_INFRARED]
    return places[0] if len(places) == 1 else None


def _plain(name: str) -> str:
    """A name without case and leading zeros: `b02` and `B2` are the same band."""
    return re.sub(r"^b0+(?=\d)", "b", name.strip().lower())


def _sensor_band(name: str, sensor: str) -> Band | None:
    """The band of the sensor; without one, of Sentinel-2 when only that writes it so."""
    plain = name.strip()
    if not sensor:
        if not _is_of_sentinel_2(plain):
            return None
        sensor = "sentinel-2"
    for band in SENSORS.get(sensor, ()):
        if _plain(band.name) == _plain(plain):
            return band
    return None
