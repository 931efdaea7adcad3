"""Rasters that are written: a COG with the place, colours and names of its values; and outlines.

Beside `rasters`, which reads, the only importer of rasterio. Knows nothing of models or windows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from headstart.data.raster_header import RasterFacts
from headstart.errors import DataError

_TILE = 512  # pixels; what GDAL's COG driver takes by default, too
# Of deflate. On a map of 10,000 x 10,000 pixels in 2 classes 1 took 0.4 of the time of the default,
# 6, which is 3% of its prediction, and the file was 7 MB instead of 4.
_LEVEL = 1


@dataclass(frozen=True)
class RasterLook:
    """What the values of a raster of 8 bits mean, and how they are shown.

    Attributes:
        bands: Names of the bands.
        nodata: The value that stands for no data.
        colours: Value -> (red, green, blue), of a raster with one band; empty for none.
        categories: Names of the values from 0 on; empty for none.
        scale: What values are multiplied by to mean what they stand for.
        tags: What else the file says of itself.
        resampling: Of its overviews: `mode` for classes, `average` for quantities.
    """

    bands: tuple[str, ...]
    nodata: int
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    scale: float = 1.0
    tags: Mapping[str, str] = field(default_factory=dict)
    resampling: str = "mode"


def write_cog(raw: Path, output: Path, *, place: RasterFacts, look: RasterLook) -> None:
    """Make a cloud-optimised GeoTIFF of plain bytes: tiled, packed (deflate), with overviews.

    Memory stays bounded whatever the size. Category names go into `OUTPUT.aux.xml`, where GDAL
    keeps them.

    Args:
        raw: Bytes, band after band, each with the size of `place`.
        output: Replaced when it is there.
        place: The raster whose size, transform and coordinate reference system it gets, exactly.
        look: What its values mean.

    Raises:
        DataError: It cannot be written.
    """
    from rasterio import shutil
    from rasterio._err import (
        CPLE_BaseError,
    )  # it raises GDAL's own errors, and exports them nowhere
    from rasterio.errors import RasterioError

    description = raw.with_suffix(".vrt")
    packed = raw.with_suffix(".cog.tif")
    description.write_bytes(ElementTree.tostring(_virtual(raw, place, look)))
    try:
        shutil.copy(
            str(description),
            str(packed),
            driver="COG",
            COMPRESS="DEFLATE",
            LEVEL=_LEVEL,
            BLOCKSIZE=_TILE,
            OVERVIEW_RESAMPLING=look.resampling.upper(),
            BIGTIFF="IF_SAFER",
            NUM_THREADS="ALL_CPUS",
        )
    except (RasterioError, CPLE_BaseError) as error:
        raise DataError(
            f"`{output}` cannot be written ({str(error).rstrip('.')}). Make sure that there is "
            "room on the disk, and start it again: it goes on where it was."
        ) from error
    side = Path(f"{packed}.aux.xml")
    side.unlink(missing_ok=True)
    if look.categories:
        side.write_bytes(ElementTree.tostring(_side_file(look.categories)))
        side.replace(f"{output}.aux.xml")
    else:
        Path(f"{output}.aux.xml").unlink(missing_ok=True)  # it was of what stood here before
    packed.replace(output)
    description.unlink()


def write_plain(path: Path, values: np.ndarray, *, valid: np.ndarray) -> None:
    """Pixels as a TIFF that is quick to write and to read by windows: tiled, not packed, nowhere.

    Args:
        path: A `.tif`.
        values: (bands, height, width).
        valid: (height, width) bool, where there is data.

    Raises:
        DataError: It cannot be written.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    hushed = ("ignore", None, NotGeoreferencedWarning, None, 0)  # as in `open_raster`
    if hushed not in warnings.filters:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
    num_bands, height, width = values.shape
    try:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                path,
                "w",
                driver="GTiff",
                width=width,
                height=height,
                count=num_bands,
                dtype=values.dtype,
                tiled=True,
                blockxsize=_TILE,
                blockysize=_TILE,
                photometric="MINISBLACK",  # or a fourth band would be taken for opacity
                alpha="NO",
                BIGTIFF="IF_SAFER",
            ) as file,
        ):
            file.write(values)
            if not valid.all():
                file.write_mask(valid)
    except RasterioError as error:
        raise DataError(
            f"`{path}` cannot be written ({str(error).rstrip('.')}). Make sure that there is room "
            "on the disk."
        ) from error


@contextmanager
def bounded_cache(num_bytes: int) -> Iterator[None]:
    """While it is entered, GDAL keeps no more than this of decoded pixels, instead of 5% of RAM."""
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=num_bytes):
        yield


def outlines(
    values: np.ndarray, valid: np.ndarray, *, top: int = 0
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Areas of pixels with one value that share a side, as GeoJSON polygons in pixels.

    Args:
        values: (height, width) uint8.
        valid: (height, width) bool; other pixels are in no area.
        top: The row that the first row of `values` has in the whole.
    """
    from rasterio.features import shapes
    from rasterio.transform import Affine

    for shape, value in shapes(
        values, mask=valid, connectivity=4, transform=Affine.translation(0, top)
    ):
        yield shape, int(value)


def _virtual(raw: Path, place: RasterFacts, look: RasterLook) -> ElementTree.Element:
    """A description of plain bytes as GDAL reads it.

    Source: GDAL, Virtual Raster (VRT), "Descriptor for Raw Files".
    """
    size = {"rasterXSize": str(place.width), "rasterYSize": str(place.height)}
    root = ElementTree.Element("VRTDataset", size)
    if place.crs:
        ElementTree.SubElement(root, "SRS").text = place.crs
    if place.transform is not None:
        a, b, c, d, e, f = place.transform
        # `repr` gives the digits from which the very same number is read.
        ElementTree.SubElement(root, "GeoTransform").text = ", ".join(
            repr(float(number)) for number in (c, a, b, f, d, e)
        )
    if look.tags:
        metadata = ElementTree.SubElement(root, "Metadata")
        for key, value in look.tags.items():
            ElementTree.SubElement(metadata, "MDI", {"key": key}).text = value
    for number, name in enumerate(look.bands):
        kind = {"dataType": "Byte", "band": str(number + 1), "subClass": "VRTRawRasterBand"}
        band = ElementTree.SubElement(root, "VRTRasterBand", kind)
        entries: dict[str, object] = {"Description": name, "NoDataValue": look.nodata}
        if look.scale != 1:
            entries |= {"Scale": repr(look.scale), "Offset": 0}
        for key, entry in entries.items():
            ElementTree.SubElement(band, key).text = str(entry)
        if look.colours:
            ElementTree.SubElement(band, "ColorInterp").text = "Palette"
            band.append(_colour_table(look))
        source = ElementTree.SubElement(band, "SourceFilename", {"relativetoVRT": "1"})
        source.text = raw.name
        offsets = {
            "ImageOffset": number * place.height * place.width,
            "PixelOffset": 1,
            "LineOffset": place.width,
        }
        for key, offset in offsets.items():
            ElementTree.SubElement(band, key).text = str(offset)
    return root


def _colour_table(look: RasterLook) -> ElementTree.Element:
    table = ElementTree.Element("ColorTable")
    for value in range(256):
        red, green, blue = look.colours.get(value, (0, 0, 0))
        alpha = 0 if value == look.nodata else 255
        entry = {"c1": str(red), "c2": str(green), "c3": str(blue), "c4": str(alpha)}
        ElementTree.SubElement(table, "Entry", entry)
    return table


def _side_file(categories: tuple[str, ...]) -> ElementTree.Element:
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", {"band": "1"})
    names = ElementTree.SubElement(band, "CategoryNames")
    for name in categories:
        ElementTree.SubElement(names, "Category").text = name
    return root
