"""Texts as ids of terms, and the contract that says which terms there are."""

from __future__ import annotations

import pickle

import pytest

from headstart.contracts import TermsContract
from headstart.data.term_ids import TermReader, plain_words, terms_of

WORDS = ("a", "good", "so", "so good")
PIECES = (" s", "so", "o ")


@pytest.fixture
def contract() -> TermsContract:
    return TermsContract.of({"words": WORDS, "pieces": PIECES})


def test_a_row_has_each_term_as_often_as_the_text(contract: TermsContract) -> None:
    [row] = TermReader(contract).rows(["So good, so GOOD"])
    # "good ," and ", so" are pairs that it does not know, which count as nothing.
    assert sorted(row.tolist()) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]


def test_a_word_that_is_not_known_is_told_once_for_each_time(contract: TermsContract) -> None:
    reader = TermReader(contract)
    assert reader.unknown == 7
    [row, empty] = reader.rows(["xyz a xyz", ""])
    assert sorted(row.tolist()) == [0, 7, 7]
    assert empty.shape == (0,)


def test_capitals_and_ways_to_code_a_letter_make_no_difference() -> None:
    assert plain_words("CAFE\u0301") == plain_words("caf\u00e9")
    assert plain_words("\U0001d405\U0001d411\U0001d404\U0001d404 №") == ["free", "no"]


def test_halves_of_characters_are_read_and_can_be_written() -> None:
    words = plain_words("half \ud83d")
    assert words[0] == "half"
    TermsContract.of({"words": terms_of(words, "words")}).vocabulary.encode()


def test_a_contract_is_read_back_with_its_terms(contract: TermsContract) -> None:
    again = TermsContract.from_json(contract.to_json(), vocabulary=contract.vocabulary)
    assert again == contract
    assert tuple(again.terms["words"]) == WORDS
    assert (again.num_terms, again.described) == (7, "7 terms")


def test_terms_of_another_contract_are_refused(contract: TermsContract) -> None:
    other = TermsContract.of({"words": ("another",)})
    with pytest.raises(ValueError, match="other terms"):
        TermsContract.from_json(contract.to_json(), vocabulary=other.vocabulary)


def test_a_reader_can_be_sent_to_another_process(contract: TermsContract) -> None:
    reader = TermReader(contract)
    [row], [again] = (
        each.rows(["so good"]) for each in (reader, pickle.loads(pickle.dumps(reader)))
    )
    assert row.tolist() == again.tolist()
