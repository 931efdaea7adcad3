"""Axes of a chart: from values to positions, and where the ticks stand. Knows no SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Attributes:
        label: With the unit, where there is one.
        is_log: Logarithmic; its values are positive then.
        is_share: Values from 0 to 1 are written as percent.
    """

    label: str
    is_log: bool = False
    is_share: bool = False


@dataclass(frozen=True)
class Scale:
    """Maps values from `low`..`high` to positions from `start`..`end`.

    Example:
        >>> Scale(0.0, 10.0, 100.0, 200.0)(2.5)
        125.0
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.is_log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def spread(low: float, high: float, *, is_log: bool) -> tuple[float, float]:
    """The same range, or one around it when it has no width."""
    if high > low:
        return low, high
    if is_log:
        return low / 2, high * 2
    margin = abs(low) / 10 or 0.5
    return low - margin, high + margin


def ticks(low: float, high: float, *, is_log: bool = False, wanted: int = 5) -> list[float]:
    """Round values within a range, for ticks.

    Example:
        >>> ticks(0.0, 1.0), ticks(1e-4, 1.0, is_log=True)
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0001, 0.001, 0.01, 0.1, 1.0])
    """
    return _log_ticks(low, high, wanted) if is_log else _linear_ticks(low, high, wanted)


def _linear_ticks(low: float, high: float, wanted: int) -> list[float]:
    raw = (high - low) / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)) + 1)
    return [round(i * step, digits) for i in range(first, last + 1)]


def _log_ticks(low: float, high: float, wanted: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if math.log10(high / low) < 1.7:  # too few decades for a tick at each alone
        values = [float(f"{m}e{d}") for d in range(first, last + 1) for m in (1, 2, 5)]
    else:
        stride = max(1, math.ceil((last - first) / (wanted + 1)))
        values = [float(f"1e{d}") for d in range(first, last + 1, stride)]
    return [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]


def tick_text(value: float, *, is_share: bool = False) -> str:
    """A tick's value, as short as it can be told.

    Example:
        >>> tick_text(0.2, is_share=True), tick_text(1500.0), tick_text(1e-05), tick_text(20000.0)
        ('20%', '1,500', '1e-5', '20,000')
    """
    if is_share:
        return f"{100 * value:.4g}%"
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e7):
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.10g}"
