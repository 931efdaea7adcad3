from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.contracts import Dataset
from headstart.data import open_dataset
from headstart.data.checks import check_dataset, leave_out_bad, raise_for_errors
from headstart.data.mask_checks import check_masks
from headstart.data.mask_files import read_mask
from headstart.data.mask_layouts import VOC
from headstart.errors import DataError
from headstart.progress import Progress

Build = Callable[..., Path]
VALUES = np.array([[0, 0, 1], [2, 2, 1]], np.uint8)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Writes pictures and masks: `build("images/a.jpg", masks=["masks/a.png"])`."""

    def make(*pictures: str, masks: list[str], root: str = "data") -> Path:
        rng = np.random.default_rng(0)
        for name in pictures:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (2, 3, 3), np.uint8)).save(path)
        for name in masks:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(VALUES).save(path)
        return tmp_path / root

    return make


def pairs(dataset: Dataset) -> dict[str, str]:
    found = {}
    for sample in dataset:
        assert sample.mask is not None
        found[sample.id] = sample.mask.relative_to(dataset.root).as_posix()
    return found


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("img/{}.png", "labels/{}.png"),
        ("JPEGImages/{}.jpg", "annotations/{}.png"),
        ("images/{}.jpg", "gt/{}_gt.png"),
        ("train/images/{}.tif", "train/masks/{}.tif"),
        ("images/train/{}.jpg", "masks/train/{}.png"),
        ("train_images/{}.jpg", "train_masks/{}.png"),
        ("train/{}.png", "trainannot/{}.png"),
        ("train/{}.png", "train_labels/{}_L.png"),
        ("{}.jpg", "{}_mask.png"),
        ("train/{}.jpg", "train/{}_label.png"),
        ("{}_sat.jpg", "{}_mask.png"),
        ("images/{}.jpg", "images/{}_mask.png"),
        ("patient_1/{}.tif", "patient_1/{}_mask.tif"),
        ("leftImg8bit/train/aachen/{}_leftImg8bit.png", "gtFine/train/aachen/{}_gtFine.png"),
        ("train/image/{}.v2.jpg", "train/label/{}.v2.png"),
    ],
)
def test_pictures_find_their_masks_in_every_layout(build: Build, picture: str, mask: str) -> None:
    names = ["x_1", "x_2", "y"]
    root = build(*map(picture.format, names), masks=list(map(mask.format, names)))
    if "gtFine.png" in mask:
        mask = mask.replace("gtFine.png", "gtFine_labelIds.png")
        for name in names:
            old = root / mask.format(name).replace("_labelIds", "")
            old.rename(root / mask.format(name))
    dataset = open_dataset(root)
    assert dataset.format == "mask-folders"
    assert dataset.task == "semantic-segmentation"
    assert pairs(dataset) == {picture.format(n): mask.format(n) for n in names}
    assert {s.split for s in dataset} == {"train" if "train" in picture else None}
    assert dataset.findings == ()


def test_the_reason_says_where_pictures_and_masks_are(build: Build) -> None:
    dataset = open_dataset(build("images/a.jpg", masks=["masks/a.png"]))
    assert dataset.reason == (
        "Read as mask-folders, because it holds pictures in images/ with masks in masks/."
    )
    assert dataset.classes == ("0", "1", "2")
    beside = open_dataset(build("a.jpg", masks=["a_mask.png"], root="beside"))
    assert "have masks beside them, as `a.jpg` has `a_mask.png`" in beside.reason


@pytest.mark.parametrize(
    "pictures",
    [
        ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"],
        ["mask/1.jpg", "mask/2.jpg", "no_mask/1.jpg", "no_mask/2.jpg"],
        ["train/with_mask/a_mask.jpg", "train/with_mask/b_mask.jpg", "train/without/a.jpg"],
        ["train/cat/1.jpg", "train/label/1.jpg", "val/cat/2.jpg", "val/label/2.jpg"],
        ["images/cat/1.jpg", "images/dog/1.jpg"],
        ["images/1.jpg", "labels/2.jpg", "other/3.jpg"],
    ],
)
def test_class_folders_stay_class_folders(build: Build, pictures: list[str]) -> None:
    assert open_dataset(build(*pictures, masks=[])).format == "class-folders"


def test_pictures_and_masks_without_a_partner_are_listed(build: Build) -> None:
    root = build("images/a.jpg", "images/b.jpg", masks=["masks/a.png", "masks/c.png"])
    dataset = open_dataset(root)
    found = {finding.kind: finding for finding in dataset.findings}
    assert found["missing-mask"].ids == ("images/b.jpg",)
    assert found["missing-image"].ids == ("masks/c.png",)
    assert all(finding.severity == "error" for finding in found.values())
    assert [sample.id for sample in dataset] == ["images/a.jpg"]


def test_images_and_masks_without_any_pair_are_not_taken_for_classes(build: Build) -> None:
    root = build("images/a.jpg", masks=["masks/b.png"])
    with pytest.raises(
        DataError, match=r"1 picture such as `images/a.jpg`, and 1 mask such as `ma"
    ):
        open_dataset(root)


def test_side_by_side_a_lone_mask_is_no_picture(build: Build) -> None:
    dataset = open_dataset(build("a.jpg", masks=["a_mask.png", "b_mask.png"]))
    assert [(f.kind, f.ids) for f in dataset.findings] == [("missing-image", ("b_mask.png",))]


def test_two_masks_for_a_picture_are_refused(build: Build) -> None:
    root = build("images/a.jpg", masks=["masks/a.png", "labels/a.png"])
    with pytest.raises(DataError, match=r"more than one mask, such as `images/a.jpg`: `labels/a.p"):
        open_dataset(root)


def test_pictures_elsewhere_are_left_out_with_a_word(build: Build) -> None:
    dataset = open_dataset(build("images/a.jpg", "unlabelled/b.jpg", masks=["masks/a.png"]))
    assert len(dataset) == 1
    assert "1 picture in unlabelled/ left out: no folder of images or masks." in dataset.notes


def test_of_cityscapes_the_label_ids_are_read_with_their_classes(build: Build) -> None:
    place = "train/aachen/aachen_0"
    ends = ("_labelIds", "_instanceIds", "_color")
    root = build(
        f"leftImg8bit/{place}_leftImg8bit.png",
        masks=[f"gtFine/{place}_gtFine{e}.png" for e in ends],
    )
    Image.fromarray(np.array([[7, 26, 3]], np.uint8)).save(
        root / f"gtFine/{place}_gtFine_labelIds.png"
    )
    dataset = open_dataset(root)
    assert len(dataset.classes) == 19
    assert list(pairs(dataset).values()) == [f"gtFine/{place}_gtFine_labelIds.png"]
    assert dataset.legend is not None
    assert read_mask(dataset.samples[0], dataset.legend).tolist() == [[0, 13, -1]]


def test_pascal_voc_has_its_classes_and_its_splits(build: Build) -> None:
    names = ["2007_1", "2007_2", "2007_3"]
    root = build(
        *[f"VOC2012/JPEGImages/{n}.jpg" for n in [*names, "2007_9"]],
        masks=[f"VOC2012/SegmentationClass/{n}.png" for n in names],
    )
    assert VOC.colours is not None
    for name in names:
        mask = Image.frombytes("P", (3, 1), bytes([0, 15, 255]))
        mask.putpalette([channel for colour in VOC.colours for channel in colour])
        mask.save(root / f"VOC2012/SegmentationClass/{name}.png")
    lists = root / "VOC2012/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_1\n2007_3\n")
    (lists / "val.txt").write_text("2007_2\n")
    dataset = open_dataset(root)
    assert dataset.classes[15] == "person"
    assert [sample.split for sample in dataset] == ["train", "validation", "train"]
    assert dataset.findings == ()
    assert dataset.legend is not None
    assert read_mask(dataset.samples[0], dataset.legend).tolist() == [[0, 15, -1]]


def test_a_legend_file_names_the_classes(build: Build) -> None:
    root = build("images/a.jpg", masks=["masks/a.png"])
    (root / "classes.csv").write_text(
        "value,name,colour\n0,land,#00ff00\n1,sea,#0000ff\n2,ice,#fff\n"
    )
    with pytest.raises(DataError, match="the colour `#fff`"):
        open_dataset(root)
    (root / "classes.csv").write_text("value,name\n0,land\n1,sea\n2,ice\n")
    dataset = open_dataset(root)
    assert dataset.format == "mask-folders"
    assert dataset.classes == ("land", "sea", "ice")
    assert open_dataset(root, ignore_values=(2,)).classes == ("land", "sea")


def test_groups_and_columns_work_as_elsewhere(build: Build) -> None:
    root = build("images/p1_a.jpg", "images/p1_b.jpg", masks=["masks/p1_a.png", "masks/p1_b.png"])
    assert {s.group for s in open_dataset(root, group=r"(p\d+)_")} == {"p1"}
    with pytest.raises(DataError, match=r"--label-column x` names a column, but .* with masks"):
        open_dataset(root, label_column="x")


def test_amazon_forest_says_what_is_wrong_and_works_without_it(amazon_forest: Path) -> None:
    dataset = open_dataset(amazon_forest)
    assert dataset.task == "semantic-segmentation"
    assert dataset.classes == ("1", "2")
    assert Counter(s.split for s in dataset) == {"train": 30, "validation": 15}
    checked = check_masks(dataset, progress=Progress())
    bad = "train/images/Amazon_181.tiff_34.tiff"
    assert [(f.kind, f.ids) for f in checked.findings] == [("size-mismatch", (bad,))]
    assert f"`{bad}` is 512 x 512, its mask 515 x 512" in checked.findings[0].message
    checkup = check_dataset(checked.dataset, decode=False, progress=Progress())
    with pytest.raises(DataError, match=r"(?s)Amazon_181.*leave 1 file out with `--on-bad skip`"):
        raise_for_errors(checkup)
    kept, checkup = leave_out_bad(checked.dataset, checkup)
    raise_for_errors(checkup)
    assert Counter(s.split for s in kept) == {"train": 29, "validation": 15}
    assert kept.classes == ("1", "2")
    assert {s.labels for s in kept} == {("1", "2"), ("2",)}


def test_links_that_lead_nowhere_or_back_are_told(build: Build) -> None:
    root = build("images/a.png", "images/b.png", masks=["masks/a.png", "masks/b.png"])
    (root / "images" / "again").symlink_to(root)
    (root / "images" / "c.png").symlink_to(root / "nowhere.png")
    dataset = open_dataset(root)
    assert {(f.kind, f.severity): f.ids for f in dataset.findings} == {
        ("missing-file", "error"): ("images/c.png",),
        ("looping-link", "warning"): ("images/again",),
    }
    assert len(dataset) == 2
