from __future__ import annotations

import numpy as np
import pytest

from headstart.contracts import TextContract
from headstart.data import text_lengths
from headstart.data.text_lengths import TextLengths, TokenLengths, count_characters, count_tokens
from headstart.progress import Progress

pytest.importorskip("tokenizers", reason="needs the extra `text`")

from headstart.data.tokenising import Tokeniser
from tiny_language_models import SENTENCES, tiny_tokenizer


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    return Tokeniser(TextContract(tiny_tokenizer("bert").to_str(), window=12))


def test_tokens_are_counted_uncut_with_those_that_are_added(tokeniser: Tokeniser) -> None:
    texts = ["", "funny", "horror " * 40]
    found = count_tokens(texts, tokeniser, model="tiny", progress=Progress())
    assert found.counts[0] == 2
    assert found.counts.tolist() == list(tokeniser.lengths(texts))
    assert found.num_over == 1
    assert "33.3% (1 text) are longer than the 12 that it reads at once" in found.told


def test_of_many_texts_an_even_sample_is_cut_into_tokens(
    tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lengths, "MOST_TEXTS", 50)
    texts = ["funny", "horror films"] * 500
    found = count_tokens(texts, tokeniser, model="tiny", progress=Progress())
    assert len(found.counts) == 50
    assert found.num_texts == 1000
    assert found.told.startswith("Of 50 of them, evenly spread: ")


def test_long_texts_do_not_take_longer_than_many(
    tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lengths, "MOST_CHARACTERS", 2000)
    monkeypatch.setattr(text_lengths, "_MOST_OF_A_TEXT", 1000)
    found = count_tokens(["beauty " * 1000] * 9, tokeniser, model="tiny", progress=Progress())
    assert len(found.counts) == 2
    assert (found.counts < 1000).all()
    assert found.num_over == 2


def test_the_sentence_gives_both_lengths_or_says_why_not() -> None:
    characters = count_characters(["a", "béa", ""])
    assert characters.tolist() == [1, 3, 0]
    tokens = TokenLengths("tiny", 512, np.array([3, 4, 2]), 3)
    told = TextLengths(characters, tokens).told
    assert told == (
        "0 to 3 (median 1) characters. 2 to 4 (median 3) tokens of tiny; all fit into the 512 that "
        "it reads at once."
    )
    assert TextLengths(characters, why_not="Not here.").told.endswith("characters. Not here.")
    assert TextLengths(count_characters([])).told == ""


def test_a_share_too_small_for_a_decimal_is_not_told_as_none() -> None:
    counts = np.full(5000, 10)
    counts[0] = 900
    assert "fewer than 0.1% (1 text)" in TokenLengths("tiny", 512, counts, 5000).told


def test_the_sentences_of_the_tests_have_tokens(tokeniser: Tokeniser) -> None:
    found = count_tokens(SENTENCES, tokeniser, model="tiny", progress=Progress())
    assert (found.counts > 2).all()
