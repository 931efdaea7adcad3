"""The trivial baseline's features: colour and band statistics of a picture, nothing learned.

A logistic regression on them is the rung that a pretrained backbone has to beat. Where it does not,
brightness, colour or framing give the classes away, and the task is easier (or the data more
leaky) than it looks.

Source: colour moments and layouts as the earliest features of picture retrieval, Stricker and
Orengo, "Similarity of color images" (SPIE 1995), and Manjunath et al., "Color and texture
descriptors" (IEEE TCSVT 2001), for the 4 x 4 grid; orientations: Freeman and Roth, "Orientation
histograms for hand gesture recognition" (1995).
"""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.errors import DataError

_GRID = 4
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_NUM_ORIENTATIONS = 8
# Pixels are taken at even distances, so many along a side: statistics of a picture move little with
# more, and sorting is what costs: all of it takes 1 to 2% of a feature pass (bench/ood.py).
_SIDE = 56
_QUANTILE_SIDE = 14


def num_statistics(num_bands: int) -> int:
    """How many numbers `picture_statistics` gives for so many bands."""
    return num_bands * (2 + len(_QUANTILES) + _GRID * _GRID) + _NUM_ORIENTATIONS + 1


def picture_statistics(inputs: Tensor) -> Tensor:
    """What is known of pictures without looking at what they show.

    Of each band its mean, standard deviation, five quantiles and the means of a 4 x 4 grid; of the
    mean of all bands the strength of its edges and the share of each of eight orientations.

    Args:
        inputs: (B, bands, H, W) raw values, uint8 or float, of one size; any number of bands.

    Returns:
        (B, m) float32 in the unit of the inputs (orientations: shares), m by `num_statistics`.

    Raises:
        DataError: The pictures are not of that shape, or smaller than 4 x 4.

    Example:
        >>> statistics = picture_statistics(torch.full((2, 3, 64, 64), 200, dtype=torch.uint8))
        >>> statistics.shape, float(statistics[0, 0])
        (torch.Size([2, 78]), 200.0)
    """
    if inputs.ndim != 4 or min(inputs.shape[2:]) < _GRID:
        raise DataError(
            f"Pictures of shape {tuple(inputs.shape)} have no statistics. They must be (B, bands, "
            f"height, width), at least {_GRID} x {_GRID} pixels."
        )
    pixels = _thinned(inputs, _SIDE).float()  # (B, bands, h, w)
    flat = pixels.flatten(2)
    few = _thinned(pixels, _QUANTILE_SIDE).flatten(2).sort(dim=2).values
    places = torch.tensor(_QUANTILES, device=few.device) * (few.shape[2] - 1)
    quantiles = few[:, :, places.round().long()]
    grid = torch.nn.functional.adaptive_avg_pool2d(pixels, _GRID)
    mean = flat.mean(dim=2, keepdim=True)
    deviation = (flat - mean).square().mean(dim=2).sqrt()  # four times as quick as Tensor.std
    parts = [mean[:, :, 0], deviation, quantiles.flatten(1), grid.flatten(1)]
    return torch.cat([*parts, _orientations(pixels.mean(dim=1))], dim=1)


def _thinned(pixels: Tensor, side: int) -> Tensor:
    """Every so manieth pixel, so that at least `side` (or all) remain along each side."""
    rows, columns = (max(1, length // side) for length in pixels.shape[2:])
    return pixels[:, :, ::rows, ::columns]


def _orientations(grey: Tensor) -> Tensor:
    """(B, 9): the shares of eight orientations among the edges, and the edges' mean strength.

    An edge counts by its strength; the directions of light to dark and dark to light are one.

    Args:
        grey: (B, h, w) float.
    """
    across = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    down = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    strength = (across.square() + down.square()).sqrt().flatten(1)
    angle = torch.atan2(down, across).flatten(1) / torch.pi  # -1 to 1, where 0 and 1 are alike
    bins = ((angle * _NUM_ORIENTATIONS).floor().long()) % _NUM_ORIENTATIONS
    sums = strength.new_zeros(len(grey), _NUM_ORIENTATIONS).scatter_add_(1, bins, strength)
    total = strength.sum(dim=1, keepdim=True)
    shares = sums / total.clamp_min(torch.finfo(total.dtype).tiny)
    return torch.cat([shares, strength.mean(dim=1, keepdim=True)], dim=1)
