from __future__ import annotations

from typing import Any

import pystac
import pytest

from headstart.errors import ConfigError
from headstart.stac.criteria import (
    boxes_touch,
    footprint_km,
    make_criteria,
    parse_bbox,
    parse_interval,
)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2023", "2023-01-01T00:00:00Z/2023-12-31T23:59:59Z"),
        ("2024-02", "2024-02-01T00:00:00Z/2024-02-29T23:59:59Z"),
        ("2023-06-10/..", "2023-06-10T00:00:00Z/.."),
        ("../2023-06", "../2023-06-30T23:59:59Z"),
        ("2023-06-10T12:00:00+02:00", "2023-06-10T10:00:00Z/2023-06-10T10:00:00Z"),
    ],
)
def test_a_time_is_as_long_as_it_is_written(text: str, means: str) -> None:
    assert str(parse_interval(text)) == means


@pytest.mark.parametrize("text", ["", "..", "../..", "June", "2023-13", "2023-07/2023-06", "a/b/c"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"no time.*2023-06/2023-08"):
        parse_interval(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1,2,3", "no box of four"),
        ("a,b,c,d", "no box of four"),
        ("1,2,nan,4", "no box of four"),
        ("1,5,2,4", "south above its north"),
        ("0,0,181,1", "longitude outside"),
        ("1,2,1,3", "no area"),
    ],
)
def test_what_is_no_box_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_bbox(text)


def test_a_box_may_lie_across_the_date_line() -> None:
    fiji = parse_bbox("177,-20,-178,-15")
    assert boxes_touch(fiji, (179.5, -18, 179.9, -17))
    assert boxes_touch(fiji, (-179, -18, -178.5, -17))
    assert not boxes_touch(fiji, (0, -18, 1, -17))


@pytest.mark.parametrize(("limit", "cloud"), [(0, None), (100_000, None), (10, 101.0), (10, -1.0)])
def test_numbers_that_cannot_be_are_refused(limit: int, cloud: float | None) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        make_criteria(limit=limit, max_cloud=cloud)


def test_an_item_that_does_not_tell_its_clouds_is_left_out_when_a_clear_sky_is_asked_for(
    make: Any,
) -> None:
    hazy = pystac.Item.from_dict(make.item("hazy", (0, 0, 1, 1), {}, cloud=None))
    assert make_criteria(max_cloud=50).why_not(hazy) == "do not tell their cloud cover"
    assert make_criteria().matches(hazy)


def test_a_degree_at_the_equator_is_111_km(make: Any) -> None:
    item = pystac.Item.from_dict(make.item("a", (10, -0.5, 11, 0.5), {}))
    size = footprint_km(item)
    assert size == pytest.approx((111.32, 111.32), rel=1e-3)
