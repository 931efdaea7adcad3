"""A GPT-2 and a T5 from a folder, adapted to real questions with LoRA by the command."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.strategies.lora import Lora

pytest.importorskip("transformers", reason="needs the extra `text`")
pytest.importorskip("peft", reason="needs the extra `text`")

from trained_tokenizers import KINDS, write_small

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def questions(trec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.csv and test.csv, some hundred questions of TREC's three largest classes."""
    folder = tmp_path_factory.mktemp("questions")
    for name, num in (("train", 240), ("test", 60)):
        with (trec / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row[1] in ("human", "location", "number")]
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows[:num]])
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_and_a_t5_from_a_folder_learn_by_lora_and_predict(
    kind: str,
    questions: Path,
    headstart: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (questions / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    folder, run = write_small(kind, tmp_path / kind, texts=texts), tmp_path / "run"
    apart: list[float] = []
    finish = Lora.finish

    def watched(strategy: Lora, model: Any) -> None:
        """Notes how far the merged model's answers are from those of the unmerged one."""
        import torch

        inputs = torch.arange(3, 63).reshape(4, 15)
        model.eval()
        with torch.inference_mode():
            before = model(inputs)
        finish(strategy, model)
        assert not [name for name, _ in model.named_parameters() if "lora" in name]
        with torch.inference_mode():
            apart.append(float((model(inputs) - before).abs().max()))

    monkeypatch.setattr(Lora, "finish", watched)
    done = headstart(
        *("fit", questions, "--backbone", folder, "--strategy", "lora", "--epochs", "2"),
        *("--output", run),
    )
    assert done.code == 0, done.err
    assert "Saved, loaded anew, same predictions" in done.out + done.err
    assert apart
    assert max(apart) < 1e-3
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["backbone"]["weights"] == str(folder)
    assert (run / "tokenizer.json").is_file()
    assert not list(run.rglob("*.pkl")) + list(run.rglob("*.bin"))

    folder.rename(tmp_path / "away")  # the run needs it no more
    new = headstart("predict", run, questions / "test.csv", "--quiet")
    assert new.code == 0, new.err
    rows = list(csv.DictReader(io.StringIO(new.out)))
    told = hs.Run.open(run).folder.read_json(run / "metrics.json")
    with (questions / "test.csv").open(encoding="utf-8", newline="") as file:
        truth = [row["label"] for row in csv.DictReader(file)]
    accuracy = np.mean([row["prediction"] == label for row, label in zip(rows, truth, strict=True)])
    assert accuracy == pytest.approx(told["metrics"]["accuracy"]["value"])
    assert accuracy > max(map(truth.count, truth)) / len(truth)
