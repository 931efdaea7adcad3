"""What a fit says of texts can be trusted: planted leaks and wrong labels are found.

How many of them among real questions is measured by bench/trust_texts.py.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.api import inspect

pytest.importorskip("transformers", reason="needs the extra `text`")

from tiny_language_models import write_model

Command = Callable[..., Any]
WORDS = {
    "praise": ("good", "fine", "stirring", "funny", "beauty", "transporting", "finally"),
    "blame": ("horror", "daytime", "soap", "beast", "apparently", "cutting", "room"),
    "question": ("what", "how", "did", "who", "featured", "character", "then"),
}
NEUTRAL = ("film", "the", "of", "it", "and", "in", "a", "floor", "Russia", "imagining", "any")


def sentences(per: int, *, seed: int) -> list[tuple[str, str]]:
    """(text, label) of `per` texts of each class, all unlike one another."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(per * len(WORDS)):
        label = list(WORDS)[i % len(WORDS)]
        words = [*rng.choice(WORDS[label], 9), *rng.choice(NEUTRAL, 3)]
        rows.append((" ".join(rng.permutation(words)), label))
    return rows


def write(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def test_copies_planted_across_splits_are_found_with_their_originals(tmp_path: Path) -> None:
    train, test = sentences(60, seed=0), sentences(20, seed=1)
    ways = (str, str.upper, lambda text: text + " !!", lambda text: text.replace(" ", ", "))
    planted = [
        (way(text), label)
        for k, way in enumerate(ways)
        for text, label in train[10 * k : 10 * k + 10]
    ]
    write(tmp_path / "train.csv", train)
    write(tmp_path / "test.csv", [*test, *planted])
    found = inspect(tmp_path)
    partners = {leak.id: leak.partner for leak in found.leaks}
    first = len(test) + 1
    assert partners == {f"test.csv#{first + i}": f"train.csv#{i + 1}" for i in range(40)}
    kinds = {leak.id: leak.kind for leak in found.leaks}
    assert [kinds[f"test.csv#{first + i}"] for i in (0, 39)] == ["same-file", "near-duplicate"]


def test_labels_that_were_flipped_are_named(headstart: Command, tmp_path: Path) -> None:
    rows = sentences(100, seed=2)
    rng = np.random.default_rng(3)
    flipped = {int(i) for i in rng.choice(len(rows), 15, replace=False)}
    others = {label: [name for name in WORDS if name != label] for label in WORDS}
    write(
        tmp_path / "train.csv",
        [
            (text, str(rng.choice(others[label])) if i in flipped else label)
            for i, (text, label) in enumerate(rows)
        ],
    )
    write(tmp_path / "test.csv", sentences(20, seed=4))
    backbone, run = write_model("bert", tmp_path / "bert"), tmp_path / "run"
    done = headstart(
        *("fit", tmp_path, "--backbone", backbone, "--strategy", "probe", "--output", run)
    )
    assert done.code == 0, done.err
    with (run / "suspects.csv").open(encoding="utf-8", newline="") as file:
        told = {int(row["id"].removeprefix("train.csv#")) - 1: row for row in csv.DictReader(file)}
    hits = flipped & told.keys()
    assert len(hits) / len(flipped) >= 0.5, "recall"
    assert len(hits) / len(told) >= 0.5, "precision"
    right = [told[i]["likely label"] == rows[i][1] for i in hits]
    assert np.mean(right) > 0.9
