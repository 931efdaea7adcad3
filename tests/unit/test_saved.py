from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import headstart as hs
from headstart.contracts import InputContract, Legend
from headstart.errors import ConfigError, RunError
from headstart.fitted import FittedSegmenter, read_in_units_of
from headstart.progress import Progress
from headstart.rundir import RunFolder
from headstart.saved import load_model, load_pretrained


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on twelve tiny pictures."""
    root = tmp_path_factory.mktemp("saved")
    for index, label in enumerate(("blue", "red")):
        (root / "data" / label).mkdir(parents=True)
        for i in range(6):
            pixels = np.random.default_rng([index, i]).integers(0, 120, (32, 32, 3))
            pixels[:, :, 2 - 2 * index] += 130
            Image.fromarray(pixels.astype(np.uint8)).save(root / "data" / label / f"{i}.png")
    run = hs.fit(
        root / "data",
        backbone="timm:test_efficientnet.r160_in1k",
        weights="random",
        precision="float32",
        output=root / "run",
    )
    return run.path


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> RunFolder:
    """A copy of it, to be tampered with."""
    shutil.copytree(finished, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def edit(path: Path, change: Any) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def test_a_run_is_loaded_from_its_folder_alone(finished: Path, copied: RunFolder) -> None:
    model = load_model(copied)
    assert model.classes == ("blue", "red")
    assert model.task == "image-classification"
    assert (model.contract.height, model.contract.width) == (160, 160)
    pictures = sorted((finished.parent / "data").rglob("*.png"))
    found = model.predict(pictures)
    assert found.ids == tuple(path.as_posix() for path in pictures)
    assert found.labels == [path.parent.name for path in pictures]
    again = hs.load(finished).predict(pictures)
    assert np.array_equal(found.probabilities, again.probabilities)


@pytest.mark.parametrize(("has_it", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_a_run_in_bfloat16_is_read_where_the_processor_has_none(
    has_it: bool, dtype: str, copied: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted_in_bfloat16(values: dict[str, Any]) -> None:
        values["model"]["format"]["dtype"] = "bfloat16"
        values["options"]["precision"] = "auto"

    edit(copied.config, fitted_in_bfloat16)
    monkeypatch.setattr("headstart.compute.computes_bfloat16", lambda: has_it)
    assert load_model(copied).predictor.compute_format.dtype == dtype
    as_fitted = load_model(copied, is_as_fitted=True)
    assert as_fitted.predictor.compute_format.dtype == "bfloat16"


def test_bfloat16_is_fitted_in_where_it_was_asked_for(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.compute.computes_bfloat16", lambda: False)
    run = hs.fit(
        finished.parent / "data",
        backbone="timm:test_efficientnet.r160_in1k",
        weights="random",
        strategy="probe",
        precision="bfloat16",
        output=tmp_path / "run",
    )
    choices = json.loads((run.path / "config.json").read_text(encoding="utf-8"))["choices"]
    (told,) = [choice for choice in choices if choice["name"] == "inference format"]
    assert told["value"].startswith("bfloat16")
    assert "many times faster in float32" in told["reason"]
    assert run.load().predictor.compute_format.dtype == "float32"


def test_its_module_takes_raw_pictures_and_gives_logits(finished: Path) -> None:
    module = hs.load(finished).module
    logits = module(torch.zeros(2, 3, 160, 160, dtype=torch.uint8))
    assert logits.shape == (2, 2)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())


def test_weights_that_are_missing_or_damaged_are_refused(copied: RunFolder) -> None:
    copied.weights.write_bytes(copied.weights.read_bytes()[:500])
    with pytest.raises(RunError, match=r"model\.safetensors` is damaged"):
        load_model(copied)
    copied.weights.unlink()
    with pytest.raises(RunError, match=r"model\.safetensors` is missing"):
        load_model(copied)


def test_weights_of_another_model_are_refused(copied: RunFolder) -> None:
    tensors = load_file(copied.weights)
    save_file({**tensors, "head.0.weight": torch.zeros(3, 3)}, copied.weights)
    with pytest.raises(RunError, match=r"1 tensors are missing.*such as `head\.0\.weight`"):
        load_model(copied)


def test_a_head_of_a_later_version_is_refused(copied: RunFolder) -> None:
    edit(copied.config, lambda values: values["model"]["head"].update(kind="quantum"))
    with pytest.raises(RunError, match="a head of the kind `quantum`"):
        load_model(copied)


def test_a_source_that_is_not_there_is_refused(copied: RunFolder) -> None:
    edit(copied.config, lambda values: values["model"]["backbone"].update(source="tim"))
    with pytest.raises(ConfigError, match="Did you mean `timm`"):
        load_model(copied)


def test_a_backbone_without_a_classifier_cannot_predict_as_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart import saved
    from headstart.backbones import load_backbone

    monkeypatch.setattr(
        saved, "load_backbone", lambda name, progress: load_backbone(name, weights="random")
    )
    with pytest.raises(ConfigError, match="Fit it to your labels first"):
        load_pretrained("timm:test_resnet", device="cpu", progress=Progress())


# --- units of rasters -------------------------------------------------------------------------


def segmenter_of(units: str) -> FittedSegmenter:
    contract = InputContract(("R", "G", "B"), 32, 32, (0.0,) * 3, (1.0,) * 3, units=units)
    predictor: Any = SimpleNamespace(contract=contract)
    return FittedSegmenter(predictor, Legend(("a", "b"), ((0,), (1,))), key="")


@pytest.mark.parametrize("fitted", ["reflectance", "dn10000"])
def test_a_model_of_reflectance_takes_all_that_stands_for_it(fitted: str) -> None:
    model = segmenter_of(fitted)
    read_in_units_of(model, "dn10000-offset")
    assert model.predictor.contract.units == "dn10000-offset"
    read_in_units_of(model, None)
    assert model.predictor.contract.units == "dn10000-offset"


@pytest.mark.parametrize(
    ("fitted", "units", "words"),
    [
        ("", "dn10000", "has no effect"),
        ("8bit", "dn10000", "fitted on 8bit"),
        ("reflectance", "8bit", "fitted on reflectance"),
        ("8bit", "16bit", "fitted on 8bit"),
    ],
)
def test_units_that_the_model_cannot_take_are_refused(fitted: str, units: str, words: str) -> None:
    model = segmenter_of(fitted)
    with pytest.raises(ConfigError, match=words):
        read_in_units_of(model, units)
    assert model.predictor.contract.units == fitted
