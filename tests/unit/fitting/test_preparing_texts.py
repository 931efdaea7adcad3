"""From texts to samples that can be fitted, each in its split."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.config import make_options
from headstart.errors import ConfigError, DataError
from headstart.fitting.preparing import PreparedData, prepare_data, seen_through
from headstart.progress import Progress


def prepared(path: Path, **options: object) -> PreparedData:
    return prepare_data(path, make_options(options), decode=False, progress=Progress())


def test_real_questions_keep_their_test_and_their_leaks_are_told(trec: Path) -> None:
    data = prepared(trec)
    assert [len(data.samples(n)) for n in ("train", "validation", "test")] == [4362, 1090, 500]
    assert data.split.rule == "given-test"
    assert {s.split for s in data.samples("test")} == {"test"}
    kinds = {f.kind for f in data.checkup.findings}
    assert {"duplicate", "leaked-duplicate", "near-duplicate", "leaked-near-duplicate"} <= kinds
    texts = {s.id: s.text for s in data.dataset}
    leaks = {texts[leak.id]: (leak.kind, texts[leak.partner]) for leak in data.leaks}
    assert leaks["What are the twin cities ?"] == ("near-duplicate", "What are the Twin Cities ?")
    told = " ".join(f"{f.message} {f.remedy}" for f in data.checkup.findings)
    assert "picture" not in told


def test_copies_and_near_copies_share_a_split(tmp_path: Path) -> None:
    words = [f"{n}teen" for n in ("thir", "four", "fif", "six", "seven", "eigh", "nine", "six")]
    rows = []
    for i in range(40):
        text = " ".join(f"{word}{i * i % 97}" for word in words)
        rows += [f"{text},{'ab'[i % 2]}", f"{text.upper()}!,{'ab'[i % 2]}"]
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(rows))
    data = prepared(tmp_path)
    assert len(data.near.groups) >= 30
    split_of = data.split.assignment
    assert all(split_of[p.first] == split_of[p.second] for p in data.near.pairs)
    assert not data.leaks


def test_empty_texts_stop_or_are_left_out(tmp_path: Path) -> None:
    rows = "".join(f"some text of {word},{'ab'[i % 2]}\n" for i, word in enumerate("abcdefghijkl"))
    (tmp_path / "t.csv").write_text(f"text,label\n{rows},a\n")
    with pytest.raises(DataError, match=r"t\.csv#13"):
        prepared(tmp_path)
    data = prepared(tmp_path, on_bad="skip")
    assert list(data.left_out) == ["t.csv#13"]
    assert len(data.dataset) == 12


def test_columns_are_given_as_options(tmp_path: Path) -> None:
    rows = "".join(f"head {i},the body of {i} is here,{'ab'[i % 2]}\n" for i in range(12))
    (tmp_path / "t.csv").write_text(f"title,body,kind\n{rows}")
    data = prepared(tmp_path, text_column="title,body", label_column="kind")
    assert data.dataset.samples[0].text == "title: head 0\nbody: the body of 0 is here"
    with pytest.raises(ConfigError, match="each once: title,body"):
        make_options({"text_column": "title,title"})


def test_features_do_not_make_texts_of_one_subject_near_duplicates(trec: Path) -> None:
    data = prepared(trec)
    assert seen_through(data, {}, progress=Progress()) is data
