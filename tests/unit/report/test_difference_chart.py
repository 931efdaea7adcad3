"""The chart of differences around zero."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from headstart.report.difference_chart import Gap, difference_chart


def test_a_difference_beyond_the_noise_is_full_and_any_other_hollow() -> None:
    gaps = [Gap("sure", 0.05, 0.01, 0.09), Gap("unsure", 0.01, -0.03, 0.05)]
    svg = difference_chart(gaps, title="Gain", description="b less a")
    circles = re.findall(r"<circle[^>]*>", svg)
    assert 'class="f1"' in circles[0]
    assert "fill: var(--paper)" in circles[1]


def test_the_zero_line_lies_within_also_when_all_differences_are_losses() -> None:
    svg = difference_chart([Gap("a", -0.05, -0.08, -0.02)], title="Loss", description="")
    root = ElementTree.fromstring(svg)
    zero = float(next(line.get("x1") for line in root.iter("line") if line.get("class") == "axis"))
    bar = next(root.iter("rect"))
    assert 0 < float(bar.get("x")) < zero < 400
    assert float(bar.get("x")) + float(bar.get("width")) < zero


def test_names_are_escaped_and_a_chart_without_a_difference_is_refused() -> None:
    svg = difference_chart([Gap("<b>&", 0.0, -0.1, 0.1)], title="<t>", description="&")
    assert "<b>" not in svg
    assert ElementTree.fromstring(svg).get("role") == "img"
    with pytest.raises(ValueError, match="no difference to draw"):
        difference_chart([], title="Gain", description="")
