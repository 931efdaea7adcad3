"""What the page of an inspection shows of data with masks: classes by pixels, overlays, bands.

Reads the pictures that it draws, by band and from few of them; knows no torch.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.contracts import Dataset, Sample
from headstart.errors import DataError
from headstart.progress import Progress
from headstart.report.axes import Axis
from headstart.report.charts import histogram
from headstart.report.chip_figures import segmentation_figures, visible_picture
from headstart.report.colours import Colour, class_colours
from headstart.report.footprint_map import footprint_map, footprints
from headstart.report.maps import css
from headstart.report.thumbnails import embed
from headstart.report.window_thumbnails import read_stored_window
from headstart.report.wording import count

if TYPE_CHECKING:
    import numpy as np

    from headstart.data.checks import FileFacts

MOST_OVERLAYS, OVERLAY_PIXELS = 12, 320  # two pictures of some 15 kB each: under 0.5 MB
# Enough to know a mean to within a few percent of the spread, and read in seconds.
MOST_READ, PIXELS_EACH = 48, 1024
MOST_BANDS_DRAWN = 16


@dataclass(frozen=True)
class ClassShare:
    """A class: its colour as CSS, its share of the pixels of each split, and of all."""

    name: str
    colour: str
    shares: tuple[float, ...]
    share: float


@dataclass(frozen=True)
class Overlay:
    """A picture, and its mask in colours over it; data: addresses, None when it cannot be read."""

    id: str
    split: str
    words: str
    picture: str | None
    mask: str | None


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
class MaskPage:
    """All that the page shows of masks and bands.

    Attributes:
        splits: Those that have pixels.
        classes: In the order of the legend.
        overlays: Pictures from all splits.
        bands: One a band; empty where pictures have different ones.
        num_read: How many pictures the figures of the bands come from.
        charts: (title, histogram) of each band.
        map: The outlines of the pictures; empty when none is georeferenced.
        num_placed: How many are.
    """

    splits: tuple[str, ...]
    classes: tuple[ClassShare, ...]
    overlays: tuple[Overlay, ...]
    bands: tuple[BandRow, ...]
    num_read: int
    charts: tuple[tuple[str, str], ...]
    map: str
    num_placed: int


def draw_mask_page(
    dataset: Dataset,
    facts: Mapping[str, FileFacts],
    pixels: Mapping[str, Mapping[str, int]],
    *,
    assignment: Mapping[str, str],
    progress: Progress,
) -> MaskPage:
    """Read some pictures and draw them.

    Args:
        dataset: With a legend.
        facts: Sample id -> facts of its file, of those that can be read.
        pixels: Split (or `all`) -> class -> number of pixels.
        assignment: Sample id -> split, as a fit would split it; those without stay out of it.
        progress: Told of the pictures drawn.
    """
    legend = dataset.legend
    assert legend is not None
    colours = class_colours(len(legend.names), own=legend.colours)
    usable = [sample for sample in dataset if sample.id in facts and sample.labels]
    shown = {sample.id for sample in _evenly(usable, MOST_OVERLAYS)}
    read = _evenly(usable, MOST_READ)
    overlays, values = [], []
    chosen = [s for s in usable if s.id in shown or s in read]
    with progress.bar("drawing pictures", total=len(chosen), unit="pictures") as advance:
        for sample in chosen:
            bands, names = _read(sample, facts[sample.id]), _band_names(facts[sample.id])
            if bands is not None and sample in read:
                values.append((names, *bands))
            if sample.id in shown:
                split = assignment.get(sample.id, "")
                overlay = _overlay(
                    sample, dataset, bands, names=names, colours=colours, split=split
                )
                overlays.append(overlay)
            advance(1)
    rows, charts = _bands([v for v in values if v[0] == values[0][0]])
    headers = {s.id: facts[s.id].raster for s in dataset if s.id in facts}
    placed = [id_ for id_ in headers if not assignment or id_ in assignment]
    places = footprints({id_: h for id_ in placed if (h := headers[id_])}, assignment)
    return MaskPage(
        splits=tuple(pixels),
        classes=_classes(dataset.classes, pixels, colours),
        overlays=tuple(overlays),
        bands=rows,
        num_read=len(values),
        charts=charts,
        map=footprint_map(places, title="Where the pictures lie") if places else "",
        num_placed=len(places),
    )


def _evenly(samples: Sequence[Sample], wanted: int) -> list[Sample]:
    """At most `wanted` samples, spread over the whole list."""
    if len(samples) <= wanted:
        return list(samples)
    return [samples[i * len(samples) // wanted] for i in range(wanted)]


def _classes(
    names: Sequence[str], pixels: Mapping[str, Mapping[str, int]], colours: Sequence[Colour]
) -> tuple[ClassShare, ...]:
    totals = {split: max(1, sum(of_split.values())) for split, of_split in pixels.items()}
    everything = max(1, sum(totals.values()))
    return tuple(
        ClassShare(
            name,
            css(colour),
            tuple(of_split[name] / totals[split] for split, of_split in pixels.items()),
            sum(of_split[name] for of_split in pixels.values()) / everything,
        )
        for name, colour in zip(names, colours, strict=True)
    )


def _read(sample: Sample, facts: FileFacts) -> tuple[np.ndarray, np.ndarray] | None:
    """(bands, h, w) as stored and (h, w) bool, where there is data; None when it cannot be read."""
    import numpy as np

    from headstart.data.file_facts import MAX_SHRUNK_VALUES
    from headstart.data.images import read_image
    from headstart.data.rasters import read_window

    try:
        if sample.window is not None:
            return read_stored_window(sample)[:2]
        if facts.raster is None:
            picture = np.asarray(read_image(sample.path, sixteen_bit_divisor=None))
            return picture.transpose(2, 0, 1), np.ones(picture.shape[:2], bool)
        if facts.width * facts.height * len(facts.raster.bands) > MAX_SHRUNK_VALUES:
            return None  # too large to be read whole for a thumbnail
        return read_window(sample.path)
    except DataError:
        return None  # the page says so; why is among the findings


def _band_names(facts: FileFacts) -> tuple[str, ...]:
    return ("red", "green", "blue") if facts.raster is None else facts.raster.bands


# --- overlays ---------------------------------------------------------------------------------


def _overlay(
    sample: Sample,
    dataset: Dataset,
    bands: tuple[np.ndarray, np.ndarray] | None,
    *,
    names: Sequence[str],
    colours: Sequence[Colour],
    split: str,
) -> Overlay:
    import numpy as np
    from PIL import Image

    from headstart.data.mask_files import read_mask

    nothing = Overlay(sample.id, split, "", None, None)
    if bands is None or dataset.legend is None:
        return nothing
    try:
        truth = read_mask(sample, dataset.legend)
    except DataError:
        return nothing
    values, valid = bands
    if values.dtype != np.uint8:  # what holds no data has no part in the stretch
        values = np.where(valid, values, np.float32("nan"))
    picture = visible_picture(values, names)
    if truth.shape != valid.shape:
        return Overlay(
            sample.id, split, "mask of another size", embed(Image.fromarray(_shrunk(picture))), None
        )
    truth[~valid] = -1
    small = _shrunk(picture)
    grid = (
        np.linspace(0, n - 1, m).round().astype(int)
        for n, m in zip(truth.shape, small.shape[:2], strict=True)
    )
    laid = truth[np.ix_(*grid)]
    figures = segmentation_figures(small, laid, laid, colours)
    known = truth[truth >= 0]
    told = [
        f"{name} {(known == index).mean():.0%}"
        for index, name in enumerate(dataset.classes)
        if (known == index).any()
    ]
    words = ", ".join(told[:4]) + (f" and {len(told) - 4} more" if len(told) > 4 else "")
    drawn = Image.open(io.BytesIO(figures["truth"]))
    return Overlay(sample.id, split, words, embed(Image.fromarray(small)), embed(drawn))


def _shrunk(picture: np.ndarray) -> np.ndarray:
    """(h, w, 3), at most OVERLAY_PIXELS on the longer side."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((OVERLAY_PIXELS, OVERLAY_PIXELS), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(image)


# --- bands ------------------------------------------------------------------------------------


def _bands(
    read: Sequence[tuple[tuple[str, ...], np.ndarray, np.ndarray]],
) -> tuple[tuple[BandRow, ...], tuple[tuple[str, str], ...]]:
    """Figures and histograms of the bands, of a sample of the pixels of some pictures."""
    import numpy as np

    if not read:
        return (), ()
    names = read[0][0]
    rng = np.random.default_rng(0)
    drawn: list[np.ndarray] = []
    for _, values, valid in read:
        places = np.flatnonzero(valid)
        if len(places):
            places = rng.choice(places, min(PIXELS_EACH, len(places)), replace=False)
            drawn.append(values.reshape(len(values), -1)[:, places].astype(np.float64))
    if not drawn:
        return (), ()
    table = np.concatenate(drawn, axis=1)  # (bands, pixels)
    rows, charts = [], []
    for number, (name, band) in enumerate(zip(names, table, strict=True), 1):
        low, high = float(band.min()), float(band.max())
        texts = [f"{value:,.4g}" for value in (low, high, band.mean(), band.std())]
        median = f"{statistics.median(band.tolist()):,.4g}"
        rows.append(BandRow(name, texts[0], texts[1], texts[2], texts[3], median))
        if number <= MOST_BANDS_DRAWN:
            title = f"Band {number}: {name}"
            told = f"{count(len(band), 'pixel')} from {texts[0]} to {texts[1]}, mean {texts[2]}."
            chart = histogram(
                band.tolist(), title=title, description=told, x=Axis("value"), counted="pixels"
            )
            charts.append((title, chart))
    return tuple(rows), tuple(charts)
