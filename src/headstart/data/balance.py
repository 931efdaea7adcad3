"""Weights that make up for unequal classes, of the loss or of the sampling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.contracts import Sample

if TYPE_CHECKING:
    from torch import Tensor


def class_weights(
    counts: Mapping[str, int], classes: Sequence[str], *, num_samples: int, is_multilabel: bool
) -> Tensor:
    """(num_classes,) float32 weights of the loss.

    For one label a sample: n / (num_classes * count), so that all classes weigh alike and the mean
    weight of a sample is 1 (King & Zeng 2001, section 4.2; scikit-learn's `balanced`). For several
    labels: negatives over positives, the weight of a positive, at most 100.
    """
    import torch

    present = [max(counts.get(name, 0), 1) for name in classes]
    if is_multilabel:
        return torch.tensor([min(max(num_samples - n, 1) / n, 100.0) for n in present])
    return torch.tensor([num_samples / (len(classes) * n) for n in present])


def sample_weights(samples: Sequence[Sample]) -> list[float]:
    """How often to draw each sample so that all classes are drawn alike.

    A sample of several labels is drawn as often as its rarest one wants.
    """
    counts = Counter(label for sample in samples for label in sample.labels)
    return [1 / min((counts[label] for label in s.labels), default=len(samples)) for s in samples]
