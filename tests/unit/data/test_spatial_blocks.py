"""Spatial blocks: their size, their buffer, and what overlaps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from headstart.contracts import Dataset, Legend, Sample, Split
from headstart.data.places import Places, places_in_file, places_on_earth
from headstart.data.raster_header import RasterFacts
from headstart.data.spatial_blocks import (
    correlation_range,
    find_blocks,
    leaked_places,
    too_near,
)
from headstart.data.splits import SplitPlan, split_dataset

SIDE = 100.0


def grid(columns: int, rows: int, *, step: float = SIDE) -> Places:
    """Squares of 100 m that adjoin, or stand `step` apart."""
    ids = tuple(f"{c:02},{r:02}" for r in range(rows) for c in range(columns))
    centres = np.array([(c, r) for r in range(rows) for c in range(columns)]) * step + step / 2
    return Places(ids, centres, np.full((len(ids), 2), SIDE / 2))


def field(places: Places, reach: float, seed: int) -> Mapping[str, tuple[float, float]]:
    """A random field whose correlation falls as exp(-3 d / reach), so that 5% is left at reach."""
    n = np.arange(len(places.ids))
    covariance = np.exp(-3 * places.distances(n, n) / reach)
    values = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(n))) @ np.random.default_rng(
        seed
    ).normal(size=len(n))
    share = 1 / (1 + np.exp(-values))
    return {id_: (s, 1 - s) for id_, s in zip(places.ids, share.tolist(), strict=True)}


def dataset_of(places: Places, splits: Mapping[str, Split] | None = None) -> Dataset:
    legend = Legend(("a", "b"), ((0,), (1,)))
    samples = tuple(
        Sample(i, Path(i), ("a", "b"), (splits or {}).get(i), mask=Path(i)) for i in places.ids
    )
    return Dataset(
        Path(), "masks", "", "semantic-segmentation", samples, legend.names,
        is_multilabel=True, legend=legend,
    )  # fmt: skip


@pytest.mark.parametrize("reach", [400.0, 800.0])
def test_the_range_is_near_that_of_the_field(reach: float) -> None:
    places = grid(24, 24)
    found = []
    for seed in range(3):
        values = np.array(list(field(places, reach, seed).values()))
        one = correlation_range(places, np.arange(len(places.ids)), values)
        assert one is not None
        found.append(one)
    assert 0.5 * reach < np.median(found) < 2 * reach


def test_noise_has_no_range() -> None:
    places = grid(15, 15)
    noise = np.random.default_rng(3).normal(size=(225, 2))
    assert correlation_range(places, np.arange(225), noise) == 0
    blocks = find_blocks(places, {}, dict(zip(places.ids, noise, strict=True)))
    assert blocks.size == SIDE
    assert len(set(blocks.block_of.values())) == 225


def test_blocks_are_as_large_as_the_range_in_whole_pictures() -> None:
    places = grid(24, 24)
    blocks = find_blocks(places, {}, field(places, 400, 0))
    (reach,) = blocks.reaches
    assert reach is not None
    assert reach <= blocks.size < reach + SIDE
    assert blocks.size % SIDE == pytest.approx(0)
    assert f"spatial blocks of {blocks.size:.0f} m" in blocks.reason
    assert f"{reach:.0f} m" in blocks.reason


def test_blocks_are_smaller_rather_than_too_few() -> None:
    places = grid(8, 8)
    blocks = find_blocks(places, {}, field(places, 3000, 0))
    assert len(set(blocks.block_of.values())) >= 10
    assert "fewer than 10" in blocks.reason


def test_no_block_straddles_the_splits() -> None:
    places = grid(20, 20)
    blocks = find_blocks(places, {}, field(places, 400, 1))
    plan = split_dataset(dataset_of(places), seed=0, blocks=blocks.block_of)
    splits_of: dict[str, set[str]] = {}
    for id_, split in plan.assignment.items():
        splits_of.setdefault(blocks.block_of[id_], set()).add(split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert {*plan.assignment.values()} == {"train", "validation", "test"}
    assert set(plan.groups.values()) == set(blocks.block_of.values())


def test_the_buffer_is_respected_and_said() -> None:
    # Pictures 50 m apart, so that a buffer of 100 m takes the neighbours alone.
    places = grid(24, 24, step=150)
    blocks = find_blocks(places, {}, field(places, 900, 0))
    dataset = dataset_of(places)
    plan = split_dataset(dataset, seed=0, blocks=blocks.block_of)
    out, notes = too_near(plan, blocks, dataset)
    num_train = len(plan.ids("train"))
    assert 0 < len(out) <= 0.25 * num_train
    assert set(out) <= set(plan.ids("train"))
    assert f"{len(out)} training pictures left out as a buffer" in notes[0]
    number = {id_: i for i, id_ in enumerate(places.ids)}
    held = np.array([number[i] for i in (*plan.ids("validation"), *plan.ids("test"))])
    gaps = {i: places.gaps(np.array([number[i]]), held)[0].min() for i in plan.ids("train")}
    kept = [gap for id_, gap in gaps.items() if id_ not in out]
    assert max(gaps[id_] for id_ in out) < min(kept)


def test_a_buffer_never_starves_training() -> None:
    places = grid(5, 5)
    blocks = find_blocks(places, {}, field(places, 2000, 0))
    dataset = dataset_of(places)
    plan = split_dataset(dataset, seed=0, blocks=blocks.block_of)
    out, notes = too_near(plan, blocks, dataset)
    assert len(out) <= 0.25 * len(plan.ids("train"))
    if not out and blocks.reaches[0]:
        assert "There is no buffer" in notes[0]


def test_pictures_of_the_same_ground_never_stand_on_both_sides() -> None:
    places = grid(12, 12, step=80)  # each overlaps its neighbours by a fifth
    blocks = find_blocks(places, {}, field(places, 300, 2))
    dataset = dataset_of(places)
    plan = split_dataset(dataset, seed=0, blocks=blocks.block_of)
    out, notes = too_near(plan, blocks, dataset)
    number = {id_: i for i, id_ in enumerate(places.ids)}
    test = np.array([number[i] for i in plan.ids("test")])
    kept = np.array(
        [
            number[i]
            for i in plan.ids(
                "train",
            )
            if i not in out
        ]
    )
    shares = places.gaps(kept, test)[1]
    assert shares.max() <= 0.1 or "same ground" in notes[0]


def test_a_given_test_is_kept_and_what_overlaps_it_is_told() -> None:
    places = grid(10, 4)
    far = Places(
        (*places.ids, "again"),
        np.vstack([places.centres, places.centres[0] + 30]),
        np.full((41, 2), SIDE / 2),
    )
    splits: dict[str, Split] = dict.fromkeys(places.ids, "train")
    splits["again"] = splits["09,03"] = "test"
    blocks = find_blocks(far, {}, {})
    plan = split_dataset(dataset_of(far, splits), seed=0, blocks=blocks.block_of)
    assert set(plan.ids("test")) == {"again", "09,03"}
    assert plan.rule == "given-test"
    (leak,) = leaked_places(plan, blocks)
    assert (leak.id, leak.kind, leak.partner) == ("again", "place", "00,00")
    assert leak.why == "same place, 49% of it"


def test_places_in_degrees_are_measured_in_metres() -> None:
    step = 0.01
    headers = {
        f"{i}": RasterFacts(
            "GTiff", 10, 10, ("band_1",), "uint8", crs="EPSG:4326",
            transform=(step / 10, 0, 25 + i * step, 0, -step / 10, 60.0),
        )
        for i in range(4)
    }  # fmt: skip
    places = places_on_earth(headers)
    assert places is not None
    assert not places.is_globe
    apart = places.distances(np.array([0]), np.array([1]))[0, 0]
    assert apart == pytest.approx(111_195 * step * 0.5, rel=0.01)  # the cosine of 60 degrees
    assert places.side == pytest.approx(111_195 * step, rel=0.01)


def test_places_in_two_zones_are_measured_across() -> None:
    place = (10.0, 0.0, 700_000.0, 0.0, -10.0, 5_300_000.0)
    headers = {
        crs: RasterFacts("GTiff", 10, 10, ("b",), "uint8", crs=crs, transform=place)
        for crs in ("EPSG:32632", "EPSG:32633")
    }
    places = places_on_earth(headers)
    assert places is not None
    assert places.is_globe
    # Six degrees of longitude at the latitude of 47.8 degrees.
    apart = places.distances(np.array([0]), np.array([1]))[0, 0]
    assert apart == pytest.approx(6 * 111_195 * np.cos(np.radians(47.83)), rel=0.01)
    cells = places.blocks(50_000.0)
    assert len(set(cells)) == 2


def test_windows_without_a_place_are_grouped_by_scene_or_in_pixels() -> None:
    windows = {f"a#{x},{y}": (x, y, 50, 50) for x in range(0, 500, 50) for y in range(0, 500, 50)}
    single = find_blocks(None, {"a": places_in_file(windows)}, {})
    assert len(set(single.block_of.values())) == 100
    assert "of 50 pixels" in single.reason
    files = {
        name: places_in_file({f"{name}#0,0": (0, 0, 50, 50), f"{name}#50,0": (50, 0, 50, 50)})
        for name in "abcdef"
    }
    several = find_blocks(None, files, {})
    assert set(several.block_of.values()) == set("abcdef")


def test_plans_without_places_are_as_before() -> None:
    places = grid(5, 5)
    dataset = dataset_of(places)
    plan = split_dataset(dataset, seed=0)
    assert plan == split_dataset(dataset, seed=0, blocks={})
    assert isinstance(plan, SplitPlan)


def test_a_buffer_is_a_matter_of_neighbours_and_of_drawn_tests() -> None:
    scattered = grid(12, 12, step=3 * SIDE)
    values = field(scattered, 2400, 0)
    blocks = find_blocks(scattered, {}, values)
    assert blocks.reaches[0]
    plan = split_dataset(dataset_of(scattered), seed=0, blocks=blocks.block_of)
    assert too_near(plan, blocks, dataset_of(scattered)) == ({}, ())
    places = grid(12, 12, step=150)
    splits: dict[str, Split] = {i: "test" if i < "03" else "train" for i in places.ids}
    dataset = dataset_of(places, splits)
    blocks = find_blocks(places, {}, field(places, 900, 0))
    plan = split_dataset(dataset, seed=0, blocks=blocks.block_of)
    assert plan.rule == "given-test"
    assert too_near(plan, blocks, dataset) == ({}, ())


def test_pictures_on_both_sides_of_the_date_line_are_neighbours() -> None:
    headers = {
        f"{west}": RasterFacts(
            "GTiff", 10, 10, ("b",), "uint8", crs="EPSG:4326",
            transform=(0.01, 0, west, 0, -0.01, 0.05),
        )
        for west in (179.8, -179.9)
    }  # fmt: skip
    places = places_on_earth(headers)
    assert places is not None
    apart = places.distances(np.array([0]), np.array([1]))[0, 0]
    assert apart == pytest.approx(0.3 * 111_195, rel=0.01)


def test_few_sizes_of_blocks_are_tried_however_small_pictures_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    centres = np.sort(rng.uniform(0, 1e6, (300, 2)), axis=0)  # 20 m wide, along 1,000 km
    places = Places(tuple(map(str, range(300))), centres, np.full((300, 2), 10.0))
    tried = []
    blocks = Places.blocks
    monkeypatch.setattr(
        Places, "blocks", lambda self, size: tried.append(size) or blocks(self, size)
    )
    shares = {id_: (i / 300, 1 - i / 300) for i, id_ in enumerate(places.ids)}
    found = find_blocks(places, {}, shares, min_blocks=100)
    assert len(set(found.block_of.values())) >= 100
    assert 3 < len(tried) < 70


def test_pictures_of_one_place_are_split_without_blocks_and_that_is_said() -> None:
    same = Places(("a", "b", "c"), np.zeros((3, 2)), np.full((3, 2), SIDE / 2))

    found = find_blocks(same, {}, {})

    assert found.block_of == {}
    assert found.frames == ()
    assert "All 3 pictures lie in one place" in found.reason
    assert "flatter the model elsewhere" in found.reason
