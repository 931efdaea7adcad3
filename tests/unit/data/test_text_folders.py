from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from headstart.data import open_dataset, text_rows
from headstart.errors import DataError


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def test_a_folder_a_class_is_read_each_file_a_text(tmp_path: Path) -> None:
    files = {
        "good/a.txt": b"\xef\xbb\xbffine\r\nfilm ",
        "good/sub/b.txt": b"nice",
        "bad/1.TXT": b"",
    }
    dataset = open_dataset(write(tmp_path, files))
    assert (dataset.format, dataset.task) == ("text-folders", "text-classification")
    assert {s.id: (s.label, s.text) for s in dataset} == {
        "bad/1.TXT": ("bad", ""),
        "good/a.txt": ("good", "fine\nfilm"),
        "good/sub/b.txt": ("good", "nice"),
    }


def test_split_folders_and_groups_are_honoured(tmp_path: Path) -> None:
    files = {f"{s}/{c}/{i}_x.txt": b"words" for s in ("train", "dev") for c in "ab" for i in (1, 2)}
    dataset = open_dataset(write(tmp_path, files), group=r"(\d)_x")
    assert {s.split for s in dataset} == {"train", "validation"}
    assert {s.group for s in dataset} == {"1", "2"}
    assert sum("puts the samples into" in note for note in dataset.notes) == 1


def test_a_bar_in_the_name_of_a_class_is_no_second_label(tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, {"a|b/1.txt": b"one", "c/1.txt": b"two"}))
    assert dataset.classes == ("a|b", "c")
    assert not dataset.is_multilabel


def test_files_of_other_encodings_are_read_and_told_once(tmp_path: Path) -> None:
    files = {f"{c}/{i}.txt": "größer".encode("latin-1") for c in "ab" for i in range(3)}
    dataset = open_dataset(write(tmp_path, files))
    assert {s.text for s in dataset} == {"größer"}
    (note,) = dataset.notes
    assert "5 other files of another encoding" in note


def test_what_is_no_text_or_in_no_class_is_told(tmp_path: Path) -> None:
    files = {"a/1.txt": b"one", "b/1.txt": b"two", "b/2.pdf": b"x", "loose.txt": b"three"}
    findings = open_dataset(write(tmp_path, files)).findings
    assert {f.kind: f.ids for f in findings} == {
        "no-class": ("loose.txt",),
        "not-a-text": ("b/2.pdf",),
    }
    assert "1 text outside the class folders" in findings[0].message


def test_pictures_with_texts_beside_them_are_pictures(tmp_path: Path) -> None:
    write(tmp_path, {"a/1.txt": b"caption one", "b/1.txt": b"caption two"})
    for name in "ab":
        Image.new("RGB", (4, 4)).save(tmp_path / name / "1.png")
    assert open_dataset(tmp_path).format == "class-folders"


def test_texts_without_a_class_are_no_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No labelled data"):
        open_dataset(write(tmp_path, {"docs/1.txt": b"one", "docs/2.txt": b"two"}))


def test_a_column_of_class_folders_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, {"a/1.txt": b"one", "b/1.txt": b"two"})
    with pytest.raises(DataError, match="--text-column body"):
        open_dataset(root, text_columns=("body",))


def test_of_too_many_files_an_even_sample_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {f"{c}/{i}.txt": b"words" for c in "ab" for i in range(100)})
    monkeypatch.setattr(text_rows, "MAX_TEXTS", 50)
    dataset = open_dataset(tmp_path)
    assert 40 <= len(dataset) <= 50
    assert any("200 texts are more" in note for note in dataset.notes)


def test_names_in_another_encoding_are_named(tmp_path: Path) -> None:
    for name in ("a/1.txt", "b/2.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a text")
    try:
        (tmp_path / "a" / os.fsdecode(b"caf\xe9.txt")).write_text("a text")
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(DataError, match=r"1 name .* such as `a/caf\\xe9\.txt`.*convmv"):
        open_dataset(tmp_path)
