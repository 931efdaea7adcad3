"""The page of an inspection of texts: extracts, escaped, of every kind of trouble some."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import numpy as np

from headstart.contracts import Dataset, Finding, Sample
from headstart.data.leaks import LeakedSample
from headstart.data.near_pairs import NearDuplicates, NearPair
from headstart.data.text_lengths import TextLengths, TokenLengths, count_characters
from headstart.report import Inspection, write_inspection
from headstart.report.text_inspection import MOST_LISTED, MOST_PAIRS, TEXTS_PER_CLASS

HOSTILE = "<script>alert(1)</script> \x00 & שלום"


def inspect(samples: list[Sample], **changes: object) -> Inspection:
    classes = tuple(sorted({label for sample in samples for label in sample.labels}))
    task = "text-classification"
    dataset = Dataset(Path("mails"), "text-table", "It is.", task, tuple(samples), classes)
    characters = count_characters([sample.text or "" for sample in samples])
    tokens = TokenLengths("tiny", 40, characters // 4 + 2, len(samples))
    values = {
        "dataset": dataset,
        "findings": (),
        "facts": {},
        "counts": {"all": {name: sum(name in s.labels for s in samples) for name in classes}},
        "split_reason": "A fit would split it.",
        "lengths": TextLengths(characters, tokens),
    }
    return Inspection(**{**values, **changes})  # type: ignore[arg-type]


def mails(num: int, label: str = "spam", *, first: int = 1) -> list[Sample]:
    return [
        Sample(f"a.csv#{i}", Path("a.csv"), (label,), text=f"{label} number {i}")
        for i in range(first, first + num)
    ]


def page_of(inspection: Inspection, tmp_path: Path) -> str:
    return write_inspection(tmp_path / "page.html", inspection).read_text(encoding="utf-8")


def test_each_class_shows_texts_spread_over_all_of_it(tmp_path: Path) -> None:
    page = page_of(inspect(mails(600) + mails(3, "ham", first=601)), tmp_path)
    assert page.count('<p class="extract" dir="auto">spam number') == TEXTS_PER_CLASS
    assert page.count('<p class="extract" dir="auto">ham number') == 3
    assert f"(600 texts, {TEXTS_PER_CLASS} shown)" in page
    assert "spam number 501" in page
    assert "603 texts in 2 classes" in page
    assert "picture" not in page.partition("</style>")[2].lower()


def test_texts_and_labels_are_escaped_and_shown_in_their_own_direction(tmp_path: Path) -> None:
    samples = [*mails(2), Sample("b.csv#1", Path("b.csv"), ("<i>",), text=HOSTILE)]
    page = page_of(inspect(samples), tmp_path)
    assert "<script>alert" not in page
    assert "<i>" not in page.partition("</style>")[2].replace("<i style", "")
    assert "\x00" not in page
    assert (
        '<p class="extract" dir="auto">&lt;script&gt;alert(1)&lt;/script&gt; \ufffd &amp;' in page
    )


def test_a_text_of_a_hundred_thousand_characters_is_an_extract(tmp_path: Path) -> None:
    samples = [*mails(2), Sample("b.csv#1", Path("b.csv"), ("ham",), text="word " * 20_000)]
    assert len(page_of(inspect(samples), tmp_path)) < 60_000


def test_the_same_text_under_two_labels_is_shown_once_with_both(tmp_path: Path) -> None:
    samples = [*mails(2), *mails(2, "ham", first=3)]
    samples += [Sample(f"c.csv#{i}", Path("c"), ("spam",), text="Buy now") for i in range(9)]
    samples += [Sample("c.csv#9", Path("c"), ("ham",), text="Buy now ")]
    ids = tuple(sample.id for sample in samples[4:])
    finding = Finding("conflicting-labels", "warning", "One is.", "Decide.", ids)
    page = page_of(inspect(samples, findings=(finding,)), tmp_path)
    torn = page.partition('id="torn"')[2].partition("</section>")[0]
    assert torn.count("Buy now") == 1
    assert "1 text stands under more than one label" in torn
    assert "c.csv#5 and 3 more" in torn
    assert '<bdi>ham</bdi></b> <span class="muted">c.csv#9<' in torn


def test_leaks_stand_before_pairs_and_pairs_under_two_labels_before_others(tmp_path: Path) -> None:
    samples = [*mails(3 * MOST_PAIRS), *mails(MOST_PAIRS + 2, "ham", first=100)]
    ids = [sample.id for sample in samples]
    torn = [NearPair("a.csv#1", id_, 0.9) for id_ in ids[3 * MOST_PAIRS + 1 :]]
    agreeing = [NearPair("a.csv#1", id_, 0.96) for id_ in ids[1 : 2 * MOST_PAIRS]]
    near = NearDuplicates((*agreeing, *torn), dict.fromkeys(ids, ids[0]), "Those alike are.")
    leak = LeakedSample("a.csv#2", "same-file", "a.csv#100", "train", "same file")
    page = page_of(inspect(samples, near=near, leaks=(leak,)), tmp_path)
    order = [page.index(words) for words in ("The same text", "90% alike, under", "96% alike</p>")]
    assert order == sorted(order)
    assert page.count("90% alike, under different labels") == MOST_PAIRS
    assert "spam, in test" in page
    assert "ham, in train" in page
    num_pairs = 1 + len(torn) + len(agreeing)
    assert f"The page has room for {1 + 2 * MOST_PAIRS} of {num_pairs} pairs" in page


def test_texts_that_differ_in_case_alone_are_told_as_such(tmp_path: Path) -> None:
    samples = [
        Sample("a#1", Path("a"), ("x",), text="Not bad, at all!"),
        Sample("a#2", Path("a"), ("y",), text="not BAD at all"),
    ]
    near = NearDuplicates((NearPair("a#1", "a#2", 1.0),), {"a#1": "a#1", "a#2": "a#1"})
    page = page_of(inspect(samples, near=near), tmp_path)
    assert "The same but for case and punctuation, under different labels" in page


def test_long_texts_that_begin_alike_are_shown_from_where_they_differ(tmp_path: Path) -> None:
    same = "All of this stands in both of them. " * 40
    samples = [
        Sample(f"a#{i}", Path("a"), ("x",), text=f"{same}Here it is {word}. {same}")
        for i, word in enumerate(("morning", "evening"))
    ]
    near = NearDuplicates((NearPair("a#0", "a#1", 0.996),), {"a#0": "a#0", "a#1": "a#0"})
    page = page_of(inspect(samples, near=near), tmp_path)
    assert "99% alike" in page
    assert page.count("Here it is morning. All of this") == 1
    assert page.count("Here it is evening. All of this") == 1


def test_warnings_list_some_texts_and_errors_all(tmp_path: Path) -> None:
    samples = mails(1000)
    ids = tuple(sample.id for sample in samples)
    many = Finding("duplicate", "warning", "Copies.", "Remove them.", ids)
    page = unescape(page_of(inspect(samples, findings=(many,)), tmp_path))
    assert page.count('<span class="extract" dir="auto">') == MOST_LISTED
    assert f"and {1000 - MOST_LISTED} more." not in page
    assert f"and {1000 - MOST_LISTED} texts more." in page
    all_of_them = Finding("empty-text", "error", "Empty.", "Fill them in.", ids)
    page = unescape(page_of(inspect(samples, findings=(all_of_them,)), tmp_path))
    assert all(f"<li>{id_}<" in page for id_ in ids)


def test_the_window_is_marked_where_texts_come_near_it(tmp_path: Path) -> None:
    long = Sample("b.csv#1", Path("b.csv"), ("ham",), text="word " * 100)
    page = page_of(inspect([*mails(3), long]), tmp_path)
    assert "1 text (25.0%) over the 40 tokens that tiny reads at once" in page
    assert ">window<" in page.partition("<figcaption>Tokens of tiny")[2]
    few = TextLengths(np.array([5, 6, 7]), why_not="Not counted: `tiny` is not here.")
    page = page_of(inspect(mails(3), lengths=few), tmp_path)
    assert "<code>tiny</code> is not here" in page
    assert "Tokens of" not in page
