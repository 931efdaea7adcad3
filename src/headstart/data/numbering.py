"""Names as numbers: equal names have one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """(n,) a number for each name, from 0, in alphabetical order.

    `numpy.unique` gives the same, but has each name take as much memory as the longest.

    Example:
        >>> numbered(["b", "a", "b"]).tolist()
        [1, 0, 1]
    """
    number_of = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.fromiter((number_of[name] for name in names), np.int64, len(names))


def numbered_if_shared(names: Sequence[str]) -> NDArray[np.int64] | None:
    """(n,) a number for each name, as the metrics take groups; None where no name stands twice."""
    return numbered(names) if len(set(names)) < len(names) else None
