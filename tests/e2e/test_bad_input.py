"""Folders with everything wrong with them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

TINY = ("--backbone", "timm:test_resnet.r160_in1k", "--weights", "random")

Command = Callable[..., Any]


def noise(seed: int, *shape: int, most: int = 256) -> Any:
    return np.random.default_rng(seed).integers(0, most, shape)


@pytest.fixture
def strange(photos: Path, tmp_path: Path) -> Path:
    """Names and kinds of pictures that are unusual, and all right."""
    root = tmp_path / "Größe & Maß"
    cats, dogs = root / "Kätzchen 1", root / "犬"
    shutil.copytree(photos / "cat", cats)
    shutil.copytree(photos / "dog", dogs)
    rgb = Image.fromarray(noise(1, 40, 48, 3).astype(np.uint8))
    rgb.quantize(16).save(cats / "palette with space.png")
    rgb.quantize(16).save(cats / "palette.gif", save_all=True, append_images=[rgb.rotate(90)])
    rgb.convert("CMYK").save(cats / "cmyk.jpg")
    Image.fromarray(noise(2, 40, 48, most=65536).astype(np.uint16)).save(dogs / "sixteen.png")
    Image.fromarray(noise(3, 40, 48, 4).astype(np.uint8)).save(dogs / "alpha.webp", lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.rotate(180).save(dogs / "EXIF.JPG", exif=exif)
    rgb.convert("L").save(dogs / "grey.tif")
    rgb.convert("1").save(dogs / "bits.bmp")
    (dogs / "linked.png").symlink_to(photos / "cat" / "cat_00.png")
    (root / ".DS_Store").write_bytes(b"x")
    return root


@pytest.fixture
def broken(strange: Path) -> Path:
    """The same, with files that cannot be used in it."""
    cats, dogs = strange / "Kätzchen 1", strange / "犬"
    (cats / "empty.jpg").write_bytes(b"")
    (cats / "text.jpg").write_text("this is no picture")
    Image.fromarray(noise(4, 90, 90, 3).astype(np.uint8)).save(cats / "cut.jpg")
    whole = (cats / "cut.jpg").read_bytes()
    (cats / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (dogs / "dangling.png").symlink_to(strange / "nowhere.png")
    whole = (dogs / "dog_01.png").read_bytes()
    damaged = whole[:800] + bytes(200) + whole[1000:]
    (dogs / "damaged inside.png").write_bytes(damaged)  # only decoding shows it
    return strange


EVIDENT = ("empty.jpg", "text.jpg", "cut.jpg")


def test_strange_pictures_are_used_like_any(
    headstart: Command, strange: Path, tmp_path: Path
) -> None:
    run = tmp_path / "a run"
    found = headstart("fit", strange, *TINY, "--output", run)
    assert found.code == 0, found.err
    dataset = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
    assert dataset["num_samples"] == 30 + 9
    assert dataset["left_out"] == []
    assert dataset["classes"] == ["Kätzchen 1", "犬"]
    assert {"duplicate", "conflicting-labels"} & {f["kind"] for f in dataset["findings"]}
    found = headstart("predict", run, strange)
    assert found.code == 0
    assert "palette with space.png" in found.out


def test_everything_wrong_is_listed_at_once(
    headstart: Command, broken: Path, tmp_path: Path
) -> None:
    found = headstart("fit", broken, *TINY, "--output", tmp_path / "run")
    assert found.code == 2
    assert all(name in found.err for name in EVIDENT), found.err
    assert "--on-bad skip" in found.err
    assert "Traceback" not in found.err
    assert not (tmp_path / "run").exists()


def test_what_only_decoding_shows_is_listed_too(
    headstart: Command, broken: Path, tmp_path: Path
) -> None:
    for name in EVIDENT:
        (broken / "Kätzchen 1" / name).unlink()
    (broken / "犬" / "dangling.png").unlink()
    for strategy in ("probe", "scratch"):
        found = headstart(
            *("fit", broken, *TINY, "--strategy", strategy, "--output", tmp_path / strategy)
        )
        assert found.code == 2
        assert "damaged inside.png" in found.err
        assert "--on-bad skip" in found.err


@pytest.mark.parametrize("strategy", ["probe", "full", "gradual"])
def test_what_cannot_be_used_is_left_out_on_request(
    headstart: Command, broken: Path, tmp_path: Path, strategy: str
) -> None:
    run = tmp_path / "run"
    found = headstart(
        *("fit", broken, *TINY, "--on-bad", "skip", "--strategy", strategy, "--epochs", "1"),
        *("--workers", "0", "--output", run),
    )
    assert found.code == 0, found.err
    left_out = json.loads((run / "dataset.json").read_text(encoding="utf-8"))["left_out"]
    names = {id_.rpartition("/")[2] for id_ in left_out}
    assert {*EVIDENT, "damaged inside.png"} <= names
    assert "empty.jpg" in (run / "report.html").read_text(encoding="utf-8")


def test_inspect_finds_it_all(headstart: Command, broken: Path, tmp_path: Path) -> None:
    found = headstart("inspect", broken, "--output", tmp_path / "page.html")
    assert found.code == 0, found.err
    told = found.out + found.err
    assert [n for n in (*EVIDENT, "damaged inside.png") if n not in told] == []
    assert "makes a fit impossible" in told
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert [n for n in (*EVIDENT, "damaged inside.png", "linked.png") if n not in page] == []


def test_every_file_unusable_is_said(headstart: Command, tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "bad" / label).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "bad" / label / f"{i}.jpg").write_bytes(b"")
    for on_bad in ("stop", "skip"):
        found = headstart("fit", tmp_path / "bad", *TINY, "--on-bad", on_bad)
        assert found.code == 2
        assert "Traceback" not in found.err


def one_picture(root: Path, photos: Path) -> None:
    (root / "cat").mkdir(parents=True)
    shutil.copy(photos / "cat" / "cat_00.png", root / "cat")


def one_a_class(root: Path, photos: Path) -> None:
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        shutil.copy(photos / label / f"{label}_00.png", root / label)


def one_class(root: Path, photos: Path) -> None:
    shutil.copytree(photos / "cat", root / "cat")


def no_labels(root: Path, photos: Path) -> None:
    shutil.copytree(photos / "cat", root)


def empty(root: Path, photos: Path) -> None:
    root.mkdir()


def no_pictures(root: Path, photos: Path) -> None:
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "a.txt").write_text("hello")


def nothing(root: Path, photos: Path) -> None:
    pass


def a_picture(root: Path, photos: Path) -> None:
    shutil.copy(photos / "cat" / "cat_00.png", root)


@pytest.mark.parametrize(
    "build",
    [one_picture, one_a_class, one_class, no_labels, empty, no_pictures, nothing, a_picture],
)
def test_what_cannot_be_fitted_is_refused_in_words(
    headstart: Command, photos: Path, tmp_path: Path, build: Callable[[Path, Path], None]
) -> None:
    root = tmp_path / "data"
    build(root, photos)
    found = headstart("fit", root, *TINY, "--output", tmp_path / "run")
    assert found.code == 2, found.err
    assert str(root) in found.err
    assert "Traceback" not in found.err
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_two_pictures_a_class_are_enough(headstart: Command, photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for i in range(2):
            shutil.copy(photos / label / f"{label}_0{i}.png", root / label)
    found = headstart("fit", root, *TINY, "--output", tmp_path / "run")
    assert found.code == 0, found.err


# --- where the run should go ------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_never_overwritten(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    found = headstart("fit", photos, *TINY, "--output", tmp_path)
    assert found.code == 2
    assert "is not empty, and a run never overwrites another" in found.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_said(headstart: Command, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        found = headstart("fit", photos, *TINY, "--output", output)
        assert found.code == 2
        assert re.search(r"Cannot write .* Give --output|give --output", found.err)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_said(headstart: Command, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    found = headstart("fit", photos, *TINY, "--output", tmp_path / "locked" / "run")
    assert found.code == 2
    assert "You may not write there" in found.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(
    headstart: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.fitting import recording

    def full(path: Path, tensors: Any) -> None:
        with Path("/dev/full").open("w") as file:
            file.write("x")

    monkeypatch.setattr(recording, "write_tensors", full)
    found = headstart("fit", photos, *TINY, "--output", tmp_path / "run")
    assert found.code == 2
    assert "The disk is full" in found.err
    assert not list((tmp_path / "run").glob(".model*"))


def test_copies_of_a_picture_that_cannot_be_decoded_are_all_left_out(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    """The end of the file is there, so that only decoding shows the damage."""
    import shutil

    data = tmp_path / "data"
    shutil.copytree(photos, data)
    good = sorted(data.rglob("*.png"))[0]
    content = bytearray(good.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    for name in ("x.png", "y.png", "z.png"):
        (good.parent / name).write_bytes(content)
    stopped = headstart("fit", data, *TINY, "--output", tmp_path / "stopped")
    assert stopped.code == 2
    assert all(name in stopped.err for name in ("x.png", "y.png", "z.png"))
    skipped = headstart("fit", data, *TINY, "--on-bad", "skip", "--output", tmp_path / "skipped")
    assert skipped.code == 0, skipped.err


def test_a_fit_that_could_not_begin_leaves_its_place_free(
    photos: Path, headstart: Command, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "mine"
    wrong = headstart("fit", photos, "--backbone", "timm:no_such_model", "--output", run)
    assert wrong.code == 2
    assert "no_such_model" in wrong.err
    assert not run.exists()
    done = headstart("fit", photos, *TINY, "--strategy", "probe", "--output", run)
    assert done.code == 0, done.err
