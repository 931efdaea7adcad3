"""Charts of figures with their uncertainty: points with whiskers, and curves with a shaded band.

Knows no run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from headstart.contracts import Measure
from headstart.report.axes import Axis, Scale, spread
from headstart.report.drawing import (
    BOTTOM,
    LEFT,
    LETTER,
    RIGHT,
    WIDTH,
    Mark,
    Series,
    draw_mark,
    frame,
    legend,
    svg,
    value_scale,
)
from headstart.report.wording import shortened

_HEIGHT, _TOP = 260, 34
_LINE = 14.0


@dataclass(frozen=True)
class Point:
    """A measured value at a place on the x axis; `is_chosen` draws it filled, others hollow."""

    x: float
    measure: Measure
    label: str = ""
    is_chosen: bool = False


@dataclass(frozen=True)
class Band:
    """A named curve: a value with its interval at each x."""

    name: str
    xs: Sequence[float]
    measures: Sequence[Measure]


@dataclass(frozen=True)
class Plane:
    """The axes of a chart, and what is drawn on them besides its data.

    Attributes:
        x: The horizontal axis.
        y: The vertical axis.
        mark: A labelled vertical line.
        has_diagonal: Draws where x and y are equal, over the whole of 0 to 1 on both.
    """

    x: Axis
    y: Axis
    mark: Mark | None = None
    has_diagonal: bool = False


def uncertainty_chart(
    plane: Plane,
    *,
    title: str,
    description: str,
    points: Sequence[Point] = (),
    bands: Sequence[Band] = (),
) -> str:
    """Points with whiskers over curves with shaded intervals.

    Args:
        plane: The axes.
        title: Unique in a page.
        description: What it shows, in words, with its main figures.
        points: Labelled points; labels are moved out of each other's way.
        bands: Up to three curves, named in a legend when there are several.

    Raises:
        ValueError: There is nothing to draw, or over three curves.
    """
    if len(bands) > 3:
        raise ValueError(f"{len(bands)} curves were given, and three can be told apart.")
    xs = [point.x for point in points] + [x for band in bands for x in band.xs]
    measures = [p.measure for p in points] + [m for band in bands for m in band.measures]
    if not xs:
        raise ValueError(f"`{title}` has nothing to draw. Leave the chart out.")
    across, up = _scales(plane, xs, measures)
    parts = [frame(across, up, plane.x, plane.y)]
    if plane.has_diagonal:
        parts.append(
            f'<line class="mark" x1="{across(0):.1f}" y1="{up(0):.1f}" '
            f'x2="{across(1):.1f}" y2="{up(1):.1f}"/>'
        )
    if plane.mark is not None:
        parts.append(draw_mark(plane.mark, across, _TOP, _HEIGHT - BOTTOM))
    if len(bands) > 1:
        parts.append(legend([Series(band.name, (), ()) for band in bands]))
    parts += [_draw_band(band, across, up, i) for i, band in enumerate(bands, start=1)]
    parts += [_draw_point(point, across, up) for point in points]
    parts += _labels(points, across, up)
    return svg("".join(parts), _HEIGHT, title, description)


def _scales(plane: Plane, xs: Sequence[float], measures: Sequence[Measure]) -> tuple[Scale, Scale]:
    """Positions that hold all data: with room at the sides, so that no point lies on a frame."""
    left, right, top, bottom = LEFT, WIDTH - RIGHT, _TOP, _HEIGHT - BOTTOM
    if plane.has_diagonal:
        return Scale(0.0, 1.0, left, right), Scale(0.0, 1.0, bottom, top)
    xs = [*xs, *([] if plane.mark is None else [plane.mark.x])]
    low, high = spread(min(xs), max(xs), is_log=plane.x.is_log)
    if plane.x.is_log:
        air = (high / low) ** 0.04
        low, high = low / air, high * air
    elif not plane.x.is_share:
        low, high = low - 0.03 * (high - low), high + 0.03 * (high - low)
    values = [v for m in measures for v in (m.value, m.low, m.high) if v is not None]
    across = Scale(low, high, left, right, is_log=plane.x.is_log)
    return across, value_scale(values, plane.y, bottom, top)


def _draw_band(band: Band, across: Scale, up: Scale, colour: int) -> str:
    pairs = list(zip(band.xs, band.measures, strict=True))
    line = " ".join(f"{across(x):.1f},{up(m.value):.1f}" for x, m in pairs)
    upper = [f"{across(x):.1f},{up(m.high):.1f}" for x, m in pairs if m.high is not None]
    lower = [f"{across(x):.1f},{up(m.low):.1f}" for x, m in pairs if m.low is not None]
    shade = ""
    if len(upper) > 1:
        outline = " ".join(upper + lower[::-1])
        shade = f'<polygon class="f{colour} band" points="{outline}"/>'
    return f'{shade}<polyline class="l{colour}" points="{line}"/>'


def _draw_point(point: Point, across: Scale, up: Scale) -> str:
    x, measure = across(point.x), point.measure
    colour = "1" if point.is_chosen else "2"
    parts = []
    if measure.low is not None and measure.high is not None:
        bottom, top = up(measure.low), up(measure.high)
        parts.append(
            f'<path class="s{colour}" fill="none" stroke-width="2" d="M{x:.1f} {bottom:.1f}'
            f'V{top:.1f}M{x - 4:.1f} {bottom:.1f}h8M{x - 4:.1f} {top:.1f}h8"/>'
        )
    fill = "f1" if point.is_chosen else "hollow s2"
    told = escape(f"{point.label}: {measure.value:.4g}" if point.label else f"{measure.value:.4g}")
    parts.append(
        f'<circle class="{fill}" cx="{x:.1f}" cy="{up(measure.value):.1f}" '
        f'r="{5.5 if point.is_chosen else 4}"><title>{told}</title></circle>'
    )
    return "".join(parts)


def _labels(points: Sequence[Point], across: Scale, up: Scale) -> list[str]:
    """The labels, each at the first of some places beside its point where it covers nothing."""
    taken = [_whisker_box(point, across, up) for point in points]
    parts = []
    for own, point in enumerate(points):
        if not point.label:
            continue
        text = shortened(point.label, limit=26)
        width = LETTER * len(text)
        x, y = across(point.x), up(point.measure.value)
        places = [
            (x + side, y + shift)
            for shift in (4.0, -12.0, 20.0, -28.0, 36.0, -44.0, 52.0, -60.0)
            for side in (9.0, -9.0 - width)
        ]
        boxes = [(a, b - _LINE + 3, a + width, b + 3) for a, b in places]
        others = taken[:own] + taken[own + 1 :]
        free = [
            box
            for box in boxes
            if box[0] >= LEFT
            and box[2] <= WIDTH
            and box[1] >= 4
            and box[3] <= up.start
            and not any(_overlap(box, other) for other in others)
        ]
        box = free[0] if free else boxes[0]
        taken.append(box)
        weight = ' font-weight="650"' if point.is_chosen else ""
        parts.append(
            f'<text class="ink label"{weight} x="{box[0]:.1f}" y="{box[3] - 3:.1f}">'
            f"{escape(text)}</text>"
        )
    return parts


_Box = tuple[float, float, float, float]


def _whisker_box(point: Point, across: Scale, up: Scale) -> _Box:
    x, measure = across(point.x), point.measure
    low = measure.value if measure.low is None else measure.low
    high = measure.value if measure.high is None else measure.high
    return (x - 6, up(high) - 5, x + 6, up(low) + 5)


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
