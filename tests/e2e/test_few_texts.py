"""Contrastive tuning on few texts a class, from a table to predictions; a tiny language model."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import headstart as hs
from headstart.contracts import Batch, Sample
from headstart.data.class_batches import ClassBatches
from headstart.data.loader import TrainLoader
from headstart.errors import ConfigError, DataError, InterruptedFit, TrainingError
from headstart.fitting.baselines import OfTexts
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.pair_rung import PairTuning

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
    assert facts["most_pairs"] == 12 * 24 * 23 // 2
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


def test_without_texts_to_judge_by_strangers_are_known_by_their_letters_alone(
    run: hs.Run, few: Path
) -> None:
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert metrics["ood"]["goes_by"] == "letters"
    asked = ["who what when where how no 13", "Ωραία μέρα σήμερα στην πόλη", "qwzx kkvj zzqp xxwv"]
    found = hs.load(run.path).predict_texts(asked).strangers
    assert found is not None
    assert found.is_stranger.tolist() == [False, True, True]
    for name in ("report.html", "README.md"):
        told = (run.path / name).read_text(encoding="utf-8")
        assert "bits a letter), such as another language or gibberish, is flagged" in told


def test_several_labels_a_text_are_learnt_in_pairs(backbone: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, num in (("train", 32), ("test", 40)):
        lines = ["text,label"]
        for i in range(num):
            names = [name for k, name in enumerate(WORDS) if (i % 7 + 1) >> k & 1]
            words = [word for name in names for word in rng.choice(WORDS[name], 4)]
            lines.append(f"{' '.join([*words, 'no', split, str(i)])},{'|'.join(names)}")
        (tmp_path / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")
    run = hs.fit(tmp_path, backbone=str(backbone), strategy="contrastive", output=tmp_path / "run")
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert metrics["task"] == "text-classification"
    assert float(run.metrics["macro_f1"]) > 0.6
    answers = hs.load(run.path).predict_texts(["good fine horror soap", "who what when"])
    assert answers.is_multilabel
    assert answers.probabilities.shape == (2, 3)
    assert answers.probabilities.sum(axis=1) != pytest.approx(1.0)


def test_too_few_texts_for_pairs_are_told_as_such(backbone: Path, tmp_path: Path) -> None:
    lines = ["text,label", "a good one,praise", "a horror,blame", "a soap,blame"]
    (tmp_path / "train.csv").write_text("\n".join(lines), encoding="utf-8")
    write_table(tmp_path / "test.csv", each=2, seed=2)
    kept = [line for line in (tmp_path / "test.csv").read_text().splitlines() if "?" not in line]
    kept = [line for line in kept if not line.endswith("question")]
    (tmp_path / "test.csv").write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(DataError, match="3 samples are too few for pairs"):
        hs.fit(tmp_path, backbone=str(backbone), strategy="contrastive", output=tmp_path / "run")


def test_pictures_are_refused(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(8):
        place = tmp_path / "data" / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    with pytest.raises(ConfigError, match="--strategy contrastive is for texts"):
        hs.fit(tmp_path / "data", strategy="contrastive", output=tmp_path / "run")


# --- on the ladder ----------------------------------------------------------------------------


def rungs_of(run: hs.Run) -> dict[str, dict[str, Any]]:
    metrics = json.loads((run.path / "metrics.json").read_text())
    return {rung["strategy"]: rung for rung in metrics["rungs"]}


def answering(num_wrong: int) -> Callable[[PairTuning], tuple[Tensor, Tensor]]:
    """In the place of refits: right on all texts but so many."""

    def out_of_fold(tuning: PairTuning) -> tuple[Tensor, Tensor]:
        truth = [tuning.probe.target(sample) for sample in tuning.samples]
        logits = 4.0 * torch.eye(len(WORDS))[truth]
        logits[:num_wrong] = logits[:num_wrong].roll(1, dims=1)
        return logits, torch.linspace(0.5, 1.0, len(truth))

    return out_of_fold


def words_right_on_all_but_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best below contrastive tuning, whatever the others are."""
    fit_words = OfTexts.out_of_fold

    def out_of_fold(baseline: OfTexts, attempt: LabelAttempt, samples: list[Sample]) -> Tensor:
        fit_words(baseline, attempt, samples)
        logits = 4.0 * torch.eye(len(WORDS))[[attempt.target(sample) for sample in samples]]
        logits[-1] = logits[-1].roll(1)
        return logits

    monkeypatch.setattr(OfTexts, "out_of_fold", out_of_fold)


@pytest.mark.parametrize(
    ("num_wrong", "is_kept", "told"),
    [
        (0, True, "it was kept, as it is better on average with few texts a class"),
        (2, True, "it was kept, as it is better on average with few texts a class"),
        (8, False, "; it was not kept."),
    ],
)
def test_on_the_ladder_it_is_kept_unless_more_than_a_standard_error_worse(
    num_wrong: int,
    is_kept: bool,
    told: str,
    few: Path,
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words_right_on_all_but_one(monkeypatch)
    monkeypatch.setattr(PairTuning, "_out_of_fold", answering(num_wrong))
    run = hs.fit(few, backbone=str(backbone), output=tmp_path / "run")
    metrics = json.loads((run.path / "metrics.json").read_text())
    rung = rungs_of(run)["contrastive"]
    assert rung["judged_on"] == "cross-validation"
    assert rung["metrics"]["accuracy"]["n"] == 24
    assert rung["gain"]["over"] == "trivial"
    assert rung["gain"]["value"] == pytest.approx((1 - num_wrong) / 24)
    assert rung["kept"] == is_kept
    assert told in rung["why"]
    assert metrics["strategy"] == ("contrastive" if is_kept else "tfidf")
    assert [each["kept"] for each in metrics["rungs"]].count(True) == 1
    assert not list(run.path.glob("**/*checkpoint*"))
    if is_kept:
        assert "calibration" in metrics
        assert metrics["verdict"] == rung["why"]
        assert metrics["ood"]["threshold"] == pytest.approx(1.0)  # that of what refits had not seen
        assert metrics["ood"]["k"] == 1


def test_strangers_are_known_by_texts_that_refits_had_not_seen(
    few: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Tensor] = []
    refit = PairTuning._out_of_fold

    def out_of_fold(tuning: PairTuning) -> tuple[Tensor, Tensor]:
        logits, distances = refit(tuning)
        told.append(distances)
        return logits, distances

    monkeypatch.setattr(PairTuning, "_out_of_fold", out_of_fold)
    monkeypatch.setattr("headstart.fitting.pair_rung.standard_error", lambda difference: 1.0)
    run = hs.fit(few, backbone=str(backbone), output=tmp_path / "run")
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert metrics["strategy"] == "contrastive"
    [distances] = told
    assert distances.shape == (24,)
    assert float(distances.max()) > 0
    assert metrics["ood"]["threshold"] == pytest.approx(float(distances.max()))
    assert load_file(run.path / "strangers.safetensors")["reference"].shape[0] == 24


def test_a_loss_that_is_not_finite_leaves_the_rung_and_nothing_else(
    few: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise TrainingError("The loss is nan in step 3. Lower --lr.")

    monkeypatch.setattr(PairTuning, "_learn", fail)
    run = hs.fit(few, backbone=str(backbone), output=tmp_path / "run")
    rung = rungs_of(run)["contrastive"]
    assert rung["was_tried"]
    assert not rung["kept"]
    assert rung["why"].startswith("Contrastive tuning was tried, and left: The loss is nan")
    assert "The loss is nan in step 3" in (run.path / "report.html").read_text(encoding="utf-8")
    assert not list(run.path.glob("**/*checkpoint*"))


@pytest.mark.parametrize("batch_size", [2, 3])
def test_batches_without_room_for_pairs_leave_the_rung_out(
    batch_size: int, few: Path, backbone: Path, tmp_path: Path
) -> None:
    run = hs.fit(few, backbone=str(backbone), batch_size=batch_size, output=tmp_path / "run")
    rung = rungs_of(run)["contrastive"]
    assert not rung["was_tried"]
    assert f"--batch-size {batch_size} has no room for pairs" in rung["why"]


def test_a_ladder_stopped_in_the_rung_leaves_a_model_and_is_taken_up_again(
    few: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ClassBatches.batches

    def stopping(self: ClassBatches, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        for number, batch in enumerate(whole(self, epoch, start=start), start):
            if number == 4:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    expected = hs.fit(few, backbone=str(backbone), output=tmp_path / "expected")
    output = tmp_path / "run"
    monkeypatch.setattr(ClassBatches, "batches", stopping)
    with pytest.raises(InterruptedFit, match="--resume"):
        hs.fit(few, backbone=str(backbone), output=output)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="its best model so far"):
        usable = hs.load(output)
    assert usable.predict_texts(["good fine funny no 1"]).labels[0] in WORDS
    run = hs.resume(output)
    rungs, others = rungs_of(run), rungs_of(expected)
    assert rungs.keys() == others.keys()
    assert rungs["contrastive"]["was_tried"]
    assert rungs["contrastive"]["metrics"] == others["contrastive"]["metrics"]
    assert run.metrics["accuracy"] == expected.metrics["accuracy"]
    assert not list(output.glob("**/*checkpoint*"))


def test_a_ladder_stopped_after_the_rung_says_what_became_of_it(
    few: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TrainLoader.batches

    def stopping(self: TrainLoader, epoch: int, **named: Any) -> Iterator[Batch]:
        for number, batch in enumerate(whole(self, epoch, **named)):
            if number == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    data = tmp_path / "data"
    shutil.copytree(few, data)
    rows = (few / "test.csv").read_text(encoding="utf-8").splitlines()
    mislabelled = [f"{text.rsplit(',', 1)[0]} again,praise" for text in rows[1:31]]
    (data / "validation.csv").write_text("\n".join([rows[0], *mislabelled]), encoding="utf-8")
    monkeypatch.setattr(PairTuning, "_out_of_fold", answering(24))
    monkeypatch.setattr(TrainLoader, "batches", stopping)
    output = tmp_path / "run"
    with pytest.raises(InterruptedFit):
        hs.fit(data, backbone=str(backbone), epochs=1, output=output)
    monkeypatch.undo()
    rungs = rungs_of(hs.resume(output))
    assert rungs["full"]["was_tried"]
    assert not rungs["contrastive"]["was_tried"]
    assert "the fit was stopped in fine-tuning" in rungs["contrastive"]["why"]


def test_the_rate_of_so_few_steps_is_never_looked_for(
    few: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.engine import lr_finder

    def looked_for(*_: Any, **__: Any) -> float:
        raise AssertionError("a rate was looked for")

    words_right_on_all_but_one(monkeypatch)
    learnt_in_folds: list[PairTuning] = []
    refit = PairTuning._out_of_fold

    def out_of_fold(tuning: PairTuning) -> tuple[Tensor, Tensor]:
        refit(tuning)
        learnt_in_folds.append(tuning)
        return answering(0)(tuning)

    monkeypatch.setattr(PairTuning, "_out_of_fold", out_of_fold)
    monkeypatch.setattr(lr_finder, "find_lr", looked_for)
    run = hs.fit(few, backbone=str(backbone), find_lr=True, output=tmp_path / "run")
    assert learnt_in_folds
    assert rungs_of(run)["contrastive"]["kept"]
    assert json.loads((run.path / "config.json").read_text())["given"]["find_lr"] is True


def test_with_many_texts_a_class_it_is_no_rung_of_the_ladder(
    backbone: Path, tmp_path: Path
) -> None:
    write_table(tmp_path / "many.csv", each=120, seed=3)
    run = hs.fit(
        tmp_path / "many.csv", backbone=str(backbone), budget="20s", output=tmp_path / "run"
    )
    rungs = json.loads((run.path / "metrics.json").read_text())["rungs"]
    assert "contrastive" not in [each["strategy"] for each in rungs]


@pytest.mark.parametrize("long", [None, "windows"])
def test_pairs_of_long_texts_are_read_in_one_window_unless_all_are_asked_for(
    long: str | None,
    few: Path,
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("train.csv", "test.csv"):
        with (few / name).open(encoding="utf-8") as file:
            rows = [(60 * (row["text"] + " "), row["label"]) for row in csv.DictReader(file)]
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    words_right_on_all_but_one(monkeypatch)
    monkeypatch.setattr(PairTuning, "_out_of_fold", answering(0))
    run = hs.fit(tmp_path, backbone=str(backbone), long=long, output=tmp_path / "run")
    assert rungs_of(run)["contrastive"]["kept"]
    config = json.loads((run.path / "config.json").read_text())
    ways = [choice["value"] for choice in config["choices"] if choice["name"] == "long"]
    assert ways == (["windows", "head-tail"] if long is None else [])
    assert json.loads((run.path / "input.json").read_text())["long"] == (long or "head-tail")
