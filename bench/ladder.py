"""What the ladder picks, against each single strategy.

    python bench/ladder.py [--data FOLDER ...] [--seeds N] [--first-seed N] [--only NAME ...]

`headstart fit` with its default strategy and budget, and with each single one of its rungs, seed by
seed, each without cached features. Accuracy is that on the sealed test; regret is the accuracy of
the best single strategy less that of the ladder's pick; time over pick is the whole ladder over the
same strategy alone. A single `full` has the ladder's budget. The first fit of a process, which
imports, is not counted. The targets are a mean regret of 0.5 points at most, and 1.5 times the
time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from measuring import BACKBONE, arguments, folders_of, own_cache, print_table

import headstart as hs
from headstart.cache import clear

SINGLE = {
    "probe": {"strategy": "probe"},
    "depths": {"strategy": "probe", "features": "depths"},
    "knn": {"strategy": "probe", "classifier": "knn"},
    "full": {"strategy": "full", "budget": "5m"},
}


def fit(data: Path, *, seed: int, **options: str) -> tuple[float, float, str]:
    """Accuracy on the test, seconds, and the rung that was kept."""
    clear("features")
    clear("miniatures")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        started = time.perf_counter()
        run = hs.fit(data, backbone=BACKBONE, seed=seed, output=Path(name) / "run", **options)
        seconds = time.perf_counter() - started
        rungs = run.folder.read_json(run.folder.metrics)["rungs"]
        kept = next(rung["strategy"] for rung in rungs if rung["kept"])
        return run.metrics["accuracy"].value, seconds, kept


def main() -> None:
    parser = arguments(__doc__, data=("ants-bees", "elpv", "cell-types", "digits"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=SINGLE, default=list(SINGLE))
    given = parser.parse_args()
    rows: list[list[object]] = []
    regrets, times = [], []
    for name, data in folders_of(given.data).items():
        with own_cache(BACKBONE):
            fit(data, seed=given.first_seed, strategy="probe")
            for seed in range(given.first_seed, given.first_seed + given.seeds):
                accuracy, seconds, kept = fit(data, seed=seed)
                single = {key: fit(data, seed=seed, **SINGLE[key]) for key in given.only}
                best = max(single, key=lambda key: single[key][0])
                regrets.append(100 * (single[best][0] - accuracy))
                cells: list[object] = [f"{name}, seed {seed}", kept, f"{accuracy:.3f}"]
                cells += [f"{seconds:.0f}"]
                for key in given.only:
                    cells += [f"{single[key][0]:.3f}", f"{single[key][1]:.0f}"]
                cells.append(f"{regrets[-1]:+.1f}")
                if kept in single:
                    times.append(seconds / single[kept][1])
                    cells.append(f"{times[-1]:.2f}")
                rows.append(cells)
                print(*cells, flush=True)
    columns = ["data", "kept", "ladder", "ladder s"]
    for key in given.only:
        columns += [key, f"{key} s"]
    print_table([*columns, "regret", "time over pick"], rows)
    print(f"mean regret {statistics.mean(regrets):+.2f} points", end="")
    print(f", time over pick {statistics.mean(times):.2f} in the mean" if times else "")


if __name__ == "__main__":
    main()
