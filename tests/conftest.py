"""Fixtures for all tests: a cache of their own, real data where it can be had, tiny pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.openmp import wait_briefly

wait_briefly(os.environ)  # as the command does, before torch is imported

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that only this test session uses, so that no test leans on an earlier one."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("HEADSTART_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def any_speed_is_remembered() -> Iterator[None]:
    """The first speed that is measured is kept, however busy the machine.

    So two fits that must give the same bits compute in one format.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.compute._STEADY", math.inf)
        yield


@pytest.fixture(scope="session")
def ants_bees() -> Path:
    """398 real photos in train/ and val/, two classes."""
    path = SHARED_DATA / "ants-bees"
    if not path.is_dir():
        pytest.skip("needs ../shared/data/ants-bees, which is not there")
    return path


@pytest.fixture(scope="session")
def amazon_forest() -> Path:
    """45 Sentinel-2 chips with masks of forest in train/ and val/, one mask of a wrong size."""
    path = SHARED_DATA / "amazon-forest"
    if not path.is_dir():
        pytest.skip("needs ../shared/data/amazon-forest, which is not there")
    return path


@pytest.fixture(scope="session")
def trec() -> Path:
    """5,952 questions of six classes, as train.csv and test.csv."""
    path = SHARED_DATA / "trec"
    if not path.is_dir():
        pytest.skip("needs ../shared/data/trec, which is not there")
    return path


@pytest.fixture(scope="session")
def sst2() -> Path:
    """9,613 sentences of film reviews, two classes, as train.csv, dev.csv and test.csv."""
    path = SHARED_DATA / "sst2"
    if not path.is_dir():
        pytest.skip("needs ../shared/data/sst2, which is not there")
    return path


@pytest.fixture(scope="session")
def geo() -> Any:
    """The module `tests/georeferenced.py`: scenes and polygons on them."""
    import georeferenced

    return georeferenced


def draw_picture(class_index: int, seed: int, *, size: tuple[int, int] = (40, 48)) -> Image.Image:
    """A small noisy picture whose colour and stripes tell its class. `size` is (width, height)."""
    rng = np.random.default_rng([class_index, seed])
    width, height = size
    colours = np.array([[200, 60, 60], [60, 180, 70], [70, 80, 210], [200, 190, 60]])
    pixels = np.tile(colours[class_index % 4], (height, width, 1)).astype(float)
    pixels += 40 * np.sin(np.arange(width) * (class_index + 1) / 3)[None, :, None]
    pixels += rng.normal(0, 25, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def make_photos(tmp_path: Path) -> Callable[..., Path]:
    """Builds class folders of tiny pictures: `make_photos({"cat": 6, "dog": 5})`."""

    def make(counts: dict[str, int], *, name: str = "photos", split: str = "") -> Path:
        root = tmp_path / name
        for index, (label, count) in enumerate(counts.items()):
            folder = root / split / label
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                seed = i + (1000 if split else 0) + sum(map(ord, split))
                draw_picture(index, seed).save(folder / f"{label}_{i:03}.png")
        return root

    return make
