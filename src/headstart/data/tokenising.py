"""Texts to token ids, as the weights of a language model were trained; many at once, in Rust.

A row is what the model reads of one text: ids of its tokens with those that the tokenizer adds,
(length,) int32, or (parts, length) with -1 behind shorter parts where a long text is read in parts.
Knows no model.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headstart.contracts import TextContract
from headstart.errors import MissingExtraError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

PADDING = -1
# Of a text that is longer than the window the first quarter of what fits is kept and the last three
# quarters: 128 and 382 of 510 tokens did best for reviews and news.
# Source: Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?" (arXiv:1905.05583),
# section 5.3.1.
_HEAD_SHARE = 0.25
# What some tokenizers begin each word with; a token of its own before what they do not know.
_WORD_MARK = "▁"
# Parts of a text that are read with `windows`: 16 of 512 tokens are some 6,000 words. Of a longer
# one so many are taken, evenly spread, so that no text can fill the memory.
MOST_PARTS = 16
# Texts that are tokenised in one call: enough for all threads; their encodings take some 100 bytes
# a token, so characters are limited as well.
_TEXTS_AT_ONCE = 4096
_CHARACTERS_AT_ONCE = 4_000_000


class TokenCount(NamedTuple):
    """How many tokens a text has.

    Attributes:
        num: All that the model reads, uncut.
        num_own: Without those that are added, those of the prefix, and bare marks of words.
        num_unknown: Of these, the ones that stand for what the tokenizer does not know.
    """

    num: int
    num_own: int
    num_unknown: int


class Tokeniser:
    """Turns texts into rows of token ids by a contract. It can be sent to worker processes.

    Args:
        contract: Of the weights.

    Attributes:
        before: Ids that the tokenizer puts before a text.
        after: Ids that it puts behind.

    Raises:
        MissingExtraError: tokenizers is not installed.
        WeightsError: The contract's tokenizer cannot be read, or its window has no room for text.
    """

    def __init__(self, contract: TextContract) -> None:
        self.contract = contract
        self._tokenizer = read_tokenizer(contract.tokenizer)
        self.before, self.after = _added_ids(self._tokenizer)
        encoded = self._tokenizer.encode(contract.prefix, add_special_tokens=False)
        self._prefix: list[int] = encoded.ids
        self.room = contract.window - len(self.before) - len(self.after)
        if self.room <= len(self._prefix):
            raise WeightsError(
                f"The window of this model is {contract.window} tokens, and its tokenizer adds "
                f"{contract.window - self.room + len(self._prefix)} of its own: nothing is left "
                "for the text. "
                "Correct the `window`, or choose another model."
            )

    def rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The row of each text.

        Args:
            texts: Any number; see `blocks_of` for more than fit into memory at once.

        Returns:
            A row a text, int32: (length,), or (parts, length) of those read in parts.
        """
        return [self._row(ids) for ids in self._contents(texts)]

    def lengths(self, texts: Iterable[str]) -> Iterator[int]:
        """How many tokens each text has, uncut and with those that are added; in a stream."""
        added = len(self.before) + len(self.after)
        for block in blocks_of(texts):
            yield from (len(ids) + added for ids in self._contents(block))

    def counts(self, texts: Iterable[str]) -> Iterator[TokenCount]:
        """The same, and how many of the tokens stand for what the tokenizer does not know."""
        added = len(self.before) + len(self.after)
        unknown = _unknown_id(self._tokenizer, self.contract.tokenizer)
        mark = self._tokenizer.token_to_id(_WORD_MARK)
        prefix = [id_ for id_ in self._prefix if id_ != mark]
        for block in blocks_of(texts):
            for ids in self._contents(block):
                num_marks = 0 if mark is None else ids.count(mark)
                num_own = max(0, len(ids) - num_marks - len(prefix))
                num_unknown = 0 if unknown is None else ids.count(unknown)
                yield TokenCount(len(ids) + added, num_own, num_unknown)

    def _contents(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Ids without those that are added, uncut."""
        prefix = self.contract.prefix
        whole = [prefix + text for text in texts] if prefix else list(texts)
        try:
            encodings = self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):  # of halves of surrogate pairs: no characters
            whole = [text.encode("utf-8", "replace").decode("utf-8") for text in whole]
            encodings = self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)
        return (encoding.ids for encoding in encodings)

    def _row(self, ids: list[int]) -> np.ndarray:
        room, long = self.room, self.contract.long
        if len(ids) <= room:
            return self._whole(ids)
        if long == "windows":
            return self._parts(ids)
        if long == "head-tail":
            head = int(room * _HEAD_SHARE)
            return self._whole(ids[:head] + ids[len(ids) - (room - head) :])
        return self._whole(ids[:room])

    def _whole(self, ids: list[int]) -> np.ndarray:
        return np.array([*self.before, *ids, *self.after], dtype=np.int32)

    def _parts(self, ids: list[int]) -> np.ndarray:
        """(parts, length): of even lengths, as each part counts the same in the average.

        Each begins with the prefix, as every text does that the weights have seen.
        """
        prefix = self._prefix if ids[: len(self._prefix)] == self._prefix else []
        ids = ids[len(prefix) :]
        num_parts = -(-len(ids) // (self.room - len(prefix)))
        ends = [round(i * len(ids) / num_parts) for i in range(num_parts + 1)]
        taken: Sequence[int] = range(num_parts)
        if num_parts > MOST_PARTS:
            step = (num_parts - 1) / (MOST_PARTS - 1)
            taken = [round(i * step) for i in range(MOST_PARTS)]
        return stacked([self._whole([*prefix, *ids[ends[i] : ends[i + 1]]]) for i in taken])


def read_tokenizer(text: str) -> Any:
    """A tokenizer from its JSON, which neither cuts nor pads.

    Raises:
        MissingExtraError: tokenizers is not installed.
        WeightsError: It is no tokenizer.
    """
    return _parsed(text)


# A model's tokenizer is needed several times, and one of 250,000 words takes a second to parse.
# Nobody changes it afterwards.
@functools.lru_cache(maxsize=2)
def _parsed(text: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError("Reading texts with a language model", extra="text") from None
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises Exception itself
        if type(error) is not Exception:
            raise
        raise WeightsError(
            f"The tokenizer of these weights cannot be read: {error}. Fetch them again, or install "
            "a newer `tokenizers`."
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _unknown_id(tokenizer: Any, text: str) -> int | None:
    """The token for what is not known; None where each byte has a token, as in GPT-2."""
    model = json.loads(text)["model"]
    if "unk_id" in model:  # of Unigram
        return None if model["unk_id"] is None else int(model["unk_id"])
    token = model.get("unk_token")
    return None if token is None else tokenizer.token_to_id(token)


def _added_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What a tokenizer puts before a text, and behind it."""
    encoding = tokenizer.encode("a")
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    for start in range(len(encoding.ids) - len(plain) + 1):
        if encoding.ids[start : start + len(plain)] == plain:
            return encoding.ids[:start], encoding.ids[start + len(plain) :]
    raise WeightsError(
        "The tokenizer of these weights changes the tokens of a text where it adds its own, so "
        "that long texts cannot be cut. Choose another model."
    )


def blocks_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in lists that fit into memory with their tokens, in order."""
    block: list[str] = []
    num_characters = 0
    for text in texts:
        block.append(text)
        num_characters += len(text)
        if len(block) >= _TEXTS_AT_ONCE or num_characters >= _CHARACTERS_AT_ONCE:
            yield block
            block, num_characters = [], 0
    if block:
        yield block


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows as one array, int32: (B, length), or (B, parts, length) where one of them has parts.

    What is shorter than the longest is filled with -1.
    """
    num_parts = max(len(row) if row.ndim == 2 else 1 for row in rows)
    longest = max(1, *(row.shape[-1] for row in rows))
    out = np.full((len(rows), num_parts, longest), PADDING, dtype=np.int32)
    for place, row in zip(out, rows, strict=True):
        block = row if row.ndim == 2 else row[None]
        place[: block.shape[0], : block.shape[1]] = block
    has_parts = any(row.ndim == 2 for row in rows)
    return out if has_parts else out[:, 0]


def as_ids(rows: Sequence[np.ndarray]) -> Tensor:
    """Rows as a backbone takes them: (B, length) or (B, parts, length) int64, -1 as padding."""
    import torch

    return torch.from_numpy(stacked(rows)).long()
