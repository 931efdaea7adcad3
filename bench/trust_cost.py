"""What trust costs: all that a fit does beyond its model, over the feature pass.

    python bench/trust_cost.py [--data FOLDER ...] [--repeats N]

A `fit --strategy probe` with the weights in the cache and nothing else: each part of trust is timed
where the fit calls it, within this process, and set against the pass of all pictures through the
backbone in the same fit. A part that calls another is charged for both, once. The target is a third
for all of them together, on the solar cells.

- near-duplicates: the miniatures of all pictures (what a check of the data takes longer with them
  than without), and the search among them, before the features are there and again with them;
- splits: drawing it, leaks across it, and folds for cross-validation;
- intervals: all metrics of the test set, with intervals;
- alarms: what pixels, features and the trivial baseline tell;
- strangers: the neighbourhood of the training samples, and the scores of the test;
- explanations: heat over a few pictures, which no target counts, is shown below the sum.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from measuring import BACKBONE, arguments, folders_of, own_cache, print_table, seconds

import headstart as hs
from headstart.cache import clear
from headstart.fitting import classifying, preparing, proving
from headstart.fitting.collecting import Collector
from headstart.fitting.proving import Prover
from headstart.progress import Progress
from headstart.strategies import probe
from headstart.tasks.image_classification import ImageClassification
from headstart.trust.strangers import Neighbourhood

PASS, CHECK = "feature pass", "check of the data"
# Part -> where a fit looks its functions up.
PARTS: dict[str, list[tuple[Any, str]]] = {
    "near-duplicates": [(preparing, "find_near_duplicates")],
    "splits": [
        (preparing, "split_dataset"),
        (preparing, "regrouped"),
        (preparing, "leaked"),
        (probe, "hold_out_folds"),
    ],
    "intervals": [(ImageClassification, "evaluate")],
    "calibration": [
        (Prover, "_calibrate"),
        (proving, "reliability"),
        (proving, "coverage_curve"),
    ],
    "suspects": [(Prover, "_suspect")],
    "learning curve": [(Prover, "_trace_curve")],
    "strangers": [(Prover, "_know_strangers"), (Neighbourhood, "scores")],
    "leakage": [(proving, "measure_leakage")],
    "alarms": [
        (Prover, "_look_at_pixels"),
        (Prover, "_look_at_features"),
        (Prover, "_beat_baseline"),
    ],
    "explanations": [(classifying, "explain")],
}
UNCOUNTED = "explanations"


class Clock:
    """Seconds by part; a call within another that is timed belongs to the outer one."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._is_running = False

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapper(*given: Any, **named: Any) -> Any:
            if self._is_running:
                return call(*given, **named)
            self._is_running, started = True, time.perf_counter()
            try:
                return call(*given, **named)
            finally:
                self._is_running = False
                self.spent[part] += time.perf_counter() - started

        return wrapper


@contextlib.contextmanager
def timing() -> Iterator[Clock]:
    """A clock for all parts while they are called."""
    clock = Clock()
    places = [(PASS, Collector, "collect"), (CHECK, preparing, "check_dataset")]
    places += [(part, owner, name) for part, calls in PARTS.items() for owner, name in calls]
    with contextlib.ExitStack() as patches:
        for part, owner, name in places:
            timed = clock.timed(part, getattr(owner, name))
            patches.enter_context(mock.patch.object(owner, name, timed))
        yield clock


def spent_by(data: Path) -> dict[str, float]:
    """Part -> seconds, of one fit without cached features and miniatures."""
    clear("features")
    clear("miniatures")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, timing() as clock:
        hs.fit(data, backbone=BACKBONE, strategy="probe", output=Path(name) / "run")
    dataset = hs.open_dataset(data)
    plain = seconds(
        lambda: preparing.check_dataset(dataset, decode=False, progress=Progress(), hashed=False)
    )
    spent = dict(clock.spent)
    spent["near-duplicates"] += max(spent.pop(CHECK) - plain, 0.0)
    return spent


def measure(data: Path, *, repeats: int) -> dict[str, float]:
    """Part -> seconds, the median of some fits."""
    found = [spent_by(data) for _ in range(repeats)]
    return {part: statistics.median(each[part] for each in found) for part in found[0]}


def main() -> None:
    parser = arguments(__doc__, data=("ants-bees", "elpv"))
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    for name, data in folders_of(given.data).items():
        with own_cache(BACKBONE):
            spent = measure(data, repeats=given.repeats)
        whole = spent.pop(PASS)
        heat = spent.pop(UNCOUNTED)
        rows = sorted(spent.items(), key=lambda row: -row[1])
        rows += [("all together", sum(spent.values())), (UNCOUNTED, heat), (PASS, whole)]
        print_table(
            [name, "s", "of the pass"],
            [[part, f"{took:.2f}", f"{took / whole:.3f}"] for part, took in rows],
        )
        print(flush=True)


if __name__ == "__main__":
    main()
