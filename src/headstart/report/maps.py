"""What the page shows of a segmentation model: its maps of test pictures, and masks to look at.

Maps come with how unsure the model is, with the bands it saw, and with where errors lie on Earth.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from headstart.progress import Progress
from headstart.report.album import link
from headstart.report.axes import Axis
from headstart.report.charts import histogram
from headstart.report.chip_figures import (
    BAND_PIXELS,
    CHIP_FIGURES,
    DOUBT_FIGURE,
    FALSE_COLOUR_FIGURE,
    WRONG,
    WRONG_AT_BORDER,
    band_figure_name,
)
from headstart.report.chips import BandRange, ChipScore, ShownChip
from headstart.report.colour_map import css_gradient
from headstart.report.colours import Colour
from headstart.report.doubt import Doubt, read_doubt
from headstart.report.drawing import Drawing, Mark
from headstart.report.error_map import error_map
from headstart.report.record import RunRecord
from headstart.report.thumbnails import Thumbnail, read_thumbnail
from headstart.report.wording import count, percent, rounded

# Four to a row, some 15 kB each: 12 test pictures take under 1 MB, a third of what a page may.
MOST_CHIPS_SHOWN, PANEL_PIXELS = 12, 320
# The first of the worst and of the best: what a band shows is alike in all.
MOST_WITH_BANDS = 2
MOST_MASKS_LISTED = 30
# Of fewer pictures the table says all that a histogram would.
FEWEST_FOR_HISTOGRAM = 10

_CAPTIONS = {
    "picture": "Picture",
    "truth": "Truth",
    "answer": "Answer",
    "error": "Errors",
    DOUBT_FIGURE: "Uncertainty",
}
_SUSPECT = "suspect"
_GROUPS = {"worst": "The worst", "median": "In the middle", "best": "The best"}


@dataclass(frozen=True)
class Panel:
    """One figure of a test picture; `picture` is None where its file is no longer there."""

    name: str
    caption: str
    picture: Thumbnail | None


@dataclass(frozen=True)
class MapRow:
    """A test picture with its figures side by side.

    Attributes:
        id: Of the sample.
        link: From the page to its file.
        score: Its mean IoU, as a text.
        panels: Picture, truth, answer, errors, and uncertainty where the run drew it.
        doubt: How unsure the answer is on average, as a text; empty where it is not known.
    """

    id: str
    link: str
    score: str
    panels: tuple[Panel, ...]
    doubt: str


@dataclass(frozen=True)
class BandRow:
    """The bands of a test picture, side by side: `why` it was chosen."""

    id: str
    why: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class MaskRow:
    """A line of the table of masks to look at, as texts."""

    id: str
    link: str
    loss: str
    miou: str
    accuracy: str
    pixels: str
    is_out_of_line: bool


@dataclass(frozen=True)
class Maps:
    """All that the page shows of the test pictures.

    Attributes:
        middle: The picture to show first; None when no picture has figures.
        has_median: Whether that one is the median.
        groups: (heading, rows): the worst, the middle and the best.
        suspects: Pictures whose loss is far above that of the others, with their figures.
        bands: What the model saw, band by band.
        has_false_colour: Whether one of these panels is in false colour.
        doubt: Where it is unsure, and whether it errs there.
        doubt_scale: The colours of uncertainty, as CSS; empty when no picture shows it.
        places: Where errors lie on Earth; None where it is not known.
        num_placed: Of how many pictures it is known.
        masks: Those with the highest loss first.
        num_out_of_line: How many have a loss far above the others.
        num_scored: How many have a loss at all.
        classes: (name, colour) as CSS, for the legend.
        wrong: The colour of errors, and of errors at borders, as CSS.
        spread: How the mean IoU varies; None for few pictures.
        num_missing: Figures that are no longer in the run.
    """

    middle: MapRow | None
    has_median: bool
    groups: tuple[tuple[str, tuple[MapRow, ...]], ...]
    suspects: tuple[MapRow, ...]
    bands: tuple[BandRow, ...]
    has_false_colour: bool
    doubt: Doubt | None
    doubt_scale: str
    places: Drawing | None
    num_placed: int
    masks: tuple[MaskRow, ...]
    num_out_of_line: int
    num_scored: int
    classes: tuple[tuple[str, str], ...]
    wrong: tuple[str, str]
    spread: Drawing | None
    num_missing: int

    @property
    def drawings(self) -> dict[str, Drawing]:
        """Its charts by the names of their files; only those that there are."""
        found = {
            "mious": self.spread,
            "doubt": None if self.doubt is None else self.doubt.drawing,
            "errors": self.places,
        }
        return {name: drawing for name, drawing in found.items() if drawing is not None}


def draw_maps(record: RunRecord, *, progress: Progress) -> Maps | None:
    """Read the figures of a segmentation run; None for a run of another task.

    Args:
        record: The run.
        progress: Told of the pictures read.
    """
    if not record.is_dense:
        return None
    chips = record.chips
    kinds = [kind for kind in (*_GROUPS, _SUSPECT) if any(c.why == kind for c in chips.shown)]
    rows: dict[str, list[MapRow]] = {kind: [] for kind in kinds}
    shown = [chip for chip in chips.shown if chip.why in rows][:MOST_CHIPS_SHOWN]
    with progress.bar("drawing pictures", total=len(shown), unit="pictures") as advance:
        for chip in shown:
            rows[chip.why].append(_row(chip, record))
            advance(1)
    middle = chips.middle
    suspects = tuple(rows.pop(_SUSPECT, ()))
    groups = tuple((_GROUPS[kind], tuple(rows[kind])) for kind in rows if rows[kind])
    drawn = [*suspects, *(row for _, members in groups for row in members)]
    bands = _bands(record)
    drawn_panels = [*(row.panels for row in drawn), *(row.panels for row in bands)]
    return Maps(
        middle=None if middle is None else _row(middle, record),
        has_median=middle is not None and middle.why == "median",
        groups=groups,
        suspects=suspects,
        bands=bands,
        has_false_colour=any(p.name == FALSE_COLOUR_FIGURE for row in bands for p in row.panels),
        doubt=read_doubt(record),
        doubt_scale=css_gradient() if any(row.doubt for row in drawn) else "",
        places=error_map(record),
        num_placed=sum(bool(chip.corners) for chip in chips.scores),
        masks=tuple(_mask(chip, record) for chip in chips.by_loss[:MOST_MASKS_LISTED]),
        num_out_of_line=len(chips.out_of_line),
        num_scored=len(chips.by_loss),
        classes=tuple((name, css(colour)) for name, colour in record.colours.items()),
        wrong=(css(WRONG), css(WRONG_AT_BORDER)),
        spread=_spread(record),
        num_missing=sum(p.picture is None for panels in drawn_panels for p in panels),
    )


def css(colour: Colour) -> str:
    """A colour as style sheets have it.

    Example:
        >>> css((230, 159, 0))
        '#e69f00'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def maps_context(record: RunRecord, maps: Maps | None) -> dict[str, Any]:
    """What the sections on maps, masks and classes fill in."""
    return {
        "maps": maps,
        "colours": {} if maps is None else dict(maps.classes),
    }


def _row(chip: ShownChip, record: RunRecord) -> MapRow:
    names = CHIP_FIGURES if chip.doubt is None else (*CHIP_FIGURES, DOUBT_FIGURE)
    return MapRow(
        id=chip.id,
        link=link(record.sample_path(chip.id), record.folder.path),
        score="–" if chip.miou is None else percent(chip.miou),
        panels=tuple(_panel(chip, name, _CAPTIONS[name], record) for name in names),
        doubt="" if chip.doubt is None else percent(chip.doubt),
    )


def _panel(
    chip: ShownChip, name: str, caption: str, record: RunRecord, *, size: int = PANEL_PIXELS
) -> Panel:
    path = record.folder.chip_figure(chip.number, name)
    return Panel(name, caption, read_thumbnail(path, size=size))


def _bands(record: RunRecord) -> tuple[BandRow, ...]:
    """The bands of the worst and of the best picture."""
    chosen = {chip.why: chip for chip in reversed(record.chips.shown) if chip.bands}
    rows = []
    for why in _GROUPS:
        if why not in chosen:
            continue
        chip = chosen[why]
        panels = [
            _panel(chip, band_figure_name(i), _range(band), record, size=BAND_PIXELS)
            for i, band in enumerate(chip.bands)
        ]
        if record.folder.chip_figure(chip.number, FALSE_COLOUR_FIGURE).is_file():
            caption = "Near infrared, red, green"
            panels.append(_panel(chip, FALSE_COLOUR_FIGURE, caption, record, size=BAND_PIXELS))
        rows.append(BandRow(chip.id, _GROUPS[why], tuple(panels)))
    return tuple(rows[:MOST_WITH_BANDS])


def _range(band: BandRange) -> str:
    """A band by its name, with what black and white stand for.

    Example:
        >>> _range(BandRange("B08", 0.0112, 0.4391)), _range(BandRange("B08", 87.5, 3329.6))
        ('B08: 0.0112 to 0.439', 'B08: 87.5 to 3,330')
    """
    low, high = (
        f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in (band.low, band.high)
    )
    return f"{band.name}: {low} to {high}"


def _mask(chip: ChipScore, record: RunRecord) -> MaskRow:
    outlying = {found.id for found in record.chips.out_of_line}
    return MaskRow(
        id=chip.id,
        link=link(record.sample_path(chip.id), record.folder.path),
        loss="–" if chip.loss is None else f"{chip.loss:.3f}",
        miou="–" if chip.miou is None else percent(chip.miou),
        accuracy="–" if chip.pixel_accuracy is None else percent(chip.pixel_accuracy),
        pixels=rounded(chip.num_pixels),
        is_out_of_line=chip.id in outlying,
    )


def _spread(record: RunRecord) -> Drawing | None:
    """How the mean IoU varies from picture to picture."""
    mious = record.chips.mious
    if len(mious) < FEWEST_FOR_HISTOGRAM:
        return None
    title, middle = "Mean IoU, picture by picture", statistics.median(mious)
    quartiles = statistics.quantiles(mious, n=4, method="inclusive")
    rows = (
        ("Least", percent(mious[0])),
        ("Lower quarter", percent(quartiles[0])),
        ("Median", percent(middle)),
        ("Upper quarter", percent(quartiles[2])),
        ("Most", percent(mious[-1])),
    )
    chart = histogram(
        mious,
        title=title,
        description=f"{count(len(mious), 'picture')} from {percent(mious[0])} to "
        f"{percent(mious[-1])}; half of them above {percent(middle)}.",
        x=Axis("mean IoU of a picture", is_share=True),
        mark=Mark(middle, "median"),
    )
    return Drawing(title, chart, ("Mean IoU", "Value"), rows)
