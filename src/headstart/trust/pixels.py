"""What single pixels tell: their values and the ratios of their bands, with nothing around them.

A model that looks at shapes has to beat a classifier that sees one pixel at a time. Knows tensors
only.

Source: normalised differences of two bands, of which NDVI (near infrared and red; Rouse et al.
1974) and NDWI (green and near infrared; McFeeters 1996) are the best known.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from headstart.contracts import IGNORE

# With more bands than this there are too many pairs; the bands alone are then taken.
_MOST_PAIRED_BANDS = 8
_TINY = 1e-6


def pixel_features(inputs: Tensor) -> Tensor:
    """(..., H * W, m) float32 of each pixel: its bands, and the normalised differences of them.

    Args:
        inputs: (..., bands, H, W) raw values.

    Example:
        >>> pixel_features(torch.tensor([[[3.0]], [[1.0]]]))
        tensor([[3.0000, 1.0000, 0.5000]])
    """
    rows = inputs.float().flatten(-2).transpose(-1, -2)
    num_bands = rows.shape[-1]
    if not 1 < num_bands <= _MOST_PAIRED_BANDS:
        return rows
    first, second = torch.tensor(list(combinations(range(num_bands), 2))).T
    a, b = rows[..., first], rows[..., second]
    total = a + b
    ratio = torch.where(total.abs() > _TINY, (a - b) / total, torch.zeros_like(total))
    return torch.cat([rows, ratio], dim=-1)


def draw_pixels(
    target: Tensor, *, num_a_class: int, num_classes: int, generator: torch.Generator
) -> Tensor:
    """Places of some pixels of a mask, as many of each class as there are, up to a number.

    Args:
        target: (H, W) int64, IGNORE where nothing is known.
        num_a_class: At most so many of each class.
        num_classes: K.
        generator: Decides which.

    Returns:
        (n,) int64 places in the flattened mask.
    """
    flat = target.flatten()
    drawn = []
    for index in range(num_classes):
        places = (flat == index).nonzero()[:, 0]
        order = torch.randperm(len(places), generator=generator)[:num_a_class]
        drawn.append(places[order])
    chosen = torch.cat(drawn)
    assert bool((flat[chosen] != IGNORE).all())
    return chosen


def prior_shift(pixels: Tensor, targets: Tensor) -> Tensor:
    """What to add to logits that were fitted to drawn pixels, so that they go by all of them.

    Rare classes were drawn more often than they are.

    Args:
        pixels: (K,) how many pixels of each class there are.
        targets: (n,) int64, the classes of those that were drawn.

    Returns:
        (K,) float32.

    Source: King and Zeng, "Logistic Regression in Rare Events Data" (2001), section 4.1.
    """
    true = pixels.double()
    drawn = torch.bincount(targets, minlength=len(pixels)).double()
    ratio = (true / true.sum()) / (drawn / drawn.sum()).clamp_min(1e-12)
    return ratio.clamp_min(1e-12).log().float()
