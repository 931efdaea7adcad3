"""Few texts a class: `--strategy contrastive` against SetFit and TF-IDF, from the same weights.

    python bench/few_shot.py [--data trec sst2] [--shots 8 32] [--draws 10] [--rows contrastive
        setfit setfit-20 tfidf] [--python FILE] [--wheels FOLDER] [--results FOLDER]

Each draw takes so many texts of each class from the rows to learn from; all answer all test rows.
Each takes its turn in a process of its own, whose start and imports are not timed; on every side
reading the weights, learning and answering the test are.

- contrastive: `headstart.fit(FOLDER, strategy="contrastive", backbone="minilm")`, with no cached
  features. A fit does more than its peers: it also checks the data, measures what it found with
  intervals, knows strangers, saves a model that is loaded anew to be verified, and writes a report.
- setfit: SetFitModel and its Trainer with their defaults: one epoch, batches of 16 pairs,
  oversampling. The packages come with the extra `bench`; where they are in another environment,
  `--python` is its interpreter.
- setfit-20: the same with 20 pairs of each kind a text, as in its paper (Tunstall et al. 2022,
  arXiv:2209.11055), where all pairs take too long: their number grows with the square of that of
  the texts. Not one of the rows that are run by default.
- tfidf: TfidfVectorizer with words and pairs of words, and LogisticRegression, of scikit-learn.

Draws are seeds from 0; those that defaults were chosen by had others, from 100. Each result is
written to a file as soon as it is there, and is not run again, so that what broke off goes on.

Targets: mean accuracy no lower than either; a tenth of SetFit's time with its defaults.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import arguments, own_cache, print_table, with_short_waits
from text_sets import SETS, Rows, text_set

BACKBONE = "minilm"
ROWS = ("contrastive", "setfit", "setfit-20", "tfidf")
_USUAL = ("contrastive", "setfit", "tfidf")
_RESULTS = Path(tempfile.gettempdir()) / "headstart-bench-few-shot"


def draw(rows: Rows, *, shots: int, seed: int) -> Rows:
    """So many rows of each class, or all where there are fewer, in mixed order."""
    rng = np.random.default_rng([seed, shots])
    places: list[int] = []
    for name in sorted(set(rows.labels)):
        of_class = [i for i, label in enumerate(rows.labels) if label == name]
        places += rng.permutation(of_class)[:shots].tolist()
    return rows.at(rng.permutation(places))


def measure(
    row: str, train: Rows, test: Rows, *, python: str, weights: Path, seed: int
) -> dict[str, Any]:
    """Accuracy and seconds of one row on one draw."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        train.write(data / "train.csv")
        test.write(data / "test.csv")
        told = {"data": str(data), "weights": str(weights), "seed": seed, "backbone": BACKBONE}
        interpreter = python if row.startswith("setfit") else sys.executable
        script = Path(__file__).with_name("few_shot_rows.py")
        done = subprocess.run(
            [interpreter, str(script), row, json.dumps(told)],
            check=False,
            capture_output=True,
            text=True,
            env=with_short_waits(),
        )
    if done.returncode:
        raise SystemExit(f"{row} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def results(given: argparse.Namespace, weights: Path) -> dict[str, dict[str, Any]]:
    """What was measured, by `data-shots-draw-row`; what is missing is run."""
    file = given.results / "few_shot.json"
    found: dict[str, dict[str, Any]] = {}
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
    for data in given.data:
        train, test = text_set(data, wheels=given.wheels)
        for shots in given.shots:
            for seed in range(given.draws):
                some = draw(train, shots=shots, seed=seed)
                for row in given.rows:
                    key = f"{data}-{shots}-{seed}-{row}"
                    if key in found:
                        continue
                    found[key] = measure(
                        row, some, test, python=given.python, weights=weights, seed=seed
                    )
                    print(key, found[key], file=sys.stderr, flush=True)
                    given.results.mkdir(parents=True, exist_ok=True)
                    file.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def table(found: dict[str, dict[str, Any]], given: argparse.Namespace) -> list[list[object]]:
    """One line for each data set, number of texts a class, and row."""
    lines: list[list[object]] = []
    for data in given.data:
        for shots in given.shots:
            of_row = {
                row: [found[f"{data}-{shots}-{seed}-{row}"] for seed in range(given.draws)]
                for row in given.rows
            }
            seconds = {
                row: statistics.mean(each["seconds"] for each in all_)
                for row, all_ in of_row.items()
            }
            for row, all_ in of_row.items():
                right = [each["accuracy"] for each in all_]
                spread = statistics.stdev(right) if len(right) > 1 else 0.0
                share = seconds[row] / seconds["setfit"] if "setfit" in seconds else float("nan")
                figures = [f"{statistics.mean(right):.3f}", f"{spread:.3f}"]
                lines.append(
                    [f"{data} {shots}", row, *figures, f"{seconds[row]:.1f}", f"{share:.3f}"]
                )
    return lines


def main() -> None:
    """Print a table of mean accuracy, its spread over the draws, and mean seconds."""
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=["trec", "sst2"], choices=list(SETS))
    parser.add_argument("--shots", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--rows", nargs="+", default=list(_USUAL), choices=ROWS)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has SetFit")
    parser.add_argument("--wheels", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=_RESULTS, help="default: %(default)s")
    given = parser.parse_args()
    with own_cache(BACKBONE) as cache:
        weights = next(path.parent for path in sorted(cache.glob("**/model.safetensors")))
        found = results(given, weights)
    columns = ["texts a class", "row", "accuracy", "spread", "seconds", "of SetFit's"]
    print_table(columns, table(found, given))


if __name__ == "__main__":
    main()
