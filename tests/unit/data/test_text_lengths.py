from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.contracts import Sample, TextContract
from headstart.data import text_lengths
from headstart.data.text_lengths import (
    TextLengths,
    TokenLengths,
    count_characters,
    count_tokens,
    spread_of,
    unknown_findings,
)
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


def test_lengths_that_are_all_alike_are_told_once() -> None:
    assert spread_of(np.array([5, 5, 5])) == "5 each"
    assert spread_of(np.array([1200, 1200]), "tokens") == "1,200 tokens each"
    assert spread_of(np.array([5]), "tokens") == "5 tokens"
    told = TextLengths(np.array([3, 3]), TokenLengths("tiny", 512, np.array([5, 5]), 2)).told
    assert told.startswith("3 characters each. 5 tokens each of tiny; all fit into")


# --- what the tokenizer does not know ---------------------------------------------------------


def samples_of(texts: list[str]) -> list[Sample]:
    return [Sample(f"a.csv#{i}", Path("a.csv"), text=text) for i, text in enumerate(texts, 1)]


@pytest.mark.parametrize("prefix", ["", "films about beauty and horror "])
def test_texts_of_unknown_tokens_are_found_and_named(prefix: str) -> None:
    known = Tokeniser(TextContract(tiny_tokenizer("bert").to_str(), window=12, prefix=prefix))
    texts = ["funny", "", "😀 🎉 👩‍👩‍👧‍👦", "horror films 😀", "这 是 什 么 beauty", "beauty"]
    found = count_tokens(texts, known, model="tiny", progress=Progress())
    assert found.unknown == (2, 4)
    assert found.counts.tolist() == list(known.lengths(texts))
    [finding] = unknown_findings(found, samples_of(texts), others=["e5"])
    assert finding.kind == "unknown-tokens"
    assert finding.ids == ("a.csv#3", "a.csv#5")
    assert "2 texts (33.3%) consist for the most part" in finding.message
    assert "a.csv#3, a.csv#5" in finding.message
    assert "--backbone e5" in finding.remedy


def test_a_text_in_a_hundred_is_no_finding(tokeniser: Tokeniser) -> None:
    texts = ["funny films"] * 150 + ["😀"]
    found = count_tokens(texts, tokeniser, model="tiny", progress=Progress())
    assert found.unknown == (150,)
    assert unknown_findings(found, samples_of(texts)) == ()


def test_of_an_even_sample_the_right_texts_are_named(
    tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lengths, "MOST_TEXTS", 10)
    texts = ["funny"] * 50 + ["😀"] * 50
    found = count_tokens(texts, tokeniser, model="tiny", progress=Progress())
    assert found.unknown == (50, 60, 70, 80, 90)
    [finding] = unknown_findings(found, samples_of(texts))
    assert "5 texts of those looked at (50.0%)" in finding.message


@pytest.mark.parametrize(
    ("kind", "is_known"),
    [("wordpiece", False), ("unigram", False), ("marked unigram", False), ("bytes", True)],
)
def test_each_kind_of_tokenizer_says_what_it_does_not_know(kind: str, is_known: bool) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[UNK]": 0, "a": 1, "b": 2}
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    elif kind == "marked unigram":  # as T5: before each word a mark, of what is unknown alone
        letters = [("[UNK]", 0.0), ("a", -1.0), ("b", -1.0), ("▁", -1.0)]
        tokenizer = Tokenizer(models.Unigram(letters, unk_id=0))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram([("[UNK]", 0.0), ("a", -1.0), ("b", -1.0)], unk_id=0))
    else:
        letters = pre_tokenizers.ByteLevel.alphabet()
        tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(letters)}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    known = Tokeniser(TextContract(tokenizer.to_str(), window=12))
    found = count_tokens(["a", "😀 😀"], known, model="tiny", progress=Progress())
    assert found.unknown == (() if is_known else (1,))
