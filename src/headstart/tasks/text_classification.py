"""Text classification, single-label and multi-label, told completely.

Knows texts as token ids and what is asked of a task; nothing of the engine, of strategies or of
other tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headstart.contracts import Backbone, Batch, Sample, TermsContract, TextContract
from headstart.data.text_batches import TOKENS_PER_BATCH, reader_of, text_batches
from headstart.data.tokenising import Tokeniser, blocks_of
from headstart.errors import DataError
from headstart.model import LabelModel
from headstart.tasks.one_answer import OneAnswer

# As many as 64 texts of the window of most encoders: a GPU is kept busy, and memory is no question.
_TOKENS_PER_GPU_BATCH = 32_768


class TextClassification(OneAnswer):
    """One class a text, or any number of them; see `OneAnswer`."""

    name = "text-classification"
    unit = "text"

    def preparation(
        self, contract: TextContract | TermsContract, augment: Any = None
    ) -> Callable[[Sample], Tensor]:
        """What makes a sample the model's input: (length,) or (parts, length) int64 token ids."""
        return PrepareText(contract)

    def batches(
        self,
        samples: Sequence[Sample],
        contract: TextContract | TermsContract,
        *,
        device: torch.device,
        on_error: Callable[[Sample, DataError], None] | None = None,
    ) -> Iterator[Batch]:
        """Texts of about one length together, the longest first; any text can be read."""
        most = TOKENS_PER_BATCH if device.type == "cpu" else _TOKENS_PER_GPU_BATCH
        return text_batches(samples, reader_of(contract), tokens_per_batch=most)

    def sizes(self, samples: Sequence[Sample], contract: TextContract) -> list[int]:
        """Tokens of each text as it is read, those of all parts together."""
        tokeniser = Tokeniser(contract)
        texts = (sample.text or "" for sample in samples)
        return [row.size for block in blocks_of(texts) for row in tokeniser.rows(block)]

    def build(self, backbone: Backbone[Any], head: nn.Module) -> LabelModel:
        """Backbone and head as one model."""
        return LabelModel(backbone, head, before=nn.Identity())

    def statistics(self, inputs: Tensor) -> Tensor:
        """(B, 0): what the words alone tell is asked of the texts, not of their token ids."""
        return torch.zeros(len(inputs), 0)


class PrepareText:
    """Makes a sample's text the model's input. Goes to worker processes."""

    def __init__(self, contract: TextContract | TermsContract) -> None:
        self.reader = reader_of(contract)

    def __call__(self, sample: Sample) -> Tensor:
        """(length,) int64, or (parts, length) where a long text is read in parts."""
        [row] = self.reader.rows([sample.text or ""])
        return torch.from_numpy(row).long()
