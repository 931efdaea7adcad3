"""What the speed of a fit is measured on: an input such as those of its data. Wiring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.contracts import InputContract, Sample, TextContract
from headstart.data.tokenising import PADDING, Tokeniser, as_ids
from headstart.predictor import example_input

# Texts that are tokenised to find one of middling length, evenly spread.
_MOST_TEXTS = 512
# Lengths are rounded up to a multiple of this, so that what was measured is found again for other
# splits of the same data.
_ROUNDED_TO = 8


def typical_input(
    contract: InputContract | TextContract, samples: Sequence[Sample], device: torch.device
) -> Tensor:
    """Noise as a picture; of texts the one whose length is nearest to the mean.

    The mean, as what a batch costs goes by the tokens in it: questions of 13 tokens are read three
    times as quickly as messages of 40.

    Args:
        contract: Of the backbone.
        samples: Of training.
        device: Where to.

    Returns:
        See `predictor.example_input`; of texts (1, length) or (1, parts, length) int64, filled up
        with -1.
    """
    texts = [sample.text for sample in samples if sample.text]
    if not isinstance(contract, TextContract) or not texts:
        return example_input(contract, device)
    step = -(-len(texts) // _MOST_TEXTS)
    rows = Tokeniser(contract).rows(texts[::step])
    sizes = np.array([row.size for row in rows])
    ids = as_ids([rows[int(np.abs(sizes - sizes.mean()).argmin())]])
    length = ids.shape[-1]
    more = min(-length % _ROUNDED_TO, max(contract.window - length, 0))
    return F.pad(ids, (0, more), value=PADDING).to(device)
