"""A fit of texts from a table to predictions, with a tiny language model of random weights."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.cli import run as command
from headstart.compute import MeasuredFormat
from headstart.config import make_options
from headstart.contracts import ComputeFormat
from headstart.errors import ConfigError, MissingExtraError, RunError
from headstart.fitting.preparing import prepare_data
from headstart.progress import Progress
from headstart.report.wording import duration

pytest.importorskip("transformers", reason="needs the extra `text`")

from tiny_language_models import write_model

WORDS = {
    "praise": ["good", "fine", "stirring", "funny", "beauty", "transporting"],
    "blame": ["horror", "daytime", "soap", "beast", "apparently", "cutting"],
}


def write_table(path: Path, *, num: int, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(num):
            label = ["praise", "blame"][i % 2]
            words = [*rng.choice(WORDS[label], 6), f"no {i}"]
            writer.writerow([" ".join(words), label])
    return path


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("mails") / "mails.csv", num=160)


@pytest.fixture(scope="module")
def run(table: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    output = tmp_path_factory.mktemp("runs") / "probe"
    precision = "float32"  # answers are then the same in batches of any size
    return hs.fit(
        table, backbone=str(backbone), strategy="probe", precision=precision, output=output
    )


def test_a_probe_on_texts_is_a_run_like_any_other(run: hs.Run) -> None:
    assert float(run.metrics["accuracy"]) > 0.8
    config = json.loads((run.path / "config.json").read_text())
    assert config["task"] == "text-classification"
    assert (run.path / "tokenizer.json").is_file()
    assert "sha256:" in json.loads((run.path / "input.json").read_text())["tokenizer"]
    assert (run.path / "report.html").is_file()


def test_a_loaded_model_answers_texts_as_the_run_did(run: hs.Run, table: Path) -> None:
    import pyarrow.parquet as pq

    told = pq.read_table(run.path / "predictions.parquet").to_pydict()
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    texts = [rows[int(id_.split("#")[1]) - 1]["text"] for id_ in told["id"]]
    answers = hs.load(run.path).predict_texts(texts)
    assert answers.labels == told["prediction"]
    assert np.allclose(answers.probabilities, np.array(told["probabilities"]), atol=1e-4)


def test_new_texts_come_from_tables_files_and_standard_input(
    run: hs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = write_table(tmp_path / "new.csv", num=6, seed=1)
    assert command(["predict", str(run.path), str(new), "--quiet"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["id"] for row in rows] == [f"new.csv#{i}" for i in range(1, 7)]
    with new.open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    model = hs.load(run.path)
    assert [row["prediction"] for row in rows] == model.predict_texts(texts).labels

    [answer] = model.predict_texts([texts[0]]).labels
    (tmp_path / "mail.txt").write_text(f" {texts[0]}\r\n", encoding="utf-8")
    assert command(["predict", str(run.path), str(tmp_path / "mail.txt"), "--quiet"]) == 0
    assert f"mail.txt,{answer}" in capsys.readouterr().out

    lines = "\n\n".join(json.dumps({"text": text}) for text in texts[:2])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert command(["predict", str(run.path), "-", "--quiet"]) == 0
    told = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    answers = model.predict_texts(texts[:2]).labels
    assert [(row["id"], row["prediction"]) for row in told] == [
        ("line 1", answers[0]),
        ("line 3", answers[1]),
    ]


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_an_encoder_a_decoder_and_a_t5_are_fine_tuned_and_loaded_anew(
    family: str, table: Path, tmp_path: Path
) -> None:
    folder = write_model(family, tmp_path / family)
    run = hs.fit(
        table, backbone=str(folder), strategy="full", epochs=2, output=tmp_path / "run"
    )  # it verifies that the saved model predicts alike
    assert run.metrics["accuracy"].n is not None
    assert hs.load(run.path).predict_texts(["good beauty"]).labels[0] in ("praise", "blame")


@pytest.mark.parametrize("strategy", ["head", "gradual", "lora", "scratch"])
def test_every_strategy_goes_through_with_texts(
    strategy: str, table: Path, backbone: Path, tmp_path: Path
) -> None:
    run = hs.fit(
        table, backbone=str(backbone), strategy=strategy, epochs=2, output=tmp_path / "run"
    )
    assert run.metrics["accuracy"].n is not None


def test_a_head_learns_from_features_that_are_read_once(
    table: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.data.loader import TrainLoader

    def read(loader: TrainLoader, epoch: int, *, start: int = 0) -> None:
        raise AssertionError("The texts went through the backbone again.")

    monkeypatch.setattr(TrainLoader, "batches", read)
    run = hs.fit(table, backbone=str(backbone), strategy="head", epochs=60, output=tmp_path / "run")
    assert run.metrics["accuracy"].value > 0.8


def test_the_ladder_begins_with_words_alone(table: Path, backbone: Path, tmp_path: Path) -> None:
    run = hs.fit(table, backbone=str(backbone), budget="60s", output=tmp_path / "run")
    rungs = json.loads((run.path / "metrics.json").read_text())["rungs"]
    names = [rung["strategy"] for rung in rungs]
    assert names[:4] == ["majority", "trivial", "knn", "probe"]
    assert "words" in rungs[1]["why"]


def test_what_changes_pictures_is_refused_for_texts(table: Path, backbone: Path) -> None:
    with pytest.raises(ConfigError, match="--mixup changes pictures"):
        hs.fit(table, backbone=str(backbone), strategy="full", mixup=0.2)


def test_a_backbone_of_pictures_is_refused_for_texts(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a model of pictures, and the data are texts"):
        hs.fit(table, backbone="timm:test_resnet", output=tmp_path / "run")


def test_before_the_first_label_the_nearest_class_name_answers(
    table: Path, backbone: Path, tmp_path: Path
) -> None:
    run = hs.fit(table, backbone=str(backbone), strategy="as-is", output=tmp_path / "run")
    matches = json.loads((run.path / "config.json").read_text())["fit"]["matches"]
    assert matches == {"blame": ["blame"], "praise": ["praise"]}
    nearest = hs.load(run.path).predict_texts(["praise", "blame"])
    assert nearest.labels == ["praise", "blame"]


@pytest.fixture
def with_long(table: Path, tmp_path: Path) -> Path:
    """The table, with every fifth text too long for the model."""
    path = tmp_path / "long.csv"
    with table.open(encoding="utf-8") as file, path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        for number, row in enumerate(csv.reader(file)):
            writer.writerow([f"{row[0]} " * (9 if number % 5 == 1 else 1), row[1]])
    return path


@pytest.mark.parametrize(("samples_per_s", "long"), [(1e6, "windows"), (0.01, "head-tail")])
def test_long_texts_are_shortened_where_the_budget_does_not_hold_all_of_each(
    samples_per_s: float,
    long: str,
    with_long: Path,
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = MeasuredFormat(ComputeFormat(), samples_per_s, "made up")
    monkeypatch.setattr("headstart.fitting.long_texts.measure_format", lambda *_, **__: slow)
    run = hs.fit(
        with_long, backbone=str(backbone), strategy="probe", budget="1m", output=tmp_path / "run"
    )
    choices = json.loads((run.path / "config.json").read_text())["choices"]
    (choice,) = [choice for choice in choices if choice["name"] == "long"]
    assert choice["value"] == long
    told = (
        f"and the budget has {duration(42)} for it"
        if long == "head-tail"
        else "all of each text can be"
    )
    assert told in choice["reason"]


def test_long_texts_are_read_in_parts_by_default_and_as_asked_for(
    with_long: Path, backbone: Path, tmp_path: Path
) -> None:
    for given, read in ((None, "windows"), ("head-tail", "head-tail")):
        run = hs.fit(
            with_long,
            backbone=str(backbone),
            strategy="probe",
            long=given,
            output=tmp_path / read,
        )
        assert json.loads((run.path / "input.json").read_text())["long"] == read
        assert len(hs.load(run.path).predict_texts(["good " * 90, "soap"])) == 2


def test_a_window_is_of_texts_alone(tmp_path: Path) -> None:
    from PIL import Image

    for i, name in enumerate("aabb"):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (60 * i, 9, 9)).save(tmp_path / name / f"{i}.png")
    with pytest.raises(ConfigError, match="--long is of texts"):
        hs.fit(tmp_path, long="cut", output=tmp_path / "run")


def test_texts_of_two_files_with_one_name_are_all_answered(run: hs.Run, tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        write_table(tmp_path / folder / "new.csv", num=4, seed=seed)
    paths = [tmp_path / "a" / "new.csv", tmp_path / "b" / "new.csv"]
    answers = hs.load(run.path).predict([*paths, paths[0]])
    assert len(set(answers.ids)) == len(answers) == 8
    alone = hs.load(run.path).predict([paths[1]])
    assert answers.labels[4:] == alone.labels


def test_a_language_model_alone_answers_nothing_and_says_what_to_do(
    backbone: Path, table: Path
) -> None:
    for reference in ("minilm", str(backbone)):
        with pytest.raises(ConfigError, match="reads texts and brings no classes") as error:
            hs.evaluate(reference, table)
        assert f"headstart fit DATA --backbone {reference}" in str(error.value)
    with pytest.raises(ConfigError, match="reads texts and brings no classes"):
        hs.predict("minilm", [table])


def test_strangers_are_known_by_their_letters_after_loading(run: hs.Run) -> None:
    model = hs.load(run.path)
    flags = model.predict_texts(
        ["stirring funny beauty good fine fine no 7", "wo liegt denn der höchste Berg?", "这是什么"]
    ).strangers
    assert flags is not None
    assert flags.is_stranger.tolist() == [False, True, True]
    found = json.loads((run.path / "metrics.json").read_text())["ood"]
    assert found["letters_threshold"] > 0
    assert "such as another language or gibberish" in (run.path / "report.html").read_text()


def test_the_report_of_texts_has_no_options_of_pictures(run: hs.Run) -> None:
    page = (run.path / "report.html").read_text()
    for name in ("image_column", "mixup", "bands", "decoder"):
        assert f">{name}<" not in page
    assert ">text_column<" in page
    assert "Languages" in page


def test_more_texts_than_one_part_are_answered_and_counted_as_they_are_read(
    run: hs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = write_table(tmp_path / "new.csv", num=50, seed=1)
    whole = hs.load(run.path).predict([new])
    monkeypatch.setattr("headstart.data.new_texts.TEXTS_A_PART", 20)
    parts = list(hs.predict_parts(run.path, [new]))
    assert [len(part) for part in parts] == [20, 20, 10]
    assert [id_ for part in parts for id_ in part.ids] == list(whole.ids)
    assert [label for part in parts for label in part.labels] == whole.labels

    output = tmp_path / "answers.csv"
    given = ["predict", str(run.path), str(new), "--output", str(output), "--min-confidence", "1"]
    assert command(given) == 0
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == list(whole.ids)
    assert {row["undecided"] for row in rows} == {"True"}
    told = capsys.readouterr().err
    assert "answers.csv (50 rows)" in told
    assert "Undecided: 50 of 50 texts (less sure than 1)." in told

    assert command(["predict", str(run.path), str(new)]) == 0
    answers = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["id"] for row in answers] == list(whole.ids)


def test_without_the_extra_texts_are_refused_before_there_is_a_folder(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.fitting.classifying.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"headstart\[text\]"):
        hs.fit(table, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_read_is_skipped_named_and_counted(
    run: hs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, output = tmp_path / "new.jsonl", tmp_path / "answers.csv"
    lines = [json.dumps({"text": f"funny beauty no {i}"}) for i in range(60)]
    lines[10:35] = ["{"] * 25
    new.write_text("\n".join(lines), encoding="utf-8")
    given = ["predict", str(run.path), str(new), "--output", str(output)]
    assert command(given) == 2
    assert "Line 11 of" in capsys.readouterr().err
    assert not output.exists()

    monkeypatch.setattr("headstart.data.new_texts.TEXTS_A_PART", 20)
    assert command([*given, "--on-bad", "skip"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "Line 11 of" in told
    assert "Line 30 of" in told
    assert "Line 31 of" not in told
    assert "Left out: 25 texts that cannot be read; the first 20 are named above." in told
    with output.open(encoding="utf-8", newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    assert ids == [f"new.jsonl#{i}" for i in (*range(1, 11), *range(36, 61))]
    assert list(hs.predict(run.path, [new], on_bad="skip").ids) == ids


def test_what_follows_where_a_table_breaks_off_is_told_apart_from_texts(
    run: hs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, output = tmp_path / "new.csv", tmp_path / "answers.csv"
    rows = [f"{i},funny beauty" for i in range(1, 31)] + ['31,"never closed', "32,more"]
    table.write_text("\n".join(["number,text", *rows]), encoding="utf-8")
    assert command(["predict", str(run.path), str(table), "--output", str(output)]) == 2
    assert "From line 32 on, look for a quote" in " ".join(capsys.readouterr().err.split())
    assert (
        command(["predict", str(run.path), str(table), "--output", str(output), "--on-bad", "skip"])
        == 0
    )
    told = " ".join(capsys.readouterr().err.split())
    assert "Its first 30 rows are kept." in told
    assert "Left out: what follows in 1 table." in told
    with output.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 30


def test_what_is_asked_wrongly_is_said_before_a_part_is_asked_for(
    run: hs.Run, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="least confidence of 2"):
        hs.predict_parts(run.path, [table], min_confidence=2)
    with pytest.raises(RunError):
        hs.predict_parts(tmp_path / "none", [table])


def test_texts_of_unknown_tokens_are_told_before_and_after_a_fit(
    backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_table(tmp_path / "mails.csv", num=80)
    with data.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("😀🎉 " * (i + 3), "praise") for i in range(12)])
    assert command(["inspect", str(data), "--backbone", str(backbone)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "12 texts (13.0%) consist for the most part of what the tokenizer of" in told
    assert "mails.csv#81, mails.csv#82" in told
    made = hs.fit(data, backbone=str(backbone), strategy="probe", output=tmp_path / "run")
    found = json.loads((made.path / "dataset.json").read_text())["findings"]
    [finding] = [finding for finding in found if finding["kind"] == "unknown-tokens"]
    assert set(finding["ids"]) <= {f"mails.csv#{i}" for i in range(81, 93)}
    assert "To the model they all look alike" in (made.path / "report.html").read_text()


def test_of_a_text_that_no_token_stands_for_the_answer_is_a_strangers(run: hs.Run) -> None:
    flags = hs.load(run.path).predict_texts(["x" * 100_000, "👩‍👩‍👧‍👦" * 8]).strangers
    assert flags is not None
    assert flags.is_stranger.all()


@pytest.mark.parametrize("given", [{"strategy": "scratch", "epochs": 1}, {"weights": "random"}])
def test_random_weights_were_trained_on_no_language(
    given: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    words = [
        *("der", "die", "nicht", "morgen", "Bahnhof", "schöne", "müssen", "Straße", "fährt"),
        *("Gemüse", "wieder", "Zeitung", "zwischen", "Mädchen", "gestern", "Häuser", "langsam"),
    ]
    rng = np.random.default_rng(0)
    rows = [(" ".join(rng.choice(words, 12)), "ab"[i % 2]) for i in range(24)]
    data = tmp_path / "trains.csv"
    with data.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])

    def kinds(**values: object) -> set[str]:
        options = make_options({"backbone": "minilm", **values})
        prepared = prepare_data(data, options, decode=False, progress=Progress())
        return {finding.kind for finding in prepared.checkup.findings}

    assert "other-language" in kinds()
    assert "other-language" in kinds(backbone="minilm,bge-small-en")
    assert "other-language" not in kinds(**given)
