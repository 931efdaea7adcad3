"""A frozen fit over its limit: one bare pass over the same pictures.

    python bench/frozen_fit.py [--data FOLDER ...] [--repeats N]

Each figure is the wall time of a whole process, from its start to its end:

- fit: `headstart fit DATA --strategy probe`, with the weights in the cache but no features; it
  reads, checks and splits the data, extracts, chooses C, fits, evaluates, saves, draws the report,
  loads the model anew and compares its predictions;
- bare: `bare_pass.py`, which decodes, resizes and runs the same pictures through the same backbone
  in the fastest of four formats (measured beforehand, in a process that is not counted), without
  folding its norms;
- start: an interpreter that imports what `bare_pass.py` imports (torch, timm, Pillow, safetensors,
  numpy) and ends. Everything else that Headstart imports is counted against it.

`fit / bare` is (fit - start) / (bare - start): the target is 1.25. `whole` is fit / bare with
nothing subtracted. `first` is as `fit / bare`, but without the speed measurement that an earlier
fit on this machine has left in the cache. `C / features` is the time of choosing C and fitting over
that of extracting (from metrics.json): the target is 0.25. `warm / fit` is a second fit, on a warm
cache, over the first, start subtracted from both: the target is 0.1.

In all of them OpenMP threads sleep while they wait, as the command `headstart` has it.
Processes run in turns (start, bare, fit, warm fit, start, ...); medians count.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import DEVNULL

from measuring import (
    BACKBONE,
    arguments,
    folders_of,
    own_cache,
    print_table,
    seconds,
    with_short_waits,
)

BARE_PASS = Path(__file__).with_name("bare_pass.py")
START = "import numpy, timm, torch, PIL.Image, safetensors.torch"
FIT = "from headstart.cli import main; main()"


def process_s(*command: str) -> float:
    """Seconds of a whole Python process."""
    whole, environment = [sys.executable, *command], with_short_waits()
    return seconds(lambda: subprocess.run(whole, check=True, stdout=DEVNULL, env=environment))


def fit_s(data: Path, run: Path) -> float:
    shutil.rmtree(run, ignore_errors=True)
    options = ["--strategy", "probe", "--backbone", BACKBONE, "--output", str(run), "--quiet"]
    return process_s("-c", FIT, "fit", str(data), *options)


def fastest_format(weights: Path) -> str:
    command = [sys.executable, str(BARE_PASS), str(weights), "-", "rates"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=with_short_waits()
    )
    rates = {name: float(rate) for name, rate in map(str.split, done.stdout.splitlines())}
    return max(rates, key=lambda name: rates[name])


def save_weights(path: Path) -> None:
    """The backbone's weights under timm's names, for the bare pass."""
    from safetensors.torch import save_file

    from headstart.backbones import load_backbone

    save_file(load_backbone(BACKBONE).module.state_dict(), path)


def measure(data: Path, cache: Path, *, repeats: int) -> list[object]:
    times: dict[str, list[float]] = {name: [] for name in ("start", "bare", "fit", "warm", "share")}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        run, weights = Path(name) / "run", Path(name) / "backbone.safetensors"
        save_weights(weights)
        best = fastest_format(weights)
        process_s("-c", START)  # the first of its kind reads the libraries from disk
        shutil.rmtree(cache / "speed", ignore_errors=True)
        first = fit_s(data, run)
        for _ in range(repeats):
            times["start"].append(process_s("-c", START))
            times["bare"].append(process_s(str(BARE_PASS), str(weights), str(data), best))
            shutil.rmtree(cache / "features")
            times["fit"].append(fit_s(data, run))
            spent = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["seconds"]
            times["share"].append(spent["fit"] / spent["features"])
            times["warm"].append(fit_s(data, run))
    start, bare, fit, warm, share = (statistics.median(times[name]) for name in times)
    return [
        *(f"{value:.1f}" for value in (start, bare, fit, warm)),
        f"{(fit - start) / (bare - start):.2f}",
        f"{fit / bare:.2f}",
        f"{(first - start) / (bare - start):.2f}",
        f"{share:.2f}",
        f"{(warm - start) / (fit - start):.2f}",
        best,
    ]


def main() -> None:
    parser = arguments(__doc__, data=("ants-bees", "elpv"))
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    folders = folders_of(given.data)
    columns = [*("data", "start s", "bare s", "fit s", "warm s", "fit / bare", "whole", "first")]
    columns += ["C / features", "warm / fit", "bare format"]
    rows = []
    for name, data in folders.items():
        with own_cache(BACKBONE) as cache:
            rows.append([name, *measure(data, cache, repeats=given.repeats)])
    print_table(columns, rows)


if __name__ == "__main__":
    main()
