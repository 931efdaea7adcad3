"""Strangers to a model of words: how much of a familiar text may be unknown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.errors import RunError
from headstart.trust.unknown_words import (
    MOST_UNKNOWN,
    KnownWords,
    UnknownWords,
    left_out_shares,
)


def test_a_word_of_one_text_alone_would_be_unknown_without_it() -> None:
    known = KnownWords({"the": 3, "cat": 2, "dog": 1}, n=3, least=1)
    texts = ["the cat", "the cat", "the dog"]
    shares = left_out_shares(texts, np.arange(3), known)
    assert shares[:2].tolist() == [0, 0]
    assert 0.5 < float(shares[2]) < 1  # the rarer word counts more


def test_copies_do_not_vouch_for_each_other() -> None:
    known = KnownWords({"the": 3, "cat": 2, "dog": 1}, n=3, least=1)
    shares = left_out_shares(["the cat", "the cat", "the dog"], np.array([0, 0, 1]), known)
    assert (shares > 0.5).all()


def test_a_text_without_words_is_unknown() -> None:
    assert left_out_shares([""], np.arange(1), KnownWords({}, n=1, least=1)).tolist() == [1]


@pytest.mark.parametrize("share", [1.0, 0.995])
def test_a_text_that_is_all_unknown_is_flagged_whatever_is_familiar(share: float) -> None:
    found = UnknownWords.of(torch.full((50,), share))
    assert found.threshold == MOST_UNKNOWN
    features = torch.tensor([[0.0, 0.0, 1.0], [0.3, -0.3, MOST_UNKNOWN]])
    assert (found.scores(features).numpy() > found.threshold).tolist() == [True, False]


def test_what_is_written_is_read_back() -> None:
    found = UnknownWords.of(torch.linspace(0, 0.5, 200))
    assert UnknownWords.from_state(found.state()) == found
    with pytest.raises(RunError, match="how much of a text"):
        UnknownWords.from_state({"reference": torch.zeros(1)})
