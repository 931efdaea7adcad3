"""Contrastive tuning on few texts a class, from a table to predictions; a tiny language model."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import headstart as hs
from headstart.contracts import Batch
from headstart.data.class_batches import ClassBatches
from headstart.errors import ConfigError, InterruptedFit

pytest.importorskip("transformers", reason="needs the extra `text`")

from tiny_language_models import write_model

WORDS = {
    "praise": ["good", "fine", "stirring", "funny", "beauty", "transporting"],
    "blame": ["horror", "daytime", "soap", "beast", "apparently", "cutting"],
    "question": ["who", "what", "when", "where", "which", "how"],
}


def write_table(path: Path, *, each: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(each):
            for label, words in WORDS.items():
                writer.writerow([" ".join([*rng.choice(words, 5), f"no {seed}{i}"]), label])


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    write_table(folder / "train.csv", each=8, seed=1)
    write_table(folder / "test.csv", each=20, seed=2)
    return folder


@pytest.fixture(scope="module")
def run(few: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    output = tmp_path_factory.mktemp("runs") / "contrastive"
    return hs.fit(few, backbone=str(backbone), strategy="contrastive", output=output)


def test_few_texts_a_class_are_learnt_from_in_bounded_pairs(run: hs.Run) -> None:
    assert float(run.metrics["accuracy"]) > 0.8
    config = json.loads((run.path / "config.json").read_text())
    facts = config["fit"]
    assert facts["num_samples"] == 24  # none was held out of so few
    assert facts["num_steps"] == 12
    assert facts["num_pairs"] == 12 * 24 * 23 // 2
    assert "tuned by pairs" in (run.path / "README.md").read_text(encoding="utf-8")


def test_the_saved_model_answers_as_the_run_did(run: hs.Run, few: Path) -> None:
    import pyarrow.parquet as pq

    told = pq.read_table(run.path / "predictions.parquet").to_pydict()
    with (few / "test.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    places = [int(id_.split("#")[1]) - 1 for id_ in told["id"]]
    answers = hs.load(run.path).predict_texts([texts[i] for i in places])
    assert answers.labels == told["prediction"]


def test_stopped_and_taken_up_again_it_ends_with_the_same_weights(
    run: hs.Run, few: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ClassBatches.batches

    def stopping(self: ClassBatches, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        for number, batch in enumerate(whole(self, epoch, start=start), start):
            if number == 4:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    output = tmp_path / "run"
    monkeypatch.setattr(ClassBatches, "batches", stopping)
    with pytest.raises(InterruptedFit):
        hs.fit(few, backbone=str(backbone), strategy="contrastive", output=output)
    monkeypatch.undo()
    assert hs.resume(output).metrics["accuracy"].n == 60
    expected, found = (load_file(p / "model.safetensors") for p in (run.path, output))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_many_texts_a_class_are_learnt_from_with_a_warning(backbone: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "many.csv", each=120, seed=3)
    run = hs.fit(
        tmp_path / "many.csv",
        backbone=str(backbone),
        strategy="contrastive",
        output=tmp_path / "run",
    )
    log = (run.path / "log.jsonl").read_text(encoding="utf-8")
    assert "meant for few texts a class" in log
    assert json.loads((run.path / "config.json").read_text())["fit"]["num_steps"] <= 100


def test_pictures_are_refused(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(8):
        place = tmp_path / "data" / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    with pytest.raises(ConfigError, match="--strategy contrastive is for texts"):
        hs.fit(tmp_path / "data", strategy="contrastive", output=tmp_path / "run")


def test_on_the_ladder_it_is_judged_out_of_fold_and_kept_where_it_is_no_worse(
    few: Path, backbone: Path, tmp_path: Path
) -> None:
    run = hs.fit(few, backbone=str(backbone), output=tmp_path / "run")
    metrics = json.loads((run.path / "metrics.json").read_text())
    [rung] = [each for each in metrics["rungs"] if each["strategy"] == "contrastive"]
    assert rung["judged_on"] == "cross-validation"
    assert rung["metrics"]["accuracy"]["n"] == 24
    gain = rung["gain"]
    error = (gain["high"] - gain["low"]) / (2 * 1.96)
    assert rung["kept"] == (gain["value"] >= -error)
    assert rung["kept"] == (metrics["strategy"] == "contrastive")
    assert [each["kept"] for each in metrics["rungs"]].count(True) == 1
    assert not list(run.path.glob("**/*checkpoint*"))
    if rung["kept"]:
        assert "calibration" in metrics
        assert metrics["verdict"] == rung["why"]


def test_with_many_texts_a_class_it_is_no_rung_of_the_ladder(
    backbone: Path, tmp_path: Path
) -> None:
    write_table(tmp_path / "many.csv", each=120, seed=3)
    run = hs.fit(
        tmp_path / "many.csv", backbone=str(backbone), budget="20s", output=tmp_path / "run"
    )
    rungs = json.loads((run.path / "metrics.json").read_text())["rungs"]
    assert "contrastive" not in [each["strategy"] for each in rungs]
