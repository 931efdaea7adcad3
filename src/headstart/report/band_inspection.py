"""What the page of an inspection says of bands: figures, histograms, and the unit of the values.

Draws what it is given, and reads no picture; knows no torch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.errors import DataError
from headstart.report.axes import Axis
from headstart.report.charts import histogram
from headstart.report.wording import count

if TYPE_CHECKING:
    import numpy as np

    from headstart.data.raster_header import RasterFacts

# Enough of a picture to know a mean to within a few percent of the spread.
PIXELS_EACH = 1024
MOST_BANDS_DRAWN = 16


@dataclass(frozen=True)
class ReadBands:
    """The bands of a picture, read.

    Attributes:
        source: Its path, for what its name tells.
        names: One a band.
        values: (bands, h, w) as stored.
        valid: (h, w) bool, where there is data.
        raster: Its header; None of a photo.
    """

    source: str
    names: tuple[str, ...]
    values: np.ndarray
    valid: np.ndarray
    raster: RasterFacts | None


@dataclass(frozen=True)
class BandRow:
    """What the values of a band are like, as texts."""

    name: str
    low: str
    high: str
    mean: str
    std: str
    median: str


@dataclass(frozen=True)
class BandPage:
    """All that the page shows of bands.

    Attributes:
        rows: One a band.
        charts: (title, histogram) of each band.
        notes: The unit of the values and how it is known, and what was left out, in sentences.
        num_read: How many pictures the figures come from.
    """

    rows: tuple[BandRow, ...] = ()
    charts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    num_read: int = 0


def draw_bands(read: Sequence[ReadBands], *, units: str | None = None) -> BandPage:
    """Figures and histograms of the bands, of a sample of the pixels of some pictures.

    Args:
        read: Any; those with the commonest set of bands are told of.
        units: A row of `units.UNITS` that the user gives.
    """
    import numpy as np

    sets = Counter((each.names, each.values.dtype.name) for each in read)
    if not sets:
        return BandPage()
    (names, dtype), number = sets.most_common(1)[0]
    chosen = [each for each in read if (each.names, each.values.dtype.name) == (names, dtype)]
    notes = []
    if len(sets) > 1:
        others = len(read) - number
        notes.append(
            f"{count(others, 'picture')} of those read {'has' if others == 1 else 'have'} other "
            "bands, or values of another type: they are not counted here."
        )
    rng = np.random.default_rng(0)
    sampled: dict[str, list[np.ndarray]] = defaultdict(list)
    for each in chosen:
        places = np.flatnonzero(each.valid)
        if not len(places):
            continue
        places = rng.choice(places, min(PIXELS_EACH, len(places)), replace=False)
        for name, band in zip(names, each.values, strict=True):
            sampled[name].append(band.reshape(-1)[places].astype(np.float64))
    if not sampled:
        return BandPage((), (), (*notes, "No pixel of those read holds data in all bands."))
    table = {name: np.concatenate(parts) for name, parts in sampled.items()}
    unit, sentences = _unit(chosen, units)
    label = f"value, {dtype}" + (f" ({unit})" if unit else "")
    rows, charts = [], []
    for place, name in enumerate(names, 1):
        row, chart = _band(name, table[name], place=place, label=label)
        rows.append(row)
        charts += [chart] if place <= MOST_BANDS_DRAWN else []
    return BandPage(tuple(rows), tuple(charts), (*sentences, *notes), len(chosen))


def _band(
    name: str, band: np.ndarray, *, place: int, label: str
) -> tuple[BandRow, tuple[str, str]]:
    """Figures of the pixels (n,) of a band, and title and chart of their histogram."""
    import numpy as np

    figures = (band.min(), band.max(), band.mean(), band.std(), np.median(band))
    low, high, mean, std, median = (f"{float(value):,.4g}" for value in figures)
    title = f"Band {place}: {name}"
    told = f"{count(len(band), 'pixel')} from {low} to {high}, mean {mean}."
    chart = histogram(band.tolist(), title=title, description=told, x=Axis(label), counted="pixels")
    return BandRow(name, low, high, mean, std, median), (title, chart)


def _unit(read: Sequence[ReadBands], declared: str | None) -> tuple[str, list[str]]:
    """The name of the unit that all have, empty where they do not; and what is to be said of it."""
    from headstart.data.units import recognise_unit

    found: dict[str, list[str]] = defaultdict(list)  # what is said -> the units that say it
    for each in read:
        if each.raster is None or not each.valid.any():
            continue
        values = each.values[:, each.valid]
        low, high = float(values.min()), float(values.max())
        try:
            unit = recognise_unit(
                each.raster, low=low, high=high, declared=declared, source=each.source
            )
        except DataError as error:
            listed = str(error).replace(":\n- ", ": ").replace("\n- ", "; ")
            return "", [listed + "."]
        found[unit.name].append(unit.sentence)
    if len(found) > 1:
        told = ", ".join(f"{name} in {count(len(of), 'picture')}" for name, of in found.items())
        return "", [f"The pictures are in several units: {told}."]
    for name, sentences in found.items():
        # Of floating-point values, each picture has a sentence of its own.
        return name, [sentences[0] + ("" if len(set(sentences)) == 1 else " Others likewise.")]
    return "", []
