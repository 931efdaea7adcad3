"""One scene and a file of polygons become a model, a report, and a measure on another scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import headstart

pytest.importorskip("pyogrio", reason="needs the extra geo: pyogrio is not installed")
OPTIONS = {"backbone": "test_resnet", "weights": "random", "epochs": 1, "lr": 0.01}


def draw_scene(folder: Path, geo: Any, *, seed: int) -> Path:
    """A scene of 1,600 x 1,100 pixels with bright roofs, and the roofs as polygons in degrees."""
    roofs = [
        (x, y, x + 120, y + 100)
        for x in range(60 + 10 * seed, 1500, 260)
        for y in range(40, 950, 240)
    ]
    ground = geo.drawn((1100, 1600), roofs)
    place = {"tiled": True, "compress": "deflate", "nodata": 0}
    geo.write_scene(folder / "scene.tif", geo.picture(ground, seed=seed), **place)
    geo.write_polygons(folder / "roofs.geojson", *((geo.box(*roof), "roof") for roof in roofs))
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, geo: Any) -> Path:
    return draw_scene(tmp_path_factory.mktemp("scenes") / "town", geo, seed=0)


@pytest.fixture(scope="module")
def run(scene: Path) -> headstart.Run:
    return headstart.fit(scene, strategy="full", output=scene.with_name("run"), **OPTIONS)


def test_a_scene_and_its_polygons_become_a_model(run: headstart.Run) -> None:
    dataset = json.loads((run.path / "dataset.json").read_text(encoding="utf-8"))
    split = json.loads((run.path / "split.json").read_text(encoding="utf-8"))
    metrics = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    assert dataset["format"] == "scene-polygons"
    assert dataset["classes"] == ["background", "roof"]
    assert dataset["formats"] == {"GTiff": 1}
    assert dataset["num_samples"] == 6
    assert "spatial blocks of" in split["reason"]
    assert {entry["split"] for entry in split["assignment"].values()} == {
        "train", "validation", "test",
    }  # fmt: skip
    assert all(id_.startswith("scene.tif#") for id_ in split["assignment"])
    assert all(chip["id"] in split["assignment"] for chip in metrics["chips"])
    # Bright roofs on dark ground are told apart after an epoch.
    assert metrics["metrics"]["pixel_accuracy"]["value"] > 0.8
    page = run.report.read_text(encoding="utf-8")
    assert 'href="../town/scene.tif"' in page
    assert "scene.tif#" in page


def test_the_model_is_measured_on_another_scene(
    run: headstart.Run, tmp_path: Path, geo: Any
) -> None:
    found = headstart.evaluate(run.path, draw_scene(tmp_path / "village", geo, seed=1))
    assert found.n == 6
    assert 0 <= found.metrics["miou"].value <= 1


def test_a_scene_is_inspected(scene: Path, tmp_path: Path) -> None:
    found = headstart.inspect(scene, output=tmp_path / "page.html", augment="aerial")
    assert found.formats == {"GTiff": 1}
    assert found.pixels["train"]["roof"] > 0
    assert "scene.tif#" in (tmp_path / "page.html").read_text(encoding="utf-8")
