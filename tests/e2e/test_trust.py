"""What a user does with trust: abstain, meet strangers, drop suspects, run a control, see why."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

import headstart as hs

TINY = ("--backbone", "timm:test_resnet.r160_in1k", "--weights", "random")

Command = Callable[..., Any]


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def rows_of_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- abstaining -------------------------------------------------------------------------------


def test_what_is_not_sure_enough_is_left_undecided(
    headstart: Command, fitted: Path, photos: Path
) -> None:
    every = rows_of_csv(headstart("predict", fitted, photos).out)
    assert "undecided" not in every[0]
    sure = sorted(float(row["confidence"]) for row in every)
    # Between two that lie apart: the file rounds them.
    num_unsure = max(range(5, 25), key=lambda place: sure[place] - sure[place - 1])
    least = (sure[num_unsure - 1] + sure[num_unsure]) / 2
    found = headstart("predict", fitted, photos, "--min-confidence", least)
    assert found.code == 0, found.err
    rows = rows_of_csv(found.out)
    for before, row in zip(every, rows, strict=True):
        is_undecided = float(row["confidence"]) < least
        assert row["undecided"] == str(is_undecided)
        assert row["prediction"] == ("" if is_undecided else before["prediction"])
        assert row["p(cat)"] == before["p(cat)"]
    assert sum(row["undecided"] == "True" for row in rows) == num_unsure
    assert f"Undecided: {num_unsure} of 30 pictures" in found.err


@pytest.mark.parametrize("name", ["p.csv", "p.json", "p.parquet"])
def test_every_format_tells_what_is_undecided(
    headstart: Command, fitted: Path, photos: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    found = headstart("predict", fitted, photos, "--min-confidence", "1", "--output", path)
    assert found.code == 0, found.err
    text = "" if path.suffix == ".parquet" else path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        rows: list[dict[str, Any]] = list(rows_of_csv(text))
    else:
        rows = json.loads(text) if text else pq.read_table(path).to_pylist()
    assert len(rows) == 30
    unsure = [row for row in rows if float(row["confidence"]) < 1]
    assert unsure
    assert all(row["prediction"] == "" and str(row["undecided"]) == "True" for row in unsure)


@pytest.mark.parametrize("value", ["1.5", "-0.1"])
def test_a_least_confidence_is_a_share(
    headstart: Command, fitted: Path, photos: Path, value: str
) -> None:
    found = headstart("predict", fitted, photos, "--min-confidence", value)
    assert found.code == 2
    assert "it is a probability, from 0" in found.err


def test_python_abstains_alike(fitted: Path, photos: Path) -> None:
    model = hs.load(fitted)
    every = model.predict([photos])
    assert not every.is_undecided.any()
    least = float(np.median(every.confidences))
    found = model.predict([photos], min_confidence=least)
    assert found.is_undecided.tolist() == (every.confidences < least).tolist()
    assert {label for label, u in zip(found.labels, found.is_undecided, strict=True) if u} == {""}
    assert (found.probabilities == every.probabilities).all()
    assert hs.predict(fitted, [photos], min_confidence=least).labels == found.labels


# --- strangers --------------------------------------------------------------------------------


def test_pictures_unlike_any_in_training_are_flagged(
    headstart: Command, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    data, run = make_photos({"cat": 20, "dog": 20}), tmp_path / "run"
    assert headstart("fit", data, *TINY, "--strategy", "probe", "--output", run).code == 0
    strange = tmp_path / "strange"
    strange.mkdir()
    for i in range(6):
        noise = np.random.default_rng(i).integers(0, 256, (48, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(strange / f"{i}.png")
    found = headstart("predict", run, strange, "--quiet")
    assert [row["is_stranger"] for row in rows_of_csv(found.out)] == ["True"] * 6
    assert "6 of 6 pictures are unlike any the model was fitted on" in found.err
    usual = rows_of_csv(headstart("predict", run, data).out)
    assert sum(row["is_stranger"] == "True" for row in usual) <= 2
    usual_scores = [float(row["ood"]) for row in usual]
    assert np.median(usual_scores) < min(float(row["ood"]) for row in rows_of_csv(found.out))


# --- suspects ---------------------------------------------------------------------------------


@pytest.fixture
def listed(fitted: Path, tmp_path: Path) -> tuple[Path, list[str], str]:
    """A file of suspects: two of training and validation, and one of the test."""
    assignment = read(fitted / "split.json")["assignment"]
    by_split = {
        name: [id_ for id_, row in assignment.items() if row["split"] == name]
        for name in ("train", "validation", "test")
    }
    dropped = [by_split["train"][0], by_split["validation"][0]]
    tested = by_split["test"][0]
    path = tmp_path / "suspects.csv"
    rows = [f"{id_},{id_.split('/')[0]},x,0.9" for id_ in (*dropped, tested)]
    path.write_text("\n".join(["id,label,likely label,score", *rows]) + "\n", encoding="utf-8")
    return path, dropped, tested


def test_suspects_are_dropped_and_the_same_test_is_taken(
    headstart: Command,
    photos: Path,
    fitted: Path,
    tmp_path: Path,
    listed: tuple[Path, list[str], str],
) -> None:
    suspects, dropped, tested = listed
    run = tmp_path / "run"
    found = headstart("fit", photos, *TINY, "--drop-suspects", suspects, "--output", run)
    assert found.code == 0, found.err
    assert "2 samples of training and validation" in found.err
    assert "1 of the suspects are test samples" in found.err
    assert tested in found.err
    dataset, assignment = read(run / "dataset.json"), read(run / "split.json")["assignment"]
    assert dataset["dropped_suspects"] == sorted(dropped)
    assert dataset["num_samples"] == 28
    assert not set(dropped) & assignment.keys()
    tests = [
        sorted(pq.read_table(path / "predictions.parquet")["id"].to_pylist())
        for path in (fitted, run)
    ]
    assert tests[0] == tests[1]
    assert sum(map(sum, (row.values() for row in dataset["counts"].values()))) == 28
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "2 suspects dropped" in page
    assert headstart("compare", fitted, run).code == 0


def test_the_suspects_of_a_run_can_be_given_as_they_are(
    headstart: Command, photos: Path, tmp_path: Path, fitted: Path
) -> None:
    run = tmp_path / "run"
    found = headstart(
        "fit", photos, *TINY, "--drop-suspects", fitted / "suspects.csv", "--output", run
    )
    assert found.code == 0, found.err
    assert len(read(run / "dataset.json")["dropped_suspects"]) == len(
        rows_of_csv((fitted / "suspects.csv").read_text())
    )


def test_a_file_of_suspects_that_does_not_fit_leaves_no_run_folder(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    path = tmp_path / "suspects.csv"
    path.write_text("id,label\nother/x.png,other\n")
    found = headstart("fit", photos, *TINY, "--drop-suspects", path, "--output", tmp_path / "run")
    assert found.code == 2
    assert "It is of another data set" in found.err
    assert not (tmp_path / "run").exists()


def test_a_fit_without_suspects_is_resumed_without_them(
    headstart: Command,
    photos: Path,
    tmp_path: Path,
    listed: tuple[Path, list[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart.engine.loop import Training

    suspects, dropped, _ = listed
    recipe = (*TINY, "--strategy", "head", "--views", "0", "--epochs", "2", "--workers", "0")
    recipe += ("--drop-suspects", str(suspects))
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert headstart("fit", photos, *recipe, "--output", whole).code == 0
    finish = Training._finish_epoch

    def then_stop(training: Training) -> bool:
        training.where.stop.is_set = True
        return finish(training)

    monkeypatch.setattr(Training, "_finish_epoch", then_stop)
    assert headstart("fit", photos, *recipe, "--output", run).code == 130
    monkeypatch.setattr(Training, "_finish_epoch", finish)
    suspects.unlink()  # what the run began without is kept by the run
    found = headstart("fit", "--resume", run)
    assert found.code == 0, found.err
    assert read(run / "dataset.json")["dropped_suspects"] == sorted(dropped)
    weights = [(path / "model.safetensors").read_bytes() for path in (whole, run)]
    assert weights[0] == weights[1]


# --- the control ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A tiny backbone whose weights are a file, as pretrained ones are."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(timm.create_model("test_resnet.r160_in1k").state_dict(), path)
    return ("--backbone", "timm:test_resnet.r160_in1k", "--weights", str(path), "--workers", "0")


@pytest.mark.parametrize("strategy", [("probe",), ("full", "--epochs", "2")], ids=["probe", "full"])
def test_a_control_tells_what_the_weights_brought(
    headstart: Command,
    photos: Path,
    tmp_path: Path,
    weights: tuple[str, ...],
    strategy: tuple[str, ...],
) -> None:
    run = tmp_path / "run"
    found = headstart(
        *("fit", photos, *weights, "--strategy", *strategy, "--control", "scratch"),
        *("--output", run),
    )
    assert found.code == 0, found.err
    metrics = read(run / "metrics.json")
    transfer = metrics["transfer"]
    assert transfer["pretrained"]["accuracy"] == metrics["metrics"]["accuracy"]
    gain = transfer["gain"]
    difference = metrics["metrics"]["accuracy"]["value"] - transfer["scratch"]["accuracy"]["value"]
    assert gain["value"] == pytest.approx(difference)
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert transfer["sentence"] in found.err
    assert transfer["sentence"] in (run / "report.html").read_text(encoding="utf-8")
    for side in ("pretrained", "scratch"):
        curve = transfer["curves"][side]
        assert curve
        assert all(0 <= point["value"] <= 1 for point in curve)
        assert [point["seconds"] for point in curve] == sorted(p["seconds"] for p in curve)
    if strategy[0] == "full":
        assert len(transfer["curves"]["pretrained"]) == 2
    # what the control did stays out of the run itself
    log = (run / "log.jsonl").read_text(encoding="utf-8")
    assert log.count('"kind": "epoch"') == (2 if strategy[0] == "full" else 0)
    assert read(run / "config.json")["strategy"] == strategy[0]
    assert not list(run.glob(".*"))


def test_a_control_that_is_stopped_loses_nothing(
    headstart: Command,
    photos: Path,
    tmp_path: Path,
    weights: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart.engine.loop import Training

    finish = Training._finish_epoch

    def then_stop(training: Training) -> bool:
        training.where.stop.is_set = True
        return finish(training)

    monkeypatch.setattr(Training, "_finish_epoch", then_stop)
    monkeypatch.setattr("headstart.fitting.controlling._seconds_of", lambda kept: 60.0)
    run = tmp_path / "run"
    found = headstart(
        *("fit", photos, *weights, "--strategy", "probe", "--control", "scratch"),
        *("--output", run),
    )
    assert found.code == 0, found.err
    assert "The control was stopped. The run itself is finished" in found.err
    assert "transfer" not in read(run / "metrics.json")
    assert hs.load(run).predict([photos / "cat"]).labels == ["cat"] * 15
    assert not list(run.glob(".*"))


@pytest.mark.parametrize(
    "options", [("--strategy", "scratch"), ("--strategy", "probe", "--weights", "random")]
)
def test_a_control_of_nothing_pretrained_is_refused(
    headstart: Command, photos: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    found = headstart(
        *("fit", photos, *TINY[:2], *options, "--control", "scratch", "--output", run)
    )
    assert found.code == 2
    assert "tells what pretrained weights bring" in found.err
    assert not run.exists()


# --- explanations and notebooks ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "strategy"),
    [("test_vit", ("probe",)), ("test_resnet", ("probe", "--classifier", "knn"))],
)
def test_a_run_tells_where_its_answers_came_from(
    headstart: Command, photos: Path, tmp_path: Path, backbone: str, strategy: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    found = headstart(
        *("fit", photos, "--backbone", f"timm:{backbone}", "--weights", "random"),
        *("--strategy", *strategy, "--output", run),
    )
    assert found.code == 0, found.err
    told = read(run / "metrics.json")["explanations"]
    assert told
    answers = pq.read_table(run / "predictions.parquet").to_pydict()
    predicted = dict(zip(answers["id"], answers["prediction"], strict=True))
    assert all(predicted[row["id"]] == row["predicted"] for row in told)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Where it looks" in page


class Balance(HTMLParser):
    """Counts what is opened and not closed, and what would load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_notebook_shows_a_run_and_its_report(fitted: Path) -> None:
    run = hs.Run.open(fitted)
    summary, frame = run._repr_html_(), run.report._repr_html_()  # type: ignore[attr-defined]
    for html in (summary, frame):
        parser = Balance()
        parser.feed(html)
        assert parser.open == []
        assert parser.scripts == 0
    assert "100" in summary
    assert 'sandbox="allow-scripts"' in frame
    assert run.report == fitted / "report.html"
    assert run.report.parent._repr_html_() is None  # type: ignore[attr-defined]
