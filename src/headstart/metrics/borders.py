"""Where in a mask the borders between classes are, and what is near them.

The one notion of near, for the boundary F1 and for pictures of errors. Plain numpy; knows no task
and no model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of the picture's diagonal. Source: Csurka, Larlus and Perronnin, "What is a good evaluation
# measure for semantic segmentation?" (BMVC 2013).
BOUNDARY_SHARE = 0.0075


def boundary_tolerance(height: int, width: int) -> int:
    """How many pixels a border may lie off and still count as found, in a picture of this size.

    Source: Csurka et al. (see `BOUNDARY_SHARE`), who take 0.75% of the diagonal; at least 1.

    Example:
        >>> boundary_tolerance(512, 512), boundary_tolerance(32, 32)
        (5, 1)
    """
    return max(1, round(BOUNDARY_SHARE * float(np.hypot(height, width))))


def at_border(classes: NDArray[Any], is_known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(h, w): whether a pixel has a neighbour, of four, of another class.

    Args:
        classes: (h, w) class indices.
        is_known: (h, w); other pixels have no border, and to them there is none.
    """
    found = np.zeros(classes.shape, dtype=np.bool_)
    for axis in (0, 1):
        whole, known, marks = (np.moveaxis(a, axis, 0) for a in (classes, is_known, found))
        differs = (whole[1:] != whole[:-1]) & known[1:] & known[:-1]
        marks[1:] |= differs
        marks[:-1] |= differs
    return found


def near(marks: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """(h, w): whether a mark (h, w) is at most `distance` rows and columns away.

    Example:
        >>> near(np.array([[True, False, False]]), 1).tolist()
        [[True, True, False]]
    """
    grown = marks
    for axis in (0, 1):
        length = grown.shape[axis]
        sums = np.insert(np.cumsum(grown, axis=axis, dtype=np.int64), 0, 0, axis=axis)
        last = np.minimum(np.arange(length) + distance + 1, length)
        first = np.maximum(np.arange(length) - distance, 0)
        grown = np.take(sums, last, axis=axis) > np.take(sums, first, axis=axis)
    return grown
