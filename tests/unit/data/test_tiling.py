"""Large pictures with masks become windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.contracts import IGNORE, Dataset, InputContract, Legend, Sample
from headstart.data import open_dataset
from headstart.data.checks import check_dataset
from headstart.data.chips import PrepareChip
from headstart.data.mask_checks import check_masks
from headstart.data.near_duplicates import find_near_duplicates
from headstart.data.tiling import tiled, windows
from headstart.progress import Progress

LEGEND = Legend(("ground", "roof"), ((1,), (2,)))


def dataset_of(root: Path, *names: str) -> Dataset:
    samples = tuple(Sample(n, root / n, mask=root / "masks" / n) for n in names)
    return Dataset(
        root, "masks", "", "semantic-segmentation", samples, LEGEND.names,
        is_multilabel=True, legend=LEGEND,
    )  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path, geo: Any) -> Path:
    """`scene.tif` of 200 x 90 pixels and its mask: a roof on the left, no data on the right."""
    roofs = geo.drawn((90, 200), [(10, 10, 40, 30)])
    values = geo.picture(roofs)
    values[:, :, 130:] = 0
    geo.write_scene(tmp_path / "scene.tif", values, nodata=0)
    geo.write_scene(tmp_path / "masks/scene.tif", (roofs + 1).astype(np.uint8)[None])
    return tmp_path


@pytest.mark.parametrize("size", [(200, 90), (64, 64), (65, 300), (1, 1), (95, 31), (97, 32)])
def test_windows_cover_each_pixel_once(size: tuple[int, int]) -> None:
    width, height = size
    covered = np.zeros((height, width), int)
    for left, top, w, h in windows(width, height, side=64):
        covered[top : top + h, left : left + w] += 1
        assert min(w, h) >= min(32, *size)
    assert (covered == 1).all()


def test_small_pictures_stay_whole(scene: Path) -> None:
    dataset = dataset_of(scene, "scene.tif")
    assert tiled(dataset, longest=200, side=64).samples == dataset.samples


def test_the_windows_of_a_scene_are_its_parts(scene: Path) -> None:
    whole = dataset_of(scene, "scene.tif")
    cut = tiled(whole, longest=100, side=64)
    assert [s.id for s in cut] == ["scene.tif#0,0", "scene.tif#128,0", "scene.tif#64,0"]
    assert "read as 3 windows" in cut.notes[-1]
    contract = InputContract(("R", "G", "B"), 32, 32, (0.0,) * 3, (1.0,) * 3)
    prepare = PrepareChip(contract, LEGEND)
    everything = prepare(whole.samples[0])
    assert everything.target is not None
    for sample in cut:
        assert sample.window is not None
        left, top, width, height = sample.window
        rows, columns = slice(top, top + height), slice(left, left + width)
        part = prepare(sample)
        assert part.target is not None
        assert (part.inputs == everything.inputs[:, rows, columns]).all()
        assert (part.target == everything.target[rows, columns]).all()


def test_windows_without_data_or_label_are_left_out_and_counted(scene: Path) -> None:
    cut = tiled(dataset_of(scene, "scene.tif"), longest=100, side=32)
    checked = check_masks(cut, progress=Progress())
    # Of six columns of 32 pixels the last is wholly without data; the fifth has two pixels of it.
    kept = {s.window[0] for s in checked.dataset if s.window is not None}
    assert kept == {0, 32, 64, 96, 128}
    assert checked.dataset.notes[-1].startswith("3 windows without a labelled pixel")
    assert checked.findings == ()
    counted = sum(sum(f.pixels) for f in checked.facts.values())
    assert counted == 130 * 90


def test_a_scene_of_nodata_is_an_error_of_the_scene(scene: Path, geo: Any) -> None:
    geo.write_scene(scene / "bare.tif", np.zeros((3, 90, 200), np.uint8), nodata=0)
    geo.write_scene(scene / "masks/bare.tif", np.ones((1, 90, 200), np.uint8))
    cut = tiled(dataset_of(scene, "bare.tif", "scene.tif"), longest=100, side=64)
    (finding,) = check_masks(cut, progress=Progress()).findings
    assert (finding.kind, finding.ids) == ("empty-mask", ("bare.tif",))


def test_a_mask_of_another_size_is_found_before_anything_is_read(scene: Path, geo: Any) -> None:
    geo.write_scene(scene / "masks/scene.tif", np.ones((1, 90, 199), np.uint8))
    cut = tiled(dataset_of(scene, "scene.tif"), longest=100, side=64)
    assert not cut.samples
    (finding,) = cut.findings
    assert (finding.kind, finding.ids) == ("size-mismatch", ("scene.tif",))


def test_windows_of_one_file_are_no_duplicates(tmp_path: Path, geo: Any) -> None:
    half = np.tile(geo.picture(geo.drawn((64, 64), [(0, 0, 30, 30)])), (1, 1, 4))
    geo.write_scene(tmp_path / "scene.tif", half)
    geo.write_scene(tmp_path / "copy.tif", half)
    for name in ("scene.tif", "copy.tif"):
        geo.write_scene(tmp_path / "masks" / name, np.tile(np.uint8([[1, 2]]), (64, 128))[None])
    cut = tiled(dataset_of(tmp_path, "copy.tif", "scene.tif"), longest=100, side=64)
    checked = check_masks(cut, progress=Progress())
    checkup = check_dataset(
        checked.dataset, decode=False, progress=Progress(), hashed=True, masks=checked.facts
    )
    # The same window of a copy is one; the next window, though it looks alike, is not.
    assert len(set(checkup.same_content.values())) == 4
    (finding,) = checkup.findings
    assert finding.kind == "duplicate"
    assert finding.message.startswith("4 pictures in several copies, 8 files")
    near = find_near_duplicates(checkup.facts)
    files = {s.id: s.path.name for s in cut}
    assert all(files[pair.first] != files[pair.second] for pair in near.pairs)


def test_facts_of_a_window_are_those_of_a_file_of_its_own(scene: Path) -> None:
    cut = tiled(dataset_of(scene, "scene.tif"), longest=100, side=64)
    checkup = check_dataset(cut, decode=False, progress=Progress(), masks={})
    facts = checkup.facts["scene.tif#64,0"]
    assert (facts.width, facts.height, facts.part_of) == (64, 90, str(scene / "scene.tif"))
    assert facts.raster is not None
    assert facts.raster.transform == (10, 0, 500640, 0, -10, 5300000)


def test_a_wide_strip_among_mask_folders_is_read_by_window(
    tmp_path: Path, geo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.data import mask_files, rasters

    width, height = 40_000, 40
    bright = geo.drawn((height, width), [(100, 5, 20_000, 30)])
    geo.write_scene(tmp_path / "images/strip.tif", geo.picture(bright), tiled=True)
    geo.write_scene(tmp_path / "masks/strip.tif", (bright + 1).astype(np.uint8)[None], tiled=True)
    monkeypatch.setattr(mask_files, "_MOST_AT_ONCE", 100_000)
    sizes: list[int] = []
    stored = rasters.Raster._stored

    def watched(self, window, places):  # type: ignore[no-untyped-def]
        sizes.append(window.width * window.height)
        return stored(self, window, places)

    monkeypatch.setattr(rasters.Raster, "_stored", watched)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("1", "2")
    checked = check_masks(dataset, progress=Progress())
    check_dataset(
        checked.dataset, decode=True, progress=Progress(), hashed=True, masks=checked.facts
    )
    assert len(checked.dataset) == round(width / 512)
    assert max(sizes) < width * height / 2


def test_pixels_without_data_are_ignored_in_the_target(scene: Path) -> None:
    cut = tiled(dataset_of(scene, "scene.tif"), longest=100, side=64)
    contract = InputContract(("R", "G", "B"), 32, 32, (0.0,) * 3, (1.0,) * 3)
    target = PrepareChip(contract, LEGEND)(cut.samples[1]).target
    assert target is not None
    assert (target[:, 2:] == IGNORE).all()
    assert (target[:, :2] == 0).all()


def test_a_band_that_is_dead_all_over_costs_no_window_but_a_warning(scene: Path, geo: Any) -> None:
    values = np.full((3, 90, 200), 0.5, np.float32)
    values[2] = np.nan
    values[:, :, :64] = np.nan
    geo.write_scene(scene / "dead.tif", values)
    geo.write_scene(scene / "masks/dead.tif", np.tile(np.uint8([1, 2]), (1, 90, 100)))
    cut = tiled(dataset_of(scene, "dead.tif"), longest=100, side=64)
    checked = check_masks(cut, progress=Progress())
    assert {s.window[0] for s in checked.dataset if s.window is not None} == {64, 128}
    checkup = check_dataset(checked.dataset, decode=False, progress=Progress(), masks=checked.facts)
    warned = [f for f in checkup.findings if f.kind == "empty-band"]
    assert [f.ids for f in warned] == [("dead.tif#128,0", "dead.tif#64,0")]


def test_a_damaged_file_beside_a_mask_is_a_finding(scene: Path, geo: Any) -> None:
    (scene / "masks/scene.json").write_text("{")
    cut = tiled(dataset_of(scene, "scene.tif"), longest=1000, side=64)
    (finding,) = check_masks(cut, progress=Progress()).findings
    assert (finding.kind, finding.ids) == ("unreadable-mask", ("scene.tif",))
