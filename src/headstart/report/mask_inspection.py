"""What the page of an inspection shows of data with masks: classes by pixels, overlays, bands.

Reads the pictures that it draws, by band and from few of them; knows no torch.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.contracts import Dataset, Sample
from headstart.errors import DataError
from headstart.progress import Progress
from headstart.report.band_inspection import BandPage, ReadBands, draw_bands
from headstart.report.chip_figures import segmentation_figures, visible_picture
from headstart.report.colours import Colour, class_colours
from headstart.report.footprint_map import footprint_map, footprints
from headstart.report.maps import css
from headstart.report.thumbnails import embed
from headstart.report.window_thumbnails import read_stored_window

if TYPE_CHECKING:
    import numpy as np

    from headstart.data.checks import FileFacts

MOST_OVERLAYS, OVERLAY_PIXELS = 12, 320  # two pictures of some 15 kB each: under 0.5 MB
MOST_READ = 48  # pictures that bands are told of: read in seconds


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
class BandReading:
    """What the user says of bands: which to tell of, and a row of `units.UNITS`."""

    bands: tuple[str, ...] | None = None
    units: str | None = None


@dataclass(frozen=True)
class MaskPage:
    """All that the page shows of masks and bands.

    Attributes:
        splits: Those that have pixels.
        classes: In the order of the legend.
        overlays: Pictures from all splits.
        bands: Figures and histograms of the bands.
        map: The outlines of the pictures; empty when none is georeferenced.
        num_placed: How many are.
    """

    splits: tuple[str, ...]
    classes: tuple[ClassShare, ...]
    overlays: tuple[Overlay, ...]
    bands: BandPage
    map: str
    num_placed: int


def draw_mask_page(
    dataset: Dataset,
    facts: Mapping[str, FileFacts],
    pixels: Mapping[str, Mapping[str, int]],
    *,
    assignment: Mapping[str, str],
    reading: BandReading | None = None,
    progress: Progress,
) -> MaskPage:
    """Read some pictures and draw them.

    Args:
        dataset: With a legend.
        facts: Sample id -> facts of its file, of those that can be read.
        pixels: Split (or `all`) -> class -> number of pixels.
        assignment: Sample id -> split, as a fit would split it; those without stay out of it.
        reading: Which bands to tell of, and in which unit; None for all, as the files say.
        progress: Told of the pictures drawn.
    """
    legend = dataset.legend
    assert legend is not None
    colours = class_colours(len(legend.names), own=legend.colours)
    usable = [sample for sample in dataset if sample.id in facts and sample.labels]
    shown = {sample.id for sample in _evenly(usable, MOST_OVERLAYS)}
    read = _evenly(usable, MOST_READ)
    reading = reading or BandReading()
    overlays, values = [], []
    chosen = [s for s in usable if s.id in shown or s in read]
    with progress.bar("drawing pictures", total=len(chosen), unit="pictures") as advance:
        for sample in chosen:
            found = _read(sample, facts[sample.id], reading.bands)
            if found is not None and sample in read:
                values.append(found[1])
            if sample.id in shown:
                split = assignment.get(sample.id, "")
                picture = None if found is None else found[0]
                overlays.append(_overlay(sample, dataset, picture, colours=colours, split=split))
            advance(1)
    headers = {s.id: facts[s.id].raster for s in dataset if s.id in facts}
    placed = [id_ for id_ in headers if not assignment or id_ in assignment]
    places = footprints({id_: h for id_ in placed if (h := headers[id_])}, assignment)
    return MaskPage(
        splits=tuple(pixels),
        classes=class_shares(dataset.classes, pixels, colours),
        overlays=tuple(overlays),
        bands=draw_bands(values, units=reading.units),
        map=footprint_map(places, title="Where the pictures lie") if places else "",
        num_placed=len(places),
    )


def _evenly(samples: Sequence[Sample], wanted: int) -> list[Sample]:
    """At most `wanted` samples, spread over the whole list."""
    if len(samples) <= wanted:
        return list(samples)
    return [samples[i * len(samples) // wanted] for i in range(wanted)]


def class_shares(
    names: Sequence[str], pixels: Mapping[str, Mapping[str, int]], colours: Sequence[Colour]
) -> tuple[ClassShare, ...]:
    """The share of each class of the labelled pixels.

    Args:
        names: Of the classes, in the order of the legend.
        pixels: Split -> class -> number of pixels.
        colours: One a class.
    """
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


def _read(
    sample: Sample, facts: FileFacts, bands: Sequence[str] | None
) -> tuple[ReadBands, ReadBands] | None:
    """A picture with all of its bands, and with those asked for; None when it cannot be read."""
    import numpy as np

    from headstart.data.file_facts import MAX_SHRUNK_VALUES
    from headstart.data.images import read_image
    from headstart.data.rasters import Window, open_raster

    source = str(sample.path)
    try:
        if facts.raster is None and sample.window is not None:
            values, valid, names = read_stored_window(sample)
            photo = ReadBands(source, names, values, valid, None)
            return photo, photo
        if facts.raster is None:
            picture = np.asarray(read_image(sample.path, sixteen_bit_divisor=None))
            values, valid = picture.transpose(2, 0, 1), np.ones(picture.shape[:2], bool)
            photo = ReadBands(source, ("red", "green", "blue"), values, valid, None)
            return photo, photo
        window = None if sample.window is None else Window(*sample.window)
        names = facts.raster.bands
        part = window or Window(0, 0, facts.raster.width, facts.raster.height)
        if part.width * part.height * len(names) > MAX_SHRUNK_VALUES:
            return None  # too large to be read whole for a thumbnail
        with open_raster(sample.path) as raster:
            shown = ReadBands(source, names, *raster.read(window), facts.raster)
            if bands is None and not facts.empty_bands:
                return shown, shown
            # A band without data would leave no pixel that has data in all bands.
            alive = [i + 1 for i, name in enumerate(names) if name not in facts.empty_bands]
            asked: Sequence[str | int] = bands if bands is not None else alive
            chosen = tuple(names[place] for place in raster.places(asked))
            told = ReadBands(source, chosen, *raster.read(window, bands=asked), facts.raster)
        return shown, told
    except DataError:
        return None  # the page says so; why is among the findings


# --- overlays ---------------------------------------------------------------------------------


def _overlay(
    sample: Sample,
    dataset: Dataset,
    read: ReadBands | None,
    *,
    colours: Sequence[Colour],
    split: str,
) -> Overlay:
    import numpy as np
    from PIL import Image

    from headstart.data.mask_files import read_mask

    nothing = Overlay(sample.id, split, "", None, None)
    if read is None or dataset.legend is None:
        return nothing
    try:
        truth = read_mask(sample, dataset.legend)
    except DataError:
        return nothing
    values, valid = read.values, read.valid
    if values.dtype != np.uint8:  # what holds no data has no part in the stretch
        values = np.where(valid, values, np.float32("nan"))
    picture = visible_picture(values, read.names)
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
