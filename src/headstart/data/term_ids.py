"""Texts as the terms in them: words, pairs of neighbours and pieces of words, and their ids.

A fit counts terms by these functions, and a model that goes by words reads texts by them, so that
the two cannot differ. Knows no weights and no model.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from headstart.contracts import TermsContract
from headstart.data.words import words_of

Kind = Literal["words", "pieces"]

# Pieces of a word are so many characters long, its two ends among them.
_PIECE_LENGTHS = (2, 3, 4)


def terms_of(words: Sequence[str], kind: Kind) -> list[str]:
    """The terms of one kind that a text of these plain words has, repetitions among them.

    Example:
        >>> terms_of(["so", "good"], "words")
        ['so', 'good', 'so good']
    """
    return _ANALYSES[kind](words)


def plain_words(text: str) -> list[str]:
    """Its words, without the difference of capitals and of ways to code a letter.

    Raises:
        MissingExtraError: The packages of the extra `text` are not installed.
    """
    if not text.isascii():  # halves of surrogate pairs are no characters, and cannot be written
        text = text.encode("utf-8", "replace").decode("utf-8")
    # Twice: some ways to code a capital have no small one, and some small ones are coded anew.
    text = unicodedata.normalize("NFKC", text).casefold()
    return words_of(unicodedata.normalize("NFKC", text))


class TermReader:
    """Turns texts into rows of term ids by a contract. It can be sent to worker processes.

    Args:
        contract: Of the model.

    Attributes:
        unknown: The id that stands for each word that the contract does not have.
    """

    def __init__(self, contract: TermsContract) -> None:
        self.unknown = contract.num_terms
        self._ids: dict[str, dict[str, int]] = {}
        first = 0
        for kind, terms in contract.terms.items():
            self._ids[kind] = {term: first + place for place, term in enumerate(terms)}
            first += len(terms)

    def rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The row of each text: (length,) int32 ids, as often as each term is in it."""
        return [self._row(text) for text in texts]

    def _row(self, text: str) -> np.ndarray:
        words = plain_words(text)
        ids: list[int] = []
        for kind, known in self._ids.items():
            analyse = _ANALYSES[kind]
            ids += [known[term] for term in analyse(words) if term in known]
        known = self._ids["words"]
        ids += [self.unknown for word in words if word not in known]
        return np.array(ids, np.int32)


def _words(words: Sequence[str]) -> list[str]:
    return [*words, *(f"{a} {b}" for a, b in pairwise(words))]


def _pieces(words: Sequence[str]) -> list[str]:
    return [piece for word in words for piece in _pieces_of(word)]


@functools.lru_cache(maxsize=2**15)  # a few thousand words are most of any language
def _pieces_of(word: str) -> tuple[str, ...]:
    word = f" {word} "
    return tuple(
        word[start : start + length]
        for length in _PIECE_LENGTHS
        for start in range(len(word) - length + 1)
    )


_ANALYSES: Mapping[str, Callable[[Sequence[str]], list[str]]] = {
    "words": _words,
    "pieces": _pieces,
}
