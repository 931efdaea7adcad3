"""Where on Earth the errors lie: outlines of test pictures, coloured by their share of errors."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from headstart.report.axes import Axis, Scale
from headstart.report.chips import ChipScore
from headstart.report.colour_map import css_colour
from headstart.report.drawing import LEFT, RIGHT, WIDTH, Drawing, frame, svg
from headstart.report.footprint_map import scales_of
from headstart.report.record import RunRecord
from headstart.report.wording import count, percent

# Of more pictures the table is cut, the worst first; metrics.json has them all.
MOST_PLACES_TABLED = 100
# Units: an outline smaller than this would not show its colour, and is drawn as a dot.
_SMALLEST, _RADIUS = 9.0, 5.0
_STEPS = 48  # of the colour scale: so many that it looks smooth


def error_map(record: RunRecord) -> Drawing | None:
    """The test pictures on axes of degrees; None where it is not known where they lie."""
    placed = [c for c in record.chips.scores if c.corners and c.pixel_accuracy is not None]
    if not placed:
        return None
    # The largest errors are drawn last, so that nothing hides them.
    placed.sort(key=_share_wrong)
    most = max(_share_wrong(placed[-1]), 0.01)
    across, up, height = scales_of([corner for chip in placed for corner in chip.corners])
    title = "Share of wrong pixels, picture by picture"
    parts = [frame(across, up, Axis("longitude in degrees"), Axis("latitude in degrees"))]
    parts += [*_key(most), *(_place(chip, most, across, up) for chip in placed)]
    told = (
        f"{count(len(placed), 'picture')} from {percent(_share_wrong(placed[0]))} to "
        f"{percent(_share_wrong(placed[-1]))} of wrong pixels."
    )
    rows = tuple(
        (chip.id, *_centre(chip), percent(_share_wrong(chip)))
        for chip in placed[::-1][:MOST_PLACES_TABLED]
    )
    columns = ("Picture", "Longitude", "Latitude", "Wrong pixels")
    return Drawing(title, svg("".join(parts), height, title, told), columns, rows)


def _share_wrong(chip: ChipScore) -> float:
    return 1 - (chip.pixel_accuracy or 0.0)


def _centre(chip: ChipScore) -> tuple[str, str]:
    longitude, latitude = (sum(v) / len(v) for v in zip(*chip.corners, strict=True))
    return f"{longitude:.4f}", f"{latitude:.4f}"


def _key(most: float) -> Iterator[str]:
    """The colour scale, from no error to the largest one."""
    start, end = LEFT + 34.0, float(WIDTH - RIGHT - 44)
    step = (end - start) / _STEPS
    for i in range(_STEPS):
        colour = css_colour(i / (_STEPS - 1))
        yield (
            f'<rect x="{start + i * step:.1f}" y="6" width="{step + 0.5:.1f}" height="10" '
            f'style="fill:{colour}"/>'
        )
    yield f'<text class="ink" x="{start - 6:.0f}" y="15" text-anchor="end">0%</text>'
    yield f'<text class="ink" x="{end + 6:.0f}" y="15">{percent(most)}</text>'


def _place(chip: ChipScore, most: float, across: Scale, up: Scale) -> str:
    points = [(across(x), up(y)) for x, y in chip.corners]
    style = f'style="fill:{css_colour(_share_wrong(chip) / most)};stroke:var(--muted)"'
    name = f"<title>{escape(f'{chip.id}: {percent(_share_wrong(chip))} wrong')}</title>"
    if max(max(values) - min(values) for values in zip(*points, strict=True)) < _SMALLEST:
        x, y = (sum(values) / len(values) for values in zip(*points, strict=True))
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}" {style}>{name}</circle>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{path}" {style}>{name}</polygon>'
