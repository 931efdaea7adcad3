"""Values of rasters in the unit that a model takes, whatever unit each file is in.

`units` says by what rule a file is read: `reflectance` recognises its unit and converts it, a row
of `units.UNITS` takes it for that, and an empty string leaves its values as they are stored.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.data.rasters import Raster, Window, open_raster
from headstart.data.stamps import Stamp, file_stamp
from headstart.data.units import UNITS, Unit, recognise_unit
from headstart.errors import DataError

# Units that stretch a picture over all numbers of a width. What they show as 1 is as bright as its
# maker wanted, so that they cannot stand beside reflectances.
STRETCHED = ("8bit", "12bit", "16bit")
# A look at a file: so many patches along each side, so large. A chip of 256 pixels is seen by half,
# a scene by nine places.
_PATCHES, _PATCH_SIDE = 3, 64
# A mirror or a glint may have as much; numbers that stand for reflectance have hundreds.
_MOST_REFLECTANCE = 10.0
# Files whose units are remembered, so that each is looked at once and not in every epoch.
_MOST_REMEMBERED = 1 << 16

Bands = Sequence[str | int]


def read_in_units(
    raster: Raster, window: Window | None = None, *, bands: Bands | None, units: str
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a window, and which of them hold data: `Raster.read` in the unit of a model.

    Args:
        raster: Open.
        window: May reach beyond the raster; None is all of it.
        bands: Names or numbers from 1; None for all.
        units: `reflectance`, a row of UNITS, or empty.

    Returns:
        (bands, height, width), float32 unless `units` is empty, 0 where there is no data; and
        (height, width) bool.

    Raises:
        DataError: There is no such band; or the unit of the file cannot be told, or is another.
        PictureError: The pixels cannot be read.
    """
    values, valid = raster.read(window, bands=bands)
    if not units:
        return values, valid
    unit = file_unit(raster.name, bands=bands, units=units)
    return _converted(values, valid, unit, places=raster.places(bands)), valid


def file_unit(source: Path | str, *, bands: Bands | None, units: str) -> Unit:
    """The unit that a file is read in; remembered until the file changes.

    Args:
        source: A raster.
        bands: Those that count, by name or number from 1; None for all.
        units: `reflectance` or a row of UNITS.

    Raises:
        DataError: It cannot be told, or is none that can be made into `units`.
        PictureError: The file cannot be read.
    """
    if units != "reflectance":
        return recognise_file(source, bands=bands, declared=units)
    try:
        unit = recognise_file(source, bands=bands)
    except DataError as error:
        low, high, dtype = _looked_at(str(source), file_stamp(source), _key(bands))
        # It need not be told from other units any more: a glint, or nothing but a dark sea.
        if dtype.startswith("float") and max(-low, high) <= _MOST_REFLECTANCE:
            return Unit("reflectance", 1.0, 0.0, "Values are read as they are, as reflectance.")
        raise DataError(f"The model takes reflectance. {error}") from None
    if unit.name in STRETCHED:
        raise DataError(
            f"The model takes reflectance, which `{source}` does not hold. {unit.sentence} Give "
            "the data as the provider of the scene delivers it, or fit a model to pictures of "
            "this kind."
        )
    return unit


def recognise_file(source: Path | str, *, bands: Bands | None, declared: str | None = None) -> Unit:
    """The unit of a file, and how it is known; remembered until the file changes.

    Args:
        source: A raster.
        bands: Those that count, by name or number from 1; None for all.
        declared: A row of UNITS that it is taken for, unless it contradicts.

    Raises:
        DataError: More than one unit is possible, or `declared` is not; see `recognise_unit`.
        PictureError: The file cannot be read.
    """
    return _recognised(str(source), file_stamp(source), _key(bands), declared)


def refuse_other_range(raster: Raster, *, bands: Bands, scale: float) -> None:
    """Refuse values that are not stored as those that a model of stored values was fitted on.

    Args:
        raster: Open.
        bands: Those that the model takes.
        scale: The most that is stored: 255 of 8 bits.

    Raises:
        DataError: They are integers beyond it, or floating-point values that all lie so low that
            they are reflectance.
    """
    if raster.facts.dtype == "uint8":
        return
    low, high, dtype = _looked_at(raster.name, file_stamp(raster.name), _key(bands))
    is_fraction = dtype.startswith("float") and 0 < high <= 1
    if low < -1 or high > scale or is_fraction:
        raise DataError(
            f"`{raster.name}` holds {dtype} with values from {low:,.6g} to {high:,.6g}, but the "
            f"model was fitted on pictures of 8 bits, 0 to {scale:g}. Give it pictures of that "
            "kind, or fit a model to pictures such as this one; where they do not say what their "
            "values mean, with --units."
        )


def sampled_pixels(
    source: Path | str,
    *,
    bands: Bands | None,
    units: str,
    within: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """Values of some pixels that hold data, from patches spread over a file or a part of it.

    Args:
        source: A raster.
        bands: Names or numbers from 1.
        units: See `read_in_units`.
        within: (left, top, width, height) in pixels; None is all of the file.

    Returns:
        (bands, n); n is 0 where there is no data.

    Raises:
        DataError: See `read_in_units`.
        PictureError: The file cannot be read.
    """
    found = []
    with open_raster(source) as raster:
        whole = (0, 0, raster.facts.width, raster.facts.height)
        for patch in _patches(*(within or whole)):
            values, valid = read_in_units(raster, patch, bands=bands, units=units)
            found.append(values[:, valid])
    return np.concatenate(found, axis=1)


def _converted(
    values: np.ndarray, valid: np.ndarray, unit: Unit, *, places: Sequence[int]
) -> np.ndarray:
    def of_bands(numbers: float | tuple[float, ...], unsaid: float) -> np.ndarray:
        chosen = [numbers]
        if isinstance(numbers, tuple):  # nothing is said of a band that is marked as alpha
            chosen = [numbers[p] if p < len(numbers) else unsaid for p in places]
        return np.array(chosen, np.float32)[:, None, None]

    converted: np.ndarray = values.astype(np.float32) * of_bands(unit.scale, 1.0)
    converted += of_bands(unit.offset, 0.0)
    if not valid.all():
        converted[:, ~valid] = 0
    return converted


def _patches(left: int, top: int, width: int, height: int) -> list[Window]:
    """Spread evenly, the outermost at the edges; all of it where it is small."""
    if max(width, height) <= _PATCHES * _PATCH_SIDE:
        return [Window(left, top, width, height)]
    across, down = min(_PATCH_SIDE, width), min(_PATCH_SIDE, height)
    steps = np.linspace(0, 1, _PATCHES)
    return [
        Window(left + round(x * (width - across)), top + round(y * (height - down)), across, down)
        for y in (steps if height > down else steps[:1])
        for x in (steps if width > across else steps[:1])
    ]


Key = tuple[str | int, ...] | None


def _key(bands: Bands | None) -> Key:
    return None if bands is None else tuple(bands)


@functools.lru_cache(maxsize=_MOST_REMEMBERED)
def _looked_at(source: str, stamp: Stamp, bands: Key) -> tuple[float, float, str]:
    """The smallest and the largest of some values, 0 and 0 where there are none; and their type."""
    pixels = sampled_pixels(source, bands=bands, units="")
    if pixels.size == 0:
        return 0.0, 0.0, str(pixels.dtype)
    return float(pixels.min()), float(pixels.max()), str(pixels.dtype)


@functools.lru_cache(maxsize=_MOST_REMEMBERED)
def _recognised(source: str, stamp: Stamp, bands: Key, declared: str | None) -> Unit:
    assert declared is None or declared in UNITS
    with open_raster(source) as raster:
        facts = raster.facts
    low, high, _ = _looked_at(source, stamp, bands)
    return recognise_unit(facts, low=low, high=high, declared=declared, source=source)
