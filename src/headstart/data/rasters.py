"""What a raster says of itself, and its pixels, window by window; read by rasterio.

Knows nothing of classes, data sets or models. A raster is never read whole unless it is asked for
whole. Readers may be used in many threads at once, one of their own each. Trouble with a file is a
PictureError that names the file, what is wrong, and what to do.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.bands import band_in_file_name, choose_bands, common_name, sensor_of
from headstart.data.images import REPLACE_OR_SKIP, PictureError
from headstart.data.raster_header import RasterFacts
from headstart.data.side_files import SideItem, category_names, side_item
from headstart.errors import DataError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

RASTER_SUFFIXES = frozenset({".tif", ".tiff", ".jp2", ".vrt"})
_PALETTE_FORMATS = ("PNG", "GIF")
_VERIFIED_PIXELS = 1 << 24  # read at a time when a whole file is verified: 16 MB a band and byte


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels; it may reach beyond the raster.

    Attributes:
        left: Column of the first pixel, from 0.
        top: Row of the first pixel, from 0.
        width: Pixels.
        height: Pixels.
    """

    left: int
    top: int
    width: int
    height: int


class Raster:
    """A raster that is open. Made by `open_raster`.

    Attributes:
        name: For messages.
        facts: What its header says.
    """

    def __init__(self, name: str, facts: RasterFacts, file: DatasetReader) -> None:
        self.name = name
        self.facts = facts
        self._file = file
        self._whole = Window(0, 0, facts.width, facts.height)

    def places(self, bands: Sequence[str | int] | None) -> list[int]:
        """Places (from 0) of bands given by name or by number from 1; None: all but alpha.

        Raises:
            DataError: There is no such band.
        """
        if bands is None:
            return list(range(len(self.facts.bands)))
        names = self.facts.readable_bands
        return choose_bands(bands, names, sensor=self.facts.sensor, source=self.name)

    def read(
        self, window: Window | None = None, *, bands: Sequence[str | int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of a window, and which of them hold data.

        A pixel holds none outside the raster, where the mask of the file or the alpha band (unless
        it is asked for: then it is no alpha) say so, where a chosen band is NaN or infinite, and
        where it has the nodata value: in all chosen bands if that is 0 or the largest of an
        unsigned type, which ordinary pixels have in single bands too (a saturated red); otherwise
        in any.

        Args:
            window: May reach beyond the raster; None is all of it.
            bands: Names or numbers from 1, in the order wanted; None for all but the alpha band.

        Returns:
            (bands, height, width) of the file's dtype, 0 where there is no data; and
            (height, width) bool, True where there is.

        Raises:
            DataError: There is no such band.
            PictureError: The pixels cannot be read.
        """
        window = window or self._whole
        places = self.places(bands)
        left, right = max(window.left, 0), min(window.left + window.width, self.facts.width)
        top, bottom = max(window.top, 0), min(window.top + window.height, self.facts.height)
        shape = (window.height, window.width)
        values = np.zeros((len(places), *shape), self.facts.dtype)
        valid = np.zeros(shape, bool)
        if right > left and bottom > top:
            inner = Window(left, top, right - left, bottom - top)
            rows = slice(top - window.top, bottom - window.top)
            columns = slice(left - window.left, right - window.left)
            values[:, rows, columns], valid[rows, columns] = self._inside(inner, places)
        return values, valid

    def read_stored(self, window: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as they are stored, the nodata value among them; for masks.

        Args:
            window: Within the raster; None is all of it.

        Returns:
            (bands, height, width) of the file's dtype; and (height, width) bool, False where the
            alpha band or the mask of the file say that there is nothing.

        Raises:
            PictureError: The pixels cannot be read.
        """
        return self._stored(window or self._whole, range(len(self.facts.bands)))

    def _inside(self, window: Window, places: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """As `read`, of a window that lies within the raster."""
        values, valid = self._stored(window, places)
        valid &= holds_data(values, self.facts.nodata)
        if not valid.all():
            values[:, ~valid] = 0
        return values, valid

    def _stored(self, window: Window, places: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        from rasterio.enums import MaskFlags
        from rasterio.errors import RasterioError
        from rasterio.windows import Window as FileWindow

        place = FileWindow(window.left, window.top, window.width, window.height)
        numbers = [self._number(i) for i in places]
        try:
            values = self._file.read(numbers, window=place)
            flags = self._file.mask_flag_enums[0]
            has_mask = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
            is_alpha = self.facts.has_alpha and len(self.facts.bands) not in places
            if is_alpha or has_mask:
                opaque = self._file.dataset_mask(window=place) > 0
            else:
                opaque = np.ones(values.shape[1:], bool)
        except (RasterioError, ValueError, MemoryError) as error:
            raise _unreadable(self.name, error) from error
        return values, opaque

    def _number(self, place: int) -> int:
        """The number in the file, from 1, of a band of `readable_bands`."""
        numbers = _data_bands(self._file, self.name)
        return numbers[place] if place < len(numbers) else int(self._file.count)


@contextmanager
def open_raster(source: Path | str) -> Iterator[Raster]:
    """Open a raster to read several windows of it.

    Args:
        source: A file, or anything else that GDAL opens by name.

    Raises:
        PictureError: It is missing, empty or no raster.
        DataError: A file beside it is damaged.

    Example:
        >>> with open_raster("scene.tif") as raster:  # doctest: +SKIP
        ...     values, valid = raster.read(Window(0, 0, 512, 512), bands=["red", "nir"])
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    # `warnings.catch_warnings` would do it to the whole process, and undo that of other threads.
    hushed = ("ignore", None, NotGeoreferencedWarning, None, 0)
    if hushed not in warnings.filters:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
    try:
        file = rasterio.open(source)
    except (RasterioError, ValueError, OSError) as error:
        raise _unreadable(str(source), error) from error
    with file:
        yield Raster(str(source), _facts(source, file), file)


def raster_facts(source: Path | str) -> RasterFacts:
    """What the header says; no pixel is read.

    Raises:
        PictureError: See `open_raster`.
        DataError: See `open_raster`.
    """
    with open_raster(source) as raster:
        return raster.facts


def read_window(
    source: Path | str, window: Window | None = None, *, bands: Sequence[str | int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a window, and which of them hold data: `Raster.read` of a file opened for it.

    Raises:
        PictureError: It cannot be opened or read.
        DataError: There is no such band.
    """
    with open_raster(source) as raster:
        return raster.read(window, bands=bands)


def verify_raster(source: Path | str, *, decode: bool) -> RasterFacts:
    """Make sure that a raster can be read, at the price of its last piece or of all of it.

    The last piece is the one that is missing in a file that was cut.

    Args:
        source: A file.
        decode: Read all pixels, a few rows at a time, so that memory stays bounded.

    Raises:
        PictureError: It cannot be read.
    """
    with open_raster(source) as raster:
        verify_pixels(raster, decode=decode)
        return raster.facts


def verify_pixels(raster: Raster, *, decode: bool) -> None:
    """As `verify_raster`, of a raster that is open.

    Raises:
        PictureError: It cannot be read.
    """
    facts = raster.facts
    rows, columns = facts.block
    if decode:
        step = max(1, _VERIFIED_PIXELS // (facts.width * max(len(facts.bands), 1)))
        step = max(rows, step - step % rows)
        for top in range(0, facts.height, step):
            height = min(step, facts.height - top)
            raster.read(Window(0, top, facts.width, height))
    else:
        width, height = min(columns, facts.width), min(rows, facts.height)
        raster.read(Window(facts.width - width, facts.height - height, width, height))


def is_same_crs(first: str, second: str) -> bool:
    """Whether two coordinate reference systems are the same, however they are written."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    if first == second:
        return True
    try:
        return bool(CRS.from_user_input(first) == CRS.from_user_input(second))
    except CRSError:
        return False


def rasterise(
    shapes: Sequence[tuple[Mapping[str, Any], int]], height: int, width: int
) -> np.ndarray:
    """Shapes drawn with a value each: where the centre of a pixel lies in one; the last on top.

    Args:
        shapes: GeoJSON geometries in pixels (x from the left edge, y from the top), and values from
            1 on.
        height: Pixels.
        width: Pixels.

    Returns:
        (height, width) int32, 0 where no shape is.
    """
    from rasterio.features import rasterize

    if not shapes:
        return np.zeros((height, width), np.int32)
    drawn: np.ndarray = rasterize(shapes, out_shape=(height, width), dtype="int32")
    return drawn


def reproject(
    geometries: Sequence[Mapping[str, Any]], *, source: str, target: str
) -> list[Mapping[str, Any]]:
    """GeoJSON geometries in another coordinate reference system.

    Raises:
        DataError: There is no way from one system to the other.
    """
    from rasterio.errors import RasterioError
    from rasterio.warp import transform_geom

    if not geometries or is_same_crs(source, target):
        return list(geometries)
    try:
        return list(transform_geom(source, target, geometries))
    except (RasterioError, ValueError) as error:
        raise DataError(
            f"Polygons in {source[:60]} cannot be brought to {target[:60]} ({error}). Save them in "
            "the coordinate reference system of the scene."
        ) from error


def holds_data(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Where values (bands, height, width) are data; see `Raster.read` for the rule.

    Returns:
        (height, width) bool.
    """
    valid = np.ones(values.shape[1:], bool)
    if np.issubdtype(values.dtype, np.inexact):
        valid &= np.isfinite(values).all(axis=0)
    if nodata is None or nodata != nodata or values.size == 0:
        return valid
    is_ordinary = values.dtype.kind == "u" and nodata in (0, np.iinfo(values.dtype).max)
    is_empty = values == nodata
    valid &= ~(is_empty.all(axis=0) if is_ordinary else is_empty.any(axis=0))
    return valid


def _facts(source: Path | str, file: DatasetReader) -> RasterFacts:
    path = Path(source)
    item = side_item(path)
    numbers = _data_bands(file, path)
    if not numbers:
        raise PictureError(f"`{source}` has no band but alpha. {REPLACE_OR_SKIP}")
    tags = _tags(file, item)
    bands = _band_names(file, numbers, path, item)
    scales, offsets = _scaling(file, numbers, item)
    is_placed = not file.transform.is_identity or file.crs is not None
    transform = tuple(file.transform)[:6] if is_placed else None
    product = " ".join((path.stem, tags.get("platform", ""), tags.get("constellation", "")))
    return RasterFacts(
        format=file.driver,
        width=file.width,
        height=file.height,
        bands=bands,
        dtype=file.dtypes[numbers[0] - 1],
        nodata=None if file.driver in _PALETTE_FORMATS else file.nodata,
        crs=file.crs.to_string() if file.crs else "",
        transform=transform,
        has_alpha=len(numbers) < file.count,
        block=tuple(file.block_shapes[0]),
        colours=_palette(file),
        categories=category_names(path),
        sensor=sensor_of(bands, product=product),
        scales=scales,
        offsets=offsets,
        tags=tags,
    )


def _data_bands(file: DatasetReader, source: Path | str) -> list[int]:
    """Numbers from 1 of the bands that are not alpha.

    GDAL marks the fourth band of 8 bits as alpha unless it is told otherwise, also where that is
    the near infrared: a band that is described as one which sees something is no alpha.
    """
    from rasterio.enums import ColorInterp

    described = [(text or "").strip() for text in file.descriptions]
    sensor = sensor_of(described, product=Path(source).stem)
    return [
        i
        for i, colour in enumerate(file.colorinterp, 1)
        if colour is not ColorInterp.alpha or common_name(described[i - 1], sensor=sensor)
    ]


def _tags(file: DatasetReader, item: SideItem | None) -> dict[str, str]:
    tags = {str(k): str(v) for k, v in file.tags().items()}
    num_bits = file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
    if num_bits:
        tags["NBITS"] = str(num_bits)
    if item is not None:
        tags |= {str(k): str(v) for k, v in item.properties.items()}
    return tags


def _scaling(
    file: DatasetReader, numbers: Sequence[int], item: SideItem | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scales and offsets of the bands, by the file or else by the item; empty when neither says."""
    scales = tuple(file.scales[n - 1] for n in numbers)
    offsets = tuple(file.offsets[n - 1] for n in numbers)
    if any(s != 1 for s in scales) or any(o != 0 for o in offsets):
        return scales, offsets
    if item is not None and len(item.scales or item.offsets) == len(numbers):
        ones, zeros = (1.0,) * len(numbers), (0.0,) * len(numbers)
        return item.scales or ones, item.offsets or zeros
    return (), ()


def _band_names(
    file: DatasetReader, numbers: Sequence[int], path: Path, item: SideItem | None
) -> tuple[str, ...]:
    """By descriptions, the item beside it, the name of the file, or the colours of its bands."""
    described = [(file.descriptions[n - 1] or "").strip() for n in numbers]
    told = list(item.bands) if item is not None and len(item.bands) == len(numbers) else []
    in_name = band_in_file_name(path.stem) if len(numbers) == 1 else ""
    colours = [file.colorinterp[n - 1].name for n in numbers]
    meaningful = {"red", "green", "blue", "nir", "coastal", "rededge", "swir", "pan"}
    names = []
    for i, number in enumerate(numbers):
        candidates = (
            described[i],
            told[i] if told else "",
            in_name,
            colours[i] if colours[i] in meaningful else "",
            f"band_{number}",
        )
        names.append(next(name for name in candidates if name))
    return tuple(names)


def _palette(file: DatasetReader) -> dict[int, tuple[int, int, int]]:
    try:
        table = file.colormap(1)
    except ValueError:  # it has none
        return {}
    return {int(value): (rgba[0], rgba[1], rgba[2]) for value, rgba in table.items()}


def _unreadable(name: str, error: BaseException) -> PictureError:
    """What GDAL complained about, as an error that a user can mend."""
    path = Path(name)
    told = _whole_message(error)
    if not path.exists() and "://" not in name and not name.startswith("/vsi"):
        return PictureError(f"There is no file `{name}`. Check the path.", kind="missing-file")
    if path.is_file() and path.stat().st_size == 0:
        return PictureError(
            f"`{name}` has no content (0 bytes). {REPLACE_OR_SKIP}", kind="zero-byte"
        )
    if re.search(r"not recognized as|not a supported|cannot be recognized", told):
        return PictureError(f"`{name}` is no raster that can be read. {REPLACE_OR_SKIP}")
    # GDAL tells a cut file from other damage by its words only; of a directory of a TIFF that lies
    # behind the end it gives the place.
    is_cut = re.search(r"truncat|got \d+ bytes|Read error|unexpected end|premature|EOF", told, re.I)
    place = re.search(r"read directory at offset (\d+)", told)
    if is_cut or (place and path.is_file() and int(place[1]) >= path.stat().st_size):
        return PictureError(
            f"`{name}` is truncated: the file ends before the picture does. {REPLACE_OR_SKIP}",
            kind="truncated",
        )
    return PictureError(f"`{name}` cannot be decoded ({told.strip()}). {REPLACE_OR_SKIP}")


def _whole_message(error: Any) -> str:
    """The words of an error and of those that led to it, as rasterio keeps what GDAL said there."""
    words: list[str] = []
    while error is not None and len(words) < 8:
        words.append(str(error))
        error = error.__cause__ or error.__context__
    return "; ".join(dict.fromkeys(words))
