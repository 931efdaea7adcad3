from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from headstart.contracts import Dataset
from headstart.data import open_dataset
from headstart.errors import DataError

ROWS = [("a.jpg", "cat"), ("b c.jpg", "dog"), ("é.jpg", "cat")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures and no table yet."""
    for name in ("a.jpg", "b c.jpg", "é.jpg", "d.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def labels(dataset: Dataset) -> dict[str, str]:
    return {sample.id: sample.label for sample in dataset}


def csv_text(rows: list[tuple[str, ...]], separator: str = ",") -> str:
    return "".join(separator.join(row) + "\n" for row in rows)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_separator_and_encoding_are_found_out(folder: Path, separator: str, encoding: str) -> None:
    text = csv_text([("file", "label"), *ROWS], separator)
    (folder / "labels.csv").write_text(text, encoding=encoding)
    dataset = open_dataset(folder)
    assert dataset.format == "table"
    assert labels(dataset) == dict(ROWS)
    assert any("Latin-1" in note for note in dataset.notes) == (encoding == "latin-1")


def test_the_guessed_columns_are_said(folder: Path) -> None:
    (folder / "labels.csv").write_text(csv_text([("x", "kind", "file"), ("1", "cat", "a.jpg")]))
    with pytest.raises(DataError, match="which column"):
        open_dataset(folder)
    (folder / "labels.csv").write_text(csv_text([("label", "file"), ("cat", "a.jpg")]))
    notes = " ".join(open_dataset(folder).notes)
    assert "Column `file` of labels.csv holds the pictures" in notes
    assert "Column `label` of labels.csv holds the labels" in notes


def test_columns_are_told_by_content_when_names_say_nothing(folder: Path) -> None:
    rows = [("q", "r", "s"), *[("cat" if i % 2 else "dog", f"{i}", "a.jpg") for i in range(8)]]
    names = ["a.jpg", "b c.jpg", "é.jpg", "d.jpg"]
    rows = [rows[0], *[(kind, n, names[i % 4]) for i, (kind, n, _) in enumerate(rows[1:])]]
    (folder / "labels.csv").write_text(csv_text(rows), encoding="utf-8")
    notes = " ".join(open_dataset(folder).notes)
    assert "Column `s` of labels.csv holds the pictures" in notes
    assert "Column `q` of labels.csv holds the labels: it has 2 different values" in notes


def test_runs_of_spaces_without_a_header_are_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    text = ""
    for i, (grade, kind) in enumerate([("1.0", "mono"), ("0.0", "mono"), ("0.3", "poly")] * 2):
        Image.new("L", (4, 4)).save(tmp_path / "images" / f"cell{i}.png")
        text += f"images/cell{i}.png  {grade}                 {kind}\n"
    (tmp_path / "labels.csv").write_text(text)
    dataset = open_dataset(tmp_path, label_column="column_3")
    assert dataset.classes == ("mono", "poly")
    assert open_dataset(tmp_path, label_column="column_2").classes == ("0.0", "0.3", "1.0")
    assert any("has no header" in note for note in dataset.notes)


def test_quoted_cells_keep_their_separators(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(folder / "x, y.jpg")
    (folder / "t.csv").write_text('file,label\n"x, y.jpg","cat, black"\na.jpg,dog\n')
    assert labels(open_dataset(folder)) == {"x, y.jpg": "cat, black", "a.jpg": "dog"}


def test_whole_numbers_become_plain_class_names(folder: Path) -> None:
    (folder / "t.csv").write_text("file,label\na.jpg,1.0\nd.jpg,0.0\n")
    assert open_dataset(folder).classes == ("0", "1")
    (folder / "t.csv").write_text("file,label\na.jpg,1.5\nd.jpg,1.0\n")
    assert open_dataset(folder).classes == ("1.0", "1.5")
    (folder / "t.csv").write_text("file,label\na.jpg,007\nd.jpg,010\n")
    assert open_dataset(folder).classes == ("007", "010")


def test_jsonl_and_parquet_hold_numbers_and_lists(folder: Path) -> None:
    rows = [{"path": "a.jpg", "label": 1.0}, {"path": "d.jpg", "label": 0.0}]
    table = folder / "t.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    assert labels(open_dataset(table)) == {"a.jpg": "1", "d.jpg": "0"}
    table.unlink()
    parquet.write_table(pa.Table.from_pylist(rows), folder / "t.parquet")
    assert labels(open_dataset(folder)) == {"a.jpg": "1", "d.jpg": "0"}
    rows = [{"path": "a.jpg", "tags": ["x", "y"]}, {"path": "d.jpg", "tags": []}]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "t.parquet")
    dataset = open_dataset(folder)
    assert dataset.is_multilabel
    assert labels(dataset) == {"a.jpg": "x|y", "d.jpg": ""}


def test_class_names_in_the_schema_of_a_parquet_file_are_used(folder: Path) -> None:
    feature = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    table = pa.table({"file_name": ["a.jpg", "d.jpg"], "label": [1, 0]}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": feature}})}
    )
    parquet.write_table(table, folder / "metadata.parquet")
    dataset = open_dataset(folder)
    assert dataset.format == "metadata-table"
    assert labels(dataset) == {"a.jpg": "dog", "d.jpg": "cat"}


@pytest.mark.parametrize(
    "cells", [("cat|dog", "cat"), ("\"['cat', 'dog']\"", "\"['cat']\"")], ids=["bar", "list"]
)
def test_several_labels_a_picture_make_it_multilabel(folder: Path, cells: tuple[str, str]) -> None:
    (folder / "t.csv").write_text(f"file,label\na.jpg,{cells[0]}\nd.jpg,{cells[1]}\n")
    dataset = open_dataset(folder)
    assert dataset.is_multilabel
    assert [s.labels for s in dataset] == [("cat", "dog"), ("cat",)]
    assert dataset.classes == ("cat", "dog")


def test_an_empty_cell_among_several_labels_means_none(folder: Path) -> None:
    (folder / "t.csv").write_text("file,label\na.jpg,cat|dog\nd.jpg,\n")
    dataset = open_dataset(folder)
    assert labels(dataset)["d.jpg"] == ""
    assert any("none of the classes" in note for note in dataset.notes)


def test_rows_without_label_or_file_are_listed(folder: Path) -> None:
    (folder / "t.csv").write_text(
        "file,label\na.jpg,cat\nd.jpg,\nb c.jpg,dog\nnone.jpg,cat\nno/ne.jpg,dog\n,cat\n"
    )
    dataset = open_dataset(folder)
    assert labels(dataset) == {"a.jpg": "cat", "b c.jpg": "dog"}
    assert {(f.kind, f.severity, f.ids) for f in dataset.findings} == {
        ("missing-file", "error", ("none.jpg", "no/ne.jpg", "t.csv, row 6: no path")),
        ("missing-label", "warning", ("d.jpg",)),
    }


def test_when_no_file_exists_all_rows_are_listed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,label\na.jpg,cat\nb.jpg,dog\n")
    (finding,) = open_dataset(tmp_path / "t.csv").findings
    assert finding.ids == ("a.jpg", "b.jpg")


def test_a_picture_in_two_rows_is_one_sample_or_a_conflict(folder: Path) -> None:
    (folder / "t.csv").write_text("file,label\na.jpg,cat\na.jpg,cat\nd.jpg,dog\nd.jpg,cat\n")
    dataset = open_dataset(folder)
    assert labels(dataset) == {"a.jpg": "cat", "d.jpg": "dog", "d.jpg#2": "cat"}
    assert [f.kind for f in dataset.findings] == ["repeated-row"]


def test_a_split_column_is_honoured(folder: Path) -> None:
    (folder / "t.csv").write_text("file,label,split\na.jpg,cat,Train\nd.jpg,dog,dev\n")
    assert [s.split for s in open_dataset(folder)] == ["train", "validation"]
    (folder / "t.csv").write_text("file,label,split\na.jpg,cat,train\nd.jpg,dog,fold7\n")
    with pytest.raises(DataError, match=r"fold7.*rename the column"):
        open_dataset(folder)


def test_absolute_paths_and_paths_upward_are_followed(folder: Path) -> None:
    inner = folder / "tables"
    inner.mkdir()
    (inner / "t.csv").write_text(
        f"file,label\n{folder / 'a.jpg'},cat\n../d.jpg,dog\n", encoding="utf-8"
    )
    dataset = open_dataset(inner / "t.csv")
    assert labels(dataset) == {"../a.jpg": "cat", "../d.jpg": "dog"}
    assert all(s.path.is_file() for s in dataset)


def test_backslashes_and_a_folder_of_pictures_beside_the_table_are_understood(
    tmp_path: Path,
) -> None:
    (tmp_path / "images" / "x").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / "x" / name)
    (tmp_path / "t.csv").write_text("file,label\nx\\a.jpg,cat\n.\\x\\b.jpg,dog\n")
    dataset = open_dataset(tmp_path)
    assert labels(dataset) == {"images/x/a.jpg": "cat", "images/x/b.jpg": "dog"}
    assert any("relative to images/" in note for note in dataset.notes)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_metadata_beside_the_pictures_is_read_in_every_split(tmp_path: Path, suffix: str) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        rows = []
        for name, label in (("a.jpg", "cat"), ("b.jpg", "dog")):
            Image.new("RGB", (4, 4)).save(tmp_path / split / name)
            rows.append({"file_name": name, "label": label})
        text = "file_name,label\n" + "".join(f"{r['file_name']},{r['label']}\n" for r in rows)
        text = text if suffix == "csv" else "\n".join(map(json.dumps, rows))
        (tmp_path / split / f"metadata.{suffix}").write_text(text)
    dataset = open_dataset(tmp_path)
    assert dataset.format == "metadata-table"
    assert [(s.id, s.label, s.split) for s in dataset] == [
        ("test/a.jpg", "cat", "test"),
        ("test/b.jpg", "dog", "test"),
        ("train/a.jpg", "cat", "train"),
        ("train/b.jpg", "dog", "train"),
    ]


def test_tables_named_after_splits_are_read_together(folder: Path) -> None:
    (folder / "train.csv").write_text("file,label\na.jpg,cat\nb c.jpg,dog\n")
    (folder / "test.csv").write_text("file,label\nd.jpg,dog\n")
    dataset = open_dataset(folder)
    assert [(s.id, s.split) for s in dataset] == [
        *(("a.jpg", "train"), ("b c.jpg", "train"), ("d.jpg", "test"))
    ]


def test_a_table_beside_class_folders_is_not_taken_for_labels(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "a.jpg")
    (tmp_path / "prices.csv").write_text("item,price\nbread,3\nmilk,2\n")
    assert open_dataset(tmp_path).format == "class-folders"


def test_groups_come_from_a_column_or_a_pattern(folder: Path) -> None:
    (folder / "t.csv").write_text("file,label,patient\na.jpg,cat,7\nd.jpg,dog,7\nb c.jpg,dog,\n")
    dataset = open_dataset(folder, group="patient")
    assert {s.id: s.group for s in dataset} == {"a.jpg": "7", "d.jpg": "7", "b c.jpg": None}
    told = "puts the samples into 1 group; 1 sample with an empty cell: each is a group of its own."
    assert f"Column `patient` {told}" in dataset.notes
    assert {s.group for s in open_dataset(folder, group="^(.)")} == {"a", "b", "d"}
    with pytest.raises(DataError, match="does not match 1 file of 3: `b c"):
        open_dataset(folder, group="^([ad])")
    with pytest.raises(DataError, match="Did you mean `patient`"):
        open_dataset(folder, group="patiens")


def test_a_wrong_column_names_the_right_ones(folder: Path) -> None:
    (folder / "t.csv").write_text("file,kind,label\na.jpg,x,cat\nd.jpg,y,dog\n")
    assert open_dataset(folder, label_column="kind").classes == ("x", "y")
    with pytest.raises(DataError, match=r"--image-column fil`\).*Did you mean `file`"):
        open_dataset(folder, image_column="fil")
    with pytest.raises(DataError, match=r"no column `lable`.*`file`, `kind`, `label`"):
        open_dataset(folder, label_column="lable")
    with pytest.raises(DataError, match="cannot hold both"):
        open_dataset(folder, label_column="file")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"file,label\n", "has no rows"),
        ("t.csv", b"file\na.jpg\n", "single column"),
        ("t.csv", b"file,label\na.jpg,cat\nd.jpg,dog,brown\n", "line 3 has 3"),
        ("t.csv", b"label,label\nd.jpg,dog\n", "more than once"),
        (
            "t.csv",
            b"code,label\n12,cat\n13,dog\n",
            "No column of .* texts, and none holds paths of existing",
        ),
        ("t.jsonl", b'{"file": "a.jpg", "label": "x"}\n{oops\n', "Line 2 of .* is no JSON"),
        ("t.jsonl", b"[1]\n", "Line 1 of .* is a list"),
        ("t.jsonl", b'{"file": "a.jpg", "label": {"a": 1}}\n', "a name, a number or a list"),
        ("t.parquet", b"PAR1 nonsense", "is no Parquet file"),
        ("t.docx", b"x", "is no table: its suffix is `.docx`"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(
    folder: Path, name: str, content: bytes, message: str
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_dataset(folder / name)


def test_pictures_inside_a_parquet_file_are_pointed_out(folder: Path) -> None:
    rows = [{"image": {"bytes": b"x", "path": "a.jpg"}, "file": "a.jpg", "label": "x"}]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "t.parquet")
    dataset = open_dataset(folder / "t.parquet")
    assert any("`image` of t.parquet holds binary data" in note for note in dataset.notes)
