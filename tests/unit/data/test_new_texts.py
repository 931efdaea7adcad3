from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart.contracts import Sample
from headstart.data import find_pictures, new_texts
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


# --- what cannot be read ----------------------------------------------------------------------


class LeftOut:
    """What was told of files and rows that were left out."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def __call__(self, sample: Sample, error: DataError) -> None:
        assert sample.id not in self.told
        self.told[sample.id] = str(error)


def test_an_unreadable_file_stops_or_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(f"what {name} says", encoding="utf-8")
    read = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self.name == "b.txt":
            raise PermissionError(13, "Permission denied")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(DataError, match=r"b\.txt` cannot be read \(Permission denied\)"):
        find_texts([tmp_path])
    left_out = LeftOut()
    found = find_texts([tmp_path], on_error=left_out)
    assert [sample.id for sample in found] == ["a.txt", "c.txt"]
    assert list(left_out.told) == ["b.txt"]
    assert "b.txt` cannot be read" in left_out.told["b.txt"]


@pytest.mark.parametrize("rows_a_block", [2, 100])
def test_a_broken_line_of_objects_is_left_out_and_the_others_keep_their_numbers(
    rows_a_block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.data.table_files.BLOCK_ROWS", rows_a_block)
    lines = ["no object", "7", '{"text": "some words"}', '{"text": "cut', "", '{"text": "more"}']
    lines += ['{"text": {"de": "mehr"}}', '{"id": 3}', "[]"]
    path = tmp_path / "new.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="Line 1 of"):
        find_texts([path])
    left_out = LeftOut()
    found = find_texts([path], on_error=left_out)
    assert [(sample.id, sample.text) for sample in found] == [
        ("new.jsonl#3", "some words"),
        ("new.jsonl#5", "more"),
        ("new.jsonl#7", ""),
    ]
    assert sorted(left_out.told) == [f"new.jsonl#{i}" for i in (1, 2, 4, 6, 8)]
    assert left_out.told["new.jsonl#4"].startswith(f"Line 4 of `{path}` is no JSON")
    assert left_out.told["new.jsonl#6"].startswith("Row 6: Column `text` holds {'de': 'mehr'}")


def test_an_uneven_row_of_a_table_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("id,text\n1,a few words\n2,some, more\n3,the last words\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3 has 3"):
        find_texts([path])
    left_out = LeftOut()
    found = find_texts([path], on_error=left_out)
    assert [sample.id for sample in found] == ["new.csv#1", "new.csv#3"]
    assert "has 2 cells, but line 3 has 3" in left_out.told["new.csv#2"]


def test_a_table_that_breaks_off_keeps_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.data.delimited_files.BLOCK_ROWS", 20)
    monkeypatch.setattr("headstart.data.delimited_files.MAX_CELL", 1 << 18)
    table = write_rows(tmp_path / "a.csv", 130)
    with table.open("a", encoding="utf-8") as file:
        file.write('131,"' + "never closed\n" * 30_000)
    import csv

    limit = csv.field_size_limit(1 << 18)
    try:
        left_out = LeftOut()
        found = find_texts([table, write_rows(tmp_path / "b.csv", 1)], on_error=left_out)
    finally:
        csv.field_size_limit(limit)
    assert [sample.id for sample in found] == [*(f"a.csv#{i}" for i in range(1, 131)), "b.csv#1"]
    assert "a quote that is not closed. Its first 130 rows are kept." in left_out.told["a.csv"]


def test_broken_objects_of_standard_input_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    given_to_standard_input(
        monkeypatch, b'{"text": "one"}\n{"text\n\n{"title": 1}\n{"text": "two"}'
    )
    left_out = LeftOut()
    found = find_texts(["-"], on_error=left_out)
    assert [(s.id, s.text) for s in found] == [("line 1", "one"), ("line 5", "two")]
    assert "Line 2 of standard input is no JSON" in left_out.told["line 2"]
    assert "no entry `text`" in left_out.told["line 4"]


def test_where_everything_is_left_out_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text("one\ntwo\n", encoding="utf-8")
    left_out = LeftOut()
    with pytest.raises(DataError, match=r"Nothing in `.*new\.jsonl` can be read"):
        find_texts([path], on_error=left_out)
    assert list(left_out.told) == ["new.jsonl#1", "new.jsonl#2", "new.jsonl"]


def test_a_column_that_is_not_there_is_never_skipped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column `body`"):
        find_texts([write_rows(tmp_path / "a.csv", 3)], columns=("body",), on_error=LeftOut())


# --- the columns of the fit -------------------------------------------------------------------

PAIR = "id,hypothesis,premise\n1,It is wet,It rains all day\n"


def test_a_pair_of_columns_is_read_as_a_pair(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(PAIR, encoding="utf-8")
    notes: list[str] = []
    [found] = find_texts([tmp_path / "new.csv"], notes=notes)
    assert found.text == "premise: It rains all day\nhypothesis: It is wet"
    assert notes == ["Columns `premise` and `hypothesis` of new.csv hold pairs of texts."]


def test_columns_of_the_fit_go_before_others(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("text,remark\nthe sun,what was said of it\n", encoding="utf-8")
    notes: list[str] = []
    [found] = find_texts([path], usual=("remark",), notes=notes)
    assert found.text == "what was said of it"
    assert notes == ["Column `remark` of new.csv holds the texts, as in the fit."]
    [found] = find_texts([path], usual=("elsewhere",))  # a single one may be called otherwise
    assert found.text == "the sun"


def test_half_of_the_columns_of_the_fit_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("id,premise\n1,It rains all day\n", encoding="utf-8")
    usual = ("premise", "hypothesis")
    with pytest.raises(DataError, match="fitted on `premise` and `hypothesis` together") as error:
        find_texts([path], usual=usual)
    assert "has `id`, `premise`" in str(error.value)
    assert "--text-column" in str(error.value)
    given_to_standard_input(monkeypatch, b'{"text": "It rains", "premise": "It rains"}\n')
    with pytest.raises(DataError, match="no entry `hypothesis`"):
        find_texts(["-"], usual=usual)


def test_objects_are_read_by_the_entries_of_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    given_to_standard_input(
        monkeypatch, b'{"text": "no", "premise": "Rain", "hypothesis": "Wet"}\n'
    )
    [found] = find_texts(["-"], usual=("premise", "hypothesis"))
    assert found.text == "premise: Rain\nhypothesis: Wet"
    given_to_standard_input(monkeypatch, b'{"text": "this", "other": "that"}\n')
    assert [sample.text for sample in find_texts(["-"], usual=("remark",))] == ["this"]


# --- what is no text --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["new.json", "new.XLSX", "mails.pdf"])
def test_files_that_are_no_texts_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('[{"text": "one"}]')
    with pytest.raises(DataError, match="neither a plain text nor a table") as error:
        find_texts([tmp_path / name])
    assert name in str(error.value)
    told: list[str] = []
    (tmp_path / "a.txt").write_text("a text")
    found = find_texts(
        [tmp_path / name, tmp_path / "a.txt"], on_error=lambda sample, why: told.append(sample.id)
    )
    assert ([sample.id for sample in found], told) == (["a.txt"], [name])


def test_bytes_are_no_text_whatever_the_file_is_called(tmp_path: Path) -> None:
    (tmp_path / "new.csv.gz").write_bytes(b"\x1f\x8b\x08\x00\x00\x00binary")
    with pytest.raises(DataError, match="neither a plain text nor a table"):
        find_texts([tmp_path / "new.csv.gz"])


def test_folders_are_walked_as_for_a_fit(tmp_path: Path) -> None:
    for name in ("mails/1.txt", "mails/._1.txt", "mails/__MACOSX/1.txt", "elsewhere/2.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "mails/more").symlink_to(tmp_path / "elsewhere")
    found = find_texts([tmp_path / "mails"])
    assert [sample.id for sample in found] == ["1.txt", "more/2.txt"]


def test_an_empty_cell_of_a_single_column_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text('text\nfirst\n""\n\nthird\n')
    found = find_texts([tmp_path / "new.csv"])
    assert [(s.id, s.text) for s in found] == [
        ("new.csv#1", "first"),
        ("new.csv#2", ""),
        ("new.csv#3", "third"),
    ]


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_a_row_of_separators_alone_keeps_its_place(
    suffix: str, separator: str, tmp_path: Path
) -> None:
    path = tmp_path / f"new.{suffix}"
    rows = ["text,remark", "first text,a", ",", "", "third text,c", ",", ","]
    path.write_text("\n".join(rows).replace(",", separator) + "\n")
    found = find_texts([path])
    assert [(s.id, s.text) for s in found] == [
        (f"{path.name}#1", "first text"),
        (f"{path.name}#2", ""),
        (f"{path.name}#3", "third text"),
    ]


def test_a_quote_that_is_never_closed_is_found_in_a_short_table(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    rows = [f"{i},what is said" for i in range(1, 100)]
    rows[9] = '10,"Great, thanks'
    path.write_text("\n".join(["id,text", *rows]) + "\n")
    with pytest.raises(DataError, match="From line 11 on, look for a quote that is not closed"):
        find_texts([path])
    left_out = LeftOut()
    found = find_texts([path], on_error=left_out)
    assert [sample.id for sample in found] == [f"new.csv#{i}" for i in range(1, 10)]
    assert "Its first 9 rows are kept." in left_out.told["new.csv"]
    path.write_text('id,text\n1,"two\nlines"\n2,"the end"')  # no line break behind it
    assert [sample.text for sample in find_texts([path])] == ["two\nlines", "the end"]


def test_a_number_too_long_to_read_is_an_error_of_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = '{"text": "a b"}\n{"text": "c d", "n": ' + "9" * 5_000 + "}\n"
    path = tmp_path / "new.jsonl"
    path.write_text(lines)
    with pytest.raises(DataError, match=r"Line 2 of `.*new.jsonl` is no JSON"):
        find_texts([path])
    given_to_standard_input(monkeypatch, lines.encode())
    with pytest.raises(DataError, match="Line 2 of standard input is no JSON"):
        find_texts(["-"])


def test_a_date_that_python_has_none_of_names_its_column(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "new.parquet"
    created = pa.array([0, 300_000_000_000_000_000], pa.int64()).cast(pa.timestamp("us"))
    parquet.write_table(pa.table({"text": ["a b", "c d"], "created": created}), path)
    with pytest.raises(DataError, match=r"column `created` of `.*new.parquet` holds a value"):
        find_texts([path])


def test_a_header_of_two_words_is_one_where_the_fit_knew_it(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("Customer feedback\nso good\n")
    assert len(find_texts([tmp_path / "new.csv"])) == 2
    [found] = find_texts([tmp_path / "new.csv"], usual=("Customer feedback",))
    assert found.text == "so good"


def test_a_column_with_a_comma_in_its_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text('"why, and how",id\nso good,1\n')
    [found] = find_texts([tmp_path / "new.csv"], columns=("why", "and how"))
    assert found.text == "so good"


def test_after_an_uneven_row_no_answer_can_be_of_another_row(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    rows = [f"{i},what is said in row {i}" for i in range(1, 20_001)]
    rows[6000] += ", with one comma more"
    path.write_text("\n".join(["id,text", *rows]) + "\n", encoding="utf-8")
    read: list[Sample] = []
    with pytest.raises(DataError, match="line 6002 has 3"):
        read += [sample for part in text_parts([path]) for sample in part.samples]
    assert [sample.text for sample in read] == [
        f"what is said in row {i + 1}" for i in range(len(read))
    ]


def test_columns_that_stand_for_those_of_the_fit_are_read_under_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, usual = tmp_path / "new.csv", ("title", "text")
    path.write_text("headline,body\nSun,It shines\n", encoding="utf-8")
    [found] = find_texts([path], columns=("headline", "body"), usual=usual)
    assert found.text == "title: Sun\ntext: It shines"
    path.write_text("text,subject\nIt shines,Sun\n", encoding="utf-8")
    notes: list[str] = []
    [found] = find_texts([path], columns=("text", "subject"), usual=usual, notes=notes)
    assert found.text == "title: Sun\ntext: It shines"
    assert "`subject` stands for `title`, as a column of the fit." in notes
    path.write_text("text,title\nIt shines,Sun\n", encoding="utf-8")
    [found] = find_texts([path], columns=("text", "title"), usual=usual)
    assert found.text == "title: Sun\ntext: It shines"
    given_to_standard_input(monkeypatch, b'{"headline": "Sun", "body": "It shines"}\n')
    [found] = find_texts(["-"], columns=("headline", "body"), usual=usual)
    assert found.text == "title: Sun\ntext: It shines"


def test_a_single_word_taken_for_a_header_is_told(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("refund\nwhere is my parcel today\nthank you all\n")
    notes: list[str] = []
    assert len(find_texts([tmp_path / "new.csv"], notes=notes)) == 2
    assert "The first row of new.csv, `refund`, names its column." in notes


@pytest.mark.parametrize(
    "array",
    [
        b'[{"text": "a good one"}, {"text": "a bad one"}]\n',
        b'[\n  {"text": "good"}\n]\n',
        b'["Where?", "Who?"]\n',
    ],
)
def test_an_array_on_standard_input_is_no_text(
    monkeypatch: pytest.MonkeyPatch, array: bytes
) -> None:
    given_to_standard_input(monkeypatch, array)
    with pytest.raises(DataError, match=r"is a JSON array\. Give an object a line"):
        find_texts(["-"])


def test_text_in_brackets_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    given_to_standard_input(monkeypatch, b'["No"] he said\n[{not json}]\n')
    assert [s.text for s in find_texts(["-"])] == ['["No"] he said', "[{not json}]"]


def test_a_name_of_bytes_is_refused_as_in_folders(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")
    Path(name).write_text("a text")
    with pytest.raises(DataError, match=r"such as `.*caf\\xe9\.txt`.*convmv"):
        find_texts([name])
    with pytest.raises(DataError, match=r"such as `.*caf\\xe9\.txt`.*convmv"):
        find_pictures([name])


def test_of_new_texts_one_row_is_enough(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,text\n")
    with pytest.raises(DataError, match=r"has no rows\. At least one is needed"):
        find_texts([tmp_path / "new.csv"])


def test_rows_within_one_pair_of_quotes_are_told(tmp_path: Path) -> None:
    rows = [f"{i},what is said in row {i}" for i in range(1, 101)]
    rows[9] = '10,"what is said in row 10'
    rows[59] = '60,"what is said in row 60'
    (tmp_path / "new.csv").write_text("\n".join(["id,text", *rows]) + "\n", encoding="utf-8")
    notes: list[str] = []
    found = find_texts([tmp_path / "new.csv"], notes=notes, on_error=LeftOut())
    assert len(found) < 100
    assert any(note.startswith("Lines 11 to 61 of new.csv are one row") for note in notes)
    letter = "Dear all,\nthank you, and see you\non Monday.\nYours, A\nB"
    (tmp_path / "mails.csv").write_text(f'id,text\n1,"{letter}"\n2,short\n', encoding="utf-8")
    notes = []
    assert len(find_texts([tmp_path / "mails.csv"], notes=notes)) == 2
    assert not any("are one row" in note for note in notes)


@pytest.mark.parametrize("given", [b"\x89PNG\x00\x00\n", b"text,label\n\x00\n"])
def test_bytes_of_zero_on_standard_input_are_no_text(
    monkeypatch: pytest.MonkeyPatch, given: bytes
) -> None:
    given_to_standard_input(monkeypatch, given)
    with pytest.raises(DataError, match=r"Line \d of standard input is no text"):
        find_texts(["-"])


def test_a_table_on_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    given_to_standard_input(monkeypatch, b"text,label\nwho is it,human\n")
    assert len(find_texts(["-"], notes=notes)) == 2
    assert any("looks like the header of a table" in note for note in notes)


def test_texts_that_begin_with_a_brace_are_told_how_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_to_standard_input(monkeypatch, b"{hello} where is it\nwho\n")
    with pytest.raises(DataError, match=r"the first begins with `\{` and was taken for it"):
        find_texts(["-"])
