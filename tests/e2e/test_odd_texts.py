"""Tables of texts as people have them: many classes, numbers, emojis, any script, any length."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs the extra `text`")

from tiny_language_models import write_model

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("bert", tmp_path_factory.mktemp("bert"))


def write(path: Path, rows: Sequence[tuple[str, str]], *, column: str = "text") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([(column, "label"), *rows])
    return path


def predicted(headstart: Command, run: Path, data: Path) -> list[dict[str, str]]:
    done = headstart("predict", run, data, "--quiet")
    assert done.code == 0, done.err
    return list(csv.DictReader(io.StringIO(done.out)))


def test_of_two_hundred_classes_fifty_have_one_text(
    headstart: Command, backbone: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    rows = []
    for k in range(200):
        word = "".join(rng.choice(letters, 6))
        for _ in range(1 if k < 50 else 4):
            rows.append((f"{word} {word} {''.join(rng.choice(letters, 9))}", f"topic {k:03}"))
    data, run = write(tmp_path / "many.csv", rows), tmp_path / "run"
    done = headstart(*("fit", data, "--backbone", backbone, "--strategy", "probe", "--output", run))
    assert done.code == 0, done.err
    told = " ".join((done.out + done.err).split())
    assert "50 of 200 classes with fewer than 2 texts" in told
    assert "50 classes have no test sample" in told
    assert len(json.loads((run / "config.json").read_text())["model"]["classes"]) == 200
    assert (run / "report.html").stat().st_size > 0
    assert len(predicted(headstart, run, data)) == len(rows)


def test_a_column_of_numbers_is_no_text_but_is_read_where_it_is_asked_for(
    headstart: Command, backbone: Path, tmp_path: Path
) -> None:
    amounts = np.random.default_rng(0).uniform(0, 100, 80)
    rows = [(f"{amount:.2f}", "high" if amount > 50 else "low") for amount in amounts]
    data, run = write(tmp_path / "amounts.csv", rows, column="amount"), tmp_path / "run"
    refused = headstart("fit", data, "--backbone", backbone, "--output", run)
    assert refused.code == 2
    assert not run.exists()
    done = headstart(
        *("fit", data, "--text-column", "amount", "--label-column", "label"),
        *("--backbone", backbone, "--strategy", "probe", "--output", run),
    )
    assert done.code == 0, done.err
    assert "numbers" in done.out + done.err
    assert {row["prediction"] for row in predicted(headstart, run, data)} <= {"high", "low"}


def test_emojis_any_script_and_endless_texts_are_fitted_shown_and_answered(
    headstart: Command, backbone: Path, tmp_path: Path
) -> None:
    rows = []
    for i in range(20):
        rows += [
            (f"🎉👍🏽 yes {i} 😀 finally", "joy"),
            (f"😡 no {i} 💔 horror", "anger"),
            (f"هذا الفيلم رائع جدا {i} مرحبا beauty", "joy"),
            (f"זה סרט נורא {i} לא טוב beast", "anger"),
        ]
    rows += [
        ("so good " * 12_500, "joy"),  # 100,000 characters
        ("x" * 100_000, "anger"),  # without a space
        ("👩‍👩‍👧‍👦" * 3_000, "joy"),
        ("\u202eturned round\u202c \u200f and \x00 cut", "anger"),
    ]
    data, run = write(tmp_path / "odd.csv", rows), tmp_path / "run"
    looked = headstart("inspect", data, "--output", tmp_path / "page.html")
    assert looked.code == 0, looked.err
    done = headstart(*("fit", data, "--backbone", backbone, "--strategy", "probe", "--output", run))
    assert done.code == 0, done.err
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "x" * 5_000 not in page
    assert "\x00" not in page
    assert [row["id"] for row in predicted(headstart, run, data)] == [
        f"odd.csv#{i}" for i in range(1, len(rows) + 1)
    ]
