from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rasterio.transform import Affine

from headstart.inspecting import inspect


def draw(path: Path, seed: int, *, quality: int = 90) -> None:
    blobs = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blobs).resize((96, 96), Image.Resampling.BICUBIC).save(path, quality=quality)


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """train/ and test/ with one equal and one re-encoded picture in both."""
    for split, first in (("train", 0), ("test", 100)):
        for i in range(20):
            draw(tmp_path / "d" / split / "ab"[i % 2] / f"patient_{first + i}.jpg", first + i)
    draw(tmp_path / "d" / "test" / "a" / "patient_200.jpg", 4, quality=30)
    shutil.copy(
        tmp_path / "d" / "train" / "b" / "patient_5.jpg",
        tmp_path / "d" / "test" / "b" / "patient_300.jpg",
    )
    return tmp_path / "d"


def test_an_option_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no option `label_colum`"):
        inspect(tmp_path, label_colum="kind")  # type: ignore[call-arg]


def test_a_ready_made_test_is_checked_and_shown(leaking: Path, tmp_path: Path) -> None:
    found = inspect(leaking, output=tmp_path / "page.html")
    kinds = {f.kind: f.ids for f in found.findings}
    near = ("test/a/patient_200.jpg", "train/a/patient_4.jpg")
    assert kinds["leaked-near-duplicate"] == kinds["near-duplicate"] == near
    assert kinds["leaked-duplicate"] == ("test/b/patient_300.jpg", "train/b/patient_5.jpg")
    assert {(leak.id, leak.kind) for leak in found.leaks} == {
        ("test/a/patient_200.jpg", "near-duplicate"),
        ("test/b/patient_300.jpg", "same-file"),
    }
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "2 samples of the test also stand, or nearly" in page
    assert "Same file" in page


def test_named_groups_are_checked_too(leaking: Path) -> None:
    found = inspect(leaking, group=r"patient_\d*(\d)\.")
    kinds = [f.kind for f in found.findings]
    assert "leaked-group" in kinds
    assert len(found.leaks) == 22


def test_what_would_stop_the_split_is_told_and_stops_no_inspection(
    make_photos: Callable[..., Path],
) -> None:
    found = inspect(make_photos({"cat": 4, "dog": 4}), group="(cat|dog)")
    assert "Each class needs one group to learn from" in found.split_reason
    assert found.counts == {"all": {"cat": 4, "dog": 4}}


@pytest.mark.parametrize(
    ("reading", "told"),
    [
        ({}, "4 bands without names"),
        ({"bands": ("1", "2", "3", "4")}, "The unit of"),
        ({"bands": ("1", "2", "3", "4"), "units": "dn10000"}, ""),
    ],
)
def test_bands_and_units_that_stop_a_fit_are_told(
    tmp_path: Path, geo: Any, reading: Any, told: str
) -> None:
    generator = np.random.default_rng(0)
    for i in range(6):
        values = generator.integers(100, 4000, (4, 24, 24)).astype(np.uint16)
        place = geo.PLACE * Affine.translation(100 * i, 0)
        geo.write_scene(tmp_path / "images" / f"{i}.tif", values, transform=place)
        (tmp_path / "masks").mkdir(exist_ok=True)
        mask = np.ones((24, 24), np.uint8)
        mask[:, 6 + i :] = 2
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    findings = [f for f in inspect(tmp_path, **reading).findings if f.kind == "bands-or-units"]
    assert [told in f.message and f.severity == "error" for f in findings] == [True] * bool(told)
