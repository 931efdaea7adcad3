from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data import open_dataset
from headstart.data.coco import run_lengths
from headstart.data.mask_checks import check_masks
from headstart.data.mask_files import read_mask
from headstart.errors import DataError
from headstart.progress import Progress

SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]  # columns 1 to 3, rows 1 and 2


def annotation(image: int, category: int, segmentation: Any, area: float = 6) -> dict[str, Any]:
    return {
        "id": 1,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "area": area,
    }


def write(root: Path, *annotations: dict[str, Any], name: str = "annotations/instances.json",
          files: tuple[str, ...] = ("a.jpg", "b.jpg"), folder: str = "images") -> Path:  # fmt: skip
    (root / folder).mkdir(parents=True, exist_ok=True)
    images = []
    for number, file in enumerate(files):
        Image.new("RGB", (6, 5), (number, 0, 0)).save(root / folder / file)
        images.append({"id": number, "file_name": file, "width": 6, "height": 5})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": 3, "name": "cat"},
            {"id": 18, "name": "dog"},
            {"id": 0, "name": "pets"},
        ],
    }
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(json.dumps(content))
    return root


def test_polygons_become_masks(tmp_path: Path) -> None:
    write(tmp_path, annotation(0, 3, [SQUARE]), annotation(0, 18, [[3, 2, 4, 2, 4, 3, 3, 3]], 1))
    dataset = open_dataset(tmp_path)
    assert dataset.format == "coco-masks"
    assert dataset.classes == ("background", "cat", "dog")
    assert [s.id for s in dataset] == ["images/a.jpg", "images/b.jpg"]
    assert dataset.legend is not None
    expected = np.zeros((5, 6), int)
    expected[1:3, 1:4] = 1
    expected[2, 3] = 2  # the smaller lies on top
    np.testing.assert_array_equal(read_mask(dataset.samples[0], dataset.legend), expected)
    assert not read_mask(dataset.samples[1], dataset.legend).any()
    checked = check_masks(dataset, progress=Progress())
    assert checked.findings == ()
    assert checked.facts["images/a.jpg"].pixels == (24, 5, 1)


@pytest.mark.parametrize("counts", [[6, 2, 3, 2, 3, 2, 12], "compressed"])
def test_run_lengths_go_by_columns(tmp_path: Path, counts: Any) -> None:
    if isinstance(counts, str):
        counts = _compressed([6, 2, 3, 2, 3, 2, 12])
    write(tmp_path, annotation(0, 18, {"counts": counts, "size": [5, 6]}))
    dataset = open_dataset(tmp_path)
    assert dataset.legend is not None
    expected = np.zeros((5, 6), int)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(read_mask(dataset.samples[0], dataset.legend), expected)


def _compressed(counts: list[int]) -> str:
    """As `rleToString` of COCO's maskApi.c does it."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        is_more = True
        while is_more:
            bits = value & 0x1F
            value >>= 5
            is_more = value != -1 if bits & 0x10 else value != 0
            text += chr((bits | 0x20 if is_more else bits) + 48)
    return text


@pytest.mark.parametrize("counts", [[0, 1], [5, 2, 2, 2, 5], [1000, 3, 70000, 1, 15, 16, 17, 900]])
def test_compressed_run_lengths_come_back(counts: list[int]) -> None:
    assert run_lengths(_compressed(counts)) == counts


def test_the_splits_are_those_of_the_files(tmp_path: Path) -> None:
    square = annotation(0, 3, [SQUARE])
    for split, image in (("train", "a.jpg"), ("val", "b.jpg")):
        name = f"annotations/instances_{split}2017.json"
        write(tmp_path, square, name=name, files=(image,), folder=f"{split}2017")
    dataset = open_dataset(tmp_path)
    assert {s.id: s.split for s in dataset} == {
        "train2017/a.jpg": "train",
        "val2017/b.jpg": "validation",
    }


def test_a_file_beside_its_pictures_is_found_in_split_folders(tmp_path: Path) -> None:
    for split in ("train", "test"):
        name = f"{split}/_annotations.coco.json"
        write(tmp_path, annotation(0, 3, [SQUARE]), name=name, folder=split)
    dataset = open_dataset(tmp_path)
    assert [s.id for s in dataset if s.split == "test"] == ["test/a.jpg", "test/b.jpg"]


def test_pictures_that_are_not_there_are_listed(tmp_path: Path) -> None:
    write(tmp_path, annotation(0, 3, [SQUARE]))
    (tmp_path / "images/b.jpg").unlink()
    dataset = open_dataset(tmp_path)
    assert [(f.kind, f.ids) for f in dataset.findings] == [("missing-file", ("b.jpg",))]
    (tmp_path / "images/a.jpg").unlink()
    with pytest.raises(DataError, match="None of the 2 pictures that the COCO file lists"):
        open_dataset(tmp_path)


def test_boxes_without_segmentation_are_not_for_this_format(tmp_path: Path) -> None:
    write(tmp_path, annotation(0, 3, []))
    with pytest.raises(DataError, match="No labelled data"):
        open_dataset(tmp_path / "annotations")


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 1, 2, 2]], "a polygon of 2 points"),
        ([[1, 1, 2]], "reshape"),
        ({"counts": [3], "size": [5, 6]}, "its runs fill 3 of 30 pixels"),
        ({"counts": [30], "size": [6, 5]}, r"its size is \(6, 5\)"),
    ],
)
def test_an_annotation_that_cannot_be_drawn_is_named(
    tmp_path: Path, segmentation: Any, message: str
) -> None:
    write(tmp_path, annotation(0, 3, segmentation))
    with pytest.raises(DataError, match=rf"(?s)Annotation 1 of .*`a.jpg`, cannot be.*{message}"):
        open_dataset(tmp_path)


def test_a_damaged_file_says_what_is_needed(tmp_path: Path) -> None:
    write(tmp_path, annotation(0, 99, [SQUARE]))
    with pytest.raises(DataError, match="annotations of the category 99"):
        open_dataset(tmp_path)
    path = tmp_path / "annotations/instances.json"
    path.write_text(path.read_text().replace("file_name", "name"))
    with pytest.raises(DataError, match=r"not as COCO lays it out \(KeyError: 'file_name'\)"):
        open_dataset(tmp_path)
