"""Which words carried a decision: a word is left out, and the answer looked at again.

Any model of texts can be asked, since nothing but its answers is needed. Of a long text chunks are
left out first, and then pieces of the chunks that matter most, down to words.

Source: occlusion: Zeiler and Fergus, "Visualizing and understanding convolutional networks" (ECCV
2014); of words, with the change of the log-probability as their weight: Li, Monroe and Jurafsky,
"Understanding neural networks through representation erasure" (2016), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.data.words import word_spans
from headstart.errors import DataError

# Times that the model is asked about one text, the text as it is among them: enough for all words
# of a paragraph.
MOST_ASKED = 96
# Of a text with more words so many chunks are left out first, and a chunk is cut into so many.
_NUM_CHUNKS, _NUM_PIECES = 24, 8
# Texts that the model is given at once.
_BATCH = 64
# In scripts without spaces two characters are taken for a word, as most words of Chinese are.
_RUN = 2

LogitsOf = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True, slots=True)
class WordWeight:
    """A part of a text, and what it did for a class.

    Attributes:
        start: Of its first character.
        end: Behind its last one.
        weight: By how much the log-probability of the class falls when the part is left out:
            positive speaks for the class, negative against it.
    """

    start: int
    end: int
    weight: float


def word_weights(
    texts: Sequence[str],
    classes: Sequence[int],
    logits_of: LogitsOf,
    *,
    is_multilabel: bool = False,
    most_asked: int = MOST_ASKED,
) -> list[tuple[WordWeight, ...]]:
    """What each word of some texts did for a class, by leaving it out.

    A text with more words than may be asked about is cut into chunks; those that weigh most are cut
    again, down to words, as far as the calls go. What is not cut further is one span, so that the
    spans cover all words.

    Args:
        texts: Of any length and script.
        classes: For each text the index of the class that is explained.
        logits_of: n texts -> (n, num_classes) float; the same for a text whatever stands beside it.
        is_multilabel: Whether each class is decided alone.
        most_asked: Texts that the model is given for each of these, at the most; at least 2.

    Returns:
        For each text its spans in the order of the text; none for a text without words.

    Raises:
        DataError: There is not a class for each text, or the model's answers do not go with it.
        MissingExtraError: The packages of the extra `text` are not installed.

    Example:
        >>> def logits_of(texts):
        ...     good = torch.tensor([float("good" in text) for text in texts])
        ...     return torch.stack([-good, good], dim=1)
        >>> (spans,) = word_weights(["so good"], [1], logits_of)
        >>> [span.weight > 0 for span in spans]
        [False, True]
    """
    if len(texts) != len(classes):
        raise DataError(
            f"{len(texts)} texts and {len(classes)} classes do not go together: a text is "
            "explained for one class, so there must be one for each."
        )

    def ask(asked: Sequence[tuple[_Search, _Part]]) -> list[float]:
        values: list[float] = []
        for start in range(0, len(asked), _BATCH):
            some = asked[start : start + _BATCH]
            logits = logits_of([search.without(part) for search, part in some])
            wanted = [classes[search.number] for search, _ in some]
            values += _log_probabilities(logits, wanted, is_multilabel=is_multilabel)
        return values

    found = [_Search(i, text, word_spans(text, run=_RUN)) for i, text in enumerate(texts)]
    searches = [search for search in found if search.words]
    for search, value in zip(searches, ask([(s, _NOTHING) for s in searches]), strict=True):
        search.whole = value
    while asked := [(s, part) for s in searches for part in s.cut(most_asked - 1)]:
        for (search, part), value in zip(asked, ask(asked), strict=True):
            search.weights[part] = search.whole - value
    return [search.spans() for search in found]


_Part = tuple[int, int]  # words from the first number up to, not including, the second
_NOTHING: _Part = (0, 0)


@dataclass(eq=False)
class _Search:
    """What is known of one text so far.

    Attributes:
        number: Among the texts.
        text: As it is.
        words: Where they are.
        whole: The log-probability of the text as it is.
        weights: Of its parts, which cover all words once.
        num_asked: Parts that were left out so far.
    """

    number: int
    text: str
    words: list[tuple[int, int]]
    whole: float = 0.0
    weights: dict[_Part, float] = field(default_factory=dict)
    num_asked: int = 0

    def without(self, part: _Part) -> str:
        """The text without some of its words."""
        if part == _NOTHING:
            return self.text
        start, end = self._bounds(part)
        before, after = self.text[:start], self.text[end:]
        if not before or before[-1].isspace():  # one space is left, and none at an end
            after = after.lstrip()
        return before + after if after else before.rstrip()

    def cut(self, most: int) -> list[_Part]:
        """The parts to leave out next, in the place of those they were cut from; none at the end.

        Half of the calls that are left go to the parts that weigh most for or against; what comes
        of them decides where the others go.
        """
        if not self.num_asked:
            num_words = len(self.words)
            pieces = _evenly((0, num_words), num_words if num_words <= most else _NUM_CHUNKS)
            pieces = pieces if len(pieces) <= most else _evenly((0, num_words), most)
            self.num_asked = len(pieces)
            return pieces
        left = most - self.num_asked
        goal = max(left // 2, min(left, _NUM_PIECES))
        found: list[_Part] = []
        for part in sorted(self.weights, key=lambda part: (-abs(self.weights[part]), part)):
            pieces = _evenly(part, _NUM_PIECES)
            if 1 < len(pieces) <= goal - len(found):
                found += pieces
                del self.weights[part]
        self.num_asked += len(found)
        return found

    def spans(self) -> tuple[WordWeight, ...]:
        """The parts in the order of the text."""
        return tuple(
            WordWeight(*self._bounds(part), self.weights[part]) for part in sorted(self.weights)
        )

    def _bounds(self, part: _Part) -> tuple[int, int]:
        return self.words[part[0]][0], self.words[part[1] - 1][1]


def _evenly(part: _Part, number: int) -> list[_Part]:
    """Its words in so many parts of about one size, or one by one where they are fewer."""
    start, size = part[0], part[1] - part[0]
    number = min(number, size)
    ends = [start + i * size // number for i in range(number + 1)]
    return list(pairwise(ends))


def _log_probabilities(
    logits: Tensor, classes: Sequence[int], *, is_multilabel: bool
) -> list[float]:
    """The log-probability of its class for each text.

    Args:
        logits: (n, num_classes) float.
        classes: For each of the n texts.
        is_multilabel: Whether each class is decided alone.

    Raises:
        DataError: The logits are not of that shape.
    """
    if logits.ndim != 2 or len(logits) != len(classes) or max(classes) >= logits.shape[1]:
        raise DataError(
            f"For {len(classes)} texts the model gave answers of shape {tuple(logits.shape)}, but "
            f"a row for each is needed, with a column for class {max(classes)}. Check what is "
            "passed as `logits_of`."
        )
    logits = logits.detach().double().cpu()
    logs = F.logsigmoid(logits) if is_multilabel else logits.log_softmax(dim=1)
    values: list[float] = logs[torch.arange(len(classes)), torch.tensor(classes)].tolist()
    return values
