"""The ladder on pictures: fine-tuning that pays and that does not, and a fit that is killed.

The backbone is colour-blind: its first layer sees brightness alone, as all channels have the same
weights. Where colour tells the classes, its frozen features say nothing, and fine-tuning does it.
"""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import headstart as hs

Command = Callable[..., Any]
ARCHITECTURE = "test_resnet.r160_in1k"
SIZES = {"train": 32, "validation": 20, "test": 10}
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Colours:
    """Pictures of two classes, and the options of a fit on them, by name."""

    folder: Path
    weights: Path

    @property
    def options(self) -> dict[str, Any]:
        return {
            **{"backbone": f"timm:{ARCHITECTURE}", "weights": str(self.weights)},
            **{"precision": "float32", "workers": 0, "batch_size": 4, "epochs": 4, "lr": 0.015},
        }

    @property
    def words(self) -> list[str]:
        """The options as typed."""
        options = {f"--{name.replace('_', '-')}": value for name, value in self.options.items()}
        return [str(word) for pair in options.items() for word in pair]

    def table(self, name: str, *, relabel: Callable[[str, int, str], str] | None = None) -> Path:
        """A table of all pictures; `relabel(split, number in it, label)` gives another label."""
        path = self.folder / f"{name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file", "label", "split"])
            for split, num in SIZES.items():
                for i in range(num):
                    label = "ab"[i % 2]
                    label = label if relabel is None else relabel(split, i, label)
                    writer.writerow([f"{split}_{i:02}.png", label, split])
        return path


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Colours:
    import timm

    folder = tmp_path_factory.mktemp("colours")
    for place, (split, num) in enumerate(SIZES.items()):
        for i in range(num):
            rng = np.random.default_rng([place, i])
            grey = rng.integers(60, 180, (16, 16))
            tint = int(rng.integers(15, 40)) * (1 if i % 2 else -1)
            pixels = np.stack([grey + tint, grey - tint, grey], axis=2).astype(np.uint8)
            Image.fromarray(pixels).resize((32, 32)).save(folder / f"{split}_{i:02}.png")
    torch.manual_seed(0)
    state = timm.create_model(ARCHITECTURE, pretrained=False).state_dict()
    first = state["conv1.0.weight"]
    state["conv1.0.weight"] = first.mean(dim=1, keepdim=True).expand_as(first)
    weights = folder / "colour-blind.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, weights)
    return Colours(folder, weights)


@dataclass(frozen=True)
class Tuned:
    """A run in which fine-tuning was kept.

    Attributes:
        num_reserved: Pictures whose time the training left for what follows it.
        num_embedded: Those that a backbone looked at after it.
    """

    path: Path
    num_reserved: int
    num_embedded: int


@pytest.fixture(scope="module")
def tuned(colours: Colours, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    from headstart.engine.loop import Training
    from headstart.fitting.finetuning import FineTuning
    from headstart.fitting.learning import pictures_after_training
    from headstart.predictor import Predictor

    counts = {"reserved": 0, "embedded": 0}
    fit, embed, train = Training.fit, Predictor.embed, FineTuning.train

    def then_count(training: Training, *arguments: Any) -> Any:
        found = fit(training, *arguments)
        counts["embedded"] = 0
        return found

    def count(predictor: Predictor, images: Any) -> Any:
        counts["embedded"] += len(images)
        return embed(predictor, images)

    def reserve(tuning: FineTuning, *arguments: Any) -> None:
        counts["reserved"] = pictures_after_training(tuning.attempt)
        train(tuning, *arguments)

    path = tmp_path_factory.mktemp("runs") / "tuned"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "fit", then_count)
        patch.setattr(Predictor, "embed", count)
        patch.setattr(FineTuning, "train", reserve)
        hs.fit(colours.table("labels"), output=path, budget="10m", **colours.options)
    return Tuned(path, counts["reserved"], counts["embedded"])


def read(run: Path, name: str) -> dict[str, Any]:
    """A JSON file of a run; numbers that JSON does not have are an error."""

    def refuse(word: str) -> float:
        raise AssertionError(f"{name} holds {word}")

    values: dict[str, Any] = json.loads((run / name).read_text("utf-8"), parse_constant=refuse)
    return values


def rungs_of(run: Path) -> dict[str, dict[str, Any]]:
    return {rung["strategy"]: rung for rung in read(run, "metrics.json")["rungs"]}


def settled(run: Path) -> dict[str, Any]:
    """All that a fit chose, without times."""
    config, metrics = read(run, "config.json"), read(run, "metrics.json")
    facts = {name: value for name, value in config["fit"].items() if name != "seconds"}
    rungs = [
        {k: v for k, v in rung.items() if k not in ("seconds", "predicted_seconds", "why")}
        for rung in metrics["rungs"]
    ]
    calibration = metrics.get("calibration", {})
    return {
        "strategy": metrics["strategy"],
        "choices": {each["name"]: each["value"] for each in config["choices"]},
        "fit": facts,
        "rungs": rungs,
        "temperature": calibration.get("temperature"),
        "log_loss": [calibration.get("log_loss_before"), calibration.get("log_loss_after")],
        "suspects": (run / "suspects.csv").read_bytes(),
        "found": metrics.get("suspects"),
        "learning_curve": metrics.get("learning_curve"),
        "threshold": metrics["ood"]["threshold"],
        "strangers": (run / "strangers.safetensors").read_bytes(),
        "weights": (run / "model.safetensors").read_bytes(),
    }


# --- what is kept -----------------------------------------------------------------------------


def test_fine_tuning_is_kept_where_it_is_truly_better(tuned: Tuned) -> None:
    rungs, metrics = rungs_of(tuned.path), read(tuned.path, "metrics.json")
    assert [name for name, rung in rungs.items() if rung["kept"]] == ["full"]
    assert metrics["strategy"] == "full"
    assert metrics["metrics"]["accuracy"]["value"] >= 0.9
    assert rungs["probe"]["metrics"]["accuracy"]["value"] < 0.8
    gain = rungs["full"]["gain"]
    assert gain["over"] == "probe"
    assert gain["n"] == SIZES["validation"]
    assert 0 < gain["low"] <= gain["value"] <= gain["high"]
    told = (
        f"Fine-tuning gained {gain['value'] * 100:.1f} points (95% {gain['low'] * 100:+.1f} to "
        f"{gain['high'] * 100:+.1f}) on 20 validation pictures"
    )
    assert metrics["verdict"] == rungs["full"]["why"]
    assert metrics["verdict"].startswith(told)
    merged = read(tuned.path, "config.json")["fit"]["merged"]
    assert f"it was kept ({merged['recipe']})." in metrics["verdict"]
    assert merged["scores"][merged["recipe"]] == max(merged["scores"].values())
    assert not (tuned.path / "checkpoint").exists()


def test_what_follows_training_is_within_the_time_that_was_left_for_it(tuned: Tuned) -> None:
    tried = 2 * 8  # on which the saved model is tried out
    assert 0 < tuned.num_embedded <= tuned.num_reserved + tried


def test_suspects_are_found_by_frozen_features_also_where_fine_tuning_is_kept(
    tuned: Tuned,
) -> None:
    assert read(tuned.path, "metrics.json")["suspects"]["num_judged"] == SIZES["train"]


def test_fine_tuning_inside_the_noise_is_left(colours: Colours, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coins = {split: rng.permutation(num) % 2 for split, num in SIZES.items()}
    table = colours.table("coins", relabel=lambda split, i, _: "ab"[coins[split][i]])
    run = tmp_path / "run"
    hs.fit(table, output=run, **{**colours.options, "epochs": 1, "lr": 1e-4})
    rungs, metrics = rungs_of(run), read(run, "metrics.json")
    full = rungs["full"]
    assert full["was_tried"]
    assert not full["kept"]
    assert full["gain"]["low"] <= 0
    assert "which is inside the noise" in full["why"]
    assert metrics["verdict"].startswith(full["why"])
    assert metrics["verdict"].endswith("kept.")
    assert metrics["strategy"] == "probe"


def test_a_hidden_layer_has_to_beat_the_probe_and_not_its_own_random_start(
    colours: Colours, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = {**colours.options, "hidden": 4, "epochs": 1, "lr": 1e-5}
    hs.fit(colours.table("labels"), output=run, **options)
    full = rungs_of(run)["full"]
    assert full["was_tried"]
    assert full["gain"]["over"] == "probe"
    assert not full["kept"]
    assert read(run, "metrics.json")["strategy"] == "probe"


# --- what was chosen is learnt once more ------------------------------------------------------


@pytest.fixture(scope="module")
def refitted(colours: Colours, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A run that learnt again, and the ids of the samples of each training."""
    from headstart.engine.loop import Training

    seen: list[set[str]] = []
    fit = Training.fit

    def watched(training: Training, *arguments: Any) -> Any:
        seen.append({id_ for batch in training.train.batches(0) for id_ in batch.ids})
        return fit(training, *arguments)

    path = tmp_path_factory.mktemp("runs") / "refitted"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "fit", watched)
        table = colours.table("labels")
        hs.fit(table, output=path, budget="10m", refit=True, **colours.options)
    return path, seen


def test_what_was_chosen_by_validation_is_learnt_again_from_it_too(
    tuned: Tuned, refitted: tuple[Path, list[Any]]
) -> None:
    run, (before, again) = refitted
    assert {id_.split("_")[0] for id_ in before} == {"train"}
    assert {id_.split("_")[0] for id_ in again} == {"train", "validation"}
    assert len(again) == SIZES["train"] + SIZES["validation"]
    config, first = read(run, "config.json"), read(tuned.path, "config.json")
    assert config["fit"]["num_samples"] == len(again)
    for name in ("monitor", "epochs", "best_epoch", "stopped", "merged"):  # as the curves tell
        assert config["fit"][name] == first["fit"][name], name
    assert 1 <= config["fit"]["refit"]["epochs"] <= config["fit"]["epochs"]
    assert "Then it learnt once more" in (run / "report.html").read_text("utf-8")
    assert "Then it learnt once more" not in (tuned.path / "report.html").read_text("utf-8")
    told = {each["name"]: each for each in config["choices"]}["refit"]
    assert told["value"] is True
    assert "from all 52 training and validation pictures" in told["reason"]
    metrics, one = read(run, "metrics.json"), read(tuned.path, "metrics.json")
    assert metrics["strategy"] == "full"
    assert metrics["metrics"]["accuracy"]["value"] >= 0.9
    assert (run / "model.safetensors").read_bytes() != (
        tuned.path / "model.safetensors"
    ).read_bytes()
    # Calibrated, and compared, by answers of the model that had not learnt from these samples.
    for name in ("temperature", "log_loss_before", "log_loss_after"):
        assert metrics["calibration"][name] == one["calibration"][name]
    assert settled(run)["rungs"] == settled(tuned.path)["rungs"]
    assert metrics["suspects"]["num_judged"] == len(again)
    assert not (run / "checkpoint").exists()
    assert [path for path in run.iterdir() if path.name.startswith(".")] == []


def test_patience_ends_no_second_training(
    colours: Colours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.engine.loop import Training

    found: list[Any] = []
    fit = Training.fit

    def watched(training: Training, *arguments: Any) -> Any:
        found.append(fit(training, *arguments))
        return found[-1]

    monkeypatch.setattr(Training, "fit", watched)
    table, run = colours.table("patience"), tmp_path / "run"
    hs.fit(table, output=run, budget="10m", refit=True, **{**colours.options, "patience": 1})
    config = read(run, "config.json")
    first, again = found
    assert again.stopped == "epochs"
    assert 3 <= again.num_epochs == config["fit"]["refit"]["epochs"]  # beyond one of patience
    assert again.num_epochs in first.kept_epochs
    assert {each["name"]: each["value"] for each in config["choices"]}["refit"] is True


def test_validation_that_came_with_the_data_stays_apart(tuned: Tuned) -> None:
    choices = {each["name"]: each for each in read(tuned.path, "config.json")["choices"]}
    assert choices["refit"]["value"] is False
    assert "came with the data" in choices["refit"]["reason"]


def test_a_stop_while_learning_again_leaves_the_first_training_and_is_gone_on_from(
    headstart: Command,
    colours: Colours,
    refitted: tuple[Path, list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart.engine.loop import Training

    finish, trainings = Training._finish_epoch, []

    def stop_in_the_second(training: Training) -> bool:
        if training not in trainings:
            trainings.append(training)
        if len(trainings) == 2:
            signal.raise_signal(signal.SIGTERM)
        return finish(training)

    run = tmp_path / "run"
    words = [*colours.words, "--budget", "10m", "--refit", "--output", run]
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_finish_epoch", stop_in_the_second)
        stopped = headstart("fit", colours.table("labels"), *words)
    assert stopped.code == 130, stopped.err
    assert read(run / "checkpoint" / "best", "config.json")["strategy"] == "full"
    resumed = headstart("fit", "--resume", run)
    assert resumed.code == 0, resumed.err
    whole, _ = refitted
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


# --- the test set changes nothing -------------------------------------------------------------


def test_permuted_test_labels_change_no_choice_where_fine_tuning_is_kept(
    colours: Colours, tuned: Tuned, tmp_path: Path
) -> None:
    def swap(split: str, number: int, label: str) -> str:
        return {"a": "b", "b": "a"}[label] if split == "test" else label

    run = tmp_path / "run"
    hs.fit(colours.table("permuted", relabel=swap), output=run, budget="10m", **colours.options)
    assert settled(run) == settled(tuned.path)
    accuracy = [
        read(path, "metrics.json")["metrics"]["accuracy"]["value"] for path in (tuned.path, run)
    ]
    assert sum(accuracy) == pytest.approx(1.0)


def test_permuted_test_labels_change_no_choice_where_the_probe_is_kept(
    colours: Colours, tmp_path: Path
) -> None:
    from headstart.progress import Progress

    def relabel(split: str, number: int, label: str) -> str:
        return "ba"["ab".index(label)] if split == "train" and number in (3, 8) else label

    def permute(split: str, number: int, label: str) -> str:
        return "ab"[number // 2 % 2] if split == "test" else relabel(split, number, label)

    options = {**colours.options, "weights": "random"}  # these see colours
    runs = {"run": relabel, "other": permute}
    for name, how in runs.items():
        table = colours.table(name, relabel=how)
        hs.fit(table, output=tmp_path / name, progress=Progress(), **options)
    one, other = (settled(tmp_path / name) for name in runs)
    assert one == other
    assert one["strategy"] == "probe"
    assert one["found"]["num_found"] >= 1
    accuracy = [
        read(tmp_path / name, "metrics.json")["metrics"]["accuracy"]["value"] for name in runs
    ]
    assert accuracy[0] > accuracy[1]


# --- a fit that is interrupted ----------------------------------------------------------------


def kill_after_an_epoch(process: subprocess.Popen[str], run: Path) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not (run / "checkpoint" / "state.safetensors").is_file():
        if process.poll() is not None:
            out, err = process.communicate()
            pytest.fail(f"it ended with {process.returncode} before: {out}{err}")
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=PATIENCE_S)


def test_a_ladder_that_is_killed_leaves_a_model_and_is_climbed_to_the_same_end(
    headstart: Command, start: Command, colours: Colours, tuned: Tuned, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    table = colours.table("labels")
    words = [*colours.words, "--budget", "10m", "--output", run]
    kill_after_an_epoch(start("fit", table, *words), run)
    assert not (run / "metrics.json").exists()
    assert (run / "checkpoint" / "best" / "model.safetensors").is_file()

    found = headstart(
        "predict", run, colours.folder / "test_00.png", "--output", tmp_path / "p.csv"
    )
    assert found.code == 0, found.err
    assert f"`{run}` is not finished: this is its best model so far" in found.err
    assert f"headstart fit --resume {run}" in found.err
    with pytest.warns(UserWarning, match="is not finished"):
        assert hs.load(run).classes == ("a", "b")
    refused = headstart("report", run)
    assert refused.code == 2
    assert f"Go on with: headstart fit --resume {run}" in refused.err

    found = headstart("fit", "--resume", run)
    assert found.code == 0, found.err
    assert "Resumed in epoch" in found.err
    assert (run / "model.safetensors").read_bytes() == (
        tuned.path / "model.safetensors"
    ).read_bytes()
    assert settled(run)["rungs"] == settled(tuned.path)["rungs"]
    assert not (run / "checkpoint").exists()


def test_a_ladder_that_is_stopped_says_how_to_go_on(
    headstart: Command, colours: Colours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.engine.loop import Training

    finish = Training._finish_epoch

    def then_stop(training: Training) -> bool:
        signal.raise_signal(signal.SIGTERM)
        return finish(training)

    monkeypatch.setattr(Training, "_finish_epoch", then_stop)
    run = tmp_path / "run"
    found = headstart("fit", colours.table("labels"), *colours.words, "--output", run)
    assert found.code == 130
    last = found.err.splitlines()[-1]
    assert last == f"Error: Stopped. Go on with: headstart fit --resume {run}"
    assert len(hs_probabilities(run, colours)) == 1


def hs_probabilities(run: Path, colours: Colours) -> Mapping[str, Any]:
    with pytest.warns(UserWarning, match="not finished"):
        model = hs.load(run)
    prediction = model.predict([colours.folder / "test_00.png"])
    return dict(zip(prediction.ids, prediction.probabilities.tolist(), strict=True))


def test_a_run_without_a_model_yet_cannot_predict(
    headstart: Command, fitted: Path, photos: Path, tmp_path: Path
) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    (run / "metrics.json").unlink()
    found = headstart("predict", run, photos)
    assert found.code == 2
    assert f"Go on with: headstart fit --resume {run}" in found.err


# --- calibration ------------------------------------------------------------------------------


def test_the_saved_model_is_the_calibrated_one(
    colours: Colours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    from headstart.fitting import proving
    from headstart.metrics.calibration import Temperature

    answers = {}
    for name, temperature in (("as-it-is", 1.0), ("halved", 2.0)):
        found = Temperature(temperature, 0.7, 0.6, is_kept=temperature != 1.0)
        monkeypatch.setattr(proving, "fit_temperature", lambda *_, found=found, **__: found)
        run = tmp_path / name
        hs.fit(colours.table("labels"), output=run, strategy="probe", **colours.options)
        rows = pq.read_table(run / "predictions.parquet").to_pydict()["probabilities"]
        answers[temperature] = torch.tensor(rows).log(), load_file(run / "model.safetensors")
        assert read(run, "metrics.json")["calibration"]["temperature"] == temperature
    (plain, weights), (halved, divided) = answers.values()
    for name in ("head.0.weight", "head.0.bias"):
        assert torch.allclose(divided[name], weights[name] / 2)
    margin = (plain[:, 0] - plain[:, 1]) / 2
    assert torch.allclose(halved[:, 0] - halved[:, 1], margin, atol=1e-4)
