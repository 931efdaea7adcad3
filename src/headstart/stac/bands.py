"""Which band of which asset a name means. Items name bands in four ways; here they become one.

STAC 1.1 has `bands`; before it there were `eo:bands` and `raster:bands`; many items have just one
asset a band, named after it. Knows no network and no raster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pystac

from headstart.data.bands import NEAR_INFRARED, Meaning, common_name, meanings, sensor_of
from headstart.errors import ConfigError, DataError, did_you_mean
from headstart.stac.sign_in import shown

# What an asset is for, best first: pixels as measured come before pictures for the eye (STAC best
# practices, list of asset roles).
_NOT_DATA = ("thumbnail", "overview", "visual", "metadata")
MASK_WORDS = ("label", "labels", "labels-raster", "mask", "masks", "segmentation", "annotation")
# Masks and quality bands by the names of Sentinel-2 L2A and Landsat Collection 2: their values are
# codes, and must not be averaged.
_CODES = ("scl", "qa_pixel", "qa_radsat", "fmask", "qa", "cloud_mask")
_RASTER_ENDINGS = (".tif", ".tiff", ".jp2")


@dataclass(frozen=True)
class AssetBand:
    """One band of one asset.

    Attributes:
        asset: The key of the asset.
        href: Its address.
        index: Its number in the file, from 1; 0 stands for all that the file has.
        name: As it will be called in what is written.
        common_name: Such as `nir`, where the item tells.
        wavelength_nm: Of its centre, where the item tells.
        nodata: The value that stands for nothing measured, where the item tells.
        scale: measured = stored * scale + offset, where the item tells.
        offset: See `scale`.
        is_code: Whether its values are names of classes, which have no mean.
    """

    asset: str
    href: str
    index: int
    name: str
    common_name: str | None = None
    wavelength_nm: float | None = None
    nodata: float | None = None
    scale: float | None = None
    offset: float | None = None
    is_code: bool = False


def is_raster(asset: pystac.Asset) -> bool:
    """Whether an asset is a picture that can be read by window."""
    media_type = (asset.media_type or "").lower()
    if media_type:
        return "tiff" in media_type or "jp2" in media_type
    return shown(asset.href).lower().endswith(_RASTER_ENDINGS)


def is_mask(key: str, asset: pystac.Asset) -> bool:
    """Whether an asset holds labels: by its role, or else by its key."""
    roles = {role.lower() for role in asset.roles or ()}
    return bool(roles & set(MASK_WORDS)) or key.lower() in MASK_WORDS


def bands_of(key: str, asset: pystac.Asset) -> list[AssetBand]:
    """The bands of an asset as its item tells them; one that stands for all when it tells none."""
    extra = asset.extra_fields
    lists = [extra.get(name) for name in ("raster:bands", "eo:bands", "bands")]
    given = [[b for b in each if isinstance(b, dict)] for each in lists if isinstance(each, list)]
    number = max(map(len, given), default=0)
    is_code = key.lower() in _CODES or bool({"classification:classes", "file:values"} & set(extra))
    if number == 0:
        return [_band(key, asset, {}, index=0, is_alone=True, is_code=is_code)]
    merged = [
        {name: value for each in given if i < len(each) for name, value in each[i].items()}
        for i in range(number)
    ]
    return [
        _band(key, asset, values, index=i + 1, is_alone=number == 1, is_code=is_code)
        for i, values in enumerate(merged)
    ]


def _band(
    key: str,
    asset: pystac.Asset,
    values: Mapping[str, Any],
    *,
    index: int,
    is_alone: bool,
    is_code: bool,
) -> AssetBand:
    extra = asset.extra_fields

    def number(*names: str) -> float | None:
        """The first of some fields, of the band or else of the asset, as STAC 1.1 inherits."""
        for source in (values, extra):
            for name in names:
                if isinstance(source.get(name), int | float):
                    return float(source[name])
                if name == "nodata" and str(source.get(name)).lower() == "nan":
                    return float("nan")
        return None

    wavelength_um = number("eo:center_wavelength", "center_wavelength")
    common = values.get("eo:common_name") or values.get("common_name")
    return AssetBand(
        asset=key,
        href=asset.href,
        index=index,
        name=str(values.get("name") or (key if is_alone else f"{key}_{index}")),
        common_name=str(common) if common else None,
        wavelength_nm=None if wavelength_um is None else wavelength_um * 1000,
        nodata=number("nodata"),
        scale=number("raster:scale", "scale"),
        offset=number("raster:offset", "offset"),
        is_code=is_code or "classification:classes" in values,
    )


def choose_bands(
    item: pystac.Item, names: Sequence[str], *, is_for_the_eye: bool = False
) -> list[AssetBand]:
    """The bands that are asked for, in that order; without names all of the item's one picture.

    What names mean is as in `data.bands.choose_bands`.

    Args:
        item: Where they are looked for.
        names: Names of bands (`B04`), common names (`red`, also `R`) or keys of assets; case does
            not matter.
        is_for_the_eye: Look first in pictures made for the eye, instead of last.

    Raises:
        DataError: The item has no such band, or several pictures and no names were given.
    """
    rasters = {key: asset for key, asset in item.assets.items() if is_raster(asset)}
    if not names:
        return _all_of_one(item, rasters)
    # As measured before for the eye, or the other way; then the order of the item.
    ranked = sorted(
        rasters, key=lambda key: _is_for_the_eye(key, rasters[key]) is not is_for_the_eye
    )
    bands = [band for key in ranked for band in bands_of(key, rasters[key])]
    sensor = sensor_of([band.name for band in bands], product=item.id)
    return [
        _choose(item, name, bands, meaning=meaning, sensor=sensor)
        for name, meaning in zip(names, meanings(names, sensor=sensor), strict=True)
    ]


def parse_bands(text: str | None) -> tuple[str, ...]:
    """Names of bands out of `B02,B03,B04`.

    Raises:
        ConfigError: A name stands there twice, or none at all.
    """
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len({name.lower() for name in names}) < len(names):
        raise ConfigError(
            f"--bands {text} names {'a band twice' if names else 'no band'}. Name each once, with "
            "commas between: --bands B02,B03,B04"
        )
    return tuple(names)


def _choose(
    item: pystac.Item, name: str, bands: Sequence[AssetBand], *, meaning: Meaning, sensor: str
) -> AssetBand:
    wanted = name.lower()
    # A band's own name says it best; a key comes next, but only of an asset with one band.
    by_name = [band for band in bands if band.name.lower() == wanted]
    by_key = [b for b in bands if b.asset.lower() == wanted and _is_only(b, bands)]
    # What it is commonly called, by the item or by its sensor's habits: `R` and `B04` are red.
    commons = [
        {(band.common_name or "").lower(), common_name(band.name, sensor=sensor)} for band in bands
    ]

    def called(*names: str) -> list[AssetBand]:
        return [band for band, known in zip(bands, commons, strict=True) if known & {*names}]

    found = [] if meaning.is_foreign else [*by_name, *by_key]
    found += called(wanted, meaning.common or wanted)
    if not found and meaning.common in NEAR_INFRARED:
        found = called(*NEAR_INFRARED)
    if found:
        return found[0]
    if not bands:
        raise DataError(
            f"The item `{item.id}` has no picture that can be read by window; its assets are "
            f"{_listed(item.assets)}. Choose items with GeoTIFF or JPEG 2000 assets."
        )
    known = sorted({b.name for b in bands} | {b.common_name for b in bands if b.common_name})
    raise DataError(
        f"The item `{item.id}` has no band `{name}`. {did_you_mean(name, known)} Its bands, with "
        "their common names: "
        + ", ".join(b.name + (f" ({b.common_name})" if b.common_name else "") for b in bands[:40])
        + "."
    )


def _is_only(band: AssetBand, bands: Sequence[AssetBand]) -> bool:
    return sum(other.asset == band.asset for other in bands) == 1


def _all_of_one(item: pystac.Item, rasters: Mapping[str, pystac.Asset]) -> list[AssetBand]:
    pictures = {
        key: asset
        for key, asset in rasters.items()
        if not is_mask(key, asset) and not _is_for_the_eye(key, asset)
    } or {key: asset for key, asset in rasters.items() if not is_mask(key, asset)}
    if len(pictures) != 1:
        raise DataError(
            f"The item `{item.id}` has {len(pictures)} pictures: {_listed(pictures or item.assets)}"
            ". Say which bands with --bands, such as --bands B02,B03,B04."
        )
    [(key, asset)] = pictures.items()
    return bands_of(key, asset)


def _is_for_the_eye(key: str, asset: pystac.Asset) -> bool:
    roles = {role.lower() for role in asset.roles or ()}
    return bool((roles | {key.lower()}) & set(_NOT_DATA))


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in list(names)[:30]) or "none"
