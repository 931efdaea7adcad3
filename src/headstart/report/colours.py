"""The colour of each class of a map, alike in figures, legends and tables. Knows no run."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

Colour = tuple[int, int, int]

# Told apart with every common kind of colour blindness; its black is left out, which is none on a
# dark picture. Source: Okabe and Ito 2008, Color Universal Design.
OKABE_ITO: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
)
# Channels that lie no farther apart than this make a grey.
_MOST_GREY = 24
_GOLDEN = 0.618034  # of a turn around the hues, so that neighbours in the list lie far apart


def class_colours(
    num_classes: int, *, own: Sequence[Sequence[int]] | None = None
) -> tuple[Colour, ...]:
    """One colour a class, each 0-255: those of the data where they tell classes apart.

    They do not where two are alike, or most are greys, which vanish on a picture.

    Args:
        num_classes: How many are needed; over 21 no list of colours is easily told apart.
        own: Colours that the data brings, one a class.

    Example:
        >>> class_colours(2)
        ((230, 159, 0), (86, 180, 233))
        >>> class_colours(2, own=[(0, 0, 0), (255, 0, 0)])
        ((0, 0, 0), (255, 0, 0))
        >>> class_colours(2, own=[(0, 0, 0), (255, 255, 255)])
        ((230, 159, 0), (86, 180, 233))
    """
    given = tuple((int(r), int(g), int(b)) for r, g, b in own or ())
    if len(given) == num_classes == len(set(given)):
        num_grey = sum(max(colour) - min(colour) <= _MOST_GREY for colour in given)
        if 2 * num_grey <= num_classes:
            return given
    return tuple(_colour(i) for i in range(num_classes))


def _colour(i: int) -> Colour:
    """The palette as it is, then darker, then lighter, then hues of a wheel."""
    turn, place = divmod(i, len(OKABE_ITO))
    red, green, blue = OKABE_ITO[place]
    if turn == 0:
        return red, green, blue
    if turn == 1:
        return red * 55 // 100, green * 55 // 100, blue * 55 // 100
    if turn == 2:
        return (red + 255) // 2, (green + 255) // 2, (blue + 255) // 2
    r, g, b = colorsys.hsv_to_rgb(i * _GOLDEN % 1.0, 0.5 + 0.4 * (i % 2), 0.95 - 0.3 * (i % 3) / 2)
    return round(255 * r), round(255 * g), round(255 * b)
