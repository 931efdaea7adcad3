"""From checked scenes to splits: blocks, buffer and leaks, from files on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.contracts import Dataset
from headstart.data import open_dataset
from headstart.data.checks import Checkup, check_dataset
from headstart.data.leaks import leak_findings
from headstart.data.mask_checks import check_masks
from headstart.data.near_duplicates import NearDuplicates
from headstart.data.places import places_on_earth
from headstart.data.planning import plan_splits, spatial_blocks
from headstart.data.raster_header import RasterFacts
from headstart.data.spatial_blocks import SAME_GROUND
from headstart.data.tiling import tiled, windows
from headstart.progress import Progress


def checked(path: Path, *, side: int | None = None, **reading: Any) -> tuple[Dataset, Checkup]:
    dataset = open_dataset(path, **reading)
    if side is not None:
        dataset = tiled(dataset, longest=side, side=side)
    masks = check_masks(dataset, progress=Progress())
    checkup = check_dataset(masks.dataset, decode=False, progress=Progress(), masks=masks.facts)
    return masks.dataset, checkup


def write_pair(root: Path, name: str, geo: Any, *, left: int, **place: Any) -> None:
    """A picture of 40 x 40 pixels `left` of the corner, and a mask with both classes."""
    place = {"transform": geo.PLACE * geo.PLACE.translation(left, 0), **place}
    ground = geo.drawn((40, 40), [(0, 0, 20 + left % 7, 30)])
    geo.write_scene(root / f"images/{name}.tif", geo.picture(ground, seed=left), **place)
    mask = (ground + 1).astype(np.uint8)[None]
    geo.write_scene(root / f"masks/{name}.tif", mask, **place)


def test_georeferenced_chips_are_split_by_blocks_and_it_is_said(tmp_path: Path, geo: Any) -> None:
    for number in range(12):
        write_pair(tmp_path, f"{number:02}", geo, left=100 * number)
    dataset, checkup = checked(tmp_path)
    planned = plan_splits(dataset, checkup, NearDuplicates(), seed=0)
    assert "spatial blocks of" in planned.split.reason
    assert set(planned.split.blocks) == {sample.id for sample in dataset}
    assert planned.leaks == ()


def test_windows_of_one_scene_without_a_place_are_split_by_blocks_in_pixels(
    tmp_path: Path, geo: Any
) -> None:
    ground = geo.drawn((160, 320), [(0, 0, 320, 80)])
    geo.write_scene(tmp_path / "images/a.tif", geo.picture(ground), crs=None)
    geo.write_scene(tmp_path / "masks/a.tif", (ground + 1).astype(np.uint8)[None], crs=None)
    dataset, checkup = checked(tmp_path, side=32)
    assert len(dataset) == 50
    planned = plan_splits(dataset, checkup, NearDuplicates(), seed=0)
    assert "pixels" in planned.split.reason
    groups = planned.split.groups
    assert 10 <= len(set(groups.values())) <= 50
    splits = {groups[id_]: set() for id_ in planned.split.assignment}  # type: dict[str, set[str]]
    for id_, split in planned.split.assignment.items():
        splits[groups[id_]].add(split)
    assert all(len(each) == 1 for each in splits.values())


def test_named_groups_are_kept_as_they_are(tmp_path: Path, geo: Any) -> None:
    for number in range(6):
        write_pair(tmp_path, f"{number % 3}-{number}", geo, left=100 * number)
    dataset, checkup = checked(tmp_path, group=r"images/(\d)-")
    assert spatial_blocks(dataset, checkup).block_of == {}
    planned = plan_splits(dataset, checkup, NearDuplicates(), seed=0)
    assert set(planned.split.groups.values()) == {"0", "1", "2"}


def test_ground_that_a_given_test_shares_with_training_is_a_finding(
    tmp_path: Path, geo: Any
) -> None:
    for number in range(6):
        write_pair(tmp_path / "train", f"{number}", geo, left=100 * number)
    write_pair(tmp_path / "test", "again", geo, left=310)
    write_pair(tmp_path / "test", "apart", geo, left=900)
    dataset, checkup = checked(tmp_path)
    planned = plan_splits(dataset, checkup, NearDuplicates(), seed=0)
    assert planned.left_out == {}
    assert set(planned.split.ids("test")) == {"test/images/again.tif", "test/images/apart.tif"}
    (finding,) = leak_findings(planned.leaks)
    assert finding.kind == "leaked-place"
    assert finding.ids == ("test/images/again.tif", "train/images/3.tif")


@pytest.mark.parametrize("num_scenes", [5])
def test_photos_and_scenes_without_a_place_make_no_trouble(
    tmp_path: Path, geo: Any, num_scenes: int
) -> None:
    for number in range(num_scenes):
        write_pair(tmp_path, f"{number}", geo, left=100 * number, crs=None)
    dataset, checkup = checked(tmp_path)
    assert spatial_blocks(dataset, checkup).block_of == {}
    windows, of_windows = checked(tmp_path, side=20)
    blocks = spatial_blocks(windows, of_windows)
    assert len(set(blocks.block_of.values())) == num_scenes


@pytest.mark.parametrize("degrees", [10, 30, 45, 80, 90])
def test_windows_of_a_scene_that_lies_askew_do_not_overlap(degrees: float) -> None:
    a, b = 10 * np.cos(np.radians(degrees)), 10 * np.sin(np.radians(degrees))
    scene = RasterFacts(
        "GTiff", 200, 160, ("b",), "uint8", crs="EPSG:32632",
        transform=(a, b, 500_000.0, b, -a, 5_300_000.0),
    )  # fmt: skip
    places = places_on_earth(
        {f"{i}": scene.part(p) for i, p in enumerate(windows(200, 160, side=40))}
    )
    assert places is not None
    n = np.arange(20)
    assert (places.gaps(n, n)[1] - np.eye(20)).max() <= SAME_GROUND


def test_unequal_windows_of_a_scene_that_lies_askew_are_not_left_out(
    tmp_path: Path, geo: Any
) -> None:
    ground = geo.drawn((140, 300), [(0, 0, 300, 70)])
    turned = {"transform": geo.PLACE * geo.PLACE.rotation(45)}
    geo.write_scene(tmp_path / "images/a.tif", geo.picture(ground), **turned)
    geo.write_scene(tmp_path / "masks/a.tif", (ground + 1).astype(np.uint8)[None], **turned)
    dataset, checkup = checked(tmp_path, side=40)
    assert len({s.window[2:] for s in dataset if s.window is not None}) > 1
    planned = plan_splits(dataset, checkup, NearDuplicates(), seed=0)
    assert not any("same ground" in why for why in planned.left_out.values())
