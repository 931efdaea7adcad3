"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from headstart.errors import ConfigError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `path` when the block ends without an error.

    A crash or a full disk leaves the earlier file as it was. The folder is made when it is missing.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # as any new file; what made it had it private
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_to_replace(output: Path, inputs: Iterable[Path | str]) -> None:
    """Stop before an answer takes the place of what was asked about.

    Args:
        output: Where to write.
        inputs: What is read: files, and folders, in which no file is replaced that is there.

    Raises:
        ConfigError: With what would be lost.
    """
    if not output.is_file():
        return
    for given in map(Path, inputs):
        is_within = given.is_dir() and given.resolve() in output.resolve().parents
        if is_within or (given.exists() and output.samefile(given)):
            what = "is what is read" if not is_within else f"is in `{given}`, which is read"
            raise ConfigError(
                f"--output `{output}` {what}, and would be replaced. Give another name."
            )


def half_written_files(path: Path) -> list[Path]:
    """Temporary files of `replacing(path)` that a killed process has left."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*"))


def _umask() -> int:
    mask = os.umask(0o077)  # there is no way to read it without setting it
    os.umask(mask)
    return mask
