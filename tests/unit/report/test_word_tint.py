"""Tinted words: what is shown, what is cut, and that nothing gets out of its place."""

from __future__ import annotations

import pytest

from headstart.report.rendering import render_page
from headstart.report.word_tint import ExplainedText, TintedText, tinted_text


def shown(tinted: TintedText) -> str:
    return "".join(piece.text for piece in tinted.pieces)


def page_of(tinted: TintedText) -> str:
    item = ExplainedText("train.csv#17", truth="a<b", said="c", confidence=0.9, tinted=tinted)
    return render_page("sections/words.html", {"worded": [item]})


def test_words_are_tinted_by_side_and_share() -> None:
    tinted = tinted_text("a good bad film", [(2, 6, 2.0), (7, 10, -1.0), (11, 15, 0.01)])
    assert [(p.text, p.side, p.share) for p in tinted.pieces] == [
        ("a ", "", 0.0),
        ("good", "for", 1.0),
        (" ", "", 0.0),
        ("bad", "against", 0.5),
        (" film", "", 0.0),
    ]
    assert tinted.supporting == ("good",)
    assert tinted.opposing == ("bad",)


def test_where_no_word_matters_none_is_tinted() -> None:
    tinted = tinted_text("so it goes", [(0, 2, 0.02), (3, 5, -0.01), (6, 10, 0.0)])
    assert not any(piece.side for piece in tinted.pieces)
    assert "No single part carried it" in page_of(tinted)


def test_an_empty_text_is_told() -> None:
    assert "The text is empty" in page_of(tinted_text("", []))


def test_markup_in_a_text_is_text() -> None:
    text = '<script>alert("x")</script> & <b>'
    page = page_of(tinted_text(text, [(1, 7, 1.0), (8, 13, -1.0)]))
    assert "<script" not in page
    assert "<b>" not in page
    assert '<mark class="for" style="--share:1.0" title="+1.00">script</mark>' in page
    assert "a&lt;b" in page


def test_the_direction_of_a_text_is_its_own() -> None:
    text = "هذا الفيلم رائع"
    page = page_of(tinted_text(text, [(11, 15, 2.0)]))
    assert '<p class="tinted" dir="auto">' in page
    assert "<bdi>رائع</bdi>" in page


def test_what_breaks_a_page_or_a_file_is_replaced() -> None:
    page = page_of(tinted_text("a\x00b\ud800c\x1b[31m", [(0, 1, 1.0)]))
    page.encode("utf-8")
    assert "\x00" not in page
    assert "\x1b" not in page
    assert "\ufffdb\ufffdc\ufffd[31m" in page


def test_a_long_text_is_cut_around_its_strongest_words() -> None:
    words = [f"word{i:04d}" for i in range(9_000)]
    text = " ".join(words)
    spans = [(9 * i, 9 * i + 8, 0.0) for i in range(9_000)]
    spans[6000] = (54_000, 54_008, 3.0)
    spans[8999] = (80_991, 80_999, -2.0)
    tinted = tinted_text(text, spans)
    assert "word5999 word6000 word6001" in shown(tinted)
    assert shown(tinted).endswith("word8999")
    assert shown(tinted).startswith(" … ") or shown(tinted).startswith("word0000")
    assert len(shown(tinted)) < 1000
    assert {piece.side for piece in tinted.pieces} == {"", "for", "against"}


def test_a_part_weighed_as_a_whole_shows_its_beginning_and_its_end() -> None:
    text = "begin " + "x " * 5000 + "end"
    tinted = tinted_text(text, [(0, len(text), 1.0)])
    assert shown(tinted).startswith("begin x")
    assert shown(tinted).endswith("x end")
    assert " … " in shown(tinted)
    assert len(shown(tinted)) < 200


def test_100_000_spaces_are_one() -> None:
    tinted = tinted_text("a" + " " * 100_000 + "b", [(0, 1, 1.0), (100_001, 100_002, 0.9)])
    assert len(shown(tinted)) < 200


@pytest.mark.parametrize("spans", [[(0, 5, 1.0), (4, 6, 1.0)], [(3, 99, 1.0)], [(2, 2, 1.0)]])
def test_spans_that_do_not_go_with_the_text_are_refused(
    spans: list[tuple[int, int, float]],
) -> None:
    with pytest.raises(ValueError, match="does not go with"):
        tinted_text("good films", spans)
