"""A uniform sample of a stream that may be too large to keep: all of it, until a bound is met.

Each item draws a number in [0, 1) when it comes by. What is kept are the items with numbers below
a threshold, which sinks whenever what is kept grows beyond the bound; so each item has the same
chance, wherever it stood, and none is looked at twice.

Source: sampling by random numbers and a threshold, Vitter 1985, "Random sampling with a reservoir"
    (ACM Transactions on Mathematical Software 11), section 2; Knuth, TAOCP 2, 3.4.2.
"""

from __future__ import annotations

import numpy as np

# When the bound is met, this share of it is kept: to throw out one item for each that comes would
# mean to sort each time.
_KEPT = 0.8


class Reservoir:
    """The numbers and sizes of the items that are kept; the items themselves are the caller's.

    Args:
        max_items: So many are kept at the most; four fifths of it at the least, once it was met.
        max_size: The same for the sum of their sizes, in the caller's unit.
    """

    def __init__(self, *, max_items: int, max_size: int) -> None:
        self.max_items = max_items
        self.max_size = max_size
        self.threshold = 1.0
        self._numbers: list[float] = []
        self._sizes: list[int] = []
        self._size = 0

    def add(self, number: float, size: int) -> None:
        """Take in an item with a number below the threshold."""
        self._numbers.append(number)
        self._sizes.append(size)
        self._size += size

    @property
    def is_full(self) -> bool:
        """Whether a bound was exceeded: now `keep_fewer` is due."""
        is_many = len(self._numbers) > self.max_items
        return is_many or (self._size > self.max_size and len(self._numbers) > 1)

    def keep_fewer(self) -> list[int]:
        """Lower the threshold; the places of the items that stay, in their order."""
        numbers, sizes = np.array(self._numbers), np.array(self._sizes)
        order = np.argsort(numbers, kind="stable")
        fits = np.cumsum(sizes[order]) <= _KEPT * self.max_size
        fits[int(_KEPT * self.max_items) :] = False
        num_kept = max(1, int(fits.argmin()))
        self.threshold = float(numbers[order[num_kept]])
        stays: list[int] = np.sort(order[:num_kept]).tolist()
        self.keep_only(stays)
        return stays

    def keep_only(self, places: list[int]) -> None:
        """Forget all items but those at these places, for a reason of the caller's."""
        self._numbers = [self._numbers[i] for i in places]
        self._sizes = [self._sizes[i] for i in places]
        self._size = sum(self._sizes)
