"""What lies below a folder: the one walk over files, and words for what it found.

Knows nothing of labels or splits, and opens no file: a picture (or a text) is what has the suffix
of one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.images import PICTURE_SUFFIXES
from headstart.errors import DataError, nearest

# What operating systems and archivers leave behind, besides names that begin with a dot.
_LEFTOVERS = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX", "$RECYCLE.BIN"})


# File name -> whether a file of this name is looked for.
IsWanted = Callable[[str], bool]


@dataclass
class Listing:
    """What lies below a folder. All paths are relative to it, with forward slashes.

    Attributes:
        files: Relative path -> path, of the files that are looked for.
        strangers: Other files.
        broken: Symbolic links with the name of a file looked for that lead nowhere.
        folders: All folders.
        loops: Symbolic links that lead back to a folder they are in; not followed.
    """

    files: dict[str, str] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)


def is_picture_name(name: str) -> bool:
    """Whether a file has the suffix of a picture."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in PICTURE_SUFFIXES


def is_text_name(name: str) -> bool:
    """Whether a file has the suffix of a text."""
    return name[-4:].lower() == ".txt"


def list_folder(root: Path, *, is_wanted: IsWanted = is_picture_name) -> Listing:
    """List a folder and all below it: links are followed, hidden files passed over.

    Args:
        root: The folder.
        is_wanted: Which files are looked for, by their names.

    Raises:
        DataError: A folder cannot be read, or a name is no text.
    """
    listing = Listing()
    _list(str(root), "", listing, (os.path.realpath(root),), is_wanted)
    refuse_names_of_bytes((*listing.folders, *listing.files), root)
    return listing


def refuse_names_of_bytes(names: Iterable[str], root: Path | None = None) -> None:
    """Stop at names that are no text, and so can stand in no answer and no run.

    Args:
        names: Of files and folders.
        root: Where they are, if they do not tell it themselves.

    Raises:
        DataError: With one of them, as its bytes are.
    """
    bad = [name for name in names if not name.isascii() and not _is_text(name)]
    if not bad:
        return
    shown = os.fsencode(bad[0]).decode("utf-8", "backslashreplace")
    where = "" if root is None else f" in `{root}`"
    raise DataError(
        f"{count(len(bad), 'name')} of files and folders{where} are in another encoding than "
        f"UTF-8, such as `{shown}`, and cannot be written into a run or an answer. Rename them, "
        "with `convmv` for instance."
    )


def _is_text(name: str) -> bool:
    """Whether a name holds no bytes that stand for no character."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list(
    folder: str, prefix: str, listing: Listing, trail: tuple[str, ...], is_wanted: IsWanted
) -> None:
    """List one folder. `trail` has the real path of the root and of every link taken to get here;
    its last is extended by the plain folders since, so that any way back is recognised."""
    subfolders: list[tuple[str, str, tuple[str, ...]]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:  # no file is stat-ed: its kind comes with the listing
                name = entry.name
                if name[0] == "." or name in _LEFTOVERS:
                    continue
                relative = prefix + name
                if entry.is_dir():
                    real = f"{trail[-1]}{os.sep}{name}"
                    if entry.is_symlink():
                        real = os.path.realpath(entry.path)
                        if any((t + os.sep).startswith(real + os.sep) for t in trail):
                            listing.loops.append(relative)
                            continue
                        onward = (*trail, real)
                    else:
                        onward = (*trail[:-1], real)
                    listing.folders.append(relative)
                    subfolders.append((entry.path, relative + "/", onward))
                elif not is_wanted(name):
                    listing.strangers.append(relative)
                elif entry.is_file():
                    listing.files[relative] = entry.path
                elif entry.is_symlink():
                    listing.broken.append(relative)
                else:
                    listing.strangers.append(relative)  # a pipe or a socket
    except OSError as error:
        raise DataError(
            f"The folder `{folder}` cannot be read ({error.strerror}). "
            "Allow it to be read, or move it elsewhere."
        ) from None
    for path, relative, onward in subfolders:
        _list(path, relative, listing, onward, is_wanted)


def _holds(folder: Path, is_wanted: IsWanted) -> bool:
    """Whether there is such a file in a folder or below it; stops at the first."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        if any(is_wanted(name) and name[0] != "." for name in names):
            return True
        real = os.path.realpath(parent)  # a link may lead back to where we have been
        keep = [] if real in seen else [n for n in folders if n[0] != "." and n not in _LEFTOVERS]
        folders[:] = sorted(keep)
        seen.add(real)
    return False


def subfolders_with_pictures(path: Path) -> list[str]:
    """Names of the folders directly in `path` that hold pictures, sorted."""
    return subfolders_with(path, is_picture_name)


def subfolders_with(path: Path, is_wanted: IsWanted) -> list[str]:
    """Names of the folders directly in `path` that hold such files, sorted."""
    if not path.is_dir():
        return []
    names = sorted(
        p.name
        for p in path.iterdir()
        if p.name[0] != "." and p.name not in _LEFTOVERS and p.is_dir()
    )
    return [name for name in names if _holds(path / name, is_wanted)]


def missing_path(path: Path) -> DataError:
    """The error for a path that does not exist, with the nearest names that do."""
    existing = path.absolute().parent
    missing = path.name
    while not existing.is_dir() and existing != existing.parent:
        existing, missing = existing.parent, existing.name
    names = [p.name for p in existing.iterdir()] if os.access(existing, os.R_OK) else []
    close = nearest(missing, names)
    hint = (
        "Did you mean " + " or ".join(f"`{existing / name}`" for name in close) + "?"
        if close
        else f"`{existing}` exists, but has no `{missing}`: check the spelling."
    )
    return DataError(f"There is no file or folder `{path}`. {hint}")


def describe_contents(folder: Path) -> str:
    """What a folder holds, for messages: `holds 12 .txt files and no pictures`."""
    listing = list_folder(folder)
    suffixes = Counter(Path(r).suffix.lower() or "without suffix" for r in listing.strangers)
    parts = [count(n, f"{suffix} file") for suffix, n in suffixes.most_common(3)]
    rest = sum(suffixes.values()) - sum(n for _, n in suffixes.most_common(3))
    if rest:
        parts.append(count(rest, "other file"))
    if not listing.files and not parts:
        return "is empty"
    pictures = count(len(listing.files), "picture") if listing.files else "no pictures"
    return "holds " + (" and ".join([", ".join(parts), pictures]) if parts else pictures)


def series(names: Iterable[str], *, limit: int = 6) -> str:
    """`a, b, c and 4 more`."""
    names = list(names)
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
