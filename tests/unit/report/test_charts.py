"""Charts are well-formed, readable by screen readers, and draw what they are given."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import pytest

from headstart.report import lr_finder_figure
from headstart.report.axes import Axis, tick_text, ticks
from headstart.report.charts import (
    Estimate,
    bar_chart,
    heat_map,
    histogram,
    interval_chart,
    line_chart,
)
from headstart.report.drawing import Mark, Series, standalone

EPOCHS, LOSS = Axis("epoch"), Axis("loss")


def parsed(svg: str) -> ET.Element:
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    named = (root.get("aria-labelledby") or "").split()
    assert [e.get("id") for e in root.iter() if e.tag in ("title", "desc") and e.get("id")] == named
    return root


def line(*ys: float, name: str = "loss") -> str:
    series = Series(name, [float(i + 1) for i in range(len(ys))], ys)
    return line_chart([series], title="Loss", description="d", x=EPOCHS, y=LOSS)


def test_a_value_that_is_not_finite_breaks_the_line() -> None:
    assert line(1.0, 0.9, math.nan, 0.7, 0.6).count("<polyline") == 2
    assert "nan" not in line(1.0, math.inf, 0.7)


def test_lower_values_are_drawn_lower() -> None:
    circles = re.findall(r'<circle[^>]* cy="([\d.]+)"', line(1.0, 0.2))
    assert float(circles[0]) < float(circles[1])


@pytest.mark.parametrize("ys", [(0.5,), (0.0, 0.0), (-1.0, -1.0), (1e-9, 2e9)])
def test_flat_single_and_wide_lines_can_be_drawn(ys: tuple[float, ...]) -> None:
    root = parsed(line(*ys))
    assert len(list(root.iter("circle"))) == len(ys)


def test_a_chart_without_a_finite_point_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite point"):
        line(math.nan)


def test_lines_are_told_apart_by_dashes_too() -> None:
    both = [Series("training", [1.0, 2.0], [1.0, 0.5]), Series("validation", [1.0, 2.0], [1, 0.7])]
    svg = line_chart(both, title="Loss", description="d", x=EPOCHS, y=LOSS, mark=Mark(2.0, "kept"))
    assert {'class="l1"', 'class="l2"', ">training<", ">validation<", ">kept<"} <= set(
        re.findall(r'class="l\d"|>training<|>validation<|>kept<', svg)
    )
    assert "svg .l2 { stroke: var(--c2); stroke-dasharray" in standalone(svg)


def test_epochs_are_whole_numbers_on_the_axis() -> None:
    texts = [e.text for e in parsed(line(1.0, 0.8, 0.7)).iter("text")]
    assert "1.5" not in texts
    assert {"1", "2", "3"} <= set(texts)


def test_the_finder_marks_its_choice_and_leaves_out_where_the_loss_blows_up() -> None:
    lrs = [10.0**e for e in range(-6, 2)]
    svg = lr_finder_figure(lrs, [0.7, 0.69, 0.6, 0.4, 0.35, 0.6, 30.0, math.nan], 1e-3)
    assert ET.fromstring(svg) is not None
    assert "chosen: 0.001" in svg
    assert "30" not in re.findall(r">([\d.]+)</text>", svg)


def test_a_histogram_holds_every_value() -> None:
    svg = histogram([1.0, 1.0, 5.0, 1000.0], title="t", description="d", x=Axis("x", is_log=True))
    bars = list(parsed(svg).iter("rect"))
    assert sum(int((b.findtext("title") or "0").replace(",", "")) for b in bars) == 4


def test_bars_are_as_long_as_their_counts() -> None:
    root = parsed(bar_chart([("JPEG", 300.0), ("<b>", 150.0)], title="t", description="d"))
    widths = [float(e.get("width") or 0) for e in root.iter("rect")]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)


def test_an_interval_spans_its_ends() -> None:
    svg = interval_chart(
        [Estimate("m", 0.5, 0.0, 1.0), Estimate("a", 0.4)], title="t", description="d"
    )
    root = parsed(svg)
    (bar,) = root.iter("rect")
    (first, _) = root.iter("circle")
    left, width = float(bar.get("x") or 0), float(bar.get("width") or 0)
    assert float(first.get("cx") or 0) == pytest.approx(left + width / 2)


def test_a_heat_map_tells_each_count_and_escapes_names() -> None:
    svg = heat_map(["<a>", "b"], [[7, 0], [2, 5]], title="t", description="d")
    titles = [e.text for e in parsed(svg).iter("title")]
    assert "b, predicted as <a>: 2" in titles
    assert "<a>, predicted as <a>: 7" in titles
    assert "<a>" not in svg


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (3.0, 3.1), (-5.0, 17.0), (0.0, 1e-7), (0.0, 12_345_678.0)]
)
def test_ticks_lie_within_the_range_and_have_distinct_texts(low: float, high: float) -> None:
    values = ticks(low, high)
    assert 2 <= len(values) <= 8
    assert all(low - 1e-12 <= value <= high * (1 + 1e-9) for value in values)
    assert len({tick_text(value) for value in values}) == len(values)


@pytest.mark.parametrize(("low", "high"), [(1e-6, 1.0), (7.8, 255.0), (1.0, 3.0), (1e-12, 1e12)])
def test_logarithmic_ticks_lie_within_the_range(low: float, high: float) -> None:
    values = ticks(low, high, is_log=True)
    assert 2 <= len(values) <= 9
    assert all(low <= value <= high for value in values)
