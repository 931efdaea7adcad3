"""The run folder, a public interface: the only file that knows the names inside it.

Every write is atomic (a temporary file beside it, then a rename), so that a crash or a full disk
leaves the earlier file. Knows no torch; weights are written by whoever owns them, to `weights`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.atomic import half_written_files, replacing
from headstart.errors import RunError

_REHEARSAL = ".rehearsal-"


def given_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the user gave to a fit, by what config.json holds.

    Early versions kept their names alone, so that what was settled stands in their place.
    """
    given = config.get("given", ())
    if isinstance(given, Mapping):
        return dict(given)
    return {name: config["options"][name] for name in given}


class RunFolder:
    """Paths and atomic reads and writes inside one run folder.

    Example:
        >>> import tempfile
        >>> folder = RunFolder(Path(tempfile.mkdtemp()))
        >>> folder.write_json(folder.metrics, {"n": 3})
        >>> folder.read_json(folder.metrics)["n"]
        3
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.dataset = path / "dataset.json"
        self.split = path / "split.json"
        self.input = path / "input.json"
        self.tokenizer = path / "tokenizer.json"
        self.terms = path / "terms.json"
        self.weights = path / "model.safetensors"
        self.log = path / "log.jsonl"
        self.metrics = path / "metrics.json"
        self.predictions = path / "predictions.parquet"
        self.chips = path / "chips.parquet"
        self.suspects = path / "suspects.csv"
        self.texts = path / "texts.json"
        self.strangers = path / "strangers.safetensors"
        self.figures = path / "figures"
        self.report = path / "report.html"
        self.card = path / "README.md"
        self.checkpoint = path / "checkpoint"
        self.checkpoint_tensors = self.checkpoint / "state.safetensors"
        self.maps = self.checkpoint / "maps.bin"

    @classmethod
    def create(cls, name: str, *, output: Path | None, parent: Path = Path("runs")) -> RunFolder:
        """A new, empty run folder: `output` itself, or the first free `parent/NAME-N`.

        Raises:
            RunError: `output` is a file, is not empty, or cannot be written.
        """
        try:
            if output is not None:
                if output.is_dir() and any(output.iterdir()):
                    raise RunError(
                        f"`{output}` is not empty, and a run never overwrites another. "
                        "Give --output a new folder, or use --resume to go on with an "
                        "interrupted run."
                    )
                output.mkdir(parents=True, exist_ok=True)
                folder = cls(output)
            else:
                folder = cls._first_free(name, parent)
            folder.write_text(folder.log, "")
        except OSError as error:
            raise _cannot_write(output or parent, error) from error
        return folder

    @classmethod
    def _first_free(cls, name: str, parent: Path) -> RunFolder:
        parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = parent / f"{name}-{number}"
            try:
                path.mkdir()  # atomic: two fits at once never share a folder
            except FileExistsError:
                number += 1
                continue
            return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A finished run.

        Raises:
            RunError: There is no such folder, or no finished run in it.
        """
        folder = cls.open_unfinished(path)
        if folder.metrics.is_file() and not folder.weights.is_file():
            raise RunError(f"`{folder.weights}` is missing from the run. Fit again.")
        if not folder.is_finished:
            raise RunError(
                f"`{path}` is a run that is not finished. Go on with: headstart fit --resume "
                f"{shlex.quote(str(path))}"
            )
        return folder

    @classmethod
    def open_unfinished(cls, path: Path) -> RunFolder:
        """A run, finished or not.

        Raises:
            RunError: There is no such folder, or it is no run folder.
        """
        if not path.is_dir():
            raise RunError(
                f"There is no run folder `{path}`. Fits write to runs/NAME-N; "
                "give the folder that `headstart fit` printed."
            )
        folder = cls(path)
        if not folder.config.is_file():
            raise RunError(
                f"`{path}` is no run folder: it has no {folder.config.name}. "
                "Give the folder that `headstart fit` printed."
            )
        return folder

    @property
    def is_finished(self) -> bool:
        """Whether the fit came to its end."""
        return self.metrics.is_file() and self.weights.is_file()

    @property
    def so_far(self) -> RunFolder:
        """Of an unfinished fit: the best model it has so far, beside its state."""
        return RunFolder(self.checkpoint / "best")

    @property
    def has_usable_model(self) -> bool:
        """Whether an unfinished fit has a model already."""
        return self.so_far.config.is_file()

    @property
    def has_checkpoint(self) -> bool:
        """Whether an interrupted fit left its state."""
        return self.checkpoint_tensors.is_file()

    def remove_checkpoint(self) -> None:
        """Remove the state of a fit that has come to its end."""
        if self.checkpoint.is_dir():
            shutil.rmtree(self.checkpoint)

    def chip_figure(self, number: int, name: str) -> Path:
        """A picture of a chip in the report, such as its `truth`; see `report.chip_figures`."""
        return self.figures / "chips" / f"{number}-{name}.png"

    @contextlib.contextmanager
    def rehearsal(self) -> Iterator[RunFolder]:
        """A folder inside this one, to try on what the end of a fit will write; then removed."""
        with tempfile.TemporaryDirectory(dir=self.path, prefix=_REHEARSAL) as path:
            yield RunFolder(Path(path))

    def remove_if_unused(self) -> bool:
        """Remove the folder where it has nothing but its log; whether it had no more."""
        if any(path != self.log for path in self.path.iterdir()):
            return False
        self.log.unlink(missing_ok=True)
        self.path.rmdir()
        return True

    def remove_leftovers(self) -> None:
        """Remove what a killed fit has left half-written."""
        for folder in self.path.glob(f"{_REHEARSAL}*"):
            shutil.rmtree(folder)
        own = [path for path in vars(self).values() if path.parent == self.path]
        for path in own:
            for half_written in half_written_files(path):
                half_written.unlink()

    def read_json(self, path: Path, *, needs: Sequence[str] = ()) -> dict[str, Any]:
        """A JSON file of the run.

        Args:
            path: One of the paths above.
            needs: Entries that it must have.

        Raises:
            RunError: It is missing, no JSON, or lacks an entry.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"`{path}` is missing from the run. Fit again.") from None
        except json.JSONDecodeError as error:
            raise RunError(f"`{path}` is damaged ({error}). Fit again.") from None
        if not isinstance(values, dict):
            raise RunError(f"`{path}` does not hold a JSON object. Fit again.")
        missing = [name for name in needs if values.get(name) is None]
        if missing:
            raise RunError(f"`{path}` is damaged (it has no `{missing[0]}`). Fit again.")
        return values

    def write_json(self, path: Path, values: Mapping[str, Any]) -> None:
        """Write a JSON file, atomically. Values that JSON does not know become strings."""
        self.write_text(path, json.dumps(values, indent=1, ensure_ascii=False, default=str) + "\n")

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file, atomically."""
        with self.replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """A temporary path that takes the place of `path` when the block ends without an error.

        Raises:
            RunError: It cannot be written; the earlier file is untouched.
        """
        try:
            with replacing(path) as temporary:
                yield temporary
        except OSError as error:
            raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> RunError:
    remedy = {
        errno.ENOSPC: "The disk is full: free some space, or give --output a folder elsewhere.",
        errno.EACCES: "You may not write there: give --output a folder of your own.",
        errno.EROFS: "It is read-only: give --output a folder elsewhere.",
        errno.ENOTDIR: "A file is in the way: give --output another folder.",
        errno.EEXIST: "A file is in the way: give --output another folder.",
    }.get(error.errno or 0, "Give --output a folder that can be written.")
    return RunError(f"Cannot write `{path}`: {error.strerror or error}. {remedy}")
