"""Words are found in any script."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest

from headstart.data.words import _pattern, word_spans, words_of
from headstart.errors import MissingExtraError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 3 o’clock, now!", ["It's", "3", "o’clock", ",", "now", "!"]),
        ("Größe\tund\r\nEhre", ["Größe", "und", "Ehre"]),
        ("नमस्ते हिन्दी", ["नमस्ते", "हिन्दी"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
    ],
)
def test_words_keep_their_letters_marks_and_apostrophes(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_an_emoji_is_one_word_with_all_that_belongs_to_it() -> None:
    assert words_of("😀👨\u200d👩\u200d👧❤️🇩🇪✊🏽") == [
        "😀",
        "👨\u200d👩\u200d👧",
        "❤️",
        "🇩🇪",
        "✊🏽",
    ]


def test_scripts_without_spaces_are_cut_into_short_runs() -> None:
    assert words_of("我喜欢烤鸭 ok") == ["我", "喜", "欢", "烤", "鸭", "ok"]
    assert words_of("我喜欢烤鸭 ok", run=2) == ["我喜", "欢烤", "鸭", "ok"]
    assert words_of("สวัสดี", run=2) == ["สวั", "สดี"]  # a vowel sign stays with its letter


@pytest.mark.parametrize("text", ["", " \n\t", "\x00\u200b\u200f", "\u3000"])
def test_what_cannot_be_seen_is_no_word(text: str) -> None:
    assert word_spans(text) == []


def test_spans_are_in_order_and_cover_all_that_is_not_space() -> None:
    text = "a—b  c_d 'x' (😀) 北京! €5"
    spans = word_spans(text)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert "".join(text[a:b] for a, b in spans) == "".join(text.split())


def test_the_extra_is_named_where_its_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    _pattern.cache_clear()
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(MissingExtraError, match=r"headstart\[text\]"):
        word_spans("a")
