"""Masks: how good in five minutes, against a plain script, and how fast the loops are.

    python bench/masks.py quality [--seeds 0 1 2] [--budget 5m] [--rows headstart smp scratch]
                                  [--results FOLDER]
    python bench/masks.py throughput [--epochs N] [--repeats N]

`quality`: the mean IoU on the chips of val/, which is the sealed test. Each row is a process of its
own:

- headstart: `headstart fit DATA --on-bad skip --budget 5m`, on a cache without features;
- smp: `plain_masks.py`, a script as one would write it with segmentation-models-pytorch, from the
  same weights, on the same training and validation chips, for as many seconds as that fit took from
  its start to its end; `smp-cosine` the same, its rate falling over that time;
- scratch: the same fit with `--strategy scratch`.

Each result is written to a file as soon as it is there, and what is there is not run again, so that
rows can be run one by one. An smp row needs the headstart row of its seed.

`throughput`: training crops a second in epochs of the strategy `full`, validation left out, over
the steps of that plain script, in the same format and with the same clipping, its pictures in
memory. A fit and a loop run in turns; the median epoch of each counts. Then the steps a second of
`--strategy head`, over those of `full`.

Targets: headstart at least 0.90, no lower than smp, ahead of scratch; 0.95 of the plain loop's
crops; `head` 3 times the steps of `full`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import (
    BACKBONE,
    arguments,
    own_cache,
    print_table,
    splits_of,
    with_short_waits,
)

from headstart.openmp import wait_briefly

AMAZON_FOREST = Path(__file__).resolve().parents[2] / "shared" / "data" / "amazon-forest"
ROWS = ("headstart", "smp", "smp-cosine", "scratch")


# --- quality ----------------------------------------------------------------------------------


def fit_row(given: argparse.Namespace, name: str, seed: int, run: Path) -> dict[str, Any]:
    """A fit by the command, timed from its start to its end."""
    from headstart.cache import clear

    clear("features")
    command = [sys.executable, "-m", "headstart", "fit", str(given.data), "--on-bad", "skip"]
    command += ["--backbone", BACKBONE, "--budget", given.budget, "--seed", str(seed)]
    command += ["--output", str(run), *(["--strategy", "scratch"] if name == "scratch" else [])]
    started = time.time()
    subprocess.run(command, check=True, env=with_short_waits())
    seconds = time.time() - started
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    splits: dict[str, list[str]] = {}
    for id_, split in splits_of(run).items():
        splits.setdefault(split, []).append(id_)
    miou = metrics["metrics"]["miou"]
    return {
        "miou": miou["value"],
        "interval": [miou["low"], miou["high"]],
        "seconds": seconds,
        "strategy": metrics["strategy"],
        "num_steps": (config.get("fit") or {}).get("num_steps"),
        "splits": splits,
    }


def smp_row(given: argparse.Namespace, name: str, seed: int, timm_weights: Path) -> dict[str, Any]:
    """The plain script, for as long as the fit of this seed took."""
    file = result_file(given, "headstart", seed)
    if not file.is_file():
        raise SystemExit(f"There is no `{file}`: run the row headstart of seed {seed} first.")
    fitted = json.loads(file.read_text(encoding="utf-8"))
    started = time.time()
    told = {
        "data": str(given.data),
        **{part: fitted["splits"][part] for part in ("train", "validation", "test")},
        "weights": str(timm_weights),
        "seed": seed,
        "until": started + fitted["seconds"],
        "is_cosine": name == "smp-cosine",
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("plain_masks.py")), json.dumps(told)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=with_short_waits(),
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "seconds": time.time() - started}


def result_file(given: argparse.Namespace, name: str, seed: int) -> Path:
    return Path(given.results / f"{name}-{given.budget}-{seed}.json")


def quality(given: argparse.Namespace) -> None:
    given.results.mkdir(parents=True, exist_ok=True)
    with own_cache(BACKBONE), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        weights = timm_weights(Path(folder))
        for seed in given.seeds:
            for name in given.rows:
                file = result_file(given, name, seed)
                if file.is_file():
                    continue
                if name in ("headstart", "scratch"):
                    run = Path(folder) / f"{name}-{seed}"
                    result = fit_row(given, name, seed, run)
                else:
                    result = smp_row(given, name, seed, weights)
                file.write_text(json.dumps(result, indent=1), encoding="utf-8")
                print(f"{name}, seed {seed}: mean IoU {result['miou']:.3f}", flush=True)
    show_quality(given)


def timm_weights(folder: Path) -> Path:
    """The packaged weights under timm's names, as the plain script loads them."""
    from safetensors.torch import save_file

    from headstart.backbones import load_backbone

    path = folder / "weights.safetensors"
    save_file(load_backbone(BACKBONE).module.state_dict(), path)
    return path


def show_quality(given: argparse.Namespace) -> None:
    rows, means = [], {}
    for name in given.rows:
        results = {
            seed: json.loads(file.read_text(encoding="utf-8"))
            for seed in given.seeds
            if (file := result_file(given, name, seed)).is_file()
        }
        for seed, result in results.items():
            low, high = result.get("interval") or (None, None)
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            about = result.get("strategy") or result["format"]
            figures = [f"{result['miou']:.3f}", interval, f"{result['seconds']:.0f}"]
            rows.append([f"{name}, seed {seed}", *figures, result["num_steps"] or "", about])
        means[name] = statistics.mean(result["miou"] for result in results.values())
        seconds = statistics.mean(result["seconds"] for result in results.values())
        rows.append([f"{name}, mean", f"{means[name]:.3f}", "", f"{seconds:.0f}", "", ""])
    print_table(["", "mean IoU", "95%", "seconds", "steps", "kept or format"], rows)
    if "headstart" in means:
        print(f"headstart {means['headstart']:.3f} (target: at least 0.90 in 5 minutes)")
    for name, target in (
        *(("smp", "at least 0"), ("smp-cosine", "at least 0")),
        ("scratch", "above 0"),
    ):
        if {"headstart", name} <= set(means):
            gap = means["headstart"] - means[name]
            print(f"headstart - {name}: {gap:+.3f} (target: {target})")


# --- throughput -------------------------------------------------------------------------------


class EpochTimes:
    """Keeps the batches and seconds of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[tuple[int, float]] = []

    def handle(self, event: Any) -> None:
        if event.kind == "end" and event.values["unit"] == "batches":
            self.epochs.append((event.values["done"], event.values["seconds"]))

    @property
    def steps_a_second(self) -> list[float]:
        return [done / seconds for done, seconds in self.epochs]


def fit_timed(
    data: Path, output: Path, *, strategy: str, epochs: int
) -> tuple[Path, list[float], int]:
    """A run folder, the steps a second of each epoch, and the steps of one."""
    import headstart as hs

    times = EpochTimes()
    options = {"on_bad": "skip", "backbone": BACKBONE, "strategy": strategy, "epochs": epochs}
    run = hs.fit(data, output=output, progress=hs.Progress([times]), **options)
    return run.path, times.steps_a_second, times.epochs[0][0]


def plain_timed(data: Path, run: Path, weights: Path, *, epochs: int, steps: int) -> list[float]:
    """The steps a second of as many epochs of the plain loop, in the run's format."""
    import torch
    from plain_masks import BATCH_SIZE, Format, Loop, crops, new_model, read

    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    choices = {choice["name"]: choice["value"] for choice in config["choices"]}
    if choices["batch_size"] != BATCH_SIZE:
        raise SystemExit(f"The fit took batches of {choices['batch_size']}, not of {BATCH_SIZE}.")
    dtype, _, layout = choices["training format"].partition(" ")
    numbers = Format(getattr(torch, dtype), bool(layout))
    ids = [id_ for id_, split in splits_of(run).items() if split == "train"]
    pictures, masks = read(data, ids)
    loop = Loop(new_model(weights), numbers, clip_norm=config["options"]["clip_norm"])
    batches = crops(pictures, masks, seed=0)
    for _ in range(2):  # as the rehearsal of a fit
        loop.step(*next(batches))
    rates = []
    for _ in range(epochs):
        started = time.perf_counter()
        for _ in range(steps):
            loop.step(*next(batches))
        rates.append(steps / (time.perf_counter() - started))
    return rates


def throughput(given: argparse.Namespace) -> None:
    wait_briefly(os.environ)  # before torch is imported
    full: list[float] = []
    plain: list[float] = []
    head: list[float] = []
    with own_cache(BACKBONE), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        weights = timm_weights(Path(folder))
        for repeat in range(given.repeats):
            output = Path(folder) / f"full-{repeat}"
            run, rates, steps = fit_timed(given.data, output, strategy="full", epochs=given.epochs)
            full += rates
            plain += plain_timed(given.data, run, weights, epochs=given.epochs, steps=steps)
            output = Path(folder) / f"head-{repeat}"
            head += fit_timed(given.data, output, strategy="head", epochs=given.epochs)[1]
    ours, theirs, heads = (statistics.median(rates) for rates in (full, plain, head))
    rows = [
        ["full, steps/s over the plain loop's", f"{ours:.2f}", f"{theirs:.2f}"],
        ["head, steps/s over full's", f"{heads:.2f}", f"{ours:.2f}"],
    ]
    for row, ratio, target in zip(rows, (ours / theirs, heads / ours), (0.95, 3), strict=True):
        row += [f"{ratio:.2f}", f"at least {target}"]
    print_table(["", "headstart", "compared with", "ratio", "target"], rows)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=AMAZON_FOREST)
    parser.add_argument("--quick", action="store_true", help="one seed, or epoch; 30 s; to try it")
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("quality")
    verb.set_defaults(measure=quality)
    verb.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    verb.add_argument("--budget", default="5m")
    verb.add_argument("--rows", nargs="+", choices=ROWS, default=["headstart", "smp", "scratch"])
    folder = Path(tempfile.gettempdir()) / "headstart-bench-masks"
    verb.add_argument("--results", type=Path, default=folder, help="default: %(default)s")
    verb = verbs.add_parser("throughput")
    verb.set_defaults(measure=throughput)
    verb.add_argument("--epochs", type=int, default=2)
    verb.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    given.data = given.data.resolve()
    if not given.data.is_dir():
        raise SystemExit(f"There is no folder `{given.data}`. Give one with --data.")
    if given.quick:
        given.seeds, given.budget, given.epochs, given.repeats = [0], "30s", 1, 1
    given.measure(given)


if __name__ == "__main__":
    main()
