"""Memory of `headstart predict` over tables of growing size: it should stay what it is.

    python bench/predict_stream.py [--rows 20000 100000] [--letters 100]

A probe on the packaged language model is fitted to some made-up messages; then tables of more and
more of them are predicted to a file, each by a process of its own, whose largest resident memory is
told.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import print_table

import headstart as hs

WORDS = {
    "order": ("parcel", "invoice", "courier", "refund", "address", "tracking", "delivery", "price"),
    "login": ("password", "account", "browser", "code", "email", "locked", "reset", "device"),
}
COMMON = ("please", "tell", "me", "why", "my", "is", "still", "not", "there", "since", "monday")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--letters", type=int, default=100, help="of a text, on average")
    parser.add_argument("--backbone", default="minilm")
    given = parser.parse_args()
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = _write(folder / "labelled.csv", 400, given.letters)
        run = hs.fit(data, backbone=given.backbone, strategy="probe", output=folder / "run")
        for num in given.rows:
            new = _write(folder / "new.csv", num, given.letters)
            started = time.perf_counter()
            peak = _peak_mb(["predict", str(run.path), str(new), "--output", f"{folder}/out.csv"])
            seconds = time.perf_counter() - started
            size = new.stat().st_size / 1e6
            with (folder / "out.csv").open(encoding="utf-8") as file:
                num_answered = sum(1 for _ in file) - 1
            assert num_answered == num
            rows.append([f"{num:,}", f"{size:.1f}", f"{seconds:.1f}", f"{peak:,.0f}"])
    print_table(["texts", "MB of the table", "seconds", "peak memory, MB"], rows)


def _write(path: Path, num: int, num_letters: int) -> Path:
    rng = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(num):
            label = ("order", "login")[i % 2]
            num_words = max(3, round(num_letters / 6))
            words = rng.choices(WORDS[label], k=num_words // 2)
            words += rng.choices(COMMON, k=num_words - len(words))
            writer.writerow([" ".join([*words, str(i)]), label])
    return path


def _peak_mb(arguments: list[str]) -> float:
    """The largest resident memory of a process that runs the command line."""
    process = subprocess.Popen([sys.executable, "-m", "headstart", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"The prediction failed: {' '.join(arguments)}")
    return usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
