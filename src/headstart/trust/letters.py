"""Strangers among texts, told by their letters: another language, gibberish, code.

The features of a model of English say little of what it never learnt to read: of the sentences of
bench/ood_texts.py in Spanish and Arabic none lay further from questions in English than these from
each other. A count of which letters follow which in the training texts tells them at once. The two
go together: features know what a text is about, letters how it is written.

Source: Arora, Huang and He, "Types of out-of-distribution texts and how to detect them" (EMNLP
2021), sections 3 and 5: likelihoods find texts of another style, features those of another meaning.
Letters in threes: Cavnar and Trenkle, "N-gram-based text categorization" (SDAIR 1994).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import DataError, RunError
from headstart.trust.strangers import upper_quantile

# Of bench/ood_texts.py. Beside the 1% of familiar texts that lie beyond the threshold of features.
DEFAULT_QUANTILE = 0.995
# Of a text so many letters are looked at, its beginning; of all texts so many, evenly spread: a
# million give some 10,000 different threes of English, in half a second.
_MOST_LETTERS = 1000
_MOST_TEXTS = 20_000
_MOST_LETTERS_IN_ALL = 2_000_000
# So many letters of the average surprise are thought behind each text, as a short one tells little.
_THOUGHT_OF = 16
# What a letter that never occurred may be: one of so many, about as many as are in common use.
_ALPHABET = 2**16
_NUM_FOLDS = 5
_TEXTS_AT_ONCE = 1024  # a million letters, some 100 MB with all that is looked up of them
_BITS = 21  # of a code point; three of them are one int64
_MASKS = ((1 << _BITS) - 1, (1 << 2 * _BITS) - 1, (1 << 3 * _BITS) - 1)


@dataclass(frozen=True, eq=False)
class Letters:
    """Which letters follow which in the training texts, and how surprising others may be.

    Attributes:
        threes: (m,) int64, ascending: three code points that follow one another.
        counts: (m,) int64, how often they do.
        mean: The surprise of familiar texts on average, in bits a letter.
        threshold: What is more surprising is a stranger; positive. Infinite where the training
            texts have no letter, and so tell nothing of others.
    """

    threes: NDArray[np.int64]
    counts: NDArray[np.int64]
    mean: float = 0.0
    threshold: float = math.inf

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        *,
        groups: NDArray[np.int64] | None = None,
        quantile: float = DEFAULT_QUANTILE,
    ) -> Letters:
        """The letters of training texts; the threshold is set by texts that were held out in turn.

        Args:
            texts: Of those of many an even sample is taken.
            groups: (n,) of each text; those of one group are held out together. None has each text
                be one of its own.
            quantile: The share of familiar texts that the threshold lets pass.

        Raises:
            DataError: There are fewer than two groups.

        Example:
            >>> known = Letters.of([f"what is the number {i} of the row" for i in range(40)])
            >>> known.is_stranger(["what is the number 51 of the row", "wqx zzkj vvy"]).tolist()
            [False, True]
        """
        owners = np.arange(len(texts)) if groups is None else groups
        if len(owners) != len(texts) or len(np.unique(owners)) < 2:
            raise DataError(
                f"{len(texts)} texts in {len(np.unique(owners))} groups cannot be held out in "
                "turn. At least two groups are needed, and a group for each text."
            )
        chosen = _evenly(texts)
        threes, lengths = _threes([texts[i] for i in chosen])
        # Groups in the order of their numbers would follow the order of the data.
        numbers = np.unique(owners[chosen], return_inverse=True)[1]
        folds = np.random.default_rng(0).permutation(numbers.max() + 1)[numbers] % _NUM_FOLDS
        of_letter = np.repeat(folds, lengths)
        surprise = np.zeros(len(chosen))
        for fold in np.unique(folds):
            others = cls._counted(threes[of_letter != fold])
            surprise[folds == fold] = _summed(
                others._bits(threes[of_letter == fold]), lengths[folds == fold]
            )
        mean = float(surprise.sum() / max(1, lengths.sum()))
        own = torch.from_numpy(_shrunk(surprise, lengths, mean))
        threshold = _telling(upper_quantile(own, quantile))
        return replace(cls._counted(threes), mean=mean, threshold=threshold)

    @classmethod
    def _counted(cls, threes: NDArray[np.int64]) -> Letters:
        known, counts = np.unique(threes, return_counts=True)
        return cls(known, counts.astype(np.int64))

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n,) bits a letter, of short texts near the average; an empty one is average."""
        scores = np.zeros(len(texts), np.float32)
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            threes, lengths = _threes(texts[start : start + _TEXTS_AT_ONCE])
            summed = _summed(self._bits(threes), lengths)
            scores[start : start + _TEXTS_AT_ONCE] = _shrunk(summed, lengths, self.mean)
        return scores

    def joined(
        self, texts: Sequence[str], scores: NDArray[Any], *, threshold: float
    ) -> NDArray[Any]:
        """(n,) scores of another kind, or those of the letters where these are the stranger.

        Args:
            texts: n of them.
            scores: (n,) of the same texts, higher is stranger.
            threshold: Of those scores, positive; it is that of the result, too.
        """
        joined: NDArray[Any] = np.maximum(scores, self.scores(texts) * (threshold / self.threshold))
        return joined

    def is_stranger(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """(n,) which texts are more surprising than the threshold."""
        flags: NDArray[np.bool_] = self.scores(texts) > self.threshold
        return flags

    def state(self) -> dict[str, Tensor]:
        """Tensors that `from_state` reads back, for a safetensors file."""
        return {
            "letters.threes": torch.from_numpy(self.threes),
            "letters.counts": torch.from_numpy(self.counts),
            "letters.mean": torch.tensor(self.mean, dtype=torch.float64),
            "letters.threshold": torch.tensor(self.threshold, dtype=torch.float64),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Letters | None:
        """The letters that `state` wrote; None where there are none, as of pictures.

        Raises:
            RunError: Something of them is missing.
        """
        names = ("threes", "counts", "mean", "threshold")
        missing = [name for name in names if f"letters.{name}" not in state]
        if len(missing) == len(names):
            return None
        if missing:
            raise RunError(
                f"What the run knows of letters has no {', '.join(missing)}, but "
                f"{', '.join(names)} are needed. Fit anew."
            )
        threes, counts, mean, threshold = (state[f"letters.{name}"].cpu() for name in names)
        return cls(threes.numpy(), counts.numpy(), float(mean), _telling(float(threshold)))

    # --- the chance of a letter ---------------------------------------------------------------

    @cached_property
    def _orders(self) -> tuple[_Order, ...]:
        """Letters by themselves, behind one other, and behind two."""
        return tuple(_Order.of(self.threes & mask, self.counts) for mask in _MASKS)

    def _bits(self, threes: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) surprise at the last letter of each three, given the two before.

        Chances of longer contexts rest on those of shorter ones, the more so the more different
        letters have followed.

        Source: Bell, Cleary and Witten, "Text Compression" (1990), section 5.2, method C.
        """
        chance = np.full(len(threes), 1 / _ALPHABET)
        for order, mask in zip(self._orders, _MASKS, strict=True):
            chance = order.mixed(threes & mask, chance)
        bits: NDArray[np.float64] = -np.log2(chance)
        return bits


@dataclass(frozen=True)
class LettersAlone:
    """In the place of what tells strangers by their features: here none is one by them.

    For a backbone whose features say more of the texts it learnt from than of others, while there
    are none to find out how much. Beside it, `Letters` tell strangers by how they are written.

    Attributes:
        threshold: That of the letters, in bits.
    """

    threshold: float

    def scores(self, features: Tensor) -> Tensor:
        """(m,) float32, 0 of each of the features (m, num_features)."""
        return torch.zeros(len(features))

    def described(self) -> dict[str, Any]:
        """What the report tells of it."""
        return {"threshold": self.threshold, "goes_by": "letters"}

    def state(self) -> dict[str, Tensor]:
        """Nothing: all that is known is that of the letters."""
        return {}


@dataclass(frozen=True, eq=False)
class _Order:
    """How often letters follow contexts of one length; all arrays of ascending keys, and counts."""

    keys: NDArray[np.int64]
    counts: NDArray[np.float64]
    contexts: NDArray[np.int64]
    num_after: NDArray[np.float64]
    num_different: NDArray[np.float64]

    @classmethod
    def of(cls, keys: NDArray[np.int64], counts: NDArray[np.int64]) -> _Order:
        known, places = np.unique(keys, return_inverse=True)
        weights = counts.astype(np.float64)
        summed = np.bincount(places, weights, len(known)).astype(np.float64)
        contexts, of_context = np.unique(known >> _BITS, return_inverse=True)
        size = len(contexts)
        return cls(
            known,
            summed,
            contexts,
            np.bincount(of_context, summed, size).astype(np.float64),
            np.bincount(of_context, minlength=size).astype(np.float64),
        )

    def mixed(self, keys: NDArray[np.int64], shorter: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) chances, given those of shorter contexts."""
        contexts = keys >> _BITS
        num = _looked_up(self.contexts, self.num_after, contexts)
        different = _looked_up(self.contexts, self.num_different, contexts)
        found = _looked_up(self.keys, self.counts, keys)
        chance = (found + different * shorter) / np.maximum(num + different, 1)
        return np.where(num > 0, chance, shorter)


def _looked_up(
    known: NDArray[np.int64], values: NDArray[np.float64], keys: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The value of each key, 0 where it is unknown."""
    if not len(known):
        return np.zeros(len(keys))
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, values[places], 0.0)


def _threes(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All threes of letters, text by text, and how many each text has.

    Capital letters are as small ones, and all white space is one space: a text of another layout is
    no stranger.
    """
    pieces, lengths = [], []
    for text in texts:
        plain = " ".join(text[: 2 * _MOST_LETTERS].lower().split())[:_MOST_LETTERS]
        if not plain:
            lengths.append(0)
            continue
        encoded = f"  {plain} ".encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(encoded, dtype="<u4").astype(np.int64)
        pieces.append((codes[:-2] << 2 * _BITS) | (codes[1:-1] << _BITS) | codes[2:])
        lengths.append(len(pieces[-1]))
    joined = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
    return joined, np.array(lengths, np.int64)


def _summed(bits: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) the sum of each text."""
    ends = np.cumsum(lengths)
    running = np.concatenate([[0.0], np.cumsum(bits)])
    summed: NDArray[np.float64] = running[ends] - running[ends - lengths]
    return summed


def _shrunk(
    summed: NDArray[np.float64], lengths: NDArray[np.int64], mean: float
) -> NDArray[np.float64]:
    """(n,) bits a letter."""
    return (summed + _THOUGHT_OF * mean) / (lengths + _THOUGHT_OF)


def _telling(threshold: float) -> float:
    """The threshold; infinite where it is 0, as no text has a letter that could surprise."""
    return threshold if threshold > 0 else math.inf


def _evenly(texts: Sequence[str]) -> NDArray[np.int64]:
    """Places of the texts, or of so many that neither bound is passed."""
    num_letters = sum(min(len(text), _MOST_LETTERS) for text in texts)
    most = min(len(texts), _MOST_TEXTS)
    if num_letters > _MOST_LETTERS_IN_ALL:
        most = min(most, max(_NUM_FOLDS, len(texts) * _MOST_LETTERS_IN_ALL // num_letters))
    return np.arange(most) * len(texts) // most
