"""Power laws with a floor, error = a + b * n ** -c, fitted to many series of errors at once.

For a fixed exponent the law is linear in a and b, so that only the exponent is searched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Exponents in practice lie between 0.07 and 0.35 for deep networks (Hestness et al. 2017, section
# 4) and at 0.5 to 1 for fitted linear models (Viering and Loog 2022, section 4.1).
_EXPONENTS = np.linspace(0.05, 1.5, 59)


@dataclass(frozen=True, eq=False)
class PowerLaws:
    """Laws error = floor + scale * n ** -exponent; each attribute (R,), none negative."""

    floor: Floats
    scale: Floats
    exponent: Floats

    def error(self, n: float) -> Floats:
        """(R,) the error that each law gives at n, at most 1."""
        return np.minimum(self.floor + self.scale * float(n) ** -self.exponent, 1.0)


def fit_power_laws(n: Floats, errors: Floats, *, spread: Floats) -> PowerLaws:
    """The law of least weighted squares for each row, its floor and scale not negative.

    Args:
        n: (m,) positive, m at least 3, not all the same.
        errors: (R, m) between 0 and 1.
        spread: (m,) positive: standard errors of the errors.

    Example:
        >>> n = np.array([10.0, 20.0, 40.0, 80.0, 100.0])
        >>> law = fit_power_laws(n, (0.1 + 2 / n)[None, :], spread=np.full(5, 0.01))
        >>> law.floor.round(3).tolist(), law.exponent.round(3).tolist()
        ([0.1], [1.0])
    """
    root = 1.0 / spread
    weighted = errors * root  # (R, m)
    best = np.full(len(errors), np.inf)
    floor, scale, exponent = (np.zeros(len(errors)) for _ in range(3))
    for c in _EXPONENTS:
        # Powers of n relative to the largest, so that both unknowns are errors.
        shape = (n / n.max()) ** -c
        a, b = _non_negative(root, shape * root, weighted)
        left = weighted - a[:, None] * root - b[:, None] * (shape * root)
        misfit = np.square(left).sum(axis=1)
        is_better = misfit < best
        best = np.where(is_better, misfit, best)
        floor = np.where(is_better, a, floor)
        scale = np.where(is_better, b * n.max() ** c, scale)
        exponent = np.where(is_better, c, exponent)
    return PowerLaws(floor, scale, exponent)


def _non_negative(x: Floats, y: Floats, values: Floats) -> tuple[Floats, Floats]:
    """(R,) a and b, neither negative, of the least squares of values (R, m) by a * x + b * y."""
    xx, xy, yy = x @ x, x @ y, y @ y
    xv, yv = values @ x, values @ y
    determinant = xx * yy - xy * xy
    a, b = (yy * xv - xy * yv) / determinant, (xx * yv - xy * xv) / determinant
    # Where one would be negative, it is 0 and the other fits alone: errors are not negative, so
    # neither is their projection on x or y.
    alone_a, alone_b = xv / xx, yv / yy
    return (
        np.where(a < 0, 0.0, np.where(b < 0, alone_a, a)),
        np.where(b < 0, 0.0, np.where(a < 0, alone_b, b)),
    )
