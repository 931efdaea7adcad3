from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart import cli
from headstart.config import FitOptions
from headstart.errors import ConfigError
from headstart.inspect_options import InspectOptions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten photos with masks of the values 1, 2 and 9."""
    for i in range(10):
        rng = np.random.default_rng(i)
        pixels = np.kron(rng.integers(0, 255, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        mask = np.kron(rng.choice([1, 2, 9], (4, 4)), np.ones((8, 8))).astype(np.uint8)
        for part, values in (("images", pixels), ("masks", mask)):
            (tmp_path / "d" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(tmp_path / "d" / part / f"{i}.png")
    return tmp_path / "d"


def test_options_of_data_are_those_of_a_fit() -> None:
    shared = InspectOptions.model_fields.keys() - {"output", "augment"}
    assert shared <= FitOptions.model_fields.keys()
    fit = InspectOptions(ignore_value=("0", "#ff0000"), seed=3, augment="light").as_fit()
    assert fit == FitOptions(ignore_value=(0, 0xFF0000), seed=3)
    assert InspectOptions().as_fit() == FitOptions()


@pytest.mark.parametrize("wrong", [{"ignore_value": ("void",)}, {"bands": ("B02", "B02")}])
def test_a_wrong_value_is_refused_as_by_a_fit(wrong: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(wrong))}` cannot be"):
        InspectOptions(**wrong).as_fit()


def test_what_is_ignored_is_no_class_of_an_inspection(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["inspect", str(folder), "--ignore-value", "9", "--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert "The values in the masks are the classes: 1, 2." in out
    assert "makes a fit impossible" not in out
    assert cli.run(["inspect", str(folder), "--ignore-value", "9,7"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "No mask has the value 7 that --ignore-value gives" in out
    assert cli.run(["inspect", str(folder), "--ignore-value", "void"]) == 2
    assert "such as 0,255" in capsys.readouterr().err


def test_a_class_that_train_lacks_is_told_by_an_inspection(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(10):
        split = "train" if i < 8 else "test"
        for part in ("images", "masks"):
            path = folder.parent / "e" / split / part / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / part / f"{i}.png").rename(path)
        if split == "train":
            mask = np.asarray(Image.open(path)).copy()
            mask[mask == 9] = 1
            Image.fromarray(mask).save(path)
    assert cli.run(["inspect", str(folder.parent / "e")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "1 of 3 classes without a pixel in train: 9 (" in out
    assert "in test)" in out
