"""Batches of texts of about the same length, so that next to nothing is computed on padding.

Texts come as a stream, are tokenised and put together a block at a time: what wants another order
than the batches have goes by the ids. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from headstart.contracts import Batch, Sample, TermsContract, TextContract
from headstart.data.term_ids import TermReader
from headstart.data.tokenising import Tokeniser, as_ids

# So many tokens a batch, padding among them: MiniLM read 1,140 questions a second in batches of 512
# tokens, 1,390 of 2,048, 1,660 of 8,192 and 1,650 of 16,384, in bf16 on two cores (our
# measurement). A text that is longer is a batch of its own.
TOKENS_PER_BATCH = 8192
# Texts that are sorted together: enough of each length to fill batches, and bounded in memory.
_SORTED_AT_ONCE = 16_384
_CHARACTERS_AT_ONCE = 16_000_000
# A batch this full is closed rather than filled up with shorter texts, whose padding would be
# computed. Batches of one length alone are often too small, batches filled to the brim pad most:
# in the same measurement 1,630, 1,660, 1,610 and 1,190 for 0, 0.25, 0.5 and 1.
_FULL_ENOUGH = 0.25


class Reader(Protocol):
    """Turns texts into rows of ids: of tokens, or of the terms that a model of words knows."""

    def rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        """A row a text, int32: (length,), or (parts, length) of those read in parts."""
        ...


def reader_of(contract: TextContract | TermsContract) -> Reader:
    """What reads texts as a contract wants them."""
    if isinstance(contract, TermsContract):
        return TermReader(contract)
    return Tokeniser(contract)


def text_batches(
    samples: Iterable[Sample], reader: Reader, *, tokens_per_batch: int = TOKENS_PER_BATCH
) -> Iterator[Batch]:
    """All samples in batches, the longest texts of each block first, all others in mixed order.

    If memory does not suffice for the longest, it shows at once; and where time is over before all
    were read, those that were are no shorter or longer than the others.

    Args:
        samples: Texts; one without any is read as the empty text.
        reader: Of the backbone's contract.
        tokens_per_batch: The most that a batch of several texts may hold, padding counted.

    Yields:
        Batches with `ids` and `inputs` (B, length) or (B, parts, length) int64.
    """
    for block in _blocks(samples):
        rows = reader.rows([sample.text or "" for sample in block])
        batches = list(_fill(rows, tokens_per_batch))
        for number in (0, *(1 + np.random.default_rng(0).permutation(len(batches) - 1))):
            places = batches[number]
            ids = tuple(block[i].id for i in places)
            yield Batch(ids, inputs=as_ids([rows[i] for i in places]))


def _blocks(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    block: list[Sample] = []
    num_characters = 0
    for sample in samples:
        block.append(sample)
        num_characters += len(sample.text or "")
        if len(block) >= _SORTED_AT_ONCE or num_characters >= _CHARACTERS_AT_ONCE:
            yield block
            block, num_characters = [], 0
    if block:
        yield block


def _fill(rows: Sequence[np.ndarray], budget: int) -> Iterator[list[int]]:
    """Places of rows that go together: those of one number of parts, the longest first.

    Longest first, so that if memory does not suffice it shows at once.
    """
    shapes = [(len(row) if row.ndim == 2 else 1, max(1, row.shape[-1])) for row in rows]
    batch: list[int] = []
    size = (0, 0)  # parts and length of the batch: those of its first row
    for place in sorted(range(len(rows)), key=lambda i: shapes[i], reverse=True):
        num_parts, length = shapes[place]
        cost = size[0] * size[1]
        is_over = (len(batch) + 1) * cost > budget
        is_shorter = length < size[1] and len(batch) * cost >= _FULL_ENOUGH * budget
        if batch and (num_parts != size[0] or is_over or is_shorter):
            yield batch
            batch = []
        if not batch:
            size = (num_parts, length)
        batch.append(place)
    if batch:
        yield batch
