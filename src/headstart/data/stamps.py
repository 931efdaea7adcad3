"""Tells whether a file has changed since it was looked at, without reading it."""

from __future__ import annotations

import os
from pathlib import Path

Stamp = tuple[int, int]


def file_stamp(source: Path | str) -> Stamp:
    """(time of its last change in nanoseconds, size in bytes), a part of the key of what is kept.

    Args:
        source: A file; of anything else, also of none, the stamp is (0, 0).
    """
    try:
        status = os.stat(source)  # noqa: PTH116 - a source may be no path
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
