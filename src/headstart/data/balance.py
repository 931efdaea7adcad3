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


def pixel_weights(pixels: Sequence[Sequence[int]]) -> Tensor:
    """(num_classes,) float32 weights of a loss of single pixels, by median frequency.

    The frequency of a class is its share of the pixels of the masks that have it; its weight is the
    median of all frequencies over its own, at most 100. Classes that no mask has count as 1.

    Args:
        pixels: One a mask: the pixels of each class.

    Source: Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a Common
    Multi-Scale Convolutional Architecture" (ICCV 2015), section 6.3.2.

    Example:
        >>> pixel_weights([(90, 10), (100, 0)])
        tensor([0.5526, 5.2500])
    """
    import torch

    counts = torch.tensor(pixels, dtype=torch.float64)
    has = counts > 0
    around = (has * counts.sum(dim=1, keepdim=True)).sum(dim=0)
    is_there = has.any(dim=0)
    frequency = counts.sum(dim=0) / around.clamp_min(1)
    there = frequency[is_there]
    if not len(there):
        return torch.ones(counts.shape[1])
    median = there.quantile(0.5)  # of two the mean: `median` would take the lower
    weights = torch.where(is_there, median / frequency.clamp_min(1e-12), torch.ones_like(frequency))
    return weights.clamp_max(100.0).float()
