"""Strategies for masks, decoders and losses, from a folder to a model that is loaded again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.errors import ConfigError

Stopping = Callable[[], AbstractContextManager[None]]

SIDE = 64
OPTIONS = {
    "backbone": "test_resnet",
    "weights": "random",
    "precision": "float32",
    "batch_size": 4,
    "lr": 0.01,
    "workers": 0,
}
HEAD = {**OPTIONS, "strategy": "head", "views": 1, "epochs": 2}


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs of another texture than their ground, of the same brightness."""
    folder = tmp_path_factory.mktemp("masks") / "fields"
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for number in range(20):
        row, column = generator.integers(20, SIDE - 20, size=2)
        is_disc = (rows - row) ** 2 + (columns - column) ** 2 < generator.integers(12, 20) ** 2
        noise = generator.integers(-20, 20, size=(SIDE, SIDE, 3))
        stripes = np.where(is_disc, 60 * (columns % 4 < 2), 60 * (rows % 4 < 2))
        picture = (100 + stripes[..., None] + noise).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{number:02}.png")
        Image.fromarray(is_disc.astype(np.uint8)).save(folder / "masks" / f"{number:02}.png")
    (folder / "classes.txt").write_text("0 ground\n1 disc\n", encoding="utf-8")
    return folder


def config_of(run: headstart.Run) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    return config


@pytest.fixture(scope="module")
def probe(fields: Path) -> headstart.Run:
    return headstart.fit(
        fields,
        strategy="probe",
        backbone="test_resnet",
        weights="random",
        output=fields.with_name("probe"),
    )


def test_a_probe_tells_textures_apart_that_single_pixels_do_not(probe: headstart.Run) -> None:
    config = config_of(probe)
    assert config["model"]["head"]["name"] == "linear"
    assert config["fit"]["classifier"] == "logistic"
    assert config["fit"]["num_folds"] == 5
    assert config["fit"]["num_pixels"] > 1000
    assert not {"decoder", "loss"} & {choice["name"] for choice in config["choices"]}
    assert probe.metrics["pixel_accuracy"].value > 0.85
    assert probe.report.is_file()


def test_a_probe_draws_masks_of_new_photos(
    probe: headstart.Run, fields: Path, tmp_path: Path
) -> None:
    (mapped,) = headstart.map_pictures(probe.path, [fields / "images" / "00.png"], tmp_path / "m")
    found = np.asarray(Image.open(mapped.mask))
    truth = np.asarray(Image.open(fields / "masks" / "00.png"))
    assert (found == truth).mean() > 0.8


def test_a_probe_with_weights_finds_more_of_the_rare_class(
    probe: headstart.Run, fields: Path, tmp_path: Path
) -> None:
    weighted = headstart.fit(
        fields,
        strategy="probe",
        backbone="test_resnet",
        weights="random",
        balance="weights",
        output=tmp_path / "run",
    )
    recalls = [
        json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))["per_class"]["disc"][
            "recall"
        ]
        for run in (probe, weighted)
    ]
    assert recalls[1] > recalls[0]


@pytest.fixture(scope="module")
def on_maps(fields: Path) -> headstart.Run:
    return headstart.fit(fields, output=fields.with_name("head"), **HEAD)


def test_a_head_learns_and_its_backbone_does_not(
    on_maps: headstart.Run, fields: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    given = {**HEAD, "views": 0, "epochs": 1}
    on_pictures = headstart.fit(fields, output=tmp_path / "run", **given)
    for run, views in ((on_maps, 1), (on_pictures, 0)):
        assert config_of(run)["options"]["views"] == views
        assert config_of(run)["fit"]["num_steps"] > 0
        assert not (run.path / "checkpoint").exists()
    first, second = (load_file(r.path / "model.safetensors") for r in (on_maps, on_pictures))
    is_same = {name: first[name].equal(second[name]) for name in first}
    assert all(same for name, same in is_same.items() if name.startswith("backbone."))
    assert not is_same["head.classifier.weight"]


def test_an_interrupted_head_goes_on_to_the_same_end(
    on_maps: headstart.Run, fields: Path, tmp_path: Path, stopping_after_an_epoch: Stopping
) -> None:
    with stopping_after_an_epoch():
        headstart.fit(fields, output=tmp_path / "cut", **HEAD)
    headstart.resume(tmp_path / "cut")
    first, second = (path / "model.safetensors" for path in (on_maps.path, tmp_path / "cut"))
    assert first.read_bytes() == second.read_bytes()


def test_an_interrupted_ladder_leaves_the_probe_and_goes_on(
    fields: Path, tmp_path: Path, stopping_after_an_epoch: Stopping
) -> None:
    with stopping_after_an_epoch():
        headstart.fit(fields, epochs=2, output=tmp_path / "cut", **OPTIONS)
    usable = json.loads((tmp_path / "cut/checkpoint/best/config.json").read_text(encoding="utf-8"))
    assert usable["model"]["head"]["name"] == "linear"
    run = headstart.resume(tmp_path / "cut")
    metrics = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    names = [rung["strategy"] for rung in metrics["rungs"]]
    assert names == ["majority", "trivial", "probe", "full"]
    assert not (run.path / "checkpoint").exists()


def test_decoder_losses_and_weights_are_kept_by_the_run(fields: Path, tmp_path: Path) -> None:
    run = headstart.fit(
        fields,
        strategy="full",
        decoder="fpn",
        loss="focal,lovasz",
        balance="weights",
        epochs=1,
        output=tmp_path / "run",
        **OPTIONS,
    )
    config = config_of(run)
    assert config["model"]["head"]["name"] == "fpn"
    assert config["options"]["loss"] == ["focal", "lovasz"]
    assert config["options"]["balance"] == "weights"
    num_test = headstart.Run.open(run.path).metrics["miou"].n
    assert headstart.evaluate(run.path, fields).n == num_test  # it has learnt from the others


def test_a_budget_too_short_for_training_leaves_the_probe(fields: Path, tmp_path: Path) -> None:
    run = headstart.fit(fields, epochs=100_000, budget="1s", output=tmp_path / "run", **OPTIONS)
    metrics = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    rungs = {rung["strategy"]: rung for rung in metrics["rungs"]}
    assert rungs["probe"]["kept"]
    assert not rungs["full"]["was_tried"]
    assert rungs["full"]["predicted_seconds"] > 1.0
    assert "m would hold all 100000" in rungs["full"]["why"].replace(",", "")
    assert config_of(run)["model"]["head"]["name"] == "linear"
    assert run.report.is_file()


def test_decoders_are_not_for_photos_with_one_label(make_photos: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--decoder is for masks"):
        headstart.fit(make_photos({"a": 6, "b": 6}), decoder="fpn", output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
