"""Rasters of other bands than photos have, from end to end, whatever units their files are in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

import headstart
from headstart.errors import DataError
from headstart.rundir import RunFolder
from headstart.saved import load_segmenter

NAMES = ("B02", "B03", "B04", "B08")
SIDE = 64
OPTIONS: dict[str, Any] = {
    **{"backbone": "test_resnet", "weights": "random", "strategy": "full"},
    **{"epochs": 6, "batch_size": 4, "lr": 0.01},
}


def draw_plants(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance (4, SIDE, SIDE), and where plants are, which near infrared alone tells."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    row, column = generator.integers(20, SIDE - 20, size=2)
    is_plant = (rows - row) ** 2 + (columns - column) ** 2 < generator.integers(12, 18) ** 2
    values = generator.uniform(0.03, 0.12, (4, SIDE, SIDE))
    values[3] += 0.3 * is_plant
    return values, is_plant


def write(path: Path, reflectance: np.ndarray, *, baseline: str, place: int = 0) -> Path:
    """Places are so far apart that each is a neighbourhood of its own."""
    west = 500_000 + 200 * SIDE * place
    offset = 1000 if float(baseline) >= 4 else 0
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=4, dtype="uint16",
        crs="EPSG:32633", transform=rasterio.Affine(10, 0, west, 0, -10, 4_600_000),
        photometric="MINISBLACK",
    ) as file:  # fmt: skip
        file.write(np.rint(reflectance * 10_000).astype(np.uint16) + offset)
        file.update_tags(PROCESSING_BASELINE=baseline)
        file.descriptions = NAMES
    return path


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chips of both kinds of Sentinel-2 products."""
    folder = tmp_path_factory.mktemp("bands") / "plants"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(12):
        values, is_plant = draw_plants(number)
        path = folder / "images" / f"{number:02}.tif"
        write(path, values, baseline=("03.01", "04.00")[number % 2], place=number)
        Image.fromarray(is_plant.astype(np.uint8) + 1).save(folder / "masks" / f"{number:02}.png")
    (folder / "classes.txt").write_text("1 soil\n2 plants\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(plants: Path) -> headstart.Run:
    return headstart.fit(plants, output=plants.with_name("run"), **OPTIONS)


def test_a_fit_learns_from_what_only_near_infrared_shows(run: headstart.Run) -> None:
    contract = json.loads((run.path / "input.json").read_text(encoding="utf-8"))
    assert contract["bands"] == list(NAMES)
    assert (contract["units"], contract["scale"]) == ("reflectance", 1.0)
    assert contract["mean"][:3] == pytest.approx([0.075] * 3, abs=0.003)
    assert contract["mean"][3] > 0.1
    assert float(run.metrics["miou"]) > 0.8
    config = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    assert {"bands", "units", "normalisation"} <= {choice["name"] for choice in config["choices"]}


def test_a_scene_is_answered_as_the_chip_was_whatever_its_unit(
    run: headstart.Run, tmp_path: Path
) -> None:
    values, is_plant = draw_plants(100)
    for baseline in ("03.01", "04.00"):
        write(tmp_path / f"{baseline}.tif", values, baseline=baseline)
    scenes = sorted(tmp_path.glob("*.tif"))
    mapped = headstart.map_pictures(run.path, scenes, tmp_path / "maps")
    answers = []
    for each in mapped:
        with rasterio.open(each.mask) as file:
            answers.append(file.read(1))
    assert np.array_equal(*answers)
    assert (answers[0] == is_plant).mean() > 0.9
    predictor = load_segmenter(RunFolder.open(run.path)).predictor
    from headstart.contracts import Sample

    ((_, logits),) = predictor.answers([Sample("a", scenes[0])])
    assert (logits.argmax(dim=1)[0].numpy() == answers[0]).mean() > 0.999


def test_a_scene_in_another_unit_or_without_a_band_is_refused(
    run: headstart.Run, tmp_path: Path
) -> None:
    values, _ = draw_plants(101)
    path = write(tmp_path / "a.tif", values, baseline="04.00")
    with rasterio.open(path, "r+") as file:
        file.descriptions = (*NAMES[:3], "B11")
    with pytest.raises(DataError, match=r"a\.tif` has no band `B08`"):
        headstart.map_pictures(run.path, [path], tmp_path / "maps")
    with rasterio.open(path, "r+") as file:
        file.descriptions = NAMES
        file.update_tags(PROCESSING_BASELINE="")
    with pytest.raises(DataError, match=r"takes reflectance.*cannot be told(.|\n)*--units"):
        headstart.map_pictures(run.path, [path], tmp_path / "maps")
    assert not list((tmp_path / "maps").glob("*.tif"))


def test_a_head_on_chosen_bands_learns_its_stem_and_is_saved_with_it(
    plants: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from headstart.backbones import load_backbone

    torch.manual_seed(0)
    weights = tmp_path / "pretended.safetensors"
    backbone = load_backbone("test_resnet", weights="random")
    save_file(backbone.module.state_dict(), weights)
    options = {**OPTIONS, "weights": str(weights), "strategy": "head", "epochs": 1}
    run = headstart.fit(
        plants, output=tmp_path / "run", bands="red,nir", control="scratch", **options
    )
    contract = json.loads((run.path / "input.json").read_text(encoding="utf-8"))
    assert contract["bands"] == ["red", "nir"]
    found = headstart.evaluate(run.path, plants)  # of its own data the test alone is unseen
    assert found.metrics["miou"].value == pytest.approx(run.metrics["miou"].value)
    metrics = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["transfer"]["metric"] == "miou"  # its control saw the same bands
    old = load_file(weights)
    new = load_file(run.path / "model.safetensors")
    stem = "backbone.trunk.conv1.0.weight"
    assert new[stem].shape[1] == 2
    started = old["conv1.0.weight"][:, [0, 0]] * 3 / 2
    assert not torch.allclose(new[stem], started)
    assert torch.allclose(new[stem], started, atol=0.2)
    frozen = "layer1.0.conv1.weight"
    assert torch.equal(new[f"backbone.trunk.{frozen}"], old[frozen])
