"""Reads masks: the values as stored, and the same as class indices by a legend.

Knows nothing of layouts on disk. Pixels come through `rasters`, whatever the format: PNG and
GeoTIFF, with grey values, a palette, or colours that stand for classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.contracts import IGNORE, Legend, Sample
from headstart.data.images import PictureError, verify_picture
from headstart.data.polygon_masks import draw_mask, is_polygon_file
from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import RASTER_SUFFIXES, Window, open_raster, raster_facts
from headstart.errors import DataError

_MOST_WHOLE = 2.0**53  # beyond it, floating-point values have no room for whole numbers
_MOST_AT_ONCE = 1 << 24  # pixels of a mask that are read together: 16 MB of bytes
_UNKNOWN = -2  # the class index of a value that the legend does not have; never leaves this file


@dataclass(frozen=True)
class StoredMask:
    """A mask as it is stored.

    Attributes:
        values: (height, width) integers; of colours as `Legend` counts them.
        opaque: (height, width) bool, False where alpha or the file's own mask say that there is
            nothing.
        is_coloured: Whether the file has colours (three unequal bands) instead of values.
        facts: What its header says.
    """

    values: np.ndarray
    opaque: np.ndarray
    is_coloured: bool
    facts: RasterFacts


@dataclass(frozen=True)
class IndexedMask:
    """A mask as class indices.

    Attributes:
        indices: (height, width) int64: the class, or IGNORE.
        unknown: Values that the legend does not have, sorted; their pixels are IGNORE.
        facts: Of the whole file, even where a window of it was read; of polygons those of the
            scene that they are drawn on.
        values: (height, width) integers, as stored; of colours as `Legend` counts them. None of
            what is stored in another way.
    """

    indices: np.ndarray
    unknown: tuple[int, ...]
    facts: RasterFacts
    values: np.ndarray | None = None


def read_mask(sample: Sample, legend: Legend) -> np.ndarray:
    """The class of each pixel of a sample.

    Args:
        sample: With a mask.
        legend: Of its data set.

    Returns:
        (height, width) int64: class indices, IGNORE where the mask has an ignored value, its nodata
        value (unless that is a class), or is transparent. Of a window if the sample is one.

    Raises:
        PictureError: The mask cannot be read.
        DataError: The sample has no mask, or the mask a value that the legend does not have.
    """
    mask = read_sample_mask(sample, legend)
    if mask.unknown:
        raise DataError(
            f"`{sample.mask}` has the value {told_value(mask.unknown[0], legend)}, but the legend "
            f"has {told_values(legend)}. Name it in the legend file, or pass "
            f"`{ignoring_option(mask.unknown[:1], legend)}`."
        )
    return mask.indices


def read_sample_mask(sample: Sample, legend: Legend) -> IndexedMask:
    """The class of each pixel of a sample, from a raster or from polygons, of all or a window.

    Raises:
        PictureError: The mask, or the scene that polygons are drawn on, cannot be read.
        DataError: The sample has no mask, or polygons that cannot be drawn on it.
    """
    if sample.mask is None:
        raise DataError(f"`{sample.id}` has no mask. Only samples with one can be learnt from.")
    window = None if sample.window is None else Window(*sample.window)
    if is_polygon_file(sample.mask):
        indices, facts = draw_mask(sample.mask, sample.path, legend, window=window)
        return IndexedMask(indices, (), facts)
    return read_indexed_mask(sample.mask, legend, window=window)


def read_indexed_mask(path: Path, legend: Legend, *, window: Window | None = None) -> IndexedMask:
    """The class of each pixel of a mask, or of a window of it, and values that have none.

    Raises:
        PictureError: It cannot be read, or holds colours where the legend has values; its kind is
            then `coloured-mask`.
    """
    stored = read_stored_mask(path, as_colours=legend.is_coloured, window=window)
    if stored.is_coloured and not legend.is_coloured:
        raise PictureError(
            f"`{path}` has colours, but the other masks have values. Save it with one band of "
            "values, as they have; or leave it out with `--on-bad skip`.",
            kind="coloured-mask",
        )
    index_of = _index_of(legend)
    nodata = None if legend.is_coloured else whole_nodata(stored.facts)
    if nodata is not None and nodata not in index_of:
        index_of = {**index_of, nodata: IGNORE}
    indices = _look_up(stored.values, index_of)
    if not stored.opaque.all():
        indices[~stored.opaque] = IGNORE
    is_unknown = indices == _UNKNOWN
    unknown: tuple[int, ...] = ()
    if is_unknown.any():
        unknown = tuple(int(v) for v in np.unique(stored.values[is_unknown]))
        indices[is_unknown] = IGNORE
    return IndexedMask(indices, unknown, stored.facts, stored.values)


def read_stored_mask(
    path: Path, *, as_colours: bool = False, window: Window | None = None
) -> StoredMask:
    """A mask as it is stored.

    Args:
        path: The file.
        as_colours: Values of a palette become its colours, and grey values grey colours.
        window: Within the mask; None is all of it.

    Raises:
        PictureError: It cannot be read, its values are no whole numbers, or it has neither one
            band nor three.
    """
    if path.suffix.lower() not in RASTER_SUFFIXES:
        # GDAL fills what is missing of a cut PNG with whatever lay in the memory.
        _verify_whole(path)
    with open_raster(path) as raster:
        bands, opaque = raster.read_stored(window)
        facts = raster.facts
    if len(bands) not in (1, 3):
        raise PictureError(
            f"`{path}` has {len(bands)} bands, but a mask has one (values) or three (colours). "
            "Save the classes as one band.",
            kind="unreadable-mask",
        )
    if bands.dtype.kind == "f":
        bands, opaque = _whole_numbers(path, bands, opaque, facts=facts)
    elif bands.dtype.kind not in "iu":
        raise PictureError(
            f"`{path}` has values of the type {facts.dtype}, but whole numbers are needed. Save it "
            "with 8 or 16 bits.",
            kind="unreadable-mask",
        )
    is_grey = len(bands) == 1 or bool((bands[0] == bands[1]).all() and (bands[0] == bands[2]).all())
    if is_grey and not as_colours:
        return StoredMask(bands[0], opaque, False, facts)
    if len(bands) == 1:
        bands = _drawn(bands[0], facts.colours)
    red, green, blue = bands.astype(np.uint32)
    return StoredMask(red << 16 | green << 8 | blue, opaque, True, facts)


def stored_parts(path: Path, *, as_colours: bool = False) -> Iterator[StoredMask]:
    """A mask as it is stored: all at once, or in as large parts as memory should hold.

    Raises:
        PictureError: See `read_stored_mask`.
    """
    facts = raster_facts(path)
    width, height = facts.width, facts.height
    if width * height > _MOST_AT_ONCE:  # by whole pieces, so that none is decoded twice
        height = min(height, max(_MOST_AT_ONCE // width, facts.block[0]))
        height = max(height - height % facts.block[0], min(facts.block[0], facts.height))
        width = min(width, max(_MOST_AT_ONCE // height, facts.block[1]))
    for top in range(0, facts.height, height):
        for left in range(0, facts.width, width):
            right, bottom = min(left + width, facts.width), min(top + height, facts.height)
            part = Window(left, top, right - left, bottom - top)
            yield read_stored_mask(path, as_colours=as_colours, window=part)


def _verify_whole(path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PictureError(
            f"`{path}` cannot be read ({error.strerror}). Mend that, or leave it out with "
            "`--on-bad skip`.",
            kind="unreadable-mask",
        ) from None
    verify_picture(content, decode=False, name=str(path))


def pack_colour(colour: tuple[int, int, int]) -> int:
    """A colour as the value that a Legend has for it.

    Example:
        >>> pack_colour((1, 0, 2))
        65538
    """
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def whole_nodata(facts: RasterFacts) -> int | None:
    """The nodata value of a mask, where it may occur among whole values; None where it may not."""
    nodata = facts.nodata
    if nodata is None or not abs(nodata) <= _MOST_WHOLE or nodata != int(nodata):
        return None
    return int(nodata)


def told_value(value: int, legend: Legend) -> str:
    """A value for people: a number, or a colour in three.

    Example:
        >>> told_value(16711680, Legend(("road",), ((0,),), is_coloured=True))
        '(255, 0, 0)'
    """
    if legend.is_coloured:
        return f"({value >> 16}, {value >> 8 & 255}, {value & 255})"
    return str(value)


def ignoring_option(values: Iterable[int], legend: Legend) -> str:
    """What to type to have some values ignored: `--ignore-value 7,9`, of colours '#ff0000'."""
    if legend.is_coloured:
        colours = ",".join(f"#{value:06x}" for value in values)
        return f"--ignore-value '{colours}'"  # a shell takes an unquoted # for a remark
    return f"--ignore-value {','.join(map(str, values))}"


def told_values(legend: Legend) -> str:
    """What a legend has, for messages: `0 road, 1 sky; ignored 255`."""
    pairs = [
        f"{told_value(value, legend)} {name}" if str(value) != name else name
        for name, values in zip(legend.names, legend.values, strict=True)
        for value in values
    ]
    shown = ", ".join(pairs[:12]) + (f" and {len(pairs) - 12} more" if len(pairs) > 12 else "")
    ignored = ", ".join(told_value(value, legend) for value in legend.ignored[:12])
    return shown + (f"; ignored {ignored}" if ignored else "")


def _index_of(legend: Legend) -> dict[int, int]:
    """Value -> class index or IGNORE."""
    index_of = dict.fromkeys(legend.ignored, IGNORE)
    for index, values in enumerate(legend.values):
        index_of.update(dict.fromkeys(values, index))
    return index_of


def _look_up(values: np.ndarray, index_of: Mapping[int, int]) -> np.ndarray:
    """(height, width) int64 class indices, IGNORE or _UNKNOWN."""
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        size = 1 << 8 * values.dtype.itemsize
        table = np.full(size, _UNKNOWN, np.int64)
        for value, index in index_of.items():
            if 0 <= value < size:
                table[value] = index
        indices: np.ndarray = table[values]
        return indices
    known = np.array(sorted(index_of), np.int64)
    indices = np.array([index_of[int(value)] for value in known], np.int64)
    wide = values.astype(np.int64)
    places = np.searchsorted(known, wide).clip(max=len(known) - 1)
    return np.where(known[places] == wide, indices[places], _UNKNOWN)


def _whole_numbers(
    path: Path, bands: np.ndarray, opaque: np.ndarray, *, facts: RasterFacts
) -> tuple[np.ndarray, np.ndarray]:
    """Floating-point values that are whole as integers; NaN and nodata that is not are nothing."""
    is_number = np.isfinite(bands)
    if facts.nodata is not None and whole_nodata(facts) is None:
        is_number &= bands != facts.nodata  # -3.4e38 is common, and no integer
    whole = np.where(is_number, bands, 0)
    is_odd = (whole != np.rint(whole)) | (np.abs(whole) > _MOST_WHOLE)
    if is_odd.any():
        raise PictureError(
            f"`{path}` has values such as {whole[is_odd][0]:g}, but a mask needs whole numbers, "
            "one a class. Was it resized with interpolation, or is its nodata value not declared? "
            "Save it anew.",
            kind="unreadable-mask",
        )
    return whole.astype(np.int64), opaque & is_number.all(axis=0)


def _drawn(values: np.ndarray, colours: Mapping[int, tuple[int, int, int]]) -> np.ndarray:
    """(3, height, width) colours of values by a palette; grey without one."""
    if not colours:
        return np.stack([values] * 3)
    table = np.zeros((max(*colours, int(values.max(initial=0))) + 1, 3), np.uint8)
    for value, colour in colours.items():
        table[value] = colour
    return np.moveaxis(table[values], -1, 0)
