"""One process at a time writes a file: a lock beside it, which goes when its process does.

The lock is the operating system's, so that a killed process leaves none behind; the file that
carries it says who holds it. Knows nothing of what is written.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from headstart.errors import ConfigError

_FAR = 1 << 30  # Windows locks bytes, and hides them: so one that nobody reads


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """While it is entered, no other process or thread enters it for the same file.

    Args:
        target: What will be written; its folder is made when it is missing. `.NAME.lock` beside it
            holds the number of the process meanwhile. One that a killed process left is taken over.

    Raises:
        ConfigError: Another holds it; the message says who. Or its folder cannot be written to, or
            is on a disk that has no locks.

    Example:
        >>> with locked(Path("maps/scene.tif")):  # doctest: +SKIP
        ...     write()
    """
    path = lock_path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _taken(path, target)
    except OSError as error:
        raise ConfigError(
            f"`{target}` cannot be written: its lock `{path.name}` is refused there "
            f"({error.strerror or error}). Make sure that the folder can be written to, or give "
            "--output another."
        ) from error
    try:
        yield
    finally:
        if sys.platform == "win32":  # no open file is removed there
            file.close()
            with contextlib.suppress(OSError):  # the next one may have it already
                path.unlink()
        else:
            path.unlink(missing_ok=True)
            file.close()


def lock_path(target: Path) -> Path:
    """Where the lock of a file is."""
    return target.with_name(f".{target.name}.lock")


def _taken(path: Path, target: Path) -> BinaryIO:
    """The lock file, open and held.

    Raises:
        ConfigError: Another holds it.
        OSError: It cannot be written, or there are no locks on this disk.
    """
    while True:
        file = path.open("a+b")
        if not _hold(file):
            file.seek(0)
            owner = file.read(200).decode(errors="replace").strip()
            file.close()
            raise ConfigError(
                f"`{target}` is being written by {owner or 'another process'}. Wait until that is "
                "done, or end it; or give --output another folder."
            )
        if _is_still(path, file):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
            file.flush()
            return file
        file.close()  # whoever held it has removed it since it was opened


def _is_still(path: Path, file: BinaryIO) -> bool:
    """Whether the file that is held is the one that others will find."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _hold(file: BinaryIO) -> bool:
    """Whether nobody else holds it; then it is held until it is closed."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(_FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
