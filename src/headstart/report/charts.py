"""Charts as hand-made SVG text: lines, bars, histograms, intervals, heat maps. Knows no run.

Each is 400 units wide; `drawing` says why they are made by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from headstart.report.axes import Axis, Scale, spread, tick_text
from headstart.report.drawing import (
    BOTTOM,
    LEFT,
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


@dataclass(frozen=True)
class Estimate:
    """A value from 0 to 1 with its interval, if it has one."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    text: str = ""


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    mark: Mark | None = None,
) -> str:
    """Up to three lines over one x axis.

    Raises:
        ValueError: No point is finite (and positive, on a logarithmic axis), or over three series.
    """
    if len(series) > 3:
        raise ValueError(f"{len(series)} series were given, and three can be told apart.")
    runs = [_unbroken(line, x, y) for line in series]
    points = [p for pieces in runs for piece in pieces for p in piece]
    if not points:
        raise ValueError(f"`{title}` has no finite point to draw. Leave the chart out.")
    height, top = 236, 34
    xs = [p[0] for p in points] + ([mark.x] if mark is not None else [])
    across = Scale(*spread(min(xs), max(xs), is_log=x.is_log), LEFT, WIDTH - RIGHT, is_log=x.is_log)
    up = value_scale([p[1] for p in points], y, height - BOTTOM, top)
    parts = [frame(across, up, x, y), legend(series)]
    if mark is not None:
        parts.append(draw_mark(mark, across, top, height - BOTTOM))
    for i, (line, pieces) in enumerate(zip(series, runs, strict=True), start=1):
        for piece in pieces:
            path = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in piece)
            parts.append(f'<polyline class="l{i}" points="{path}"/>')
            if len(line.xs) <= 40:
                parts += [
                    f'<circle class="f{i}" cx="{across(a):.1f}" cy="{up(b):.1f}" r="2.8">'
                    f"<title>{escape(f'{line.name}: {b:.4g} at {a:.4g}')}</title></circle>"
                    for a, b in piece
                ]
    return svg("".join(parts), height, title, description)


def histogram(
    values: Sequence[float],
    *,
    title: str,
    description: str,
    x: Axis,
    mark: Mark | None = None,
    counted: str = "pictures",
) -> str:
    """How often values occur, in up to 20 bins (of equal ratio on a logarithmic axis).

    Args:
        values: At least one.
        title: Unique in a page.
        description: What it shows, in words.
        x: What the values are.
        mark: A labelled place among them.
        counted: What has the values, as the other axis is called.

    Raises:
        ValueError: There is no value.
    """
    if not values:
        raise ValueError(f"`{title}` has no value to draw. Leave the chart out.")
    height, top, num_bins = 210, 12 if mark is None else 20, 20
    reach = [*values, *([] if mark is None else [mark.x])]
    low, high = spread(min(reach), max(reach), is_log=x.is_log)
    unit = Scale(low, high, 0.0, float(num_bins), is_log=x.is_log)
    counts = [0] * num_bins
    for value in values:
        counts[min(num_bins - 1, int(unit(value)))] += 1
    across = Scale(low, high, LEFT, WIDTH - RIGHT, is_log=x.is_log)
    up = Scale(0.0, float(max(counts)), height - BOTTOM, top)
    step = (WIDTH - RIGHT - LEFT) / num_bins
    bars = [
        f'<rect class="f1" x="{LEFT + i * step + 1:.1f}" y="{up(n):.1f}" '
        f'width="{step - 2:.1f}" height="{up(0) - up(n):.1f}"><title>{n:,}</title></rect>'
        for i, n in enumerate(counts)
        if n
    ]
    parts = [frame(across, up, x, Axis(counted)), *bars]
    if mark is not None:
        parts.append(draw_mark(mark, across, top, height - BOTTOM))
    return svg("".join(parts), height, title, description)


def bar_chart(bars: Sequence[tuple[str, float]], *, title: str, description: str) -> str:
    """Horizontal bars, each with its name and count.

    Raises:
        ValueError: There is no bar.
    """
    if not bars:
        raise ValueError(f"`{title}` has no bar to draw. Leave the chart out.")
    left, right, step = 118, 62, 28
    largest = max(value for _, value in bars) or 1.0
    parts = []
    for i, (name, value) in enumerate(bars):
        y = 6 + i * step
        width = max(1.0, value / largest * (WIDTH - left - right))
        parts.append(
            f'<text class="ink" x="{left - 10}" y="{y + 15}" text-anchor="end">'
            f"{escape(shortened(name, limit=16))}<title>{escape(name)}</title></text>"
            f'<rect class="f1" x="{left}" y="{y + 2}" width="{width:.1f}" height="17" rx="2"/>'
            f'<text x="{left + width + 8:.1f}" y="{y + 15}">{tick_text(value)}</text>'
        )
    return svg("".join(parts), 12 + step * len(bars), title, description)


def interval_chart(
    estimates: Sequence[Estimate], *, title: str, description: str, start: float = 0.0
) -> str:
    """Values up to 100% as dots with their 95% intervals as bars, one below the other.

    Args:
        estimates: From top to bottom; the first in a colour of its own.
        title: Unique in a page.
        description: What it shows, in words.
        start: Where the axis begins, below all values: a later one tells close values apart.

    Raises:
        ValueError: There is no estimate.
    """
    if not estimates:
        raise ValueError(f"`{title}` has no value to draw. Leave the chart out.")
    step, bottom = 46, 8 + 46 * len(estimates)
    across = Scale(start, 1.0, 12, WIDTH - 18)
    parts = [
        f'<text x="{across(t):.1f}" y="{bottom + 17}" text-anchor="middle">{100 * t:.4g}%</text>'
        for t in (start + (1.0 - start) * i / 4 for i in range(5))
    ]
    for i, item in enumerate(estimates):
        y, colour = 20 + i * step, 1 if i == 0 else 2
        label = shortened(item.label, limit=44 - len(item.text))
        parts.append(
            f'<text class="ink" x="12" y="{y}">{escape(label)}</text>'
            f'<text class="ink" x="{WIDTH - 18}" y="{y}" text-anchor="end">'
            f"{escape(item.text)}</text>"
        )
        parts.append(f'<line class="grid" x1="12" x2="{WIDTH - 18}" y1="{y + 14}" y2="{y + 14}"/>')
        if item.low is not None and item.high is not None:
            left, right = across(item.low), across(item.high)
            parts.append(
                f'<rect class="f{colour}" fill-opacity="0.3" x="{left:.1f}" y="{y + 8}" '
                f'width="{max(2.0, right - left):.1f}" height="12" rx="6"/>'
            )
        parts.append(
            f'<circle class="f{colour}" cx="{across(item.value):.1f}" cy="{y + 14}" r="4.5"/>'
        )
    return svg("".join(parts), bottom + 26, title, description)


def heat_map(
    classes: Sequence[str],
    counts: Sequence[Sequence[int]],
    *,
    title: str,
    description: str,
    texts: Sequence[Sequence[str]] | None = None,
) -> str:
    """A confusion matrix: rows the truth, columns the prediction, shaded by share of the row.

    The shade ends at half opacity, so that the text on it stays readable in light and dark.

    Args:
        classes: Of rows and columns.
        counts: A row a class.
        title: Unique in a page.
        description: What it shows, in words.
        texts: What stands in the cells; the counts when not given.
    """
    num = len(classes)
    cell = max(16.0, min(64.0, (WIDTH - 120) / num))
    limit = 16 if num > 1 else 24
    left, top = 116, 20 + 6.4 * min(limit, max(map(len, classes)))
    parts = [
        f'<text x="{left}" y="12">predicted as</text><text x="4" y="{top - 8:.1f}">truth</text>'
    ]
    for i, name in enumerate(classes):
        short, full = escape(shortened(name, limit=limit)), escape(name)
        x, y = left + (i + 0.5) * cell, top + (i + 0.5) * cell
        parts.append(
            f'<text class="ink" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{short}'
            f"<title>{full}</title></text>"
            f'<text class="ink" transform="translate({x + 4:.1f} {top - 6:.1f}) rotate(-90)">'
            f"{short}<title>{full}</title></text>"
        )
        total = sum(counts[i]) or 1
        for j, n in enumerate(counts[i]):
            box = f'x="{left + j * cell:.1f}" y="{top + i * cell:.1f}" '
            box += f'width="{cell - 1:.1f}" height="{cell - 1:.1f}"'
            share = n / total
            told = escape(f"{name}, predicted as {classes[j]}: {n:,}")
            parts.append(
                f'<rect class="{"f1" if i == j else "f2"}" fill-opacity="{0.06 + 0.44 * share:.2f}"'
                f" {box}><title>{told}</title></rect>"
                if n
                else f'<rect fill="none" class="grid" {box}/>'
            )
            text = str(n) if texts is None else texts[i][j]
            if n and cell >= 8 + 7 * len(text):
                parts.append(
                    f'<text class="ink" text-anchor="middle" x="{left + (j + 0.5) * cell:.1f}" '
                    f'y="{y + 4:.1f}">{escape(text)}</text>'
                )
    side = num * cell
    return svg("".join(parts), top + side + 6, title, description, width=left + side + 6)


def _unbroken(line: Series, x: Axis, y: Axis) -> list[list[tuple[float, float]]]:
    """The pieces of a line between values that cannot be drawn."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for a, b in zip(line.xs, line.ys, strict=True):
        is_drawable = math.isfinite(a) and math.isfinite(b)
        if is_drawable and (a > 0 or not x.is_log) and (b > 0 or not y.is_log):
            pieces[-1].append((a, b))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]
