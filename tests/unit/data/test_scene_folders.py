"""Scenes with polygons as labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.contracts import IGNORE, Dataset
from headstart.data import open_dataset
from headstart.data.checks import check_dataset, raise_for_errors
from headstart.data.mask_checks import check_masks
from headstart.data.mask_files import read_mask
from headstart.errors import DataError
from headstart.progress import Progress

pytest.importorskip("pyogrio", reason="needs the extra geo: pyogrio is not installed")

ROOFS = [(10, 10, 40, 30), (50, 20, 70, 55)]


@pytest.fixture
def one_file(tmp_path: Path, geo: Any) -> Path:
    """Two scenes of 80 x 60 pixels side by side, and a file with roofs on both."""
    first = geo.picture(geo.drawn((60, 80), ROOFS))
    geo.write_scene(tmp_path / "scenes/east.tif", first)
    moved = geo.PLACE * geo.PLACE.translation(80, 0)
    geo.write_scene(tmp_path / "scenes/west.tif", first, transform=moved)
    shapes = [(geo.box(*roof), "roof") for roof in ROOFS]
    shapes += [(geo.box(90, 10, 120, 30), "roof")]
    geo.write_polygons(tmp_path / "roofs.geojson", *shapes)
    return tmp_path


def kinds(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.ids for finding in dataset.findings}


def test_one_file_in_degrees_labels_all_scenes(one_file: Path, geo: Any) -> None:
    dataset = open_dataset(one_file)
    assert dataset.format == "scene-polygons"
    assert "roofs.geojson with polygons for all" in dataset.reason
    assert dataset.classes == ("background", "roof")
    assert any("What lies in no polygon is the class `background`" in n for n in dataset.notes)
    assert dataset.legend is not None
    east, west = (read_mask(sample, dataset.legend) for sample in dataset)
    np.testing.assert_array_equal(east, geo.drawn((60, 80), ROOFS))
    np.testing.assert_array_equal(west, geo.drawn((60, 80), [(10, 10, 40, 30)]))
    assert dataset.findings == ()


def test_outside_of_several_classes_nothing_is_known(one_file: Path, geo: Any) -> None:
    shapes = [(geo.box(*ROOFS[0]), "roof"), (geo.box(100, 10, 120, 30), "lawn")]
    geo.write_polygons(one_file / "roofs.geojson", *shapes)
    dataset = open_dataset(one_file)
    assert dataset.classes == ("lawn", "roof")
    assert any("in no polygon is ignored" in note for note in dataset.notes)
    assert dataset.legend is not None
    east = read_mask(dataset.samples[0], dataset.legend)
    assert set(np.unique(east)) == {IGNORE, 1}
    asked = open_dataset(one_file, outside="background")
    assert asked.classes == ("background", "lawn", "roof")
    assert open_dataset(one_file, outside="ignore").classes == ("lawn", "roof")


def test_a_file_a_scene_is_found_by_its_name(tmp_path: Path, geo: Any) -> None:
    bright = geo.drawn((60, 80), ROOFS)
    for split in ("train", "test"):
        geo.write_scene(tmp_path / split / "scenes/a.tif", geo.picture(bright))
        geo.write_polygons(tmp_path / split / "labels/a.geojson", (geo.box(*ROOFS[0]), split))
    dataset = open_dataset(tmp_path, outside="ignore")
    assert [(s.id, s.split) for s in dataset] == [
        ("test/scenes/a.tif", "test"),
        ("train/scenes/a.tif", "train"),
    ]
    assert {s.mask for s in dataset} == {
        tmp_path / "test/labels/a.geojson",
        tmp_path / "train/labels/a.geojson",
    }


def test_the_column_can_be_given(one_file: Path, geo: Any) -> None:
    geo.write_polygons(one_file / "roofs.geojson", (geo.box(*ROOFS[0]), "tile"), column="stuff")
    assert open_dataset(one_file, label_column="stuff").classes == ("background", "tile")
    with pytest.raises(DataError, match="no column `kind`"):
        open_dataset(one_file, label_column="kind")


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path, geo: Any) -> None:
    bright = geo.picture(geo.drawn((60, 80), ROOFS))
    for name in ("fine", "bare", "nowhere", "far"):
        place = {"crs": None} if name == "nowhere" else {}
        geo.write_scene(tmp_path / f"{name}.tif", bright, **place)
    both = [(geo.box(*ROOFS[0]), "roof"), (geo.box(20, 20, 60, 50), "lawn")]
    geo.write_polygons(tmp_path / "fine.geojson", *both)
    geo.write_polygons(tmp_path / "nowhere.geojson", *both)
    geo.write_polygons(tmp_path / "far.geojson", (geo.box(900, 900, 950, 950), "roof"))
    geo.write_polygons(tmp_path / "lonely.geojson", *both)
    dataset = open_dataset(tmp_path)
    assert [sample.id for sample in dataset] == ["fine.tif"]
    assert kinds(dataset) == {
        "missing-mask": ("bare.tif",),
        "missing-image": ("lonely.geojson",),
        "not-georeferenced": ("nowhere.tif",),
        "elsewhere": ("far.tif",),
        "overlapping-polygons": ("fine.tif",),
    }
    checked = check_masks(dataset, progress=Progress())
    checkup = check_dataset(checked.dataset, decode=False, progress=Progress(), masks=checked.facts)
    with pytest.raises(DataError) as caught:
        raise_for_errors(checkup)
    for name in ("bare.tif", "lonely.geojson", "nowhere.tif", "far.tif", "--on-bad skip"):
        assert name in str(caught.value)
    assert set(checkup.bad_ids) == {"bare.tif", "lonely.geojson", "nowhere.tif", "far.tif"}


def test_polygons_that_miss_every_scene_are_said_to(one_file: Path, geo: Any) -> None:
    geo.write_polygons(one_file / "roofs.geojson", (geo.box(900, 900, 950, 950), "roof"))
    (finding,) = open_dataset(one_file).findings
    assert finding.kind == "elsewhere"
    assert finding.ids == ("scenes/east.tif", "scenes/west.tif")
    assert "they reach from" in finding.message


def test_a_stray_file_of_polygons_does_not_make_scenes_of_class_folders(
    tmp_path: Path, geo: Any
) -> None:
    for name in ("forest", "river"):
        for number in range(2):
            geo.write_scene(tmp_path / f"{name}/{number}.tif", geo.picture(np.zeros((8, 8), bool)))
    geo.write_polygons(tmp_path / "area.geojson", (geo.box(0, 0, 8, 8), "area"))
    assert open_dataset(tmp_path).format == "class-folders"


def test_masks_win_over_a_stray_file_of_polygons(tmp_path: Path, geo: Any) -> None:
    for name in "ab":
        geo.write_scene(tmp_path / f"images/{name}.tif", geo.picture(np.zeros((8, 8), bool)))
        geo.write_scene(tmp_path / f"masks/{name}.tif", np.eye(8, dtype=np.uint8)[None])
    geo.write_polygons(tmp_path / "area.geojson", (geo.box(0, 0, 8, 8), "area"))
    assert open_dataset(tmp_path).format == "mask-folders"


def test_a_large_scene_with_polygons_becomes_windows(tmp_path: Path, geo: Any) -> None:
    bright = geo.drawn((200, 1200), [(100, 50, 700, 150)])
    geo.write_scene(tmp_path / "scene.tif", geo.picture(bright), tiled=True)
    geo.write_polygons(tmp_path / "roofs.geojson", (geo.box(100, 50, 700, 150), "roof"))
    dataset = open_dataset(tmp_path)
    assert [s.window for s in dataset] == [(0, 0, 512, 200), (512, 0, 688, 200)]
    assert dataset.legend is not None
    parts = [read_mask(sample, dataset.legend) for sample in dataset]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), bright)


def test_of_many_files_the_first_is_told_and_a_summary(tmp_path: Path, geo: Any) -> None:
    for number in range(5):
        geo.write_scene(tmp_path / f"{number}.tif", geo.picture(np.zeros((60, 80), bool)))
        geo.write_polygons(tmp_path / f"{number}.geojson", (geo.box(*ROOFS[0]), "roof"))
    notes = open_dataset(tmp_path).notes
    assert notes[0].startswith("Column `label` of 0.geojson")
    assert notes[1] == "So it is with 4 other files; in all: roof (5)."
