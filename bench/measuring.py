"""What all measurements share: where the data is, a cache of their own, and tables."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ANTS_BEES = Path(__file__).resolve().parents[2] / "shared" / "data" / "ants-bees"
BACKBONE = "efficientnet-lite0"


def arguments(description: str | None, *, data: Sequence[str] = ()) -> argparse.ArgumentParser:
    """A parser; with `data`, it has `--data` with this default."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if data:
        parser.add_argument(
            "--data",
            nargs="+",
            default=list(data),
            metavar="FOLDER",
            help="labelled photos; `ants-bees` (../shared/data/ants-bees) and `elpv` (the solar "
            "cells of `headstart demo`, downloaded once) are understood; default: %(default)s",
        )
    return parser


def folders_of(names: Sequence[str]) -> dict[str, Path]:
    """Short name -> folder, of the values of `--data`. Call it before the cache is exchanged."""
    folders = {Path(name).name: _folder_of(name) for name in names}
    if len(folders) < len(names):
        raise SystemExit("Two folders of --data have one name; measure them one after the other.")
    return folders


def _folder_of(name: str) -> Path:
    if name == "elpv":
        from headstart.demo import solar_cells
        from headstart.progress import ConsoleSink, Progress

        return solar_cells(Progress([ConsoleSink()])).labelled.resolve()
    path = ANTS_BEES if name == "ants-bees" else Path(name)
    if not path.is_dir():
        raise SystemExit(f"There is no folder `{path}`. Give one with --data.")
    return path.resolve()


@contextlib.contextmanager
def own_cache(*backbones: str) -> Iterator[Path]:
    """A temporary cache that holds the weights of these backbones and nothing else."""
    from headstart.api import pull

    files = [pull(backbone) for backbone in backbones]
    before = os.environ.get("HEADSTART_CACHE")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name) / "cache"
        (folder / "weights").mkdir(parents=True)
        for file in files:
            shutil.copy(file, folder / "weights")
        os.environ["HEADSTART_CACHE"] = str(folder)
        try:
            yield folder
        finally:
            if before is None:
                del os.environ["HEADSTART_CACHE"]
            else:
                os.environ["HEADSTART_CACHE"] = before


def with_sleeping_threads() -> dict[str, str]:
    """The environment for a process to be timed: OpenMP threads sleep while they wait.

    The command `headstart` sets this for itself. Threads that spin instead take the cores from the
    threads that decode, so a bare pass is the quicker for it, too, and must have it to be a limit.
    """
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}


def seconds(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def splits_of(run: Path) -> dict[str, str]:
    """Sample id -> split, of a run."""
    assignment = json.loads((run / "split.json").read_text(encoding="utf-8"))["assignment"]
    return {id_: entry["split"] for id_, entry in assignment.items()}


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as they need to be, the first to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells:
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]).rstrip(), flush=True)
