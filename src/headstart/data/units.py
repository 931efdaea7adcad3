"""In which unit a raster counts: reflectance, or which of the integers that stand for it.

Opens no file: it goes by what the header says and by a look at some values, and where these leave
more than one possibility, the user has to say it. Nothing is guessed, since a wrong unit ruins a
model without a sign.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from headstart.data.raster_header import RasterFacts

# The first products with the offset are of this day, and it came with this baseline. Source: ESA,
# Sentinel-2 Products Specification 14.9; Sentinel-2 processing baseline 04.00, 25 January 2022.
_OFFSET_BASELINE = 4.0
_OFFSET_DAY = "2022-01-25"
# Reflectance of clouds and snow, and over mirroring roofs, exceeds 1, but not by this much.
_MAX_REFLECTANCE = 2.0


@dataclass(frozen=True)
class Unit:
    """How stored values become comparable ones: `value * scale + offset`.

    Attributes:
        name: A row of UNITS, or `scaled` where the file itself gives scale and offset.
        scale: One for all bands, or one a band.
        offset: Likewise, added after the scale.
        sentence: The unit and how it is known, to be said aloud.
    """

    name: str
    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]
    sentence: str


# Name -> (scale, offset, what it is in words).
UNITS: dict[str, tuple[float, float, str]] = {
    "reflectance": (1.0, 0.0, "reflectance from 0 to 1"),
    "dn10000": (1e-4, 0.0, "reflectance times 10,000"),
    "dn10000-offset": (
        1e-4,
        -0.1,
        "reflectance times 10,000 plus 1,000, as Sentinel-2 has it since processing baseline 04.00",
    ),
    "8bit": (1 / 255, 0.0, "8 bits, 0 to 255"),
    "12bit": (1 / 4095, 0.0, "12 bits, 0 to 4,095"),
    "16bit": (1 / 65535, 0.0, "16 bits, 0 to 65,535"),
}


def recognise_unit(
    facts: RasterFacts, *, low: float, high: float, declared: str | None = None, source: str
) -> Unit:
    """The unit of a raster, and how it is known.

    What decides, from first to last: the user, unless the header says otherwise, which is an error;
    scale and offset in the file or its STAC item; 8 bit integers; floating-point values between 0
    and about 1; NBITS of the file; the processing baseline, offset or day of a Sentinel-2 product,
    by its tags, item or name.

    Args:
        facts: Of the raster.
        low: The smallest of the values looked at (nodata left out).
        high: The largest of them.
        declared: A row of UNITS that the user gives.
        source: The raster, for messages and for what its name tells.

    Raises:
        DataError: More than one unit is possible; the message lists the choices. Or `declared` is
            none, or cannot be.
    """
    if declared is not None:
        return _declared(declared, facts, low, high, source)
    if facts.scales:
        # Earth Search states the offset of products that it has already taken it off from.
        if facts.tags.get("earthsearch:boa_offset_applied") == "True" and any(facts.offsets):
            raise _undecidable(facts, low, high, source)
        return _scaled(facts)
    if facts.dtype == "uint8":
        return _unit("8bit", "its values are 8 bits wide")
    if facts.dtype.startswith("float"):
        if _is_reflectance(low, high):
            return _unit("reflectance", f"floating-point values from {low:.3g} to {high:.3g}")
        raise _undecidable(facts, low, high, source)
    if facts.tags.get("NBITS") == "12":
        return _unit("12bit", "the file says that 12 of 16 bits are used")
    if facts.sensor == "sentinel-2":
        found = _sentinel_2(facts, source)
        if found is not None:
            return found
    raise _undecidable(facts, low, high, source)


def _unit(name: str, why: str) -> Unit:
    scale, offset, words = UNITS[name]
    return Unit(name, scale, offset, f"Values are read as {words} ({name}): {why}.")


def _declared(name: str, facts: RasterFacts, low: float, high: float, source: str) -> Unit:
    if name not in UNITS:
        raise DataError(f"`--units {name}` is no unit. {did_you_mean(name, UNITS)}")
    scale, offset, words = UNITS[name]
    said = _stated(facts, source)
    if said is not None and not _is_of(name, said.scale, said.offset):
        raise DataError(
            f"`--units {name}` ({words}) contradicts what `{source}` says of itself. "
            f"{said.sentence} Leave --units away, or correct the file."
        )
    is_fraction = facts.dtype.startswith("float") and _is_reflectance(low, high)
    if said is None and is_fraction and name != "reflectance":
        # Read as if it counted to 10,000, it would be a picture of nothing, without a sign.
        raise DataError(
            f"`--units {name}` ({words}; as the model was fitted, where it is not given) cannot be "
            f"the unit of `{source}`: floating-point values from {low:.3g} to {high:.3g} are "
            "reflectance from 0 to 1. Give --units reflectance."
        )
    most = high * scale + offset
    limits = {"8bit": 1.0, "12bit": 1.0, "16bit": 1.0}
    if most > limits.get(name, 10.0):
        raise DataError(
            f"`--units {name}` ({words}) cannot be the unit of `{source}`: its values reach "
            f"{high:,.6g}, {facts.dtype}. {_choices()}"
        )
    return _unit(name, "as --units says")


def _is_reflectance(low: float, high: float) -> bool:
    return low >= -_MAX_REFLECTANCE and 0 < high <= _MAX_REFLECTANCE


def _stated(facts: RasterFacts, source: str) -> Unit | None:
    """What header, item or name say without any doubt; None when they leave it open."""
    if facts.scales:
        return _scaled(facts)
    if facts.dtype == "uint8":
        return _unit("8bit", "its values are 8 bits wide")
    return _sentinel_2(facts, source) if facts.sensor == "sentinel-2" else None


def _scaled(facts: RasterFacts) -> Unit:
    scale, offset = _one_or_all(facts.scales), _one_or_all(facts.offsets)
    for name in UNITS:
        if _is_of(name, scale, offset):
            return _unit(name, "by the scale and offset that it comes with")
    words = f"times {_told(scale)}, plus {_told(offset)}"
    sentence = f"Values are read {words} (scaled): the scale and offset that it comes with."
    return Unit("scaled", scale, offset, sentence)


def _is_of(name: str, scale: float | tuple[float, ...], offset: float | tuple[float, ...]) -> bool:
    """Whether scale and offset are those of a unit, in single precision as files may keep them."""
    if isinstance(scale, tuple) or isinstance(offset, tuple):
        return False
    known_scale, known_offset, _ = UNITS[name]
    is_offset = math.isclose(offset, known_offset, rel_tol=1e-6, abs_tol=1e-9)
    return is_offset and math.isclose(scale, known_scale, rel_tol=1e-6)


def _one_or_all(values: Sequence[float]) -> float | tuple[float, ...]:
    return values[0] if len(set(values)) == 1 else tuple(values)


def _told(value: float | tuple[float, ...]) -> str:
    return ", ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value:g}"


def _sentinel_2(facts: RasterFacts, source: str) -> Unit | None:
    """By what is said of the product; None when nothing tells whether there is an offset."""
    tags = {key.lower(): value for key, value in facts.tags.items()}
    if tags.get("earthsearch:boa_offset_applied", "").lower() == "true":
        return _unit("dn10000", "its STAC item says that the offset was taken off already")
    for key in ("boa_add_offset", "radio_add_offset"):
        found = re.search(r"-?\d+(\.\d+)?", tags.get(key, ""))
        if found:
            name = "dn10000-offset" if float(found[0]) == -1000 else "dn10000"
            if name == "dn10000-offset" or float(found[0]) == 0:
                return _unit(name, f"its tag {key.upper()} is {found[0]}")
    for key in ("s2:processing_baseline", "processing_baseline", "processing:version"):
        found = re.match(r"(\d\d)\.?(\d\d)$", tags.get(key, "").strip())
        if found:
            return _by_baseline(float(f"{found[1]}.{found[2]}"))
    in_name = re.search(r"_N(\d\d)(\d\d)_", source)
    if in_name:
        return _by_baseline(float(f"{in_name[1]}.{in_name[2]}"))
    day = tags.get("datetime", "")[:10]
    if re.fullmatch(r"\d{4}-\d\d-\d\d", day) and day < _OFFSET_DAY and "created" in tags:
        made = tags["created"][:10]
        if made < _OFFSET_DAY:
            return _unit("dn10000", f"it was made on {made}, before there was an offset")
    return None


def _by_baseline(baseline: float) -> Unit:
    name = "dn10000-offset" if baseline >= _OFFSET_BASELINE else "dn10000"
    return _unit(name, f"Sentinel-2, processing baseline {baseline:05.2f}")


def _undecidable(facts: RasterFacts, low: float, high: float, source: str) -> DataError:
    return DataError(
        f"The unit of `{source}` cannot be told: {facts.dtype}, values from {low:,.6g} to "
        f"{high:,.6g}, and file and STAC item do not say what they mean, or contradict each other. "
        f"{_choices()}"
    )


def _choices() -> str:
    listed = "".join(f"\n- `--units {name}`: {words}" for name, (_, _, words) in UNITS.items())
    return f"Give the one that is meant:{listed}"
