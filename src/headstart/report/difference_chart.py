"""A chart of differences around zero, as SVG text in the style of `charts`. Knows no run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from headstart.report.axes import Scale, ticks
from headstart.report.drawing import WIDTH
from headstart.report.wording import shortened

_MARGIN = 16


@dataclass(frozen=True)
class Gap:
    """A difference of shares with its 95% interval; `text` stands at the end of its line."""

    label: str
    value: float
    low: float
    high: float
    text: str = ""


def difference_chart(gaps: Sequence[Gap], *, title: str, description: str) -> str:
    """Differences in points of percent as dots with their intervals as bars, around a zero line.

    A difference whose interval leaves out zero is drawn full, any other hollow.

    Raises:
        ValueError: There is no difference.
    """
    if not gaps:
        raise ValueError(f"`{title}` has no difference to draw. Leave the chart out.")
    step, bottom = 46, 8 + 46 * len(gaps)
    low = min(0.0, *(100 * gap.low for gap in gaps))
    high = max(0.0, *(100 * gap.high for gap in gaps))
    air = 0.04 * (high - low) or 1.0
    across = Scale(low - air, high + air, _MARGIN, WIDTH - _MARGIN)
    zero = across(0.0)
    parts = []
    parts += [
        f'<line class="grid" x1="{across(t):.1f}" x2="{across(t):.1f}" y1="{bottom - 4}" '
        f'y2="{bottom}"/><text x="{across(t):.1f}" y="{bottom + 15}" text-anchor="middle">'
        f"{f'{t:+g}' if t else '0'}</text>"
        for t in ticks(across.low, across.high, wanted=5)
    ]
    parts.append(
        f'<text x="{WIDTH / 2}" y="{bottom + 34}" text-anchor="middle">difference in points</text>'
    )
    for i, gap in enumerate(gaps):
        y = 20 + i * step
        colour = 1 if gap.value >= 0 else 2
        is_shown = gap.low > 0 or gap.high < 0
        left, right = across(100 * gap.low), across(100 * gap.high)
        label = shortened(gap.label, limit=max(12, 50 - len(gap.text)))
        parts.append(
            f'<text class="ink" x="{_MARGIN}" y="{y}">{escape(label)}'
            f"<title>{escape(gap.label)}</title></text>"
            f'<text class="ink" x="{WIDTH - _MARGIN}" y="{y}" text-anchor="end">'
            f"{escape(gap.text)}</text>"
            f'<line class="axis" x1="{zero:.1f}" x2="{zero:.1f}" y1="{y + 5}" y2="{y + 23}"/>'
            f'<rect class="f{colour}" fill-opacity="0.3" x="{left:.1f}" y="{y + 8}" '
            f'width="{max(2.0, right - left):.1f}" height="12" rx="6"/>'
            f'<circle cx="{across(100 * gap.value):.1f}" cy="{y + 14}" r="4.5" '
            + (
                f'class="f{colour}"/>'
                if is_shown
                else f'style="fill: var(--paper); stroke: var(--c{colour}); stroke-width: 2"/>'
            )
        )
    name = "chart-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 42}" role="img" '
        f'aria-labelledby="{name}-title {name}-text"><title id="{name}-title">{escape(title)}'
        f'</title><desc id="{name}-text">{escape(description)}</desc>{"".join(parts)}</svg>'
    )
