from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart.data import new_texts
from headstart.data.new_texts import find_texts, text_parts
from headstart.errors import DataError


def write_rows(path: Path, num: int) -> Path:
    rows = [f"{i},what is said in row {i} of {path.stem}" for i in range(1, num + 1)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["number,text", *rows]) + "\n", encoding="utf-8")
    return path


def given_to_standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.fixture
def _parts_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_texts, "TEXTS_A_PART", 4)


@pytest.mark.usefixtures("_parts_of_four")
def test_parts_are_the_whole_in_order(tmp_path: Path) -> None:
    tables = [write_rows(tmp_path / "a.csv", 6), write_rows(tmp_path / "b.csv", 3)]
    parts = list(text_parts(tables))
    assert [len(part.samples) for part in parts] == [4, 4, 1]
    ids = [sample.id for part in parts for sample in part.samples]
    assert ids == [f"a.csv#{i}" for i in range(1, 7)] + [f"b.csv#{i}" for i in range(1, 4)]
    shares = [part.share_read for part in parts]
    assert shares == sorted(shares)  # type: ignore[type-var]
    assert shares[-1] == 1.0


@pytest.mark.usefixtures("_parts_of_four")
def test_parts_come_before_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        num_read = 0

        def read(self, size: int = -1) -> bytes:
            self.num_read += 1
            return b"a line of words\n" * 100

    endless = Endless()

    class StandardInput:
        buffer = endless

    monkeypatch.setattr("sys.stdin", StandardInput())
    parts: Iterator[new_texts.TextPart] = text_parts(["-"])
    first = next(parts)
    assert [sample.id for sample in first.samples] == ["line 1", "line 2", "line 3", "line 4"]
    assert first.share_read is None
    assert endless.num_read <= 2


def test_few_long_texts_make_a_part_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_texts, "CHARACTERS_A_PART", 60)
    parts = list(text_parts([write_rows(tmp_path / "a.csv", 6)]))
    assert [len(part.samples) for part in parts] == [3, 3]


def test_tables_of_one_name_keep_their_rows_apart(tmp_path: Path) -> None:
    tables = [write_rows(tmp_path / name / "new.csv", 2) for name in "ab"]
    ids = [sample.id for sample in find_texts([*tables, tables[0]])]
    assert ids == [f"{table}: new.csv#{i}" for table in tables for i in (1, 2)]


def test_a_text_file_and_a_table_have_ids_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "mail.txt").write_text(" hello\r\nthere ", encoding="utf-8")
    found = find_texts([tmp_path / "mail.txt", write_rows(tmp_path / "a.csv", 1)])
    assert [(s.id, s.text) for s in found] == [
        ("mail.txt", "hello\nthere"),
        ("a.csv#1", "what is said in row 1 of a"),
    ]


@pytest.mark.parametrize(
    "content",
    ['text\n"one, and two"\nthree four\nfive six\n', "one and two\nthree four five\nsix of them\n"],
)
def test_new_texts_may_be_the_only_column(content: str, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text(content, encoding="utf-8")
    found = find_texts([path])
    assert [sample.id for sample in found] == [f"new.csv#{i}" for i in (1, 2, 3)]
    assert found[0].text in ("one, and two", "one and two")


def test_a_line_break_that_is_no_end_of_a_line_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    given_to_standard_input(monkeypatch, "one\u2028still one\r\ntwo\rthree".encode())
    assert [s.text for s in find_texts(["-"])] == ["one\u2028still one", "two", "three"]


def test_objects_may_lack_what_earlier_ones_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.data.table_files.BLOCK_ROWS", 2)
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "some words"}\n{"text": "more"}\n{"id": 3}\n', encoding="utf-8")
    assert [s.text for s in find_texts([path])] == ["some words", "more", ""]


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_nothing_at_all_is_said(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    given_to_standard_input(monkeypatch, data)
    with pytest.raises(DataError, match=r"No text in `-`\. Give \.txt files"):
        find_texts(["-"])


def test_a_file_that_is_not_there_is_said_before_others_are_read(tmp_path: Path) -> None:
    parts = text_parts([write_rows(tmp_path / "a.csv", 3), tmp_path / "b.csv"])
    with pytest.raises(DataError, match="no file or folder"):
        next(parts)
