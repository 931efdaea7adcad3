"""A table of texts, fitted and told: what the run keeps, and what its report and console say."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tiny_language_models import write_model

# A text of 40,000 characters, whose beginning and end are told apart from all between.
LONG = "it begins with the beast . " + "and daytime horror films " * 1_600 + "it ends with a soap"


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with two classes, whose words tell most of them apart."""
    root = tmp_path_factory.mktemp("letters")
    words = {"ask": ["what", "how", "did", "?"], "tell": ["a", "stirring", "beauty", "soap"]}
    draw = random.Random(0)
    rows = []
    for i in range(120):
        label = draw.choice(["ask", "tell"])
        told = label if draw.random() < 0.85 else draw.choice(["ask", "tell"])
        some = draw.choices(words[told], k=4) + draw.choices(["horror", "film", "the"], k=3)
        rows.append((f"{' '.join(some)} number {i}", label))
    rows[7] = (LONG, "ask")
    with (root / "letters.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return root / "letters.csv"


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("bert", tmp_path_factory.mktemp("bert"))


def test_a_fit_to_texts_speaks_of_texts_and_keeps_few(
    letters: Path,
    tiny_bert: Path,
    headstart: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    fit = headstart("fit", letters, "--backbone", tiny_bert, "--strategy", "probe", "--output", run)
    assert fit.code == 0, fit.err
    said = fit.out + fit.err
    page = (run / "report.html").read_text(encoding="utf-8")
    told = unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))
    card = (run / "README.md").read_text(encoding="utf-8")
    for words in (said, told, card, (run / "log.jsonl").read_text(encoding="utf-8")):
        words = words.replace("image_column", "")  # an option that every run has
        assert not re.search(r"picture|photo|image|pixel|colour", words, re.IGNORECASE)
    assert re.search(r"headstart predict \S+ NEW_TEXTS\.csv", said)
    dataset = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
    assert dataset["sizes"]["characters"][2] == len(LONG)
    assert dataset["formats"] == {"CSV": 1}
    kept = json.loads((run / "texts.json").read_text(encoding="utf-8"))
    assert 0 < len(kept) < 120
    assert max(map(len, kept.values())) < 400
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    explained = metrics["explanations"]
    assert explained
    assert all(len(row["text"]) < 1400 for row in explained)
    assert "Which words carried it" in told

    new = headstart("predict", run, letters)
    assert new.code == 0, new.err
    assert "picture" not in new.out + new.err
    piped = io.TextIOWrapper(io.BytesIO(b"what did the beast ?\na stirring soap\n"))
    monkeypatch.setattr("sys.stdin", piped)
    typed = headstart("predict", run, "-", "--quiet")
    assert typed.code == 0, typed.err
    assert [row["id"] for row in csv.DictReader(io.StringIO(typed.out))] == ["line 1", "line 2"]

    (run / "report.html").unlink()
    again = headstart("report", run, "--no-open")
    assert again.code == 0, again.err
    assert (run / "report.html").read_text(encoding="utf-8") == page
