"""From a folder to samples that can be fitted, each in its split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.config import make_options
from headstart.errors import DataError, RunError
from headstart.fitting.preparing import (
    NO_TIME,
    UNUSABLE,
    PreparedData,
    as_when_begun,
    prepare_data,
    seen_through,
)
from headstart.progress import Event, Progress
from headstart.rundir import RunFolder

MakePhotos = Callable[..., Path]


def prepared(path: Path, **options: object) -> PreparedData:
    return prepare_data(path, make_options(options), decode=False, progress=Progress())


def test_each_sample_is_in_one_split(make_photos: MakePhotos) -> None:
    data = prepared(make_photos({"cat": 20, "dog": 20}))
    parts = [data.samples(name) for name in ("train", "validation", "test")]
    assert sorted(s.id for part in parts for s in part) == sorted(s.id for s in data.dataset)
    assert all(parts)


def test_samples_that_are_left_out_are_in_no_split(make_photos: MakePhotos) -> None:
    data = prepared(make_photos({"cat": 20, "dog": 20}))
    gone = data.samples("train")[0]
    data.note_unreadable(gone, DataError("broken"))
    assert gone.id not in {s.id for s in data.samples("train", "validation", "test")}
    assert data.left_out == {gone.id: "broken"}


def test_what_cannot_be_used_stops_or_is_left_out(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 10, "dog": 10})
    (root / "cat" / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.png"):
        prepared(root)
    data = prepared(root, on_bad="skip")
    assert list(data.left_out) == ["cat/empty.png"]
    assert "cat/empty.png" not in {sample.id for sample in data.dataset}


def test_near_duplicates_never_straddle_a_split(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 12, "dog": 12})
    for path in sorted((root / "cat").glob("*.png"))[:6]:
        with Image.open(path) as picture:
            picture.save(path.with_name(f"{path.stem}_again.jpg"), quality=95)
    data = prepared(root)
    assert data.near.pairs
    split_of = data.split.assignment
    assert all(split_of[pair.first] == split_of[pair.second] for pair in data.near.pairs)


def test_what_is_alike_in_test_and_training_is_told_and_not_moved(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    drawn, root = make_photos({"cat": 12, "dog": 12}), tmp_path / "given"
    for number, path in enumerate(sorted(drawn.glob("*/*.png"))):
        split = "test" if number % 4 == 0 else "train"
        place = root / split / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            picture.save(place)
            if split == "test":
                copy = root / "train" / path.parent.name / f"{path.stem}_again.jpg"
                copy.parent.mkdir(parents=True, exist_ok=True)
                picture.save(copy, quality=90)
    data = prepared(root)
    generator = torch.Generator().manual_seed(0)
    features = {s.id: torch.randn(32, generator=generator) for s in data.dataset}
    seen = seen_through(data, features, progress=Progress())
    assert seen.split.assignment == data.split.assignment
    split_of = seen.split.assignment
    torn = {
        id_
        for pair in seen.near.pairs
        for id_ in (pair.first, pair.second)
        if {split_of[pair.first], split_of[pair.second]} > {"test"} and split_of[id_] == "test"
    }
    assert torn
    assert torn <= {leak.id for leak in seen.leaks}


@pytest.fixture
def begun(make_photos: MakePhotos, tmp_path: Path) -> tuple[PreparedData, RunFolder]:
    """Data, and a run that was begun with it and without one sample."""
    data = prepared(make_photos({"cat": 10, "dog": 10}))
    folder = RunFolder(tmp_path)
    left_out = [data.samples("train")[0].id]
    values = {"fingerprint": data.checkup.fingerprint, "left_out": left_out}
    folder.write_json(folder.dataset, values)
    assignment = {id_: {"split": name} for id_, name in data.split.assignment.items()}
    folder.write_json(folder.split, {"assignment": assignment})
    return data, folder


def test_what_a_fit_began_without_stays_out(begun: tuple[PreparedData, RunFolder]) -> None:
    data, folder = begun
    gone = data.samples("train")[0].id
    again = as_when_begun(data, folder)
    assert set(again.left_out) == {gone}
    assert gone not in {sample.id for sample in again.samples("train")}


def test_why_a_fit_began_without_something_is_remembered(
    begun: tuple[PreparedData, RunFolder],
) -> None:
    data, folder = begun
    unread, bad = (sample.id for sample in data.samples("train")[:2])
    values = folder.read_json(folder.dataset)
    values |= {"left_out": [unread, bad]}
    values |= {"left_out_because": {unread: NO_TIME, bad: "`a.jpg` cannot be decoded."}}
    folder.write_json(folder.dataset, values)
    again = as_when_begun(data, folder)
    assert again.left_out == {unread: NO_TIME, bad: UNUSABLE}
    assert set(again.with_unread().left_out) == {bad}


def test_other_pictures_or_splits_are_not_taken_up(begun: tuple[PreparedData, RunFolder]) -> None:
    data, folder = begun
    changed = replace(data.checkup, fingerprint="another")
    with pytest.raises(RunError, match="is not what it was"):
        as_when_begun(replace(data, checkup=changed), folder)
    first = next(iter(data.split.assignment))
    other = "train" if data.split.assignment[first] == "test" else "test"
    moved = {**data.split.assignment, first: other}
    with pytest.raises(RunError, match="Fit anew"):
        as_when_begun(replace(data, split=replace(data.split, assignment=moved)), folder)


def told_of_masks(root: Path, *, values: dict[str, tuple[int, ...]]) -> list[str]:
    """What is told of chips with masks whose classes are soil, forest and water."""
    for split, in_masks in values.items():
        for number in range(3):
            rng = np.random.default_rng([number, len(split)])
            for kind in ("images", "masks"):
                (root / split / kind).mkdir(parents=True, exist_ok=True)
            mask = np.repeat(np.array(in_masks, np.uint8), 32 // len(in_masks))
            mask = np.tile(mask, (len(mask), 1))
            picture = rng.integers(0, 255, (*mask.shape, 3), dtype=np.uint8)
            Image.fromarray(picture).save(root / split / "images" / f"{split}{number}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{split}{number}.png")
    (root / "classes.txt").write_text("0 soil\n1 forest\n2 water\n", encoding="utf-8")
    told: list[str] = []

    class Sink:
        def handle(self, event: Event) -> None:
            told.append(event.message)

    prepare_data(root, make_options({}), decode=False, progress=Progress([Sink()]))
    return [message for message in told if "water" in message]


def test_a_class_that_no_training_mask_has_is_told_once(tmp_path: Path) -> None:
    (told,) = told_of_masks(
        tmp_path, values={"train": (0, 1), "val": (0, 1, 2, 2), "test": (0, 1, 2, 2)}
    )
    assert "without a pixel in train: water" in told


def test_a_class_that_no_mask_has_is_told_once(tmp_path: Path) -> None:
    (told,) = told_of_masks(tmp_path, values=dict.fromkeys(("train", "val", "test"), (0, 1)))
    assert "without a pixel in any mask: water" in told


def test_a_class_that_no_test_mask_has_is_told_once(tmp_path: Path) -> None:
    (told,) = told_of_masks(
        tmp_path, values={"train": (0, 1, 2, 2), "val": (0, 1, 2, 2), "test": (0, 1)}
    )
    assert "no test sample and cannot be measured: water" in told
