"""Texts that are nearly the same: other case or punctuation, a word changed in a long text.

A text is seen as the set of its shingles, which are runs of five characters (in lower case, with
one space for all punctuation and white space between words). The likeness of two texts is the share
of shingles that they have in common (Jaccard); as much of their words must be in common. Sketches
of the sets by their least hash values tell which pairs may be alike; the sets themselves decide.
Texts of unrelated samples hardly ever meet, so that the time grows with the amount of text, never
with its square.

Source: shingles and min-wise hashes: Broder 1997, "On the resemblance and containment of documents"
    (Compression and Complexity of Sequences); bands of hashes that find candidates: Leskovec,
    Rajaraman, Ullman, "Mining of Massive Datasets", sections 3.3 and 3.4; one byte a hash for an
    estimate: Li, König 2010, "b-bit minwise hashing" (WWW).
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from headstart.data.near_pairs import (
    NearDuplicates,
    Pairs,
    near_duplicates_of,
    without_chains,
)

# From here on texts count as nearly the same. Of the questions of TREC, 8 pairs have as much of
# shingles and of words (beside 6 that are equal when made plain), most of them one question asked
# twice; from 0.7 to 0.8 of shingles are 76, most of them a template with another word in it, such
# as "What is the origin of the word _" (bench/near_texts.py). In a text of 100 letters one word may
# differ: nine in ten such copies are found, planted among TREC and SST-2.
NEEDED = 0.8
_STRICT = 0.95  # in groups that grew too large
SHINGLE = 5  # letters
# A pair is a candidate where all hashes of a band agree: 0.998 of those with a likeness of 0.8 are,
# 0.04 of those of 0.3 (1 - (1 - likeness ** rows) ** bands).
_BANDS, _ROWS = 16, 5
_HASHES = _BANDS * _ROWS
# Of texts in one bucket each is compared with so many before it, and with the first: enough to
# chain what is alike, and linear however many there are.
_NEIGHBOURS = 4
_SLACK = 0.2  # how far an estimate by 80 hashes may be below the likeness: four standard errors
_BLOCK = 1 << 18  # letters hashed at once: 2 MB an array
_GATHERED = 1 << 16  # pairs whose sketches are compared at once: 5 MB each
# Candidates are compared, the likeliest first, until so many times the letters of all texts were
# read. Only where most texts are look-alikes is that less than all of them.
_EFFORT = 20
_HELD = 1 << 22  # shingles of texts that were just compared: 32 MB
_BASE = 0x9E3779B97F4A7C15  # odd; of the polynomial over the letters of a shingle
_MIX = 0xBF58476D1CE4E5B9  # odd; spreads what differs over all bits (Steele et al. 2014, SplitMix)
_LONGEST_WORDS = 12  # letters on average, beyond which what is between spaces are no words


def find_near_texts(texts: Mapping[str, str]) -> NearDuplicates:
    """Find texts that are nearly the same.

    Texts that differ in nothing but case, punctuation and white space always are, however short;
    others where they have NEEDED of their shingles in common, and of their words.

    Args:
        texts: Sample id -> text; those of punctuation alone are passed over.

    Example:
        >>> found = find_near_texts({"a": "Not bad, at all!", "b": "not bad at all", "c": "Bad."})
        >>> found.groups
        (('a', 'b'),)
    """
    exact, alike = _copies(texts)
    ids = list(exact)
    if len(ids) < 2:
        return NearDuplicates()
    number = {id_: i for i, id_ in enumerate(ids)}
    same = [(number[first], number[other]) for first, others in alike.items() for other in others]
    unlike = [id_ for id_ in alike if id_ in number]
    told: list[str] = []
    search = _Search([texts[id_] for id_ in unlike])
    found, note = search.pairs()
    told += [note] if note else []
    places = np.array([number[id_] for id_ in unlike], np.int64)
    rows, columns = places[found.rows], places[found.columns]
    rows = np.concatenate([np.array([a for a, _ in same], np.int64), rows])
    columns = np.concatenate([np.array([b for _, b in same], np.int64), columns])
    likeness = np.concatenate([np.ones(len(same), np.float32), found.likeness])
    ordered = Pairs(np.minimum(rows, columns), np.maximum(rows, columns), likeness)
    kept, note = without_chains(ordered, strict=_STRICT, num_samples=len(ids), noun="text")
    told += [note] if note else []
    rule = (
        f"Texts with {NEEDED:.0%} or more of their runs of {SHINGLE} letters, and of their words, "
        "in common are near-duplicates, whatever their case and punctuation."
    )
    return near_duplicates_of(kept, ids, exact, rule=rule, notes=told)


def plain(text: str) -> str:
    """Letters with their marks, digits and symbols in lower case, one space between words.

    Example:
        >>> plain("Don't  PANIC!")
        'don t panic'
    """
    return " ".join(text.lower().translate(_PLAIN).split())


class _Plain(dict[int, int | None]):
    """Characters as they are, but for punctuation and white space, which become spaces.

    Vowel signs and tones are marks, without which other words would be the same. Invisible
    characters, such as soft hyphens, are left out.
    """

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        is_kept = category[0] in "LMN" or category in ("Sc", "Sm", "So")
        self[code] = code if is_kept else None if category == "Cf" else ord(" ")
        return self[code]


_PLAIN = _Plain()


def _copies(texts: Mapping[str, str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Of texts with something to read: equal ones, and those that are equal when made plain.

    Returns:
        The first id of each text -> all ids with this text; and the first of these of each plain
        text -> the others of them.
    """
    exact: dict[str, list[str]] = {}
    alike: dict[str, list[str]] = {}
    first_of: dict[bytes, str] = {}
    first_plain: dict[bytes, str] = {}
    for id_ in sorted(texts):
        text = texts[id_]
        first = first_of.setdefault(_digest(text), id_)
        if first in exact:
            exact[first].append(id_)
            continue
        simple = plain(text)
        if not simple:
            continue
        exact[id_] = [id_]
        known = first_plain.setdefault(_digest(simple), id_)
        alike.setdefault(known, [])
        if known != id_:
            alike[known].append(id_)
    return exact, alike


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class _Search:
    """Sketches of texts that all differ, and the pairs among them that are alike.

    Args:
        texts: Of which each is different from the others even when made plain.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.lengths = np.array([len(text) for text in texts], np.int64)
        self.sketches = np.zeros((len(texts), _HASHES), np.uint8)
        self.keys = np.zeros((_BANDS, len(texts)), np.uint32)
        rng = np.random.default_rng(0)
        self.factors = rng.integers(0, 1 << 32, _HASHES, np.uint64).astype(np.uint32) | np.uint32(1)
        self.summands = rng.integers(0, 1 << 32, _HASHES, np.uint64).astype(np.uint32)
        starts = np.flatnonzero(np.diff(np.cumsum(self.lengths) // _BLOCK, prepend=-1)).tolist()
        parts = list(zip(starts, [*starts[1:], len(texts)], strict=True))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for _ in pool.map(self._sketch, parts):
                pass

    def _sketch(self, part: tuple[int, int]) -> None:
        """The least hash values of some texts, as band keys and one byte each."""
        start, stop = part
        values, counts = _shingles([plain(text) for text in self.texts[start:stop]])
        mixed = (values >> np.uint64(32)).astype(np.uint32)
        begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
        for band in range(_BANDS):
            key = np.zeros(stop - start, np.uint64)
            for row in range(band * _ROWS, (band + 1) * _ROWS):
                hashes = mixed * self.factors[row] + self.summands[row]
                least = np.minimum.reduceat(hashes, begins)
                self.sketches[start:stop, row] = (least * np.uint32(_MIX >> 32)) >> np.uint32(24)
                key = (key ^ least) * np.uint64(_MIX)
            self.keys[band, start:stop] = key >> np.uint64(32)

    def pairs(self) -> tuple[Pairs, str]:
        """The pairs with a likeness of NEEDED or more; and a note where not all were compared."""
        rows, columns = self._candidates()
        effort = np.cumsum(self.lengths[rows] + self.lengths[columns])
        num_compared = int(np.searchsorted(effort, _EFFORT * self.lengths.sum(), side="right"))
        note = ""
        if num_compared < len(rows):
            note = (
                f"So many texts are alike that only the likeliest {num_compared:,} of "
                f"{len(rows):,} pairs of near-duplicates were compared."
            )
        rows, columns = rows[:num_compared], columns[:num_compared]
        order = np.lexsort((columns, rows))  # so that the shingles of a text are used again
        rows, columns = rows[order], columns[order]
        likeness = self._likeness(rows, columns)
        found = Pairs(rows, columns, likeness).where(likeness >= NEEDED)
        ends = zip(found.rows.tolist(), found.columns.tolist(), strict=True)
        agree = [_words_agree(plain(self.texts[i]), plain(self.texts[j])) for i, j in ends]
        return found.where(np.array(agree, bool)), note

    def _candidates(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of pairs that share a bucket and may be alike, the likeliest first."""
        num_texts = len(self.texts)
        found = np.zeros(0, np.int64)
        for keys in self.keys:
            order = np.argsort(keys, kind="stable")
            ordered = keys[order]
            begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])
            first = np.maximum.accumulate(np.where(begins, np.arange(num_texts), 0))
            places = [(first, np.arange(num_texts))]
            places += [
                (np.arange(num_texts - back), np.arange(back, num_texts))
                for back in range(1, min(_NEIGHBOURS + 1, num_texts))
            ]
            codes = [found]
            for left, right in places:
                shared = (first[left] == first[right]) & (left != right)
                a, b = order[left[shared]], order[right[shared]]
                codes.append(np.minimum(a, b) * num_texts + np.maximum(a, b))
            found = np.unique(np.concatenate(codes))
        rows, columns = found // num_texts, found % num_texts
        estimate = self._estimate(rows, columns)
        may_be = np.flatnonzero(estimate >= NEEDED - _SLACK)
        may_be = may_be[np.argsort(-estimate[may_be], kind="stable")]
        return rows[may_be], columns[may_be]

    def _estimate(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(num_pairs,) float32: the share of least hash values in common."""
        estimate = np.zeros(len(rows), np.float32)
        for at in range(0, len(rows), _GATHERED):
            part = slice(at, at + _GATHERED)
            estimate[part] = (self.sketches[rows[part]] == self.sketches[columns[part]]).mean(
                axis=1
            )
        return estimate

    def _likeness(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(num_pairs,) float32: the share of shingles in common, exactly."""
        likeness = np.zeros(len(rows), np.float32)
        held: dict[int, np.ndarray] = {}
        num_held = 0
        for at, pair in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            if num_held > _HELD:
                held, num_held = {}, 0
            for i in pair:
                if i not in held:
                    held[i] = np.unique(_shingles([plain(self.texts[i])])[0])
                    num_held += len(held[i])
            one, other = held[pair[0]], held[pair[1]]
            num_shared = len(np.intersect1d(one, other, assume_unique=True))
            likeness[at] = num_shared / (len(one) + len(other) - num_shared)
        return likeness


def _words_agree(one: str, other: str) -> bool:
    """Whether two plain texts have NEEDED of their words in common too.

    Short texts of one template, such as "item number 7", share all shingles but the last. Of a
    script without spaces between words nothing but the shingles can be asked.
    """
    words, others = set(one.split()), set(other.split())
    if len(one) + len(other) > _LONGEST_WORDS * (len(words) + len(others)):
        return True
    return len(words & others) >= NEEDED * len(words | others)


def _shingles(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(num_shingles,) uint64 hashes, text after text; (n,) how many each text has, at least one."""
    padded = [text.ljust(SHINGLE, "\0") for text in texts]
    letters = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in padded])
    hashes = letters[: len(letters) - SHINGLE + 1].copy()
    for place in range(1, SHINGLE):
        hashes *= np.uint64(_BASE)
        hashes += letters[place : len(letters) - SHINGLE + 1 + place]
    hashes ^= hashes >> np.uint64(31)
    hashes *= np.uint64(_MIX)
    is_whole = np.ones(len(letters), bool)  # not one that begins in a text and ends in the next
    ends = np.cumsum(lengths)
    for place in range(1, SHINGLE):
        is_whole[ends - place] = False
    return hashes[is_whole[: len(hashes)]], lengths - SHINGLE + 1
