"""A fifth of the samples held out, group by group, each class alike. Knows nothing of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.contracts import SPLITS, Dataset, Sample, Split
from headstart.data.numbering import numbered

# A fifth for the test, and a fifth of the rest for validation. Source: Joseph 2022, "Optimal ratio
# for data splitting" (Statistical Analysis and Data Mining 15): sqrt(p) : 1 for p effective
# parameters, which is 4 : 1 at p = 16; a probe on few samples has about as many.
HOLDOUT_FRACTION = 0.2
# A test of 10,000 knows an accuracy to within 0.01 (the 95% interval of a binomial proportion is at
# most 1.96 * 0.5 / sqrt(n) to either side); what is beyond that serves better in train.
MAX_HOLDOUT = 10_000


def hold_out(
    dataset: Dataset,
    assignment: dict[str, Split],
    groups: Mapping[str, str],
    *,
    to: Split,
    seed: int,
) -> None:
    """Move a fifth of train to another split, group by group.

    Each class has a quota: a fifth, but at least one sample where it has two groups. One group of
    each class is reserved for train. Then groups of several samples are looked at in random order
    and taken when that brings the quotas closer; single samples make up what is still needed, the
    rarest class first, as in iterative stratification.

    Args:
        dataset: With the classes.
        assignment: Sample id -> split; changed in place.
        groups: Sample id -> group.
        to: The split that gets them.
        seed: Any whole number that is not negative.

    Source: Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data" (ECML
        PKDD), section 3.1, for the order of classes.
    """
    pool = sorted(
        (s for s in dataset.samples if assignment.get(s.id) == "train"),
        key=lambda s: (groups[s.id], s.id),
    )
    owners = numbered([groups[s.id] for s in pool])
    held = _Held.of(pool, owners, dataset.classes)
    sizes = np.bincount(owners)
    rng = np.random.default_rng([seed, SPLITS.index(to)])

    fraction = min(HOLDOUT_FRACTION, MAX_HOLDOUT / len(pool))
    need = np.rint(fraction * held.totals).astype(np.int64)
    need = np.where(held.num_groups >= 2, np.maximum(need, 1), 0)
    free = ~_reserved(held, sizes, rng)
    taken = np.zeros(len(sizes), bool)
    for unit in rng.permutation(np.flatnonzero(free & (sizes > 1))):
        columns, counts = held.of_group(unit)
        if np.abs(need[columns] - counts).sum() < np.abs(need[columns]).sum():
            taken[unit] = True
            need[columns] -= counts
    free &= ~taken
    for column in np.argsort(held.totals, kind="stable"):
        if need[column] <= 0:
            continue
        having = held.groups_of(column)
        single = having[free[having] & (sizes[having] == 1)]
        excess = held.summed(single, need <= 0) + rng.random(len(single))
        chosen = single[np.argsort(excess)[: need[column]]]
        if not len(chosen) and not taken[having].any():  # better too many than none
            large = having[free[having]]
            chosen = large[np.argsort(sizes[large], kind="stable")[:1]]
        taken[chosen] = True
        free[chosen] = False
        for unit in chosen:
            columns, counts = held.of_group(unit)
            need[columns] -= counts
    for sample, owner in zip(pool, owners, strict=True):
        if taken[owner]:
            assignment[sample.id] = to


@dataclass(frozen=True, eq=False)
class _Held:
    """How many samples of each class the groups hold: a place for each class that a group has.

    A table of all groups and classes would take gigabytes for a million texts. One more class
    stands for samples without any label.

    Attributes:
        groups: (m,) of the places, ascending.
        columns: (m,) the class of each, ascending within a group.
        counts: (m,) how many samples.
        starts: (num_groups + 1,) where the places of each group begin.
        by_column: (m,) the places, class by class.
        column_starts: (num_classes + 2,) where those of each class begin among them.
    """

    groups: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    by_column: np.ndarray
    column_starts: np.ndarray

    @classmethod
    def of(cls, pool: Sequence[Sample], owners: np.ndarray, classes: Sequence[str]) -> _Held:
        """Counted from samples; `owners` (n,) are their groups, from 0."""
        index = {name: i for i, name in enumerate(classes)}
        num_columns = len(classes) + 1
        keys = np.array(
            [
                int(owner) * num_columns + column
                for sample, owner in zip(pool, owners, strict=True)
                for column in {index[name] for name in sample.labels} or (len(classes),)
            ],
            np.int64,
        )
        places, counts = np.unique(keys, return_counts=True)
        groups, columns = np.divmod(places, num_columns)
        return cls(
            groups,
            columns,
            counts,
            np.searchsorted(groups, np.arange(owners.max() + 2)),
            np.argsort(columns, kind="stable"),
            np.searchsorted(np.sort(columns), np.arange(num_columns + 1)),
        )

    @property
    def totals(self) -> np.ndarray:
        """(num_classes + 1,) samples of each class."""
        totals = np.zeros(len(self.column_starts) - 1, np.int64)
        np.add.at(totals, self.columns, self.counts)
        return totals

    @property
    def num_groups(self) -> np.ndarray:
        """(num_classes + 1,) groups that have a class."""
        numbers: np.ndarray = np.diff(self.column_starts)
        return numbers

    def of_group(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """The classes of a group, and how many samples it has of each."""
        part = slice(self.starts[group], self.starts[group + 1])
        return self.columns[part], self.counts[part]

    def groups_of(self, column: int) -> np.ndarray:
        """The groups that have a class, ascending."""
        part = slice(self.column_starts[column], self.column_starts[column + 1])
        groups: np.ndarray = self.groups[self.by_column[part]]
        return groups

    def summed(self, groups: np.ndarray, is_counted: np.ndarray) -> np.ndarray:
        """(k,) how many samples each of some groups has of the classes that count."""
        begins, ends = self.starts[groups], self.starts[groups + 1]
        lengths = ends - begins
        owners = np.repeat(np.arange(len(groups)), lengths)
        places = np.arange(lengths.sum()) + (ends - np.cumsum(lengths))[owners]
        counted = self.counts[places] * is_counted[self.columns[places]]
        sums: np.ndarray = np.bincount(owners, counted, len(groups))
        return sums


def _reserved(held: _Held, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(num_groups,) bool: groups kept for train so that it has each class, rarest class first."""
    reserved = np.zeros(len(sizes), bool)
    for column in np.argsort(held.totals, kind="stable"):
        having = held.groups_of(column)
        if len(having) and not reserved[having].any():
            order = rng.permutation(having)
            reserved[order[np.argmax(sizes[order])]] = (
                True  # train has the most use for a large one
            )
    return reserved
