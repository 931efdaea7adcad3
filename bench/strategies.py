"""What each strategy reaches, and what it costs.

    python bench/strategies.py [--data FOLDER ...] [--seeds N] [--only NAME ...]

`headstart.fit` with its defaults, one strategy after the other, seed by seed, each without cached
features. Accuracy on the sealed test split (mean over the seeds, and the 95% interval of the first
one's), seconds from the folder to the verified model, and both in relation to the probe with
logistic regression.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from measuring import BACKBONE, arguments, folders_of, own_cache, print_table

import headstart as hs
from headstart.cache import clear
from headstart.errors import ConfigError

OPTIONS = {
    "probe, logistic": {"strategy": "probe"},
    "probe, svm": {"strategy": "probe", "classifier": "svm"},
    "probe, knn": {"strategy": "probe", "classifier": "knn"},
    "as-is": {"strategy": "as-is"},
    "head": {"strategy": "head"},
    "gradual": {"strategy": "gradual"},
    "full": {"strategy": "full"},
    "scratch": {"strategy": "scratch"},
}
REFERENCE = "probe, logistic"


def main() -> None:
    parser = arguments(__doc__, data=("ants-bees",))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    given = parser.parse_args()
    folders = folders_of(given.data)
    names = dict.fromkeys([REFERENCE, *given.only])
    with own_cache(BACKBONE), tempfile.TemporaryDirectory() as runs:
        for data_name, data in folders.items():
            # Not counted: it imports what all need and measures the speed of the formats.
            hs.fit(data, backbone=BACKBONE, output=Path(runs) / f"{data_name}-first", epochs=1)
            measured: dict[str, list[tuple[hs.Measure, float]]] = {name: [] for name in names}
            for seed in range(given.seeds):
                for number, name in enumerate(names):
                    clear("features")
                    output = Path(runs) / f"{data_name}-{seed}-{number}"
                    started = time.perf_counter()
                    try:
                        run = hs.fit(
                            data, backbone=BACKBONE, seed=seed, output=output, **OPTIONS[name]
                        )
                    except ConfigError as error:  # as-is, where the classes are not ImageNet's
                        print(f"{data_name}, seed {seed}: {name} left out. {error}", flush=True)
                        continue
                    spent = time.perf_counter() - started
                    measured[name].append((run.metrics["accuracy"], spent))
                    print(f"{data_name}, seed {seed}: {name} {spent:.0f} s", flush=True)
            show(data_name, measured)


def show(data_name: str, measured: dict[str, list[tuple[hs.Measure, float]]]) -> None:
    def means(name: str) -> tuple[float, float]:
        accuracy = statistics.mean(measure.value for measure, _ in measured[name])
        return accuracy, statistics.mean(spent for _, spent in measured[name])

    base, base_s = means(REFERENCE)
    rows = []
    for name, results in measured.items():
        if not results:
            continue
        accuracy, spent = means(name)
        first = results[0][0]
        rows.append([name, f"{accuracy:.3f}", f"{first.low:.2f}-{first.high:.2f}"])
        rows[-1] += [f"{accuracy - base:+.3f}", f"{spent:.1f}", f"{spent / base_s:.1f}"]
    columns = [*(data_name, "accuracy", "95%", "minus probe", "seconds", "over probe")]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
