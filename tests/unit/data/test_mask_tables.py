from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data import open_dataset
from headstart.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in ("photos", "truth"):
        (tmp_path / kind).mkdir()
    for name in "abcd":
        Image.new("RGB", (3, 2)).save(tmp_path / f"photos/{name}.jpg")
        values = np.array([[0, 1, 1], [0, 0, 2]], np.uint8)
        Image.fromarray(values).save(tmp_path / f"truth/{name}_t.png")
    return tmp_path


def table(folder: Path, *rows: str, header: str = "image,mask", name: str = "data.csv") -> Path:
    (folder / name).write_text("\n".join((header, *rows)) + "\n")
    return folder / name


ROWS = [f"photos/{n}.jpg,truth/{n}_t.png" for n in "abcd"]


def test_a_table_pairs_pictures_and_masks(folder: Path) -> None:
    path = table(folder, *ROWS)
    for given in (path, folder):
        dataset = open_dataset(given)
        assert dataset.format == "mask-table"
        assert (
            dataset.reason == "Read as mask-table, because column `mask` of data.csv holds masks."
        )
        assert [s.id for s in dataset] == [f"photos/{n}.jpg" for n in "abcd"]
        assert dataset.samples[0].mask == folder / "truth/a_t.png"
        assert dataset.classes == ("0", "1", "2")


def test_a_column_called_label_may_hold_masks(folder: Path) -> None:
    rows = [f"{n}.jpg,{n}_t.png,{'train' if n < 'c' else 'test'},{n > 'a'}" for n in "abcd"]
    table(folder, *rows, header="file,label,split,patient")
    (folder / "classes.csv").write_text("value,name\n0,land\n1,sea\n2,ice\n")
    dataset = open_dataset(folder, group="patient")
    assert [s.split for s in dataset] == ["train", "train", "test", "test"]
    assert [s.group for s in dataset] == ["False", "True", "True", "True"]
    assert dataset.classes == ("land", "sea", "ice")


def test_rows_without_a_file_are_listed(folder: Path) -> None:
    path = table(folder, *ROWS, "photos/x.jpg,truth/a_t.png", "photos/a.jpg,truth/a_t.png")
    (folder / "truth/d_t.png").unlink()
    dataset = open_dataset(path)
    assert [(f.kind, f.ids) for f in dataset.findings] == [
        ("missing-file", ("photos/x.jpg",)),
        ("missing-file", ("truth/d_t.png",)),
        ("repeated-row", ("photos/a.jpg",)),
    ]
    assert len(dataset) == 3


def test_a_table_of_classes_is_no_table_of_masks(folder: Path) -> None:
    rows = [f"photos/{n}.jpg,{'cat' if n < 'c' else 'dog'}" for n in "abcd"]
    assert open_dataset(table(folder, *rows, header="image,label")).format == "table"


def test_a_column_that_is_not_there_is_named(folder: Path) -> None:
    path = table(folder, *ROWS)
    with pytest.raises(DataError, match=r"no column `masks` \(`--label-column masks`\)"):
        open_dataset(path, label_column="masks")
