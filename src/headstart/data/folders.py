"""Class folders, loose pictures, and groups by file name: what a folder alone can tell.

Knows nothing of tables, and opens no file: one is taken for a picture or a text by its suffix, and
the checks find out whether it is.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from headstart.contracts import Dataset, Finding, Sample, Split
from headstart.data.listing import (
    IsWanted,
    Listing,
    count,
    describe_contents,
    is_picture_name,
    list_folder,
    missing_path,
    refuse_names_of_bytes,
    series,
    subfolders_with_pictures,
)
from headstart.errors import DataError, did_you_mean
from headstart.progress import Progress

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Request:
    """What the caller asks of a reader; None means: find it out, and say so.

    Attributes:
        image_column: The column of a table that holds picture paths.
        label_column: The column of a table that holds labels.
        group: A column of the table, or else a pattern on sample ids with one bracket.
        ignore_values: Values of masks that stand for no class; an empty tuple: none does.
        outside: What pixels in no polygon are, `background` or `ignore`.
        text_columns: The columns of a table that hold texts; several are joined, with their names.
        usual_text_columns: Those that a model was fitted on, which are taken where they are there.
        is_multilabel: A sample may have several labels, even where none here has.
        progress: Is told how far the reading of large files is.
    """

    image_column: str | None = None
    label_column: str | None = None
    group: str | None = None
    ignore_values: tuple[int, ...] | None = None
    outside: Literal["background", "ignore"] | None = None
    text_columns: tuple[str, ...] | None = None
    usual_text_columns: tuple[str, ...] = ()
    is_multilabel: bool = False
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True)
class FileKind:
    """What lies in class folders.

    Attributes:
        noun: What one file is.
        task: The name of the task that such folders suggest.
        is_wanted: Which files are such, by their names.
        suffixes: What others may be converted to.
    """

    noun: str
    task: str
    is_wanted: IsWanted
    suffixes: str


_PICTURES = FileKind("picture", "image-classification", is_picture_name, "JPEG or PNG")


def recognises_class_folders(path: Path) -> str | None:
    """Why this is a folder of class folders, or None when it is not."""
    names = subfolders_with_pictures(path)
    if not names:
        return None
    splits = [n for n in names if n.lower() in SPLIT_NAMES]
    if splits:
        return f"it holds {series(f'{n}/' for n in splits)} with a folder of pictures a class"
    return f"it holds a folder of pictures a class: {series(names)}"


def read_class_folders(root: Path, request: Request) -> Dataset:
    """Read `cat/*.jpg`, `dog/*.jpg`, or the same under train/ and val/ or test/.

    Folders below a class folder belong to its class.

    Raises:
        DataError: Split folders and class folders are mixed, a column was asked for, or no picture
            lies in a class folder.
    """
    return files_by_class(root, request, kind=_PICTURES)


def files_by_class(root: Path, request: Request, *, kind: FileKind) -> Dataset:
    """Read class folders of one kind of files; see `read_class_folders`.

    Raises:
        DataError: As there.
    """
    _refuse_columns(root, request)
    listing = list_folder(root, is_wanted=kind.is_wanted)
    tops = {rel.split("/", 1)[0] for rel in listing.files if "/" in rel}
    splits = {t: SPLIT_NAMES[t.lower()] for t in sorted(tops) if t.lower() in SPLIT_NAMES}
    others = sorted(tops - splits.keys())
    if splits and others:
        raise DataError(
            f"`{root}` mixes split folders ({series(splits)}) with other folders of {kind.noun}s "
            f"({series(others)}). Either only split folders or only class folders are needed at "
            "the top: move the others out, or rename what is a class."
        )
    depth = 1 if splits else 0
    samples, loose = [], []
    for relative, path in listing.files.items():
        parts = relative.split("/", depth + 1)
        if len(parts) < depth + 2:
            loose.append(relative)
            continue
        split = splits[parts[0]] if splits else None
        samples.append(Sample(relative, Path(path), (parts[depth],), split))
    if not samples:
        raise DataError(
            f"The {kind.noun}s in `{root}` lie in no class folder, such as `{loose[0]}`. "
            f"Put each into a folder named after its class: "
            f"`{loose[0].rpartition('/')[0] or root.name}/CLASS/{loose[0].rpartition('/')[2]}`."
        )
    samples.sort(key=lambda sample: sample.id)
    samples, notes = apply_groups(samples, request.group, columns=())
    classes = sorted({sample.labels[0] for sample in samples})
    return Dataset(
        root=root,
        format="class-folders",
        reason="",
        task=kind.task,
        samples=tuple(samples),
        classes=tuple(classes),
        notes=(*_wrapper_note(root, listing, tops, kind), *notes),
        findings=tuple(_folder_findings(listing, sorted(loose), depth, kind)),
    )


def _refuse_columns(root: Path, request: Request) -> None:
    for option in ("image_column", "text_columns", "label_column"):
        value = getattr(request, option)
        if value is not None:
            name = option.removesuffix("s").replace("_", "-")
            given = ",".join(value) if isinstance(value, tuple) else value
            raise DataError(
                f"`--{name} {given}` names a column, but `{root}` was "
                "recognised as class folders. Give the table itself instead of the folder, or "
                "leave the option out."
            )


def _wrapper_note(root: Path, listing: Listing, tops: set[str], kind: FileKind) -> list[str]:
    """A hint for the one folder too few that is so often given."""
    if len(tops) != 1:
        return []
    (only,) = tops
    inner = {r.split("/")[1] for r in listing.files if r.count("/") > 1}
    if len(inner) < 2 or only.lower() in SPLIT_NAMES:
        return []
    return [
        f"All {kind.noun}s lie in the one folder `{only}`, which makes it the only class. If the "
        f"folders in it ({series(sorted(inner))}) are the classes, give `{root / only}`."
    ]


def _folder_findings(
    listing: Listing, loose: list[str], depth: int, kind: FileKind
) -> Iterable[Finding]:
    """Trouble in the layout; `depth` is how many folders a class folder is below the root."""
    if loose:
        yield Finding(
            "no-class",
            "warning",
            f"{count(len(loose), kind.noun)} outside the class folders, left out: no label.",
            f"Move them into the folder of their class; for {kind.noun}s without a label, use "
            "predict.",
            tuple(loose),
        )
    strangers = sorted(r for r in listing.strangers if r.count("/") > depth)
    if strangers:
        yield Finding(
            f"not-a-{kind.noun}",
            "warning",
            f"{count(len(strangers), 'file')} in class folders, left out: no {kind.noun} by "
            "suffix.",
            f"Nothing, if that is right; else convert them to {kind.suffixes}.",
            tuple(strangers),
        )
    if listing.broken:
        yield Finding(
            "missing-file",
            "error",
            f"{count(len(listing.broken), 'link')} to {kind.noun}s that do not exist.",
            "Mend or remove them, or leave them out with `--on-bad skip`.",
            tuple(sorted(listing.broken)),
        )
    if listing.loops:
        yield Finding(
            "looping-link",
            "warning",
            f"{count(len(listing.loops), 'link')} to a folder around it, not followed.",
            "Remove it, if nothing else needs it.",
            tuple(sorted(listing.loops)),
        )
    filled = {"/".join(r.split("/")[: depth + 1]) for r in listing.files}
    empty = sorted(f for f in listing.folders if f.count("/") == depth and f not in filled)
    if empty:
        yield Finding(
            "empty",
            "warning",
            f"{count(len(empty), 'class folder')} without a {kind.noun}, left out: "
            f"{series(empty)}.",
            f"Add {kind.noun}s, or remove the folder.",
            tuple(empty),
        )


def apply_groups(
    samples: Sequence[Sample], pattern: str | None, *, columns: Sequence[str]
) -> tuple[list[Sample], list[str]]:
    """Samples with their groups, by a pattern on their ids; and notes on what it did.

    Args:
        samples: Any.
        pattern: A regular expression with one bracket, such as `patient_(\\d+)`, searched for
            anywhere in an id (the file name relative to the data). None leaves the samples alone.
        columns: Names of the table's columns, which the pattern may have been meant to be.

    Raises:
        DataError: It is no pattern, has another number of brackets, or does not match every sample.
    """
    if pattern is None:
        return list(samples), []
    needed = "A pattern on file names with one bracket, such as 'patient_(\\d+)', is needed"
    if columns:
        needed += f", or a column of the table. {did_you_mean(pattern, columns)}"
    else:
        needed += "."
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(f"`--group {pattern}` is no pattern ({error}). {needed}") from None
    if compiled.groups != 1:
        found = f"{compiled.groups} brackets" if compiled.groups else "no bracket"
        raise DataError(f"`--group {pattern}` has {found}. {needed}")
    grouped, unmatched = [], []
    for sample in samples:
        match = compiled.search(sample.id)
        name = match[1] if match else None
        if not name:  # an empty name would put all such files into one group
            unmatched.append(sample.id)
        grouped.append(replace(sample, group=name))
    if len(unmatched) == len(samples):
        example = samples[0].id if samples else ""
        raise DataError(
            f"`--group {pattern}` matches none of {len(samples)} samples, such as `{example}`. "
            f"{needed}"
        )
    if unmatched:
        examples = series((f"`{id_}`" for id_ in unmatched), limit=5)
        raise DataError(
            f"`--group {pattern}` does not match {count(len(unmatched), 'file')} of "
            f"{len(samples):,}: {examples}. Every file needs a group, or it might stand in train "
            "and, under another name, in test. Widen the pattern, rename the files, or use a table "
            "with a column of groups, in which an empty cell is a group of its own."
        )
    num_groups = len({s.group for s in grouped})
    return grouped, [f"The pattern {pattern} puts the samples into {count(num_groups, 'group')}."]


def find_pictures(paths: Sequence[Path | str]) -> list[Sample]:
    """Pictures to predict on, without labels.

    Args:
        paths: Folders (searched with all below them), files (taken whatever their suffix), and
            patterns with `*`, `?` or `**`.

    Returns:
        One sample a picture, in the order given and sorted within a folder. The id is the path as
        given, with forward slashes, so that it can be found again from where the command was run.

    Raises:
        DataError: A path does not exist, a pattern matches nothing, or no picture is found.
    """
    found: dict[str, Sample] = {}
    for given in paths:
        for path in _expand(given):
            found.setdefault(path.as_posix(), Sample(path.as_posix(), path))
    if not found:
        names = ", ".join(f"`{p}`" for p in paths)
        seen = " ".join(f"`{p}` {describe_contents(Path(p))}." for p in paths if Path(p).is_dir())
        raise DataError(
            f"No pictures in {names or 'an empty list of paths'}. {seen}".rstrip()
            + " Give pictures, folders of pictures, or a pattern such as 'new/*.jpg'."
        )
    return list(found.values())


def _expand(given: Path | str) -> list[Path]:
    """The pictures that one path, folder or pattern stands for."""
    path = Path(given)
    if path.is_file():
        refuse_names_of_bytes([str(given)])
        return [path]
    if path.is_dir():
        return [path / relative for relative in sorted(list_folder(path).files)]
    if not glob.has_magic(str(given)):
        raise missing_path(path)
    matches = [Path(m) for m in sorted(glob.glob(str(given), recursive=True))]  # noqa: PTH207 - absolute patterns too
    pictures = [m for m in matches if m.is_file() and is_picture_name(m.name)]
    # A pattern such as `new/*` matches folders too; `new/**` has their pictures among its own.
    if "**" not in str(given):
        pictures += [p for m in matches if m.is_dir() for p in _expand(m)]
    if not pictures:
        raise DataError(
            f"The pattern `{given}` matches {count(len(matches), 'file')}, none of them a "
            "picture. Check it; patterns are relative to the current folder."
        )
    return pictures
