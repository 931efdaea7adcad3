"""`headstart inspect` of texts, as a user has it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.api import inspect
from headstart.backbones import load_text_backbone
from headstart.errors import ConfigError

pytest.importorskip("transformers", reason="needs the extra `text`")

from tiny_language_models import write_model

Command = Callable[..., object]


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    """train.csv and test.csv, with a copy, a near-copy and a text of two labels."""
    topics = {"bill": "invoice due payment amount", "trip": "hotel flight luggage museum"}
    rows = [
        (f"{words.split()[i % 4]} of week {i} at place {7 * i} near {words}", label)
        for i in range(30)
        for label, words in topics.items()
    ]
    long = ("The hotel was far from the museum and our luggage came a day late. " * 3).strip()
    rows += [("Pay at once.", "bill"), ("Pay at once.", "trip"), (long, "trip")]
    folder = tmp_path / "mails"
    folder.mkdir()
    for name, some in (("train", rows), ("test", [rows[0], (long.upper() + "!", "trip")])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("body", "kind"), *some])
    return folder


def test_an_inspection_finds_what_is_wrong_with_texts(mails: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = inspect(mails, text_column=("body",), label_column="kind", output=page)
    kinds = {finding.kind: finding for finding in found.findings}
    assert "1 text with different labels" in kinds["conflicting-labels"].message
    assert kinds["leaked-duplicate"].ids == ("test.csv#1", "train.csv#1")
    assert kinds["leaked-near-duplicate"].message.startswith("1 text of the test")
    assert {leak.kind for leak in found.leaks} == {"same-file", "near-duplicate"}
    assert found.lengths is not None
    assert found.lengths.characters.max() == 201
    assert "picture" not in page.read_text(encoding="utf-8").partition("</style>")[2].lower()


def test_tokens_are_counted_by_a_model_that_is_here(
    mails: Path, tmp_path: Path, headstart: Command
) -> None:
    backbone = write_model("roberta", tmp_path / "tiny")
    told = headstart("inspect", mails, "--backbone", backbone)
    assert told.code == 0  # type: ignore[attr-defined]
    words = " ".join(told.out.split())  # type: ignore[attr-defined]
    window = load_text_backbone(str(backbone)).contract.window
    assert f"longer than the {window} that it reads at once" in words
    assert "Pictures" not in words


def test_another_language_than_that_of_the_model_is_told(
    tmp_path: Path, headstart: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "empty"))
    arabic = "لا تريد الحكومة أن ترفع الضرائب في العام المقبل رقم"
    english = "the government does not want to raise taxes next year, says number"
    rows = [(f"{arabic if i % 4 == 0 else english} {i}", "ab"[i % 2]) for i in range(40)]
    data, page = tmp_path / "news.csv", tmp_path / "page.html"
    with data.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    told = headstart("inspect", data, "--output", page)
    words = " ".join(f"{told.out} {told.err}".split())  # type: ignore[attr-defined]
    assert "Languages: " in words
    assert "25% of the texts that can be told are in another" in words
    assert "--backbone multilingual-e5-small" in words
    shown = page.read_text(encoding="utf-8")
    assert "<dt>Languages</dt>" in shown or ">Languages<" in shown

    told = headstart("inspect", data, "--backbone", "multilingual-e5-small")
    assert "in another" not in f"{told.out} {told.err}"  # type: ignore[attr-defined]


def test_nothing_is_fetched_to_count_tokens(
    mails: Path, headstart: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("headstart.backbones.packages.download_wheel", None)
    monkeypatch.setattr("headstart.backbones.hub.download", None)
    words = " ".join(headstart("inspect", mails).out.split())  # type: ignore[attr-defined]
    assert "Their tokens were not counted, as `minilm` is not on this machine" in words
    assert "headstart pull minilm" in words


def test_what_is_of_pictures_alone_is_refused(
    mails: Path, make_photos: Callable[..., Path]
) -> None:
    with pytest.raises(ConfigError, match="--backbone minilm counts the tokens of texts"):
        inspect(make_photos({"cat": 2, "dog": 2}), backbone="minilm")
    with pytest.raises(ConfigError, match="--augment light changes pictures"):
        inspect(mails, augment="light")
    with pytest.raises(ConfigError, match="is a model of pictures, and the data are texts"):
        inspect(mails, backbone="timm:resnet50")


def test_texts_that_cannot_be_fitted_can_be_inspected(tmp_path: Path, headstart: Command) -> None:
    path = tmp_path / "few.csv"
    path.write_text("text,label\n,a\n  ,a\nsome words,a\n", encoding="utf-8")
    told = headstart("inspect", path, "--output", tmp_path / "page.html")
    assert told.code == 0  # type: ignore[attr-defined]
    assert "makes a fit impossible" in told.out  # type: ignore[attr-defined]
    assert "would stop a fit" in (tmp_path / "page.html").read_text(encoding="utf-8")
