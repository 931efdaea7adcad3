"""Colours for a quantity from little to much, as even to the eye as the quantity is. Knows no run.

Dark is little, bright is much, on light pages as on dark ones; told apart with every common kind of
colour blindness, and in grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.report.colours import Colour

if TYPE_CHECKING:
    import numpy as np

# Nine of its colours at even distances; between them lightness is even enough for a straight line.
# Source: Smith and van der Walt, "A Better Default Colormap for Matplotlib" (SciPy 2015): viridis,
# which is in the public domain (CC0).
VIRIDIS: tuple[Colour, ...] = (
    (68, 1, 84),
    (71, 45, 123),
    (59, 82, 139),
    (44, 114, 142),
    (33, 145, 140),
    (40, 174, 128),
    (94, 201, 98),
    (173, 220, 48),
    (253, 231, 37),
)


def map_colours(values: np.ndarray) -> np.ndarray:
    """The colours of shares.

    Args:
        values: Of any shape, from 0 to 1; what lies outside takes the colour of the end.

    Returns:
        (*shape, 3) uint8.
    """
    import numpy as np

    table = np.array(VIRIDIS, dtype=np.float64)
    places = np.linspace(0, 1, len(table))
    channels = [np.interp(values, places, table[:, i]) for i in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def css_colour(share: float) -> str:
    """The colour of one share, from 0 to 1, as style sheets have it; needs no numpy.

    Example:
        >>> css_colour(0.0), css_colour(1.0), css_colour(0.5)
        ('#440154', '#fde725', '#21918c')
    """
    place = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    i = min(int(place), len(VIRIDIS) - 2)
    mixed = (
        round(low + (place - i) * (high - low))
        for low, high in zip(VIRIDIS[i], VIRIDIS[i + 1], strict=True)
    )
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def css_gradient() -> str:
    """The whole range from left to right, as style sheets have it."""
    stops = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in VIRIDIS)
    return f"linear-gradient(to right, {stops})"
