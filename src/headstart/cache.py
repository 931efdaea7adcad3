"""The cache folder: where it is, what is in it, how large it may grow.

Weights, features, miniatures, speed measurements and code that models bring are kept there, each in
a subfolder of its own; all can be made again. Knows nothing of what the files mean.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from headstart.atomic import replacing
from headstart.errors import ConfigError

DEFAULT_LIMIT_BYTES = 20 * 10**9
_KINDS = ("weights", "features", "miniatures", "speed", "data", "code")


def cache_root() -> Path:
    """The cache folder: `$HEADSTART_CACHE`, or the platform's place for caches."""
    given = os.environ.get("HEADSTART_CACHE")
    if given:
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "headstart"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "headstart" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headstart"


def cache_folder(kind: str) -> Path:
    """The subfolder for `weights`, `features`, `miniatures`, `speed`, `data` or `code`."""
    if kind not in _KINDS:
        raise ConfigError(f"`{kind}` is no part of the cache: {', '.join(_KINDS)}.")
    return cache_root() / kind


@dataclass(frozen=True)
class CacheUse:
    """How much one part of the cache holds."""

    kind: str
    num_files: int
    num_bytes: int


def usage() -> list[CacheUse]:
    """What each part of the cache holds."""
    uses = []
    for kind in _KINDS:
        sizes = [size for _, size, _ in _files(cache_folder(kind))]
        uses.append(CacheUse(kind, len(sizes), sum(sizes)))
    return uses


def clear(kind: str | None = None) -> None:
    """Empty one part of the cache, or all of it."""
    for name in [kind] if kind else _KINDS:
        folder = cache_folder(name)
        if folder.is_dir():
            shutil.rmtree(folder)


def limit_bytes() -> int:
    """How large the cache may grow."""
    try:
        values = json.loads((cache_root() / "settings.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return DEFAULT_LIMIT_BYTES
    return int(values["limit_bytes"])


def parse_size(text: str) -> int:
    """Bytes in a size such as `500MB` or `5GB` (decimal units).

    Raises:
        ConfigError: It is no size.

    Example:
        >>> parse_size("5GB")
        5000000000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text.upper())
    if match is None:
        raise ConfigError(f"`{text}` is no size. Write it like 500MB, 5GB or 1TB.")
    power = " KMGT".index(match[2] or " ")
    return int(float(match[1]) * 1000**power)


def set_limit(num_bytes: int) -> None:
    """Set how large the cache may grow, and shrink it to that at once."""
    with replacing(cache_root() / "settings.json") as temporary:
        temporary.write_text(json.dumps({"limit_bytes": num_bytes}) + "\n", encoding="utf-8")
    shrink()


def shrink() -> int:
    """Remove the files that were used longest ago until the cache is within its limit.

    Returns:
        How many bytes were freed.
    """
    files = sorted(
        (entry for kind in _KINDS for entry in _files(cache_folder(kind))), key=lambda e: e[2]
    )
    excess = sum(size for _, size, _ in files) - limit_bytes()
    freed = 0
    for path, size, _ in files:
        if freed >= excess:
            break
        path.unlink(missing_ok=True)
        freed += size
    return freed


def touch(path: Path) -> None:
    """Mark a file as used now, so that it is removed last."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return  # another process has just removed it; the caller's open file stays readable


def _files(folder: Path) -> list[tuple[Path, int, float]]:
    """Path, bytes and time of last use of each file below a folder."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # removed by another process since the folder was listed
            found.append((path, stat.st_size, stat.st_mtime))
    return found
