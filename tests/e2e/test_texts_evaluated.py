"""`headstart evaluate` of a model of texts on other labelled texts."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.api import evaluate
from headstart.errors import ConfigError, DataError

pytest.importorskip("transformers", reason="needs the extra `text`")

from tiny_language_models import write_model

WORDS = {
    "praise": ["good", "fine", "stirring", "funny", "beauty", "transporting"],
    "blame": ["horror", "daytime", "soap", "beast", "apparently", "cutting"],
}


def rows(num: int, *, seed: int) -> list[tuple[str, str, str]]:
    """Title, body and label; the title says nothing, and each body has a number of its own."""
    rng = np.random.default_rng(seed)
    labels = [list(WORDS)[i % 2] for i in range(num)]
    words = [" ".join(rng.choice(WORDS[label], 4)) for label in labels]
    return [
        ("no title", f"{said} {seed * 1000 + i}", label)
        for i, (said, label) in enumerate(zip(words, labels, strict=True))
    ]


def write(path: Path, some: list[tuple[str, str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("title", "body", "verdict"), *some])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    folder = tmp_path_factory.mktemp("evaluated")
    return hs.fit(
        write(folder / "mails.csv", rows(120, seed=0)),
        backbone=str(write_model("bert", folder / "bert")),
        strategy="probe",
        text_column=("body",),
        label_column="verdict",
        output=folder / "run",
    )


@pytest.mark.parametrize("place", ["new.csv", "folder/test.csv"])
def test_a_table_is_read_by_the_columns_of_the_fit(run: hs.Run, place: str, tmp_path: Path) -> None:
    path = write(tmp_path / place, rows(40, seed=1))
    found = evaluate(run.path, path if place == "new.csv" else path.parent)
    assert found.n == 40
    assert found.metrics["accuracy"].value > 0.9


def test_labels_are_those_of_the_fit_where_its_texts_were_guessed(
    run: hs.Run, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    config = tmp_path / "run/config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    values["options"]["text_column"] = None
    config.write_text(json.dumps(values), encoding="utf-8")
    data = tmp_path / "folder/test.csv"
    data.parent.mkdir()
    others = [*WORDS, *reversed(WORDS)] * 10  # half of them as the label is
    pairs = zip(rows(40, seed=1), others, strict=True)
    lines = [f"{body},{label},{other}" for (_, body, label), other in pairs]
    data.write_text("body,verdict,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert evaluate(tmp_path / "run", data.parent).metrics["accuracy"].value > 0.9


def test_texts_of_one_group_count_as_one(run: hs.Run, tmp_path: Path, headstart: Any) -> None:
    path = tmp_path / "new.csv"
    lines = [f"desk {i % 5},{body},{label}" for i, (_, body, label) in enumerate(rows(40, seed=1))]
    path.write_text("desk,body,verdict\n" + "\n".join(lines) + "\n", encoding="utf-8")
    apart, together = (evaluate(run.path, path, group=name) for name in (None, "desk"))
    assert together.metrics["accuracy"].value == apart.metrics["accuracy"].value
    widths = [e.metrics["log_loss"].high - e.metrics["log_loss"].low for e in (apart, together)]
    assert widths[0] != widths[1]
    told = headstart("evaluate", run.path, path, "--group", "desks")
    assert told.code == 2
    assert "desks" in told.err
    shutil.copytree(run.path, tmp_path / "run")
    config = tmp_path / "run/config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    values["options"]["group"] = "desk"
    config.write_text(json.dumps(values), encoding="utf-8")
    told = headstart("evaluate", tmp_path / "run", path)
    assert told.code == 0
    assert "The fit kept groups together (--group desk)" in " ".join(told.err.split())
    told = headstart("evaluate", tmp_path / "run", path, "--group", "desk")
    assert told.code == 0
    assert "too narrow" not in " ".join(told.err.split())


def test_other_columns_can_be_named(run: hs.Run, tmp_path: Path, headstart: Any) -> None:
    path = tmp_path / "renamed.csv"
    lines = [f"{body},{label}" for _, body, label in rows(20, seed=2)]
    path.write_text("said,meant\n" + "\n".join(lines) + "\n", encoding="utf-8")
    output = tmp_path / "metrics.json"
    told = headstart(
        *("evaluate", run.path, path, "--text-column", "said", "--label-column", "meant"),
        *("--output", output),
    )
    assert told.code == 0
    assert json.loads(output.read_text())["n"] == 20
    told = headstart("evaluate", run.path, path, "--text-column", "sad")
    assert told.code == 2
    assert "said" in told.err


def test_folders_of_text_files_are_read_whatever_the_fit_read(run: hs.Run, tmp_path: Path) -> None:
    for i, (_, body, label) in enumerate(rows(20, seed=3)):
        (tmp_path / "d" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / label / f"{i}.txt").write_text(body, encoding="utf-8")
    assert evaluate(run.path, tmp_path / "d").metrics["accuracy"].value > 0.9


def test_whole_ratings_are_those_of_a_model_that_knows_halves(tmp_path: Path) -> None:
    name_of = {"praise": "2.0", "blame": "1.0"}
    labelled = [("no title", body, name_of[label]) for _, body, label in rows(60, seed=7)]
    halves = [("no title", f"middling meadow {i % 3}", "1.5") for i in range(30)]
    run = hs.fit(
        write(tmp_path / "mails.csv", labelled + halves),
        strategy="tfidf",
        text_column=("body",),
        label_column="verdict",
        output=tmp_path / "run",
    )
    new = [("no title", body, name_of[label]) for _, body, label in rows(20, seed=8)]
    assert evaluate(run.path, write(tmp_path / "new.csv", new)).metrics["accuracy"].value > 0.9


def test_a_label_that_the_model_does_not_know_is_refused(run: hs.Run, tmp_path: Path) -> None:
    some = [*rows(10, seed=4), ("no title", "good beast", "doubt")]
    with pytest.raises(DataError, match="Unknown to it: `doubt`"):
        evaluate(run.path, write(tmp_path / "new.csv", some))


def test_one_class_is_enough_to_be_measured_on(run: hs.Run, tmp_path: Path, headstart: Any) -> None:
    some = [row for row in rows(20, seed=5) if row[2] == "blame"]
    told = headstart("evaluate", run.path, write(tmp_path / "new.csv", some))
    assert told.code == 0
    assert "The data has no sample of `praise`" in " ".join(told.err.split())


def test_empty_texts_stop_it_or_are_left_out(run: hs.Run, tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", [*rows(10, seed=6), ("no title", " ", "blame")])
    with pytest.raises(DataError, match="1 text with nothing in it"):
        evaluate(run.path, path)
    assert evaluate(run.path, path, on_bad="skip").n == 10


def test_pictures_are_refused_by_a_model_of_texts(
    run: hs.Run, make_photos: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match="holds pictures, but the model is of texts"):
        evaluate(run.path, make_photos({"praise": 3, "blame": 3}))
    with pytest.raises(ConfigError, match="--units reflectance is of masks"):
        evaluate(run.path, "nowhere", units="reflectance")


# --- what counts ------------------------------------------------------------------------------


def test_nothing_that_the_run_learnt_from_is_measured(
    run: hs.Run, tmp_path: Path, headstart: Any
) -> None:
    """The fit's own table, under another name: of it only the test has not been seen."""
    own = write(tmp_path / "again.csv", rows(120, seed=0))
    assignment = run.folder.read_json(run.folder.split)["assignment"]
    splits = {int(id_.partition("#")[2]) - 1: e["split"] for id_, e in assignment.items()}
    num_test = list(splits.values()).count("test")
    told = headstart("evaluate", run.path, own, "--output", tmp_path / "metrics.json")
    assert told.code == 0
    assert f"{120 - num_test} of the 120 texts" in " ".join(told.err.split())
    measured = json.loads((tmp_path / "metrics.json").read_text())
    assert measured["n"] == num_test
    assert measured["metrics"]["accuracy"]["value"] == run.metrics["accuracy"].value

    places = [place for place, split in splits.items() if split == "train"]
    learnt = write(tmp_path / "learnt.csv", [rows(120, seed=0)[i] for i in places])
    told = headstart("evaluate", run.path, learnt)
    assert told.code == 2
    assert f"has learnt from all of the {len(places)} texts" in " ".join(told.err.split())


def test_a_run_that_does_not_tell_what_it_learnt_from_is_warned_of(
    run: hs.Run, tmp_path: Path, headstart: Any
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    split = json.loads((tmp_path / "run/split.json").read_text(encoding="utf-8"))
    for entry in split["assignment"].values():
        del entry["content"]
    (tmp_path / "run/split.json").write_text(json.dumps(split), encoding="utf-8")
    told = headstart("evaluate", tmp_path / "run", write(tmp_path / "a.csv", rows(10, seed=0)))
    assert told.code == 0
    assert "of an earlier version and does not tell" in " ".join(told.err.split())


def test_copies_count_as_one_as_in_a_fit(run: hs.Run, tmp_path: Path, headstart: Any) -> None:
    some = rows(20, seed=9)
    flipped = {"praise": "blame", "blame": "praise"}
    wrong = [(*row[:2], flipped[row[2]]) for row in some[:4]] + some[4:]
    once, often = (write(tmp_path / f"{n}.csv", wrong * n) for n in (1, 10))
    apart, together = (evaluate(run.path, path).metrics["accuracy"] for path in (once, often))
    assert together.value == pytest.approx(apart.value)
    assert together.high - together.low > 0.8 * (apart.high - apart.low)
    told = headstart("evaluate", run.path, often)
    assert "200 texts are in" in " ".join(told.err.split())


def test_a_text_with_nothing_in_it_is_a_stranger(run: hs.Run, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text('body,id\n"good fine funny beauty",1\n" ",2\n', encoding="utf-8")
    found = hs.predict(run.path, [path]).strangers
    assert found is not None
    assert found.is_stranger.tolist()[1]


# --- what is there stays ----------------------------------------------------------------------


def test_what_is_read_is_never_replaced(run: hs.Run, tmp_path: Path, headstart: Any) -> None:
    data = write(tmp_path / "more/new.csv", rows(10, seed=11))
    before = data.read_bytes()
    told = headstart("predict", run.path, data, "--output", data)
    assert told.code == 2
    assert "is what is read, and would be replaced" in told.err
    told = headstart("evaluate", run.path, data, "--output", data)
    assert told.code == 2
    assert "Let its name end in .json" in told.err
    labelled = tmp_path / "more/new.json"
    labelled.write_text("{}", encoding="utf-8")
    told = headstart("evaluate", run.path, data.parent, "--output", labelled)
    assert told.code == 2
    assert "which is read, and would be replaced" in told.err
    assert data.read_bytes() == before
    assert labelled.read_text() == "{}"
    assert headstart("predict", run.path, data, "--output", tmp_path / "a.csv").code == 0
    assert headstart("predict", run.path, data, "--output", tmp_path / "a.csv").code == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("split.json", "{}", "split.json` is damaged (it has no `assignment`)"),
        ("split.json", '{"assignment": {"a": "train"}}', "its `assignment` is none"),
        ("dataset.json", "{}", "dataset.json` is damaged (it has no `left_out`)"),
        ("config.json", "{}", "config.json` is damaged"),
    ],
)
def test_a_damaged_run_is_told_as_one(
    name: str, content: str, message: str, run: hs.Run, tmp_path: Path, headstart: Any
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / name).write_text(content, encoding="utf-8")
    data = write(tmp_path / "new.csv", rows(10, seed=12))
    told = headstart("evaluate", tmp_path / "run", data)
    assert told.code == 2
    assert message in " ".join(told.err.split())


def test_a_run_without_weights_is_not_to_be_resumed(
    run: hs.Run, tmp_path: Path, headstart: Any
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run/model.safetensors").unlink()
    told = headstart("predict", tmp_path / "run", write(tmp_path / "a.csv", rows(4, seed=13)))
    assert told.code == 2
    assert "model.safetensors` is missing from the run. Fit again." in " ".join(told.err.split())
