"""How a segmentation model did on each test picture, as metrics.json has it. Draws nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.errors import RunError

# A modified z-score above this is an outlier. Of the logarithm, for losses are skewed to the right.
# Source: Iglewicz and Hoaglin 1993, How to detect and handle outliers.
OUT_OF_LINE = 3.5
# The median absolute deviation of a normal distribution, in standard deviations.
_MAD = 0.6745
# Of fewer pictures the middle is too uncertain to tell what lies far from it.
FEWEST_FOR_OUTLIERS = 8


@dataclass(frozen=True)
class ChipScore:
    """A test picture; a figure is None where the picture has no pixel that it could rest on.

    Attributes:
        corners: Of its outline, as (longitude, latitude) in degrees; empty where it is not known.
    """

    id: str
    miou: float | None
    pixel_accuracy: float | None
    loss: float | None
    num_pixels: int
    corners: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class BandRange:
    """A band of a picture: what is drawn black in it, and what white."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class ShownChip:
    """A test picture with figures in the run: `why` it was chosen, and the number they go by.

    Attributes:
        doubt: How unsure the answer is on average, from 0 to 1; None without a figure of it.
        bands: Those that have a figure each.
    """

    id: str
    why: str
    miou: float | None
    number: int
    doubt: float | None = None
    bands: tuple[BandRange, ...] = ()


@dataclass(frozen=True)
class Chips:
    """All test pictures, the worst first, and those with figures."""

    scores: tuple[ChipScore, ...]
    shown: tuple[ShownChip, ...]

    @cached_property
    def by_loss(self) -> tuple[ChipScore, ...]:
        """Those with a loss, the highest first."""
        known = [chip for chip in self.scores if chip.loss is not None]
        return tuple(sorted(known, key=lambda chip: (-(chip.loss or 0.0), chip.id)))

    @cached_property
    def out_of_line(self) -> tuple[ChipScore, ...]:
        """Those whose loss is far above that of the others, the highest first."""
        logs = {c.id: math.log(c.loss) for c in self.by_loss if c.loss is not None and c.loss > 0}
        if len(logs) < FEWEST_FOR_OUTLIERS:
            return ()
        middle = statistics.median(logs.values())
        spread = statistics.median(abs(value - middle) for value in logs.values())
        return tuple(
            chip
            for chip in self.by_loss
            if spread > 0 and _MAD * (logs.get(chip.id, middle) - middle) / spread > OUT_OF_LINE
        )

    @cached_property
    def mious(self) -> tuple[float, ...]:
        """The mean IoU of each picture that has one, from low to high."""
        return tuple(sorted(chip.miou for chip in self.scores if chip.miou is not None))

    @property
    def middle(self) -> ShownChip | None:
        """The picture to show first: the median, or any."""
        of_median = [chip for chip in self.shown if chip.why == "median"]
        return next(iter([*of_median, *self.shown]), None)


def read_chips(metrics: Mapping[str, Any], *, path: Path) -> Chips:
    """The test pictures of a run; none where it wrote none.

    Args:
        metrics: Contents of metrics.json.
        path: Of that file, for messages.

    Raises:
        RunError: An entry lacks a value, or has one of the wrong kind.
    """
    try:
        scores = read_scores(metrics.get("chips") or [])
        shown = tuple(_shown(row) for row in metrics.get("shown") or [])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"`{path}` has an entry `chips` or `shown` that the report cannot read "
            f"({type(error).__name__}: {error}). Fit again, or make the report with the version "
            "that fitted it."
        ) from None
    return Chips(scores, shown)


def read_scores(rows: Sequence[Mapping[str, Any]]) -> tuple[ChipScore, ...]:
    """The entries of `chips` of metrics.json."""
    return tuple(
        ChipScore(
            id=str(row["id"]),
            miou=_number(row.get("miou")),
            pixel_accuracy=_number(row.get("pixel_accuracy")),
            loss=_number(row.get("loss")),
            num_pixels=int(row.get("num_pixels") or 0),
            corners=tuple((float(x), float(y)) for x, y in row.get("corners") or ()),
        )
        for row in rows
    )


def _shown(row: Mapping[str, Any]) -> ShownChip:
    bands = tuple(
        BandRange(str(band["name"]), float(band["low"]), float(band["high"]))
        for band in row.get("bands") or ()
    )
    return ShownChip(
        str(row["id"]),
        str(row["why"]),
        _number(row.get("miou")),
        int(row["number"]),
        doubt=_number(row.get("doubt")),
        bands=bands,
    )


def _number(value: Any) -> float | None:
    """A finite number; None for none, and for NaN and infinity."""
    return None if value is None or not math.isfinite(float(value)) else float(value)
