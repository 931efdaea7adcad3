"""What was tried on the ladder, what it gave and why it was kept or not: plain data for the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from headstart.contracts import Measure


@dataclass(frozen=True)
class Rung:
    """One step of the ladder.

    Attributes:
        strategy: `majority`, `trivial`, `knn`, `probe`, `full`, ...
        why: Why it was kept, left or skipped, in a sentence.
        judged_on: `cross-validation` or `validation`; empty where it was not tried.
        metrics: By public name, on what it was judged on.
        gain: In accuracy, over the rung named `over`, on the same samples.
        seconds: That it took.
        predicted_seconds: What it was thought to take, or None for what takes next to nothing.
        is_kept: Whether its model is the run's.
        was_tried: False where it was skipped.
    """

    strategy: str
    why: str
    judged_on: str = ""
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    gain: Measure | None = None
    over: str = ""
    seconds: float = 0.0
    predicted_seconds: float | None = None
    is_kept: bool = False
    was_tried: bool = True

    def to_json(self) -> dict[str, Any]:
        """For metrics.json."""
        gain = None if self.gain is None else {**asdict(self.gain), "over": self.over}
        predicted = self.predicted_seconds
        return {
            "strategy": self.strategy,
            "judged_on": self.judged_on,
            "metrics": {name: asdict(measure) for name, measure in self.metrics.items()},
            "gain": gain,
            "seconds": round(self.seconds, 3),
            "predicted_seconds": None if predicted is None else round(predicted, 1),
            "kept": self.is_kept,
            "was_tried": self.was_tried,
            "why": self.why,
        }


@dataclass(frozen=True)
class Climb:
    """The ladder as it was climbed.

    Attributes:
        rungs: In order.
        verdict: What came of it, in a sentence with figures.
    """

    rungs: Sequence[Rung]
    verdict: str


def only_rung(strategy: str, *, seconds: float) -> Climb:
    """Where the user chose the strategy."""
    why = "the only one that was tried, as was asked for"
    return Climb([Rung(strategy, why, seconds=seconds, is_kept=True)], "")
