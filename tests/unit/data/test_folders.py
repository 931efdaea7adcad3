from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from headstart.contracts import Dataset
from headstart.data import FORMATS, find_pictures, open_dataset
from headstart.errors import DataError

Photos = Callable[..., Path]


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


def findings(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.ids for finding in dataset.findings}


def test_flat_class_folders_are_read(make_photos: Photos) -> None:
    dataset = open_dataset(make_photos({"cat": 3, "dog": 2}))
    assert dataset.format == "class-folders"
    assert dataset.classes == ("cat", "dog")
    assert [s.id for s in dataset][:2] == ["cat/cat_000.png", "cat/cat_001.png"]
    assert [s.label for s in dataset] == ["cat"] * 3 + ["dog"] * 2
    assert all(s.path.is_file() and s.split is None for s in dataset)
    assert "a folder of pictures a class: cat, dog" in dataset.reason
    assert dataset.findings == ()


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("val", "validation"),
        ("Valid", "validation"),
        ("validation", "validation"),
        ("TEST", "test"),
    ],
)
def test_split_folders_are_known_by_any_of_their_names(
    make_photos: Photos, name: str, split: str
) -> None:
    make_photos({"cat": 2, "dog": 2}, split="Train")
    root = make_photos({"cat": 1, "dog": 1}, split=name)
    dataset = open_dataset(root)
    assert dataset.classes == ("cat", "dog")
    assert {s.split for s in dataset} == {"train", split}
    assert sum(s.split == split for s in dataset) == 2


def test_nested_folders_belong_to_their_class(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "2023" / "may" / "a.jpg")
    put(tmp_path / "dog" / "b.jpg")
    dataset = open_dataset(tmp_path)
    assert [(s.id, s.label) for s in dataset] == [
        ("cat/2023/may/a.jpg", "cat"),
        ("dog/b.jpg", "dog"),
    ]


def test_unicode_and_spaces_in_names_are_fine(tmp_path: Path) -> None:
    put(tmp_path / "schöne Katze" / "été 1 (Kopie).jpg")
    put(tmp_path / "犬" / "写真 2.png")
    assert open_dataset(tmp_path).classes == ("schöne Katze", "犬")


def test_litter_of_operating_systems_is_passed_over(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        put(tmp_path / name / "a.jpg")
        put(tmp_path / name / ".hidden.jpg")
        for litter in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (tmp_path / name / litter).write_text("x")
    put(tmp_path / "__MACOSX" / "cat" / "a.jpg")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 2
    assert dataset.findings == ()


def test_what_is_amiss_in_the_layout_is_found_at_once(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "a.jpg")
    put(tmp_path / "dog" / "b.jpg")
    (tmp_path / "dog" / "notes.txt").write_text("x")
    (tmp_path / "README.txt").write_text("is no trouble")
    (tmp_path / "bird").mkdir()
    put(tmp_path / "loose.jpg")
    dataset = open_dataset(tmp_path)
    assert findings(dataset) == {
        "no-class": ("loose.jpg",),
        "not-a-picture": ("dog/notes.txt",),
        "empty": ("bird",),
    }
    assert dataset.classes == ("cat", "dog")
    assert {f.severity for f in dataset.findings} == {"warning"}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere" / "c.jpg").parent
    root = tmp_path / "photos"
    put(root / "train" / "cat" / "a.jpg")
    (root / "train" / "dog").symlink_to(elsewhere)
    (root / "train" / "cat" / "again").symlink_to(root)
    (root / "train" / "cat" / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    dataset = open_dataset(root)
    assert [s.id for s in dataset] == ["train/cat/a.jpg", "train/dog/c.jpg"]
    assert findings(dataset) == {
        "looping-link": ("train/cat/again",),
        "missing-file": ("train/cat/broken.jpg",),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_two_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    put(tmp_path / "a" / "x.jpg")
    put(tmp_path / "b" / "y.jpg")
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    dataset = open_dataset(tmp_path)
    assert {s.id for s in dataset} == {"a/x.jpg", "a/to_b/y.jpg", "b/y.jpg", "b/to_a/x.jpg"}
    assert len(findings(dataset)["looping-link"]) == 2


def test_split_and_class_folders_mixed_are_refused(make_photos: Photos) -> None:
    make_photos({"cat": 1}, split="train")
    with pytest.raises(DataError, match=r"mixes split folders \(train\).*\(dog\).*rename"):
        open_dataset(make_photos({"dog": 1}))


def test_pictures_right_under_train_are_refused_with_where_to_put_them(tmp_path: Path) -> None:
    put(tmp_path / "train" / "a.jpg")
    with pytest.raises(DataError, match=r"train/CLASS/a.jpg"):
        open_dataset(tmp_path)


def test_one_folder_too_few_is_pointed_out(tmp_path: Path) -> None:
    put(tmp_path / "photos" / "cat" / "a.jpg")
    put(tmp_path / "photos" / "dog" / "b.jpg")
    (note,) = open_dataset(tmp_path).notes
    assert str(tmp_path / "photos") in note


def test_a_missing_path_names_the_nearest(make_photos: Photos, tmp_path: Path) -> None:
    make_photos({"cat": 1})
    with pytest.raises(DataError, match=r"Did you mean .*photos"):
        open_dataset(tmp_path / "fotos")
    with pytest.raises(DataError, match="no `nothing`"):
        open_dataset(tmp_path / "nothing" / "below")


def test_an_empty_folder_lists_the_layouts_that_are_understood(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty") as caught:
        open_dataset(tmp_path)
    assert all(layout.layout in str(caught.value) for layout in FORMATS.values())


def test_a_folder_of_other_files_is_described(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.txt").write_text("x")
    with pytest.raises(DataError, match=r"holds 12 .txt files and no pictures"):
        open_dataset(tmp_path)


def test_pictures_without_labels_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"holds 1 picture.*no label"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="is a single picture"):
        open_dataset(tmp_path / "a.jpg")


def test_a_column_cannot_be_asked_of_class_folders(make_photos: Photos) -> None:
    with pytest.raises(DataError, match="`--label-column kind` names a column"):
        open_dataset(make_photos({"cat": 1, "dog": 1}), label_column="kind")


def test_groups_come_from_a_pattern_on_names(tmp_path: Path) -> None:
    for name in ("cat/p1_a.jpg", "cat/p1_b.jpg", "dog/p2_a.jpg"):
        put(tmp_path / name)
    dataset = open_dataset(tmp_path, group=r"p(\d+)_")
    assert {s.id: s.group for s in dataset} == {
        "cat/p1_a.jpg": "1",
        "cat/p1_b.jpg": "1",
        "dog/p2_a.jpg": "2",
    }
    assert any("2 groups" in note for note in dataset.notes)


@pytest.mark.parametrize("pattern", [r"p(\d+)_", r"(?:p(\d+)_)?\.jpg$", r"p(\d*)|other"])
def test_files_without_a_group_are_refused_by_name(tmp_path: Path, pattern: str) -> None:
    for name in ("cat/p1_", "cat/p2_", "dog/other"):
        put(tmp_path / f"{name}.jpg")
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path, group=pattern)
    assert "does not match 1 file of 3: `dog/other.jpg`" in str(caught.value)
    assert "Widen the pattern" in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("patient", "has no bracket"),
        (r"(\d)(\d)", "has 2 brackets"),
        ("(", "is no pattern"),
        (r"patient_(\d+)", "matches none of 2 samples, such as `cat/cat_000.png`"),
    ],
)
def test_a_pattern_that_cannot_group_is_refused(
    make_photos: Photos, pattern: str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(make_photos({"cat": 1, "dog": 1}), group=pattern)
    assert message in str(caught.value)
    assert "is needed" in str(caught.value)


def test_pictures_to_predict_on_come_from_folders_files_and_patterns(tmp_path: Path) -> None:
    a, b = put(tmp_path / "new" / "a.jpg"), put(tmp_path / "new" / "deep" / "b.png")
    (tmp_path / "new" / "c.txt").write_text("x")
    odd = tmp_path / "odd.dat"
    odd.write_bytes(a.read_bytes())
    assert [s.path for s in find_pictures([tmp_path / "new"])] == [a, b]
    assert [s.path for s in find_pictures([odd, str(tmp_path / "new" / "*.jpg")])] == [odd, a]
    assert [s.path for s in find_pictures([str(tmp_path / "new" / "**")])] == [a, b]
    assert [s.path for s in find_pictures([a, tmp_path / "new", a])] == [a, b]
    assert all(s.labels == () for s in find_pictures([a]))


def test_an_id_of_a_picture_to_predict_on_is_its_path_as_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "new" / "a.jpg")
    monkeypatch.chdir(tmp_path)
    assert [s.id for s in find_pictures(["new"])] == ["new/a.jpg"]


def test_nothing_to_predict_on_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"holds 1 .txt file and no pictures"):
        find_pictures([tmp_path])
    with pytest.raises(DataError, match="none of them a picture"):
        find_pictures([str(tmp_path / "*")])
    with pytest.raises(DataError, match="no file or folder"):
        find_pictures([tmp_path / "b.jpg"])
    with pytest.raises(DataError, match="empty list"):
        find_pictures([])


def test_real_photos_are_read_as_published(ants_bees: Path) -> None:
    dataset = open_dataset(ants_bees)
    assert len(dataset) == 398
    assert dataset.classes == ("ants", "bees")
    assert sum(s.split == "validation" for s in dataset) == 153
