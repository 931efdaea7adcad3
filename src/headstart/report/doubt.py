"""Whether the pixels that a model is unsure of are those that it gets wrong. Reads metrics.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from headstart.errors import RunError
from headstart.report.axes import Axis
from headstart.report.charts import line_chart
from headstart.report.drawing import Drawing, Series
from headstart.report.record import RunRecord
from headstart.report.wording import percent

# What a person may look through of a map: the share that the sentence tells of.
LOOKED_AT = 0.1
# Shares of the pixels at which the curve is tabled.
_TABLED = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Doubt:
    """What looking at the pixels it is least sure of would find.

    Attributes:
        sentence: How many of the errors lie in the tenth of the pixels it is least sure of.
        drawing: The share of the errors against the share of the pixels.
    """

    sentence: str
    drawing: Drawing


def read_doubt(record: RunRecord) -> Doubt | None:
    """None where the run wrote none, or nothing is wrong.

    Raises:
        RunError: The entry `doubt` is damaged.
    """
    entry: Mapping[str, Any] | None = record.metrics.get("doubt")
    if entry is None:
        return None
    try:
        right, wrong = ([int(n) for n in entry[name]] for name in ("right", "wrong"))
        curve = _curve(right, wrong)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"`{record.folder.metrics}` has an entry `doubt` that the report cannot read "
            f"({type(error).__name__}: {error}). Fit again."
        ) from None
    if not sum(wrong):
        return None
    found = _at(curve, LOOKED_AT)
    sentence = (
        f"The tenth of the pixels that it is least sure of holds {percent(found)} of the errors"
    )
    if found > 3 * LOOKED_AT:
        sentence += ": that is where to look, and where to label more."
    elif found > 1.5 * LOOKED_AT:
        sentence += ": a better place to look than any other, but not the only one."
    else:
        sentence += ": its uncertainty says little about where it errs."
    title = "Errors found by looking where it is least sure"
    x = Axis("share of the pixels looked at", is_share=True)
    y = Axis("share of the errors found", is_share=True)
    chart = line_chart(
        [
            Series("least sure first", [p[0] for p in curve], [p[1] for p in curve]),
            Series("anywhere", [0.0, 1.0], [0.0, 1.0]),
        ],
        title=title,
        description=sentence,
        x=x,
        y=y,
    )
    rows = tuple((percent(share), percent(_at(curve, share))) for share in _TABLED)
    return Doubt(sentence, Drawing(title, chart, ("Pixels looked at", "Errors found"), rows))


def _curve(right: Sequence[int], wrong: Sequence[int]) -> list[tuple[float, float]]:
    """(share of the pixels, share of the errors), the least sure first."""
    num_pixels, num_wrong = sum(right) + sum(wrong), max(1, sum(wrong))
    points, seen, found = [(0.0, 0.0)], 0, 0
    for of_right, of_wrong in zip(reversed(right), reversed(wrong), strict=True):
        seen, found = seen + of_right + of_wrong, found + of_wrong
        points.append((seen / max(1, num_pixels), found / num_wrong))
    return points


def _at(curve: Sequence[tuple[float, float]], share: float) -> float:
    """On the straight line between the points around it."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 <= share <= x1 and not math.isclose(x0, x1):
            return y0 + (share - x0) / (x1 - x0) * (y1 - y0)
    return curve[-1][1]
