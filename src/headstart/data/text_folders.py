"""Folders of `.txt` files by class, also under train/, val/ and test/."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart.contracts import Dataset, Finding
from headstart.data.decoding import decode
from headstart.data.folders import SPLIT_NAMES, FileKind, Request, files_by_class
from headstart.data.listing import (
    count,
    is_text_name,
    series,
    subfolders_with,
    subfolders_with_pictures,
)
from headstart.data.text_rows import TextLabels, TextRow, TextRows, cleaned, dataset_of_texts

_TEXTS = FileKind("text", "text-classification", is_text_name, "plain text (.txt)")


def recognises_text_folders(path: Path) -> str | None:
    """Why this is a folder of class folders of texts, or None when it is not."""
    names = subfolders_with(path, is_text_name)
    splits = [n for n in names if n.lower() in SPLIT_NAMES]
    if not (splits or len(names) > 1) or subfolders_with_pictures(path):
        return None
    if splits:
        return f"it holds {series(f'{n}/' for n in splits)} with a folder of .txt files a class"
    return f"it holds a folder of .txt files a class: {series(names)}"


def read_text_folders(root: Path, request: Request) -> Dataset:
    """Read `pos/*.txt`, `neg/*.txt`, or the same under train/ and val/ or test/.

    Each file is one text. Of more than fit into memory (see `text_rows`) an even sample is kept.

    Raises:
        DataError: See `folders.files_by_class`.
    """
    listed = files_by_class(root, replace(request, group=None), kind=_TEXTS)
    rows = TextRows()
    told: list[str] = []
    missing: list[str] = []
    samples = listed.samples
    numbers = rows.numbers(len(samples))
    with request.progress.bar("reading texts", total=len(samples), unit="texts") as advance:
        for number, sample in zip(numbers, samples, strict=True):
            advance(1)
            if not rows.takes(number, sample.labels[0], sample.split):
                continue
            try:
                data = sample.path.read_bytes()
            except OSError:
                missing.append(sample.id)
                continue
            text = cleaned(decode(data, sample.id, told))
            row = TextRow(sample.id, sample.path, text, sample.labels[0], sample.split)
            rows.add(number, row)
    rows.notes += [*listed.notes, *_encodings(told)]
    labels = TextLabels([(name,) for name in rows.finish()])
    dataset = dataset_of_texts(root, rows, labels, request)
    findings = list(listed.findings)
    if missing:
        findings.append(
            Finding(
                "missing-file",
                "error",
                f"{count(len(missing), 'text')} that cannot be read.",
                "Make the files readable, or leave them out with `--on-bad skip`.",
                tuple(missing),
            )
        )
    return replace(dataset, findings=tuple(findings))


def _encodings(told: list[str]) -> list[str]:
    """What was said of each file, in one sentence a kind."""
    if len(told) < 2:
        return told
    more = f"{told[0]} {count(len(told) - 1, 'other file')} of another encoding than UTF-8 too."
    return [more]
