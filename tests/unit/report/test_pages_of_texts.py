"""Reports of runs of texts: they speak of texts, show them, and need nothing but the run."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest

import fabricated_texts
from fabricated_run import fabricate
from fabricated_texts import fabricate_texts
from headstart.comparing import compare
from headstart.contracts import BackboneSpec, TermsContract
from headstart.errors import RunError
from headstart.report import keep_texts, model_card, summary_html, write_report
from headstart.report.cautions import cautions
from headstart.report.record import read_record
from headstart.report.text_extracts import extract, read_extracts
from headstart.report.word_tint import kept_of, tinted_text
from headstart.rundir import RunFolder

OF_PICTURES = re.compile(r"picture|photo|image|pixel|colour|camera", re.IGNORECASE)


@pytest.fixture
def letters(tmp_path: Path) -> RunFolder:
    return fabricate_texts(tmp_path / "letters-1")


def page_of(folder: RunFolder) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def told(page: str) -> str:
    """What a page says: without its style sheet, tags, and white space."""
    page = re.sub(r"<style>.*?</style>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}"')[1].split("\n<section id=")[0]


def change(folder: RunFolder, path: Path, **entries: object) -> None:
    folder.write_json(path, {**folder.read_json(path), **entries})


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize("is_proven", [True, False])
def test_a_run_of_texts_speaks_of_texts_only(tmp_path: Path, is_proven: bool, split: str) -> None:
    folder = fabricate_texts(tmp_path / "letters-1", per=6, is_proven=is_proven)
    change(folder, folder.metrics, split=split)
    labels = re.compile(r'(?:aria-label|title|alt)="([^"]*)"')
    page = page_of(folder)
    for words in (
        told(page),
        *labels.findall(page),
        model_card(folder),
        told(summary_html(folder)),
        *(f"{c.message} {c.remedy}" for c in cautions(read_record(folder))),
        *(path.read_text(encoding="utf-8") for path in folder.figures.glob("*.svg")),
    ):
        assert not OF_PICTURES.search(re.sub(r"<style>.*?</style>", "", words, flags=re.DOTALL))
    assert "Tells 3 classes of texts apart" in told(page)
    assert "A text with" in model_card(folder) or not is_proven


def test_a_run_of_texts_with_several_labels_each_speaks_of_texts_only(tmp_path: Path) -> None:
    folder = fabricate_texts(tmp_path / "letters-1", per=6, is_proven=False)
    model = folder.read_json(folder.config)["model"]
    change(folder, folder.config, model={**model, "is_multilabel": True})
    text = told(page_of(folder))
    assert not OF_PICTURES.search(text)
    assert "Finds which of 3 classes are in a text" in text
    assert "A text counts for each of its labels" in text


def test_what_is_shown_is_all_that_is_kept(letters: RunFolder) -> None:
    kept = read_extracts(letters)
    texts, text = fabricated_texts.all_texts(), told(page_of(letters))
    shown = {id_ for id_, words in kept.items() if " ".join(words.split()) in text}
    assert shown == set(kept)
    assert {"train.csv#7", "train.csv#8", "train.csv#30", "train.csv#1"} <= set(kept)
    written = " ".join(
        path.read_text(encoding="utf-8")
        for path in letters.path.rglob("*")
        if path.suffix in {".json", ".html", ".md", ".csv", ".svg", ".jsonl"}
    )
    assert not any(texts[id_] in written for id_ in texts.keys() - kept.keys())
    assert letters.texts.stat().st_size < 50_000
    assert "mind whose they are before you share it" in model_card(letters)


def test_the_page_needs_nothing_but_the_run(letters: RunFolder) -> None:
    first = page_of(letters)
    letters.report.unlink()
    shutil.rmtree(letters.figures)
    assert not Path(read_record(letters).dataset["root"]).exists()
    assert page_of(letters) == first


def test_mistakes_suspects_strangers_and_leaks_are_shown_as_texts(letters: RunFolder) -> None:
    page = page_of(letters)
    assert "<img" not in page
    mistakes = section(page, "mistakes")
    assert '<ul class="tiles texts">' in mistakes
    assert re.search(r'<p class="extract" dir="auto">Row test.csv#\d+ says \w+\.</p>', mistakes)
    assert "Row 30 was to learn from." in section(page, "suspects")
    assert '<p class="extract" dir="auto">' in section(page, "strangers")
    data = section(page, "data")
    assert '<span class="extract" dir="auto">Row 1 was to learn from.</span>' in data
    assert '<li>train.csv#7<span class="extract" dir="auto">Row 7 was' in data
    assert 'href="letters/test.csv"' in page


def test_words_that_carried_an_answer_are_tinted(letters: RunFolder) -> None:
    words = section(page_of(letters), "words")
    assert "Which words carried it" in words
    assert '<mark class="for" style="--share:1.0" title="+2.40">hurts</mark>' in words
    assert "&lt;b&gt;" in words


def test_a_run_whose_explanations_are_damaged_says_so(letters: RunFolder) -> None:
    row = {"id": "a", "text": "short", "words": [[0, 99, 1.0]]}
    change(letters, letters.metrics, explanations=[row])
    with pytest.raises(RunError, match="explanations"):
        write_report(letters)


def test_nothing_in_a_text_gets_out_of_its_place(letters: RunFolder) -> None:
    odd = fabricated_texts.ODD
    keep_texts(letters, fabricated_texts.all_texts() | {f"train.csv#{7 + i}": text
               for i, text in enumerate(odd.values())})  # fmt: skip
    change(letters, letters.dataset, findings=[
        {"kind": "duplicate", "severity": "warning", "message": "m", "remedy": "r",
         "ids": [f"train.csv#{7 + i}" for i in range(len(odd))]}
    ])  # fmt: skip
    keep_texts(letters, {f"train.csv#{7 + i}": text for i, text in enumerate(odd.values())})
    page = page_of(letters)
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in page
    assert "\x00" not in page
    assert "\x1b" not in page
    assert "In the end I left." in page
    assert "هذا الفيلم رائع جدا" in page
    assert max(map(len, read_extracts(letters).values())) < 400


def test_without_kept_texts_the_page_says_so(letters: RunFolder) -> None:
    letters.texts.unlink()
    page = page_of(letters)
    assert "not in <code>texts.json</code> of this run" in page
    assert "no longer there" in page
    assert "Row 30" not in page


def test_kept_texts_that_are_none_are_refused(letters: RunFolder) -> None:
    letters.texts.write_text(json.dumps({"test.csv#1": 7}))
    with pytest.raises(RunError, match=r"texts\.json"):
        write_report(letters)


def test_lengths_are_told_in_characters(letters: RunFolder) -> None:
    data = told(section(page_of(letters), "data"))
    assert "Length 4 to 100,000 characters, half of them up to 61" in data
    assert "CSV 2 files" in data
    assert "Width" not in data


def test_the_input_is_told_in_tokens(letters: RunFolder) -> None:
    model = told(section(page_of(letters), "model"))
    assert "Length up to 256 tokens" in model
    assert "Of longer texts all parts are read" in model
    assert "Bands" not in model
    assert "- Input: up to 256 tokens; of longer texts all parts are read" in model_card(letters)


def test_the_ways_to_ask_it_are_those_of_texts(letters: RunFolder) -> None:
    run = letters.path.as_posix()
    use = unescape(section(page_of(letters), "use"))
    assert f"headstart predict {run} new.csv\n" in use
    assert f'echo "any text" | headstart predict {run} -\n' in use
    assert f"model = hs.load('{run}')\nmodel.predict_texts([\"any text\"])\n" in use
    card = model_card(letters)
    assert '$ echo "any text" | headstart predict letters-1 -\n' in card
    assert 'model.predict_texts(["any text"])\n' in card
    assert 'pipeline_tag: "text-classification"\n' in card


def test_words_alone_that_do_as_well_are_told(letters: RunFolder) -> None:
    rungs = letters.read_json(letters.metrics)["rungs"]
    rungs = [{**row, "metrics": rungs[3]["metrics"]} for row in rungs[:4]]
    change(letters, letters.metrics, rungs=rungs)
    found = [caution.message for caution in cautions(read_record(letters))]
    assert any("words alone, whatever their order (TF-IDF), do about as well" in m for m in found)
    assert "Words alone" in told(section(page_of(letters), "ladder"))
    remedies = " ".join(caution.remedy for caution in cautions(read_record(letters)))
    assert "headstart fit letters/ --strategy tfidf" in remedies


def test_words_alone_that_were_kept_are_no_model_to_mistrust(letters: RunFolder) -> None:
    contract = TermsContract.of({"words": ("a", "b", "a b"), "pieces": ("ab",)})
    letters.write_json(letters.input, contract.to_json())
    rungs = letters.read_json(letters.metrics)["rungs"]
    rungs = [{**row, "kept": row["strategy"] == "trivial"} for row in rungs]
    ood = {"threshold": 0.4, "goes_by": "words", "share_flagged": 0.01, "n": 90}
    change(letters, letters.metrics, rungs=rungs, ood=ood)
    config = letters.read_json(letters.config)
    spec = BackboneSpec("none", "TF-IDF, 4 terms", 4, weights="none", licence="none")
    model = {**config["model"], "backbone": spec.to_json()}
    change(letters, letters.config, model=model, strategy="tfidf")
    page, card = told(page_of(letters)), model_card(letters)
    for words in (page, card):
        assert "a logistic classifier of the words of a text (TF-IDF)" in words
        assert "none: TF-IDF, 4 terms" in words
        assert not OF_PICTURES.search(words)
    assert "of whose words more than 40.0% are unknown" in page
    assert "Pieces of words 1" in page
    assert "more than 40.0% of its words are unknown" in card
    messages = " ".join(caution.message for caution in cautions(read_record(letters)))
    assert "No rung of the ladder" not in messages
    assert "words alone, whatever their order" not in messages
    assert "licence" not in messages


def test_two_runs_of_texts_are_compared_as_texts(tmp_path: Path) -> None:
    folders = [fabricate_texts(tmp_path / name, is_proven=False) for name in ("a", "b")]
    for folder in folders:
        folder.weights.touch()
    swapped = {"praise": "blame", "blame": "praise"}
    rewrite_answers(folders[1], swapped)
    found = compare([folder.path for folder in folders], output=tmp_path / "page.html")
    assert found.unit == "text"
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not OF_PICTURES.search(told(page))
    assert re.search(r'<p class="extract" dir="auto">Row test.csv#\d+ says', page)


def test_texts_are_not_compared_with_pictures(tmp_path: Path) -> None:
    texts = fabricate_texts(tmp_path / "a", is_proven=False)
    photos = fabricate(
        tmp_path / "b", classes=fabricated_texts.CLASSES, test=fabricated_texts.of_the_test(30)
    )
    for folder in (texts, photos):
        folder.weights.touch()
    with pytest.raises(RunError, match=r"`b` answers for whole pictures, `a` for texts\. Compare"):
        compare([texts.path, photos.path])


def rewrite_answers(folder: RunFolder, names: dict[str, str]) -> None:
    """Give a run other answers, and the probabilities that go with them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(folder.predictions).read()
    said = [names.get(name, name) for name in table["prediction"].to_pylist()]
    rows = [[0.9 if name == c else 0.05 for c in fabricated_texts.CLASSES] for name in said]
    columns = {
        **{name: table[name] for name in ("id", "truth")},
        "prediction": pa.array(said),
        "probabilities": pa.array(rows, pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), folder.predictions)


def test_an_extract_keeps_both_ends_and_tears_no_word() -> None:
    text = "The beginning. " + "word " * 20_000 + "The end."
    short = extract(text)
    assert short.startswith("The beginning. word")
    assert short.endswith("word The end.")
    assert " word … word " in short
    assert extract(text[:300]) == text[:300].strip()
    assert len(extract("x" * 100_000)) < 400
    assert len(extract("a" + " " * 100_000 + "b")) < 400


def test_what_is_kept_of_an_explained_text_is_shown_as_the_whole_would_be() -> None:
    text = " ".join(f"word{i:04d}" for i in range(9_000))
    spans = [(9 * i, 9 * i + 8, 0.0) for i in range(9_000)]
    spans[6000], spans[8999] = (54_000, 54_008, 3.0), (80_991, 80_999, -2.0)
    kept, moved = kept_of(text, spans)
    assert len(kept) < 1000
    assert [kept[a:b] for a, b, w in moved if w] == ["word6000", "word8999"]
    again, whole = tinted_text(kept, moved, most_shown=len(kept)), tinted_text(text, spans)
    assert [(" ".join(p.text.split()), p.side, p.share, p.weight) for p in again.pieces] == [
        (" ".join(p.text.split()), p.side, p.share, p.weight) for p in whole.pieces
    ]
    assert (again.supporting, again.opposing) == (whole.supporting, whole.opposing)


def test_a_short_text_is_kept_as_it_is() -> None:
    spans = [(0, 4, 1.0), (5, 9, -1.0)]
    assert kept_of("good film", spans) == ("good film", spans)
    assert kept_of("", []) == ("", [])
