from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from headstart.contracts import Dataset
from headstart.data import open_dataset, text_rows
from headstart.errors import DataError

ROWS = [("how are you today", "ask"), ("fine, thank you; and you?", "say"), ("größer 🙂", "say")]
HEBREW = "שלום עולם, מה שלומך היום"


def texts(dataset: Dataset) -> dict[str, str | None]:
    return {sample.id: sample.text for sample in dataset}


def quoted(rows: list[tuple[str, ...]], separator: str = ",", end: str = "\n") -> str:
    cells = [[f'"{cell}"' for cell in row] for row in rows]
    return "".join(separator.join(row) + end for row in cells)


def test_real_questions_and_reviews_are_read_as_they_lie(trec: Path, sst2: Path) -> None:
    questions = open_dataset(trec)
    assert questions.format == "text-table"
    assert questions.task == "text-classification"
    assert len(questions) == 5452 + 500
    assert len(questions.classes) == 6
    assert {s.split for s in questions} == {"train", "test"}
    first = next(s for s in questions if s.id == "train.csv#1")
    assert first.text == "How did serfdom develop in and then leave Russia ?"
    assert (first.label, first.path) == ("description", trec / "train.csv")
    assert "Column `text` of train.csv holds the texts: its name says so." in questions.notes
    reviews = open_dataset(sst2)
    assert [sum(s.split == n for s in reviews) for n in ("train", "validation", "test")] == [
        *(6920, 872, 1821)
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_separator_encoding_and_line_end_will_do(
    tmp_path: Path, separator: str, encoding: str, end: str
) -> None:
    table = quoted([("text", "label"), *ROWS], separator, end)
    (tmp_path / "t.csv").write_bytes(table.encode(encoding))
    dataset = open_dataset(tmp_path / "t.csv")
    assert texts(dataset) == {f"t.csv#{i}": text for i, (text, _) in enumerate(ROWS, 1)}
    assert [s.label for s in dataset] == ["ask", "say", "say"]


def test_a_semicolon_table_in_latin1_is_read_and_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(
        "text;label\nDas ist größer, ja;gut\nDas war schön kurz;gut\n".encode("latin-1")
    )
    dataset = open_dataset(path)
    assert texts(dataset)["t.csv#1"] == "Das ist größer, ja"
    assert any("Windows-1252 (Latin-1)" in note for note in dataset.notes)


def test_line_breaks_quotes_and_scripts_survive_in_cells(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    long = "word " * 40_000 + "end"
    path.write_bytes(
        f'text,label\r\n"one\r\ntwo ""three""",a\n"{HEBREW} 👩‍👩‍👧",b\r\n"{long}",a\n'.encode()
    )
    assert list(texts(open_dataset(path)).values()) == [
        'one\ntwo "three"',
        f"{HEBREW} 👩‍👩‍👧",
        long,
    ]


def test_lone_quotes_in_a_tab_table_swallow_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('sentence\tlabel\n"oh no it is\t0\nplain words here\t1\nhe said no" again\t0\n')
    assert list(texts(open_dataset(path)).values()) == [
        *('"oh no it is', "plain words here", 'he said no" again')
    ]
    path.write_text('sentence\tlabel\n"one ""two""\nthree"\t0\n"plain words"\t1\n')
    assert list(texts(open_dataset(path)).values()) == ['one "two"\nthree', "plain words"]


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "parquet"])
def test_jsonl_and_parquet_are_read_alike(tmp_path: Path, suffix: str) -> None:
    rows = [{"text": text, "label": label} for text, label in ROWS]
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    dataset = open_dataset(tmp_path)
    assert list(texts(dataset).values()) == [text for text, _ in ROWS]
    assert dataset.classes == ("ask", "say")


def test_half_a_character_from_a_json_escape_is_no_trap(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        r'{"text": "cut \ud83d emoji", "label": 1}' + "\n" + r'{"text": "a b c", "label": 0}'
    )
    assert texts(open_dataset(path))["t.jsonl#1"] == "cut \ufffd emoji"


def test_a_table_without_a_header_is_told_by_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "3,Stocks fall on Monday again\n1,War is over at last\n3,Shares rise a bit now\n"
    )
    dataset = open_dataset(path)
    assert len(dataset) == 3
    assert dataset.classes == ("1", "3")
    assert any("no header" in note for note in dataset.notes)
    path.write_text(
        "good,It was fine for me\ngood,I liked all of it\nbad,I hated all of it\nbad,No\n"
    )
    assert open_dataset(path).classes == ("bad", "good")


def test_columns_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{i},{'up' if i % 2 else 'down'},the market went its way {i}" for i in range(9)]
    path.write_text("key,kind,what was said\n" + "\n".join(rows))
    notes = " ".join(open_dataset(path).notes)
    assert "Column `what was said` of t.csv holds the texts: it has the longest texts." in notes
    assert "Column `kind` of t.csv holds the labels" in notes


def test_several_columns_are_joined_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("title,text,label\nSun,It shines all day,a\n,It rains all day,b\n")
    joined = open_dataset(path, text_columns=("title", "text"))
    assert texts(joined) == {
        "t.csv#1": "title: Sun\ntext: It shines all day",
        "t.csv#2": "text: It rains all day",
    }
    assert texts(open_dataset(path))["t.csv#1"] == "It shines all day"
    path.write_text(
        "premise,hypothesis,label\nIt rains today,It is wet,yes\nIt is dry,No rain,no\n"
    )
    assert texts(open_dataset(path))["t.csv#1"] == "premise: It rains today\nhypothesis: It is wet"


def test_other_columns_of_prose_are_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "remarks,text,label\nso it is said,It shines all day,a\nor so they say,It rains,b\n"
    )
    notes = " ".join(open_dataset(path).notes)
    assert "`remarks` may be text too: `--text-column remarks,text` reads them together." in notes


def test_several_labels_a_text_make_it_multilabel(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,tags\nsun and rain,sun|rain\nonly the sun,sun\nnothing at all,\n")
    dataset = open_dataset(path)
    assert dataset.is_multilabel
    assert [s.labels for s in dataset] == [("rain", "sun"), ("sun",), ()]
    assert any("A text may have several labels" in note for note in dataset.notes)


def test_texts_without_a_label_are_left_out_and_listed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\nfirst of all,a\nno label here,\nlast of all,b\n")
    dataset = open_dataset(tmp_path)
    assert list(texts(dataset)) == ["t.csv#1", "t.csv#3"]
    (finding,) = dataset.findings
    assert (finding.kind, finding.ids) == ("missing-label", ("t.csv#2",))


def test_splits_come_from_names_columns_folders_and_parts(tmp_path: Path) -> None:
    table = "text,label\nhow are you now,a\nfine I think,b\n"

    def splits(root: Path) -> dict[str, str | None]:
        return {s.id: s.split for s in open_dataset(root) if s.id.endswith("#1")}

    names = tmp_path / "names"
    names.mkdir()
    for name in ("train.csv", "dev.tsv", "test.csv", "sample_submission.csv"):
        (names / name).write_text(table.replace(",", "\t") if name == "dev.tsv" else table)
    assert splits(names) == {
        "dev.tsv#1": "validation",
        "test.csv#1": "test",
        "train.csv#1": "train",
    }
    assert any("sample_submission.csv left out" in note for note in open_dataset(names).notes)
    folders = tmp_path / "folders"
    for name in ("train", "val"):
        (folders / name).mkdir(parents=True)
        (folders / name / "part.csv").write_text(table)
    assert splits(folders) == {"train/part.csv#1": "train", "val/part.csv#1": "validation"}
    parts = tmp_path / "parts"
    parts.mkdir()
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        (parts / f"{name}.csv").write_text(table)
    assert sorted(map(str, splits(parts).values())) == ["test", "train", "train"]
    column = tmp_path / "t.csv"
    column.write_text("text,label,split\nhow are you now,a,train\nfine I think,b,dev\n")
    assert [s.split for s in open_dataset(column)] == ["train", "validation"]


def test_groups_come_from_a_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label,author\nhow are you,a,x\nfine I think,b,\n")
    assert [s.group for s in open_dataset(tmp_path, group="author")] == ["x", None]


def test_pictures_stay_pictures_and_texts_stay_texts(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    path = tmp_path / "t.csv"
    path.write_text("file,text,label\na.jpg,a cat on the mat,cat\na.jpg,a dog on the mat,dog\n")
    assert open_dataset(path).task == "image-classification"
    assert open_dataset(path, text_columns=("text",)).task == "text-classification"
    path.write_text("file,label\ngone.jpg,cat\nlost.jpg,dog\n")
    assert [f.kind for f in open_dataset(path).findings] == ["missing-file"]
    path.write_text("path,caption,label\nx/1,a cat on the mat,cat\nx/2,a dog on the mat,dog\n")
    with pytest.raises(DataError, match=r"No column of .* paths of existing pictures"):
        open_dataset(path)
    with pytest.raises(DataError, match="a sample is a picture or a text"):
        open_dataset(path, text_columns=("caption",), image_column="path")


def test_a_column_of_numbers_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("code,label\n12,a\n13,b\n")
    with pytest.raises(DataError, match="name it with --text-column"):
        open_dataset(path)
    assert texts(open_dataset(path, text_columns=("code",))) == {"t.csv#1": "12", "t.csv#2": "13"}


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("text,label\na b c,x\nd e f,g,y\n", None, r"line 3 has 3.*double quotes"),
        ("text,label\na b c,x\n", ("txt",), r"no column `txt` \(`--text-column txt`\)"),
        ("text,label\na b c,x\n", ("text", "label"), "cannot hold both texts and labels"),
        ('text,label\n"a b c,x\nd e f,y\n', None, "From line 2 on, look for a quote that is not"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(
    tmp_path: Path, content: str, columns: tuple[str, ...] | None, message: str
) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "t.csv", text_columns=columns, label_column="label")


def test_of_too_many_texts_an_even_sample_is_kept_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_rows = 20_000
    train = "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(num_rows))
    (tmp_path / "train.csv").write_text("text,label\n" + train)
    (tmp_path / "test.csv").write_text("text,label\nonly a few here,a\nand one more,b\n")
    monkeypatch.setattr(text_rows, "MAX_TEXTS", 1000)
    dataset = open_dataset(tmp_path)
    rows = [int(s.id.partition("#")[2]) for s in dataset if s.split == "train"]
    assert 500 <= len(rows) <= 1000
    quarters = [sum(q * 5000 < row <= (q + 1) * 5000 for row in rows) for q in range(4)]
    assert min(quarters) > 0.7 * len(rows) / 4  # as many from each part, by chance
    assert sum(s.split == "test" for s in dataset) == 2
    (note,) = [n for n in dataset.notes if "an even sample" in n]
    assert f"{num_rows:,} texts" in note
    assert f"{len(rows):,} of them" in note
    assert open_dataset(tmp_path).samples == dataset.samples
    monkeypatch.setattr(text_rows, "MAX_TEXTS", 1_000_000)
    monkeypatch.setattr(text_rows, "MAX_TEXT_BYTES", 200_000)
    assert 1000 < len(open_dataset(tmp_path)) < 4000


def test_of_a_sample_only_labelled_texts_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"text number {i},{'ab'[i % 2] if i % 50 == 0 else ''}\n" for i in range(9000))
    (tmp_path / "t.csv").write_text("text,label\nfirst text here,b\n" + rows)
    monkeypatch.setattr(text_rows, "MAX_TEXTS", 1000)
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 181
    (finding,) = dataset.findings
    assert finding.message.startswith("8,820 texts without a label")


def test_rows_of_nothing_but_separators_are_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",,,\n" * 30)
    with pytest.raises(DataError, match=r"t\.csv` is empty"):
        open_dataset(path, text_columns=("text",))


# --- headers ----------------------------------------------------------------------------------


def test_columns_without_a_name_do_not_hide_the_header(tmp_path: Path) -> None:
    path = tmp_path / "spam.csv"
    path.write_text(
        "v1,v2,,,\nham,Go until the point,,,\nspam,Free entry for you,,,\nham,Ok then,,,\n"
    )
    dataset = open_dataset(path, text_columns=("v2",), label_column="v1")
    assert texts(dataset)["spam.csv#1"] == "Go until the point"
    assert dataset.classes == ("ham", "spam")
    assert open_dataset(path).classes == ("ham", "spam")


def test_columns_that_are_asked_for_tell_the_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Nachricht,Spam\nwas kostet das,Ham\nhier gewinnen Sie,Spam\n")
    dataset = open_dataset(path, text_columns=("Nachricht",), label_column="Spam")
    assert dataset.classes == ("Ham", "Spam")
    assert len(dataset) == 2


def test_a_label_that_is_called_like_a_column_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("what is it for,question\nit is for me,answer\nwho has seen it,question\n")
    dataset = open_dataset(path)
    assert len(dataset) == 3
    assert dataset.classes == ("answer", "question")


def test_a_column_whose_name_has_a_comma_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,"What was good, and why?",label\n1,It was warm,a\n2,It was cold,b\n')
    named = ("What was good", "and why?")  # as it is typed, taken apart at commas
    assert texts(open_dataset(path, text_columns=named))["t.csv#1"] == "It was warm"


# --- what else tables hold --------------------------------------------------------------------


def test_texts_without_any_list_of_labels_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = ['{"text": "one", "label": ["a"]}', '{"text": "two", "label": null}']
    path.write_text("\n".join([*rows, '{"text": "three", "label": []}']))
    dataset = open_dataset(path)
    assert list(texts(dataset)) == ["t.jsonl#1", "t.jsonl#3"]
    [finding] = dataset.findings
    assert (finding.kind, finding.ids) == ("missing-label", ("t.jsonl#2",))


def test_labels_are_of_whole_characters(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        r'{"text": "a b", "label": "x \ud83d"}' + "\n" + r'{"text": "b c", "label": "y"}'
    )
    assert open_dataset(path).classes == ("x \ufffd", "y")


def test_long_cells_hide_no_semicolon(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit(131_072)  # as in a new process
    try:
        path = tmp_path / "t.csv"
        path.write_text(f"text;label\nshort, and so;a\n{'word ' * 40_000};b\n")
        assert open_dataset(path).classes == ("a", "b")
    finally:
        csv.field_size_limit(max(before, csv.field_size_limit()))


def test_a_lone_carriage_return_in_quotes_is_part_of_the_cell(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(b'text\tlabel\n"one\rtwo"\ta\nthree\tb\n')
    assert texts(open_dataset(path)) == {"t.tsv#1": "one\ntwo", "t.tsv#2": "three"}


def test_texts_without_labels_are_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    with pytest.raises(DataError, match=r"has no column besides `text`.*headstart predict"):
        open_dataset(tmp_path / "t.jsonl")
    folder = tmp_path / "kaggle"
    folder.mkdir()
    (folder / "train.csv").write_text("id,text,target\n1,so it is,0\n2,it is not,1\n")
    (folder / "test.csv").write_text("id,text\n3,who knows\n")
    with pytest.raises(DataError, match=r"test\.csv` has texts, but no column `target`"):
        open_dataset(folder)


def test_a_first_text_is_no_header_where_its_label_recurs_far_below(tmp_path: Path) -> None:
    rows = [f"label_{i % 77},What is asked in number {i}?" for i in range(300)]
    (tmp_path / "mails.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = open_dataset(tmp_path / "mails.csv")
    assert len(found) == 300
    assert len(found.classes) == 77


def test_a_header_that_stands_again_below_is_a_header(tmp_path: Path) -> None:
    """As `cat a.csv b.csv` leaves it."""
    rows = [f"what is said in number {i},{'ab'[i % 2]}" for i in range(60)]
    table = ["message body,verdict", *rows, "message body,verdict", *rows]
    (tmp_path / "mails.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    found = open_dataset(tmp_path / "mails.csv")
    assert found.text_columns == ("message body",)
    assert len(found) == 121
