"""How long texts are: in characters, and in tokens of a model that is at hand. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headstart.contracts import Finding, Sample
from headstart.data.listing import count, series
from headstart.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headstart.data.tokenising import Tokeniser

# So many texts are cut into tokens, evenly spread: a share found in them is within half a point of
# that in all (1.96 * sqrt(0.25 / 50,000)). And no more characters than take some ten seconds.
MOST_TEXTS = 50_000
MOST_CHARACTERS = 20_000_000
# The rest of a longer text is not looked at: a million characters are over every window.
_MOST_OF_A_TEXT = 1_000_000
# Fewer texts that nothing is known of change no figure.
_LEAST_UNKNOWN = 0.01
_STEP = 1024  # texts between two looks at the clock


@dataclass(frozen=True)
class TokenLengths:
    """How many tokens texts have.

    Attributes:
        model: Whose tokens they are.
        window: The most that it reads at once.
        counts: (m,) int64, uncut and with those that the tokenizer adds; of the texts counted.
        num_texts: Of how many texts those counted are an even sample.
        unknown: Places, among all texts, of those counted of which the model's tokenizer does not
            know the greater part.
    """

    model: str
    window: int
    counts: NDArray[np.int64]
    num_texts: int
    unknown: tuple[int, ...] = ()

    @property
    def num_over(self) -> int:
        """How many of the texts counted are longer than the window."""
        return int((self.counts > self.window).sum())

    @property
    def told(self) -> str:
        """In a sentence."""
        n, over = len(self.counts), self.num_over
        counted = "" if n == self.num_texts else f"Of {n:,} of them, evenly spread: "
        fits = f"all fit into the {self.window:,} that it reads at once."
        if over:
            fits = (
                f"{_share(over / n)} ({count(over, 'text')}) are longer than the {self.window:,} "
                "that it reads at once."
            )
        return f"{counted}{spread_of(self.counts, 'tokens')} of {self.model}; {fits}"


@dataclass(frozen=True)
class TextLengths:
    """How long the texts of a data set are.

    Attributes:
        characters: (n,) int64, of each text.
        tokens: None where no model is at hand to count them.
        why_not: Why they are not counted, in a sentence.
    """

    characters: NDArray[np.int64]
    tokens: TokenLengths | None = None
    why_not: str = ""

    @property
    def told(self) -> str:
        """In sentences."""
        if not len(self.characters):
            return ""
        last = self.tokens.told if self.tokens is not None else self.why_not
        return f"{spread_of(self.characters, 'characters')}. {last}".strip()


def count_characters(texts: Sequence[str]) -> NDArray[np.int64]:
    """(n,) int64, the length of each text."""
    return np.fromiter(map(len, texts), np.int64, len(texts))


def count_tokens(
    texts: Sequence[str], tokeniser: Tokeniser, *, model: str, progress: Progress
) -> TokenLengths:
    """How many tokens texts have; of many or of long ones those of an even sample.

    Args:
        texts: At least one.
        tokeniser: Of the model.
        model: Its name.
        progress: Is told about every text.
    """
    places = _evenly(texts)
    counts: list[int] = []
    unknown: list[int] = []
    with progress.bar("counting tokens", total=len(places), unit="texts") as advance:
        for start in range(0, len(places), _STEP):
            part = places[start : start + _STEP]
            counted = tokeniser.counts(texts[place][:_MOST_OF_A_TEXT] for place in part)
            for place, found in zip(part, counted, strict=True):
                counts.append(found.num)
                if 2 * found.num_unknown > found.num_own:
                    unknown.append(place)
            advance(len(part))
    window = tokeniser.contract.window
    return TokenLengths(model, window, np.array(counts, np.int64), len(texts), tuple(unknown))


def unknown_findings(
    tokens: TokenLengths, samples: Sequence[Sample], *, others: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """That a model's tokenizer knows next to nothing of many texts.

    Args:
        tokens: Of the texts of the samples.
        samples: In the same order.
        others: Names of models that know more.
    """
    share = len(tokens.unknown) / max(1, len(tokens.counts))
    if share < _LEAST_UNKNOWN:
        return ()
    ids = tuple(samples[place].id for place in tokens.unknown)
    counted = "" if len(tokens.counts) == tokens.num_texts else " of those looked at"
    known = f"a model that knows more signs (--backbone {others[0]}), or " if others else ""
    finding = Finding(
        "unknown-tokens",
        "warning",
        f"{count(len(ids), 'text')}{counted} ({_share(share)}) consist for the most part of what "
        f"the tokenizer of {tokens.model} does not know, such as emojis, another script, or words "
        f"of over a hundred letters: {series(ids)}. To the model they all look alike, however sure "
        "its answers are.",
        f"Look at them, and leave out what is no text. Else take {known}words as they are: "
        "--strategy tfidf.",
        ids,
    )
    return (finding,)


def spread_of(values: NDArray[np.int64], unit: str = "") -> str:
    """`3 to 204 (median 51)`, or `51 each`.

    Example:
        >>> spread_of(np.array([3, 51, 1204]), "tokens"), spread_of(np.array([5, 5]), "tokens")
        ('3 to 1,204 (median 51) tokens', '5 tokens each')
    """
    behind = f" {unit}" if unit else ""
    least, most = values.min(), values.max()
    if least == most:
        return f"{least:,}{behind}" + (" each" if len(values) > 1 else "")
    return f"{least:,} to {most:,} (median {np.median(values):,.0f}){behind}"


def _share(value: float) -> str:
    if value < 0.001:
        return "fewer than 0.1%"
    return "all" if value == 1 else f"{value:.1%}"


def _evenly(texts: Sequence[str]) -> list[int]:
    """Places of the texts, or of so many that neither bound is passed; at least one."""
    num_characters = sum(min(len(text), _MOST_OF_A_TEXT) for text in texts)
    most = min(len(texts), MOST_TEXTS)
    if num_characters > MOST_CHARACTERS:
        most = min(most, max(1, len(texts) * MOST_CHARACTERS // num_characters))
    return [i * len(texts) // most for i in range(most)]
