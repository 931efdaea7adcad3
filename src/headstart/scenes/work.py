"""What an unfinished prediction of a scene keeps on disk, so that it can go on after a kill.

A folder beside the output: the finished rows, as plain bytes; the sums of the rows that the next
windows reach, too; and how far it is. Plain bytes at known places, written again if need be, can
not be left damaged by a kill, as a half-written TIFF could.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from headstart.atomic import replacing
from headstart.data.raster_header import RasterFacts
from headstart.scenes.spec import SceneSpec

_STATE = "state.json"  # in the folder once a row of windows is done
_FORMAT = 2  # raise it when the files of the folder change their meaning


@dataclass(frozen=True)
class State:
    """How far a prediction is.

    Attributes:
        key: Of all that the result depends on.
        next_row: The first row of windows that is not done.
        counts: Pixels of each class so far.
        num_nodata: Pixels without data so far.
        num_skipped: Windows without data so far.
    """

    key: str
    next_row: int
    counts: tuple[int, ...]
    num_nodata: int = 0
    num_skipped: int = 0

    def after_row(self, counts: np.ndarray, *, num_nodata: int, num_skipped: int) -> State:
        """The state when one row of windows more is done, with what it brought."""
        return replace(
            self,
            next_row=self.next_row + 1,
            counts=tuple(a + int(b) for a, b in zip(self.counts, counts, strict=True)),
            num_nodata=self.num_nodata + num_nodata,
            num_skipped=self.num_skipped + num_skipped,
        )


class RawRaster:
    """A raster as plain bytes, band after band: written anywhere, in any order.

    Args:
        path: Made when it is missing; what it holds is kept.
        num_bands: Of 8 bits each.
        height: Pixels.
        width: Pixels.
    """

    def __init__(self, path: Path, *, num_bands: int, height: int, width: int) -> None:
        self.path = path
        self._shape = (num_bands, height, width)
        self._file = _opened(path)
        self._file.truncate(num_bands * height * width)

    def write(self, values: np.ndarray, *, top: int, left: int) -> None:
        """Put (bands, h, w) uint8 at a place."""
        _, height, width = self._shape
        for band, rows in enumerate(values):
            for i, row in enumerate(rows):
                self._file.seek((band * height + top + i) * width + left)
                self._file.write(row.tobytes())

    def sync(self) -> None:
        """Have all of it on disk."""
        _sync(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Sums:
    """Sums of the pixels that the next row of windows reaches, too: float32, on disk.

    Two files take turns: one is read while the other is written, so that a row of windows can be
    done again.
    """

    def __init__(self, folder: Path, *, num_classes: int) -> None:
        self._files = tuple(_opened(folder / f"sums-{i}.raw") for i in range(2))
        self._num_classes = num_classes

    def read(self, row: int, *, num_rows: int, left: int, width: int) -> np.ndarray:
        """What the row of windows before left in some columns: (K, num_rows, width) float32."""
        shape = (self._num_classes, num_rows, width)
        file = self._files[row % 2]
        file.seek(4 * self._num_classes * num_rows * left)
        return np.frombuffer(file.read(4 * int(np.prod(shape))), np.float32).reshape(shape)

    def write(self, row: int, values: np.ndarray, *, left: int) -> None:
        """Leave (K, num_rows, width) float32 of some columns to the next row of windows.

        Each call's columns must be read by one call, too.
        """
        file = self._files[(row + 1) % 2]
        file.seek(4 * self._num_classes * values.shape[1] * left)
        file.write(np.ascontiguousarray(values).tobytes())

    def sync(self, row: int) -> None:
        """Have on disk what was left to the next row of windows."""
        _sync(self._files[(row + 1) % 2])

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


class Work:
    """The folder of an unfinished prediction.

    Args:
        folder: Made when it is missing.
        state: Of a prediction that is to go on; or of a new one, with `next_row` 0.
        shape: (height, width) of the scene.
        has_probabilities: Whether they are kept, too.
    """

    def __init__(
        self, folder: Path, state: State, *, shape: tuple[int, int], has_probabilities: bool
    ) -> None:
        if state.next_row == 0:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        height, width = shape
        num_classes = len(state.counts)
        self.folder = folder
        self.state = state
        self.classes = RawRaster(folder / "classes.raw", num_bands=1, height=height, width=width)
        self.probabilities = None
        if has_probabilities:
            self.probabilities = RawRaster(
                folder / "probabilities.raw", num_bands=num_classes, height=height, width=width
            )
        self.sums = Sums(folder, num_classes=num_classes)

    def __enter__(self) -> Work:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in (self.classes, self.probabilities, self.sums):
            if file is not None:
                file.close()

    def save(self, state: State) -> None:
        """A row of windows is done: have it on disk, then say so."""
        self.classes.sync()
        if self.probabilities is not None:
            self.probabilities.sync()
        self.sums.sync(self.state.next_row)
        self.state = state
        with replacing(self.folder / _STATE) as path:
            path.write_text(json.dumps(asdict(state)), encoding="utf-8")

    def remove(self) -> None:
        """All is done: the folder is not needed any more."""
        shutil.rmtree(self.folder)

    def remove_if_empty(self) -> None:
        """Leave nothing behind of a prediction that cannot go on: no row of windows is done."""
        if not (self.folder / _STATE).is_file():
            shutil.rmtree(self.folder, ignore_errors=True)


def work_folder(output: Path) -> Path:
    """Where the unfinished prediction of an output is kept: `.NAME.unfinished` beside it."""
    return output.with_name(f".{output.name}.unfinished")


def saved_state(folder: Path, *, key: str, has_probabilities: bool) -> State | None:
    """The state in a work folder; None where there is none, or a file is gone.

    Args:
        folder: See `work_folder`.
        key: See `scene_key`; a state of another one is none.
        has_probabilities: Whether they are kept, too.
    """
    names = [_STATE, "classes.raw", "sums-0.raw", "sums-1.raw"]
    names += ["probabilities.raw"] if has_probabilities else []
    if not all((folder / name).is_file() for name in names):
        return None
    values: dict[str, Any] = json.loads((folder / names[0]).read_text(encoding="utf-8"))
    if values.get("key") != key:
        return None
    return State(**{**values, "counts": tuple(values["counts"])})


def scene_key(source: Path | str, facts: RasterFacts, spec: SceneSpec) -> str:
    """A hash of all that the pixels of a prediction depend on."""
    path = Path(source)
    stat = path.stat() if path.is_file() else None
    depends: Mapping[str, Any] = {
        "format": _FORMAT,
        "source": str(path.resolve()) if stat else str(source),
        "file": (stat.st_size, stat.st_mtime_ns) if stat else None,
        "facts": asdict(facts),
        "spec": {
            **asdict(replace(spec, polygons=None, probabilities=None, num_threads=1)),
            "has_probabilities": spec.probabilities is not None,
        },
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _opened(path: Path) -> BinaryIO:
    """A file to read and write, made when it is missing."""
    path.touch()
    return path.open("r+b")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
