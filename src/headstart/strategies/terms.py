"""The words of texts, pairs of neighbours and pieces of words: counted, and weighed by TF-IDF.

Source: the weight of a term, (1 + ln count) * (1 + ln((1 + texts) / (1 + texts that have it))), in
rows of length 1: Manning, Raghavan and Schütze, "Introduction to Information Retrieval" (2008),
chapter 6, smoothed as scikit-learn does, whose numbers the tests compare with.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.data.term_ids import Kind, plain_words, terms_of
from headstart.errors import MissingExtraError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Of each kind, those that are in the most texts: with 20 classes they weigh 4 MB.
MOST_TERMS = 50_000
# From so many texts on a term counts when two of them have it. On TREC (5,452 questions) a quarter
# of the terms is then left, log loss on unseen texts is 5% lower, and a fit takes less than half
# the time; of a few texts each word is needed.
_MANY_TEXTS = 1000
# The vocabulary is learnt from so many texts, drawn by the seed, so that memory is bounded.
_MOST_READ = 50_000


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each text has each term.

    Attributes:
        kind: Of terms.
        names: The terms, sorted; one a column.
        rows: (n, num_terms) float32.
    """

    kind: Kind
    names: tuple[str, ...]
    rows: csr_matrix

    def of(self, places: NDArray[np.int64]) -> Counts:
        """Those of some of the texts."""
        return Counts(self.kind, self.names, self.rows[places])


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of one kind that a model goes by, and what each is worth.

    Attributes:
        kind: What is counted.
        names: The terms, sorted; one a column.
        num_texts: (num_terms,) int64, how many of the texts it was learnt from have each.
        n: How many texts these were.
    """

    kind: Kind
    names: tuple[str, ...]
    num_texts: NDArray[np.int64]
    n: int

    @functools.cached_property
    def idf(self) -> NDArray[np.float32]:
        """(num_terms,): the rarer, the more."""
        idf: NDArray[np.float32] = (1 + np.log((1 + self.n) / (1 + self.num_texts))).astype("f4")
        return idf

    def read(self, texts: Sequence[str]) -> csr_matrix:
        """(n, num_terms) float32 TF-IDF of texts."""
        return self.weigh(_count(texts, self.kind, self._columns))

    @functools.cached_property
    def _columns(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.names)}

    def weigh(self, rows: csr_matrix) -> csr_matrix:
        """TF-IDF of counts (n, num_terms) of these terms; a text that has none is all 0."""
        weighed = rows.copy()
        weighed.data = (1 + np.log(weighed.data)) * self.idf[weighed.indices]
        squares = np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel()
        lengths = np.sqrt(squares, where=squares > 0, out=np.ones_like(squares))
        weighed.data /= np.repeat(lengths, np.diff(weighed.indptr)).astype(np.float32)
        return weighed


def count_terms(texts: Sequence[str], kind: Kind, *, seed: int) -> Counts:
    """How often each of the commonest terms is in each text; no label is looked at.

    Args:
        texts: At least one.
        kind: Words with pairs of neighbours, or pieces of words.
        seed: Draws the texts that the terms are taken from, where they are too many.

    Raises:
        MissingExtraError: The packages of the extra `text` are not installed.
    """
    if len(texts) > _MOST_READ:
        drawn = np.random.default_rng(seed).choice(len(texts), _MOST_READ, replace=False)
        read = [texts[place] for place in np.sort(drawn).tolist()]
    else:
        read = list(texts)
    index: dict[str, int] = {}
    rows = _count(read, kind, index, is_growing=True)
    names, kept = _commonest(rows, list(index))
    if len(texts) > _MOST_READ:
        return Counts(kind, names, _count(texts, kind, {n: i for i, n in enumerate(names)}))
    return Counts(kind, names, rows[:, kept])


def learn_terms(counts: Counts) -> tuple[Terms, csr_matrix]:
    """The terms of these texts with their worth, and the TF-IDF of the texts, (n, num_terms)."""
    names, kept = _commonest(counts.rows, counts.names)
    rows = counts.rows[:, kept]
    terms = Terms(counts.kind, names, _num_texts_with(rows), rows.shape[0])
    return terms, terms.weigh(rows)


def answer_with(terms: Terms, counts: Counts) -> csr_matrix:
    """(n, num_terms) TF-IDF of texts that were counted by a vocabulary that holds these terms."""
    places = np.searchsorted(np.array(counts.names, dtype=object), np.array(terms.names, object))
    return terms.weigh(counts.rows[:, places])


def least_texts(n: int) -> int:
    """In how many of n texts a term has to be to count."""
    return 2 if n >= _MANY_TEXTS else 1


def beside(parts: Sequence[csr_matrix]) -> csr_matrix:
    """Matrices with the same rows, one beside the other."""
    return _sparse()(_hstack(parts))


def _num_texts_with(rows: csr_matrix) -> NDArray[np.int64]:
    """(num_terms,) texts that have each term."""
    return np.bincount(rows.indices, minlength=rows.shape[1])


def _commonest(rows: csr_matrix, names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The terms that are in enough texts, sorted by name, and their columns."""
    num_texts = _num_texts_with(rows)
    least = least_texts(rows.shape[0])
    found = sorted(np.flatnonzero(num_texts >= least).tolist(), key=lambda i: names[i])
    if len(found) > MOST_TERMS:
        order = np.argsort(-num_texts[found], kind="stable")[:MOST_TERMS]
        found = [found[place] for place in np.sort(order).tolist()]
    return tuple(names[i] for i in found), np.array(found, np.int64)


def _count(
    texts: Iterable[str], kind: Kind, index: dict[str, int], *, is_growing: bool = False
) -> csr_matrix:
    """(n, num_terms) counts by an index of the terms, to which new ones are added or not."""
    places, ends = array("q"), array("q", [0])
    for text in texts:
        terms = terms_of(plain_words(text), kind)
        if is_growing:
            places.extend([index.setdefault(term, len(index)) for term in terms])
        else:
            places.extend([index[term] for term in terms if term in index])
        ends.append(len(places))
    rows = _sparse()(
        (np.ones(len(places), np.float32), np.array(places, np.int64), np.array(ends, np.int64)),
        shape=(len(ends) - 1, len(index)),
    )
    rows.sum_duplicates()
    return rows


def _sparse() -> type[csr_matrix]:
    try:
        from scipy.sparse import csr_matrix
    except ImportError:
        raise MissingExtraError("TF-IDF", extra="text") from None
    kind: type[csr_matrix] = csr_matrix
    return kind


def _hstack(parts: Sequence[csr_matrix]) -> csr_matrix:
    from scipy.sparse import hstack

    found: csr_matrix = hstack(list(parts), format="csr", dtype=np.float32)
    return found
