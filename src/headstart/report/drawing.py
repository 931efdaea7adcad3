"""What every chart is made of: SVG with its texts, axes, legend, and style. Knows no kind of chart.

Made by hand and not by a plotting library because these pages must follow light and dark through
CSS variables, be read by screen readers (`role=img` with title and description), cost no import of
0.7 s, and stay one self-contained file. Every text is escaped. Charts are drawn 400 units
wide, so that their text stays readable on a phone; wide pages set several side by side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from headstart.report.axes import Axis, Scale, spread, tick_text, ticks

WIDTH = 400
LEFT, RIGHT, BOTTOM = 52, 20, 40
# Text is 12 units high, and a letter this wide on average in the fonts of a system.
LETTER = 7.0

STANDALONE_STYLE = """
svg { --ink: #1c2024; --muted: #5b6470; --line: #dcdfe3; --paper: #ffffff;
 --c1: #0b6e74; --c2: #b4510f; --c3: #5a4fcf; background: var(--paper);
 font-family: system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --ink: #e7e9ec; --muted: #a2abb6; --line: #3a4149;
 --paper: #15181c; --c1: #4fc3c7; --c2: #f0a060; --c3: #a79ff5; } }
"""
CHART_STYLE = """
svg text { font-size: 12px; fill: var(--muted); } svg .ink { fill: var(--ink); }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .axis { stroke: var(--muted); }
svg .l1, svg .l2, svg .l3 { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .l1 { stroke: var(--c1); } svg .l2 { stroke: var(--c2); stroke-dasharray: 6 4; }
svg .l3 { stroke: var(--c3); stroke-dasharray: 2 4; stroke-linecap: round; }
svg .f1 { fill: var(--c1); } svg .f2 { fill: var(--c2); } svg .f3 { fill: var(--c3); }
svg .band { fill-opacity: 0.18; } svg .hollow { fill: var(--paper); stroke-width: 2; }
svg .s1 { stroke: var(--c1); } svg .s2 { stroke: var(--c2); } svg .s3 { stroke: var(--c3); }
svg .label { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
svg .mark { stroke: var(--ink); stroke-dasharray: 3 3; } svg .whisker { stroke: var(--ink); }
"""


@dataclass(frozen=True)
class Series:
    """A named line; `xs` and `ys` are of one length, and a value that is not finite breaks it."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Drawing:
    """A chart with the figures it was drawn from, for whoever cannot see it or wants to be exact.

    Attributes:
        title: Unique in a page; also the name of the SVG's title.
        svg: The chart.
        columns: Headings of the figures.
        rows: The figures, as texts.
    """

    title: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Mark:
    """A labelled vertical line at a place on the x axis."""

    x: float
    label: str


def standalone(svg: str) -> str:
    """A chart as a file of its own, with its colours for light and dark."""
    style = f"<style>{STANDALONE_STYLE}{CHART_STYLE}</style>"
    head, body = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{body}\n'


def svg(
    body: str, height: float, title: str, description: str, *, width: float = float(WIDTH)
) -> str:
    """A chart around its parts, named for screen readers; titles are unique in a page."""
    name = "chart-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-labelledby="{name}-title {name}-text"><title id="{name}-title">{escape(title)}'
        f'</title><desc id="{name}-text">{escape(description)}</desc>{body}</svg>'
    )


def value_scale(values: Sequence[float], axis: Axis, bottom: float, top: float) -> Scale:
    """A y scale with some air; from zero where the values come near it, and never over 100%."""
    low, high = spread(min(values), max(values), is_log=axis.is_log)
    if not axis.is_log:
        margin = (high - low) * 0.08
        low = 0.0 if 0 <= low < 0.35 * high else low - margin
        high = min(1.0, high + margin) if axis.is_share and high <= 1.0 else high + margin
    return Scale(low, high, bottom, top, is_log=axis.is_log)


def frame(across: Scale, up: Scale, x: Axis, y: Axis) -> str:
    """Grid lines, ticks and axis labels."""
    parts, sides = [], f'x1="{across.start}" x2="{across.end}"'
    for value in ticks(up.low, up.high, is_log=up.is_log, wanted=4):
        at = up(value)
        parts.append(
            f'<line class="grid" {sides} y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text x="{across.start - 7}" y="{at + 4:.1f}" text-anchor="end">'
            f"{tick_text(value, is_share=y.is_share)}</text>"
        )
    parts.append(f'<line class="axis" {sides} y1="{up.start}" y2="{up.start}"/>')
    is_counted = x.label == "epoch"
    for value in ticks(across.low, across.high, is_log=across.is_log):
        if is_counted and value != round(value):
            continue
        text = tick_text(value, is_share=x.is_share)
        at = across(value)
        parts.append(f'<text x="{at:.1f}" y="{up.start + 16}" text-anchor="middle">{text}</text>')
    middle = (across.start + across.end) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{up.start + 34}" text-anchor="middle">{escape(x.label)}</text>'
    )
    return "".join(parts)


def legend(series: Sequence[Series]) -> str:
    """Names of the lines with a stroke of each, as wide as their text needs."""
    parts, at = [], float(LEFT)
    for i, line in enumerate(series, start=1):
        parts.append(
            f'<line class="l{i}" x1="{at:.0f}" x2="{at + 24:.0f}" y1="12" y2="12"/>'
            f'<text class="ink" x="{at + 30:.0f}" y="16">{escape(line.name)}</text>'
        )
        at += 30 + LETTER * len(line.name) + 16
    return "".join(parts)


def draw_mark(mark: Mark, across: Scale, top: float, bottom: float) -> str:
    """A labelled vertical line, its label on the side that has room."""
    at = across(mark.x)
    is_right = at > (across.start + across.end) / 2
    return (
        f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{top - 6}" y2="{bottom}"/>'
        f'<text class="ink" x="{at + (-6 if is_right else 6):.1f}" y="{top + 4}" '
        f'text-anchor="{"end" if is_right else "start"}">{escape(mark.label)}</text>'
    )
