"""What the page shows of a segmentation model: its maps of test pictures, and masks to look at."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from headstart.progress import Progress
from headstart.report.album import link
from headstart.report.axes import Axis
from headstart.report.charts import histogram
from headstart.report.chip_figures import CHIP_FIGURES, WRONG, WRONG_AT_BORDER, chip_figure
from headstart.report.chips import ChipScore, ShownChip
from headstart.report.colours import Colour
from headstart.report.drawing import Drawing, Mark
from headstart.report.record import RunRecord
from headstart.report.thumbnails import Thumbnail, read_thumbnail
from headstart.report.wording import count, percent, rounded

# Four to a row, some 15 kB each: 12 test pictures take under 1 MB, a third of what a page may.
MOST_CHIPS_SHOWN, PANEL_PIXELS = 12, 320
MOST_MASKS_LISTED = 30
# Of fewer pictures the table says all that a histogram would.
FEWEST_FOR_HISTOGRAM = 10

_CAPTIONS = {"picture": "Picture", "truth": "Truth", "answer": "Answer", "error": "Errors"}
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
        panels: Picture, truth, answer, errors.
    """

    id: str
    link: str
    score: str
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
    masks: tuple[MaskRow, ...]
    num_out_of_line: int
    num_scored: int
    classes: tuple[tuple[str, str], ...]
    wrong: tuple[str, str]
    spread: Drawing | None
    num_missing: int


def draw_maps(record: RunRecord, *, progress: Progress) -> Maps | None:
    """Read the figures of a segmentation run; None for a run of another task.

    Args:
        record: The run.
        progress: Told of the pictures read.
    """
    if not record.is_dense:
        return None
    chips = record.chips
    kinds = [kind for kind in _GROUPS if any(chip.why == kind for chip in chips.shown)]
    rows: dict[str, list[MapRow]] = {kind: [] for kind in kinds}
    shown = [chip for chip in chips.shown if chip.why in rows][:MOST_CHIPS_SHOWN]
    with progress.bar("drawing pictures", total=len(shown), unit="pictures") as advance:
        for chip in shown:
            rows[chip.why].append(_row(chip, record))
            advance(1)
    middle = chips.middle
    groups = tuple((_GROUPS[kind], tuple(rows[kind])) for kind in kinds if rows[kind])
    return Maps(
        middle=None if middle is None else _row(middle, record),
        has_median=middle is not None and middle.why == "median",
        groups=groups,
        masks=tuple(_mask(chip, record) for chip in chips.by_loss[:MOST_MASKS_LISTED]),
        num_out_of_line=len(chips.out_of_line),
        num_scored=len(chips.by_loss),
        classes=tuple((name, css(colour)) for name, colour in record.colours.items()),
        wrong=(css(WRONG), css(WRONG_AT_BORDER)),
        spread=_spread(record),
        num_missing=sum(p.picture is None for _, g in groups for row in g for p in row.panels),
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
        "unit": "pixel" if record.is_dense else "picture",
    }


def _row(chip: ShownChip, record: RunRecord) -> MapRow:
    panels = tuple(
        Panel(
            name,
            _CAPTIONS[name],
            read_thumbnail(chip_figure(record.folder, chip.number, name), size=PANEL_PIXELS),
        )
        for name in CHIP_FIGURES
    )
    return MapRow(
        id=chip.id,
        link=link(record.sample_path(chip.id), record.folder.path),
        score="–" if chip.miou is None else percent(chip.miou),
        panels=panels,
    )


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
