"""Strangers to a model that goes by words alone: texts of whose words it knows too few.

The score of a text is the share of its words that the model does not have, each counted by its idf,
so that a known `the` or `?` does not make up for what the text is about. Knows no model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.term_ids import plain_words
from headstart.errors import RunError
from headstart.trust.strangers import DEFAULT_QUANTILE, upper_quantile

# The score of a text with any known term is no higher, and no threshold is, so that one with none
# is flagged whatever the words are. A number that float32 holds exactly.
MOST_UNKNOWN = 1 - 2.0**-6


@dataclass(frozen=True)
class UnknownWords:
    """How much of a text may be unknown.

    Attributes:
        threshold: A text with a larger share of unknown words is a stranger.
    """

    threshold: float

    @classmethod
    def of(cls, shares: Tensor) -> UnknownWords:
        """With the threshold that 99% of familiar texts stay within.

        Args:
            shares: (n,) of familiar texts that no word was taken from; see `left_out_shares`.
        """
        return cls(min(upper_quantile(shares, DEFAULT_QUANTILE), MOST_UNKNOWN))

    def scores(self, features: Tensor) -> Tensor:
        """(m,) shares, which are the last column of the features (m, num_features)."""
        return features[:, -1]

    def described(self) -> dict[str, Any]:
        """What the report tells of it."""
        return {"threshold": self.threshold, "goes_by": "words"}

    def state(self) -> dict[str, Tensor]:
        """Tensors that `from_state` reads back, for a safetensors file."""
        return {"most_unknown": torch.tensor(self.threshold, dtype=torch.float64)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> UnknownWords:
        """What `state` wrote.

        Raises:
            RunError: It is something else.
        """
        if "most_unknown" not in state:
            raise RunError("The run does not tell how much of a text may be unknown. Fit anew.")
        return cls(float(state["most_unknown"]))


@dataclass(frozen=True, eq=False)
class KnownWords:
    """The words that a model knows.

    Attributes:
        num_texts: word -> how many of the texts it was learnt from have it.
        n: How many texts these were.
        least: In how many of them a word has to be to count.
    """

    num_texts: Mapping[str, int]
    n: int
    least: int


def left_out_shares(texts: Sequence[str], groups: NDArray[np.int64], known: KnownWords) -> Tensor:
    """(n,) of each text the share of its words that would be unknown without it and its group.

    Args:
        texts: Of those that the words were learnt from; of each group all.
        groups: (n,) texts with one number are more alike than new ones will be.
        known: What was learnt.
    """
    words = [plain_words(text) for text in texts]
    numbers = groups.tolist()
    own = Counter(
        (group, word) for group, each in zip(numbers, words, strict=True) for word in set(each)
    )
    unheard = 1 + math.log(1 + known.n)
    shares = []
    for group, each in zip(numbers, words, strict=True):
        heard = missing = 0.0
        for word in each:
            found = known.num_texts.get(word, 0)
            if found - own[group, word] >= known.least:
                heard += 1 + math.log((1 + known.n) / (1 + found))
            else:
                missing += unheard
        shares.append(missing / (heard + missing) if each else 1.0)
    return torch.tensor(shares)
