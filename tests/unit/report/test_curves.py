"""Points with whiskers, curves with bands, and heat over pictures stand where they should."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from headstart.contracts import InputContract, Measure
from headstart.report.axes import Axis
from headstart.report.curves import Band, Plane, Point, uncertainty_chart
from headstart.report.drawing import WIDTH
from headstart.report.overlay import heat_overlay, place_of_heat, seen_region
from headstart.report.thumbnails import Thumbnail

PLANE = Plane(Axis("seconds", is_log=True), Axis("accuracy", is_share=True))


def chart(points: list[Point], bands: list[Band] | None = None, plane: Plane = PLANE) -> str:
    return uncertainty_chart(plane, title="T", description="d", points=points, bands=bands or [])


def text_boxes(svg: str) -> list[tuple[float, float, float, float]]:
    """Where labels of points stand, by an average width of letters."""
    found = re.findall(r'<text class="ink label"[^>]*x="([\d.]+)" y="([\d.]+)">([^<]*)<', svg)
    return [(float(x), float(y) - 11, float(x) + 6.4 * len(t), float(y) + 3) for x, y, t in found]


@pytest.mark.parametrize("seconds", [(0.1, 0.1, 0.4, 1.3, 52.0), (1.0, 1.0, 1.0, 1.0, 1.0)])
def test_labels_cover_neither_each_other_nor_the_edge(seconds: tuple[float, ...]) -> None:
    names = ["Most common class", "Colours alone", "Nearest neighbours", "Linear probe", "Full"]
    values = (0.54, 0.68, 0.92, 0.948, 0.952)
    points = [
        Point(s, Measure(v, v - 0.03, v + 0.03), name)
        for s, v, name in zip(seconds, values, names, strict=True)
    ]
    boxes = text_boxes(chart(points))
    assert len(boxes) == len(names)
    for a, b in combinations(boxes, 2):
        assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])
    assert all(box[0] >= 0 and box[2] <= WIDTH for box in boxes)


def test_a_whisker_spans_its_interval_and_a_point_without_one_has_none() -> None:
    assert '<path class="s2"' in chart([Point(1.0, Measure(0.5, 0.4, 0.6)), Point(2.0, Measure(1))])
    assert "<path" not in chart([Point(1.0, Measure(0.5)), Point(2.0, Measure(0.6))])


def test_a_band_is_shaded_between_its_ends_and_only_where_it_has_some() -> None:
    measures = [Measure(0.5, 0.4, 0.6), Measure(0.6, 0.5, 0.7)]
    assert "<polygon" in chart([], [Band("b", [1.0, 2.0], measures)])
    assert "<polygon" not in chart([], [Band("b", [1.0, 2.0], [Measure(0.5), Measure(0.6)])])


def test_on_the_diagonal_both_axes_agree() -> None:
    share = Axis("share", is_share=True)
    svg = chart([Point(0.5, Measure(0.5))], plane=Plane(share, share, has_diagonal=True))
    ends = re.search(r'class="mark" x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"', svg)
    dot = re.search(r'<circle[^>]* cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert ends is not None
    assert dot is not None
    x1, y1, x2, y2 = map(float, ends.groups())
    assert float(dot[1]) == pytest.approx((x1 + x2) / 2, abs=0.2)
    assert float(dot[2]) == pytest.approx((y1 + y2) / 2, abs=0.2)


def test_nothing_to_draw_and_too_much_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        chart([])
    with pytest.raises(ValueError, match="4 curves"):
        chart([], [Band(str(i), [1.0], [Measure(0.5)]) for i in range(4)])


def test_names_in_a_chart_are_escaped() -> None:
    svg = chart([Point(1.0, Measure(0.5), "<b>&"), Point(2.0, Measure(0.6), '"x"')])
    assert ET.fromstring(svg) is not None


@pytest.mark.parametrize(
    ("resize", "size", "expected"),
    [
        ("crop", (160, 80), (45.0, 5.0, 70.0, 70.0)),
        ("crop", (80, 160), (5.0, 45.0, 70.0, 70.0)),
        ("squash", (160, 80), (0.0, 0.0, 160.0, 80.0)),
    ],
)
def test_heat_lies_on_what_the_model_sees(
    resize: str, size: tuple[int, int], expected: tuple[float, ...]
) -> None:
    contract = InputContract(("R",), 224, 224, (0.0,), (1.0,), resize=resize)  # type: ignore[arg-type]
    assert seen_region(contract, width=size[0], height=size[1]) == pytest.approx(expected)


def test_heat_is_drawn_where_it_is_and_named_for_who_cannot_see_it() -> None:
    picture = Thumbnail("data:,", 100, 100)
    heat = [[0.0, 0.0], [0.0, 1.0]]
    svg = heat_overlay(picture, heat, region=(0.0, 0.0, 100.0, 100.0), name='Why "ants"')
    root = ET.fromstring(svg)
    assert root.get("aria-label") == 'Why "ants". Most heat at the lower right.'
    (cell,) = root.iter("rect")
    assert (cell.get("x"), cell.get("y")) == ("50.0", "50.0")


@pytest.mark.parametrize(
    ("heat", "words"),
    [
        ([[1.0, 1.0], [0.0, 0.0]], "in the upper half"),
        ([[0.0, 1.0], [0.0, 1.0]], "in the right half"),
        ([[1.0, 1.0], [1.0, 1.0]], "in the middle"),
    ],
)
def test_the_place_of_heat_is_told_in_words(heat: list[list[float]], words: str) -> None:
    assert place_of_heat(heat) == words
