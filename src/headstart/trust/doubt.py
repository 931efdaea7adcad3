"""How unsure a model is of each pixel, and whether its errors are where it is unsure. Tensors.

Source: one less the margin of the two likeliest classes: Scheffer, Decomain and Wrobel, "Active
hidden Markov models for information extraction" (IDA 2001). Taken before the entropy because it
means the same for any number of classes: 1 is a toss-up between two of them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Bins of equal width from 0, sure, to 1: enough to draw which pixels to look at first.
NUM_DOUBT_BINS = 50


def doubt_of(logits: Tensor) -> Tensor:
    """How unsure each answer is.

    Args:
        logits: (B, K, H, W) float32, of two classes or more.

    Returns:
        (B, H, W) float32, from 0, sure, to 1, where the two likeliest classes are as likely.
    """
    best = logits.softmax(dim=1).topk(2, dim=1).values
    return 1 - (best[:, 0] - best[:, 1])


def count_doubt(doubt: Tensor, is_wrong: Tensor, is_known: Tensor) -> NDArray[np.int64]:
    """(NUM_DOUBT_BINS, 2) labelled pixels by their doubt: right ones, wrong ones.

    Args:
        doubt: (H, W) from 0 to 1.
        is_wrong: (H, W) bool.
        is_known: (H, W) bool; other pixels have no label, and are not counted.
    """
    bins = (doubt * NUM_DOUBT_BINS).long().clamp(0, NUM_DOUBT_BINS - 1)
    codes = (2 * bins + is_wrong)[is_known]
    counts = torch.bincount(codes, minlength=2 * NUM_DOUBT_BINS)
    return counts.reshape(NUM_DOUBT_BINS, 2).cpu().numpy()
