"""Texts with labels as they are gathered from files; and the data set that comes of them.

All of them, as far as they fit into memory; beyond that an even sample, which is said. Knows
neither tables nor folders.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.contracts import Dataset, Finding, Sample, Split
from headstart.data.columns import is_missing, mended
from headstart.data.folders import Request, apply_groups
from headstart.data.listing import count
from headstart.data.reservoir import Reservoir
from headstart.data.tables import told_groups

# What is kept for learning: so many texts, and so many bytes of memory for what they say. Through
# checks, near-duplicates and splits each text takes about 1.2 kB besides: reading 2 GB with 7.3
# million texts to its splits took 1.5 GB at the most, where 976,046 texts of 270 letters were kept.
MAX_TEXTS = 1_000_000
MAX_TEXT_BYTES = 512 << 20
# Besides, of texts that the data hold out for validation and test, this share of both bounds: they
# are kept whole far longer, as a test of 10,000 knows an accuracy to within 0.01.
HELD_OUT_SHARE = 0.25
_SEED = 0  # of the sample: not that of a fit, for each fit is to see the same data
_MAX_LISTED = 100_000  # ids of rows that are left out


@dataclass(slots=True)
class TextRow:
    """One text before its label is understood.

    Attributes:
        id: See Sample.
        path: The file it came from.
        text: What there is to read; may be empty.
        label: The cell of the label.
        split: The split that its publisher put it in.
        group: See Sample.
    """

    id: str
    path: Path
    text: str
    label: Any
    split: Split | None = None
    group: str | None = None


@dataclass
class TextRows:
    """What was gathered so far.

    Attributes:
        notes: Guesses and samples, to be shown.
        num_unlabelled: How many rows had no label.
        kept: The rows that are kept, once `finish` was called.
    """

    notes: list[str] = field(default_factory=list)
    num_unlabelled: int = 0
    kept: list[TextRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(_SEED)
        self._kept = _Kept("", 1.0)
        self._held_out = _Kept(" for validation and test", HELD_OUT_SHARE)

    def numbers(self, num_rows: int) -> list[float]:
        """What decides over the next rows: `takes` and `add` want the number of a row."""
        numbers: list[float] = self._rng.random(num_rows).tolist()
        return numbers

    def takes(self, number: float, label: Any, split: Split | None) -> bool:
        """Whether a row with this number is wanted; asked once for every row, before it is read."""
        is_unlabelled = is_missing(label)
        self.num_unlabelled += is_unlabelled
        kept = self._of(split)
        kept.num_seen += 1
        return number < kept.reservoir.threshold and not (is_unlabelled and kept.is_strict)

    def add(self, number: float, row: TextRow) -> None:
        """Take in a row that is wanted."""
        self._of(row.split).add(number, row)

    def _of(self, split: Split | None) -> _Kept:
        return self._kept if split in (None, "train") else self._held_out

    def finish(self) -> list[Any]:
        """Called once, when all was read: the labels of the rows that are kept, in their order.

        Says so where the rows are a sample.
        """
        parts = (self._kept, self._held_out)
        self.notes += [note for part in parts for note in part.told()]
        self.kept = [row for part in parts for row in part.rows]
        for part in parts:
            part.rows = []
        return [row.label for row in self.kept]


class _Kept:
    """Rows within a bound of their own.

    Args:
        named: What they are for, for the note.
        share: Of the bounds.
    """

    def __init__(self, named: str, share: float) -> None:
        self.named = named
        self.rows: list[TextRow] = []
        self.num_seen = 0
        self.is_strict = False  # takes no rows without a label any more
        self.has_several = False  # labels a row: then no label means none of the classes
        self.reservoir = Reservoir(
            max_items=int(share * MAX_TEXTS), max_size=int(share * MAX_TEXT_BYTES)
        )

    def add(self, number: float, row: TextRow) -> None:
        self.rows.append(row)
        self.reservoir.add(number, sys.getsizeof(row.text))
        is_list = isinstance(row.label, list) or (isinstance(row.label, str) and "|" in row.label)
        self.has_several = self.has_several or is_list
        if not self.reservoir.is_full:
            return
        if not self.has_several and not self.is_strict:
            self.is_strict = True
            labelled = [i for i, row in enumerate(self.rows) if not is_missing(row.label)]
            self._keep_only(labelled)
            self.reservoir.keep_only(labelled)
        if self.reservoir.is_full:
            self._keep_only(self.reservoir.keep_fewer())

    def _keep_only(self, places: Sequence[int]) -> None:
        self.rows = [self.rows[i] for i in places]

    def told(self) -> list[str]:
        if self.reservoir.threshold == 1.0:
            return []
        megabytes = self.reservoir.max_size >> 20
        return [
            f"{self.num_seen:,} texts{self.named} are more than are kept in memory "
            f"({self.reservoir.max_items:,} texts, {megabytes:,} MB): an even sample of "
            f"{len(self.rows):,} of them, drawn at random and always the same, stands for all."
        ]


def cleaned(cell: Any) -> str:
    """The text of a cell: its line breaks are `\\n`, and it neither begins nor ends with space.

    Example:
        >>> cleaned(" one\\r\\ntwo "), cleaned(7), cleaned(None), cleaned(["two", "tokens"])
        ('one\\ntwo', '7', '', 'two tokens')
    """
    if isinstance(cell, list):
        return " ".join(map(cleaned, cell))
    if is_missing(cell):
        return ""
    text = str(cell)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return mended(text).strip()


@dataclass(frozen=True)
class TextLabels:
    """What was made of the labels.

    Attributes:
        names: One a row that is kept; None where there is no label.
        is_multilabel: Whether a row may have several.
        group: The column that groups the rows, if one does.
        columns: Names of the columns of the table.
        texts: Those of them that hold the texts.
    """

    names: Sequence[tuple[str, ...] | None]
    is_multilabel: bool = False
    group: str | None = None
    columns: Sequence[str] = ()
    texts: tuple[str, ...] = ()


def dataset_of_texts(root: Path, rows: TextRows, labels: TextLabels, request: Request) -> Dataset:
    """The data set of all rows that were gathered.

    Args:
        root: The folder.
        rows: Finished; emptied here, so that no text is held twice.
        labels: Of the rows that are kept.
        request: Its group may be a pattern on ids.

    Raises:
        DataError: The pattern cannot be understood.
    """
    samples: list[Sample] = []
    unlabelled: list[str] = []
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    rows.kept.reverse()
    for names in labels.names:
        row = rows.kept.pop()
        if names is None or (not names and not labels.is_multilabel):
            unlabelled.append(row.id)
            continue
        names = shared.setdefault(names, names)
        samples.append(Sample(row.id, row.path, names, row.split, row.group, text=row.text))
    if labels.group is not None:
        rows.notes.append(told_groups(labels.group, samples))
    else:
        samples, notes = apply_groups(samples, request.group, columns=labels.columns)
        rows.notes += notes
    return Dataset(
        root=root,
        format="text-table",
        reason="",
        task="text-classification",
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
        classes=tuple(sorted({label for sample in samples for label in sample.labels})),
        is_multilabel=labels.is_multilabel,
        notes=tuple(rows.notes),
        findings=_unlabelled(
            len(unlabelled) if labels.is_multilabel else rows.num_unlabelled, unlabelled
        ),
        text_columns=labels.texts,
    )


def _unlabelled(number: int, ids: Sequence[str]) -> tuple[Finding, ...]:
    if not number:
        return ()
    finding = Finding(
        "missing-label",
        "warning",
        f"{count(number, 'text')} without a label, left out.",
        "Fill in the labels, if these texts are to be learnt from.",
        tuple(ids[:_MAX_LISTED]),
    )
    return (finding,)
