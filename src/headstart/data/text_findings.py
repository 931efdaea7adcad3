"""What is wrong with texts themselves: nothing to read, numbers, characters that were lost."""

from __future__ import annotations

from collections.abc import Iterable

from headstart.contracts import Dataset, Finding
from headstart.data.listing import count
from headstart.data.text_columns import is_number

_LOST = "\ufffd"  # what stands for bytes that could not be read


def text_findings(dataset: Dataset) -> Iterable[Finding]:
    """Texts that say nothing, that are but numbers, or that have lost characters."""
    samples = [(s.id, s.text or "") for s in dataset.samples]
    empty = [id_ for id_, text in samples if not text.strip()]
    if empty:
        yield Finding(
            "empty-text",
            "error",
            f"{count(len(empty), 'text')} with nothing in {'it' if len(empty) == 1 else 'them'}: "
            "empty, or white space alone.",
            "Fill them in, or remove them.",
            tuple(empty),
        )
    numbers = [id_ for id_, text in samples if is_number(text)]
    if 2 * len(numbers) > len(samples) - len(empty):
        yield Finding(
            "numbers-as-texts",
            "warning",
            f"{len(numbers):,} of {count(len(samples), 'text')} are nothing but a number: a model "
            "of language has little to read in them.",
            "Give the column of texts with --text-column, if it is another.",
            tuple(numbers),
        )
    lost = [id_ for id_, text in samples if _LOST in text]
    if lost:
        yield Finding(
            "lost-characters",
            "warning",
            f"{count(len(lost), 'text')} in which characters were lost before (they hold the "
            "replacement character U+FFFD).",
            "Export them anew from their source as UTF-8, if that can be done.",
            tuple(lost),
        )
