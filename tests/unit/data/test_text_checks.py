from __future__ import annotations

from pathlib import Path

import pytest

from headstart.contracts import Dataset, Finding
from headstart.data import open_dataset
from headstart.data.checks import Checkup, leave_out_bad, raise_for_errors
from headstart.data.text_checks import check_texts
from headstart.errors import DataError
from headstart.progress import Progress


def checked(tmp_path: Path, rows: list[tuple[str, str]], *, test: str = "") -> Dataset:
    lines = "".join(f'"{text}",{label}\n' for text, label in rows)
    (tmp_path / "train.csv").write_text("text,label\n" + lines)
    if test:
        (tmp_path / "test.csv").write_text("text,label\n" + test)
    return open_dataset(tmp_path)


def check(dataset: Dataset) -> Checkup:
    return check_texts(dataset, progress=Progress())


def by_kind(checkup: Checkup) -> dict[str, Finding]:
    return {f.kind: f for f in checkup.findings}


def test_sound_texts_have_no_findings_and_a_hash_each(tmp_path: Path) -> None:
    dataset = checked(tmp_path, [(f"text number {i}", "ab"[i % 2]) for i in range(10)])
    checkup = check(dataset)
    assert checkup.findings == ()
    assert len(set(checkup.same_content.values())) == 10
    assert checkup.facts["train.csv#1"].num_bytes == len("text number 0")


def test_empty_texts_stop_a_fit_or_are_left_out(tmp_path: Path) -> None:
    rows = [("good one", "a"), ("", "a"), (" \t ", "b"), ("bad one", "b"), ("so so", "b")]
    dataset = checked(tmp_path, rows)
    checkup = check(dataset)
    empty = by_kind(checkup)["empty-text"]
    assert (empty.severity, empty.ids) == ("error", ("train.csv#2", "train.csv#3"))
    with pytest.raises(DataError, match="leave 2 texts out with `--on-bad skip`"):
        raise_for_errors(checkup)
    kept, again = leave_out_bad(dataset, checkup)
    assert len(kept) == 3
    assert by_kind(again)["empty-text"].severity == "warning"
    raise_for_errors(again)


def test_equal_texts_are_told_from_conflicts_and_leaks(tmp_path: Path) -> None:
    rows = [("same words", "a"), ("same words", "a"), ("two minds", "a"), ("two minds", "b")]
    found = by_kind(check(checked(tmp_path, rows, test="two minds,b\nall new here,a\n")))
    assert found["duplicate"].ids == ("train.csv#1", "train.csv#2")
    assert found["duplicate"].message == "1 text in several copies, 2 texts in all."
    assert found["conflicting-labels"].ids == ("test.csv#1", "train.csv#3", "train.csv#4")
    assert found["leaked-duplicate"].ids == ("test.csv#1", "train.csv#3", "train.csv#4")


def test_numbers_given_as_texts_are_pointed_out(tmp_path: Path) -> None:
    dataset = checked(tmp_path, [(f"{i}.5", "ab"[i % 2]) for i in range(9)] + [("nine", "a")])
    found = by_kind(check(dataset))["numbers-as-texts"]
    assert found.message.startswith("9 of 10 texts are nothing but a number")
    few = checked(tmp_path, [("12", "a"), ("a dozen eggs", "b"), ("half a dozen", "b")])
    assert "numbers-as-texts" not in by_kind(check(few))


def test_lost_characters_are_pointed_out(tmp_path: Path) -> None:
    found = by_kind(check(checked(tmp_path, [("caf\ufffd bar", "a"), ("tea house", "b")])))
    assert found["lost-characters"].ids == ("train.csv#1",)


def test_classes_too_small_or_alone_are_told_of_texts(tmp_path: Path) -> None:
    rows = [(f"text of a {i}", "a") for i in range(30)] + [("text of b", "b"), ("of c", "c")]
    found = by_kind(check(checked(tmp_path, rows)))
    assert "2 of 3 classes with fewer than 2 texts" in found["tiny-class"].message
    assert "has 30 texts" in found["unbalanced"].message
    alone = by_kind(check(checked(tmp_path, [("one two", "a"), ("three four", "a")])))
    assert alone["one-class"].message.startswith("All texts are of one class, a:")


def test_the_fingerprint_is_of_texts_and_labels_not_of_their_order(tmp_path: Path) -> None:
    rows = [("one two", "a"), ("three four", "b"), ("five six", "a")]
    first = check(checked(tmp_path, rows)).fingerprint
    assert check(checked(tmp_path, rows[::-1])).fingerprint == first
    assert check(checked(tmp_path, [("one two", "b"), *rows[1:]])).fingerprint != first


def test_a_leak_is_of_splits_that_are_given(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    head = "text,label,split\n"
    path.write_text(head + "same,a,train\nsame,a,\nother,b,train\nnew,a,test\n")
    assert "leaked-duplicate" not in by_kind(check(open_dataset(path)))
    path.write_text(head + "same,a,train\nsame,a,val\nother,b,train\nnew,a,test\n")
    leak = by_kind(check(open_dataset(path)))["leaked-duplicate"]
    assert "the test flatters" not in leak.message
    assert "validation samples flatters the model" in leak.message
