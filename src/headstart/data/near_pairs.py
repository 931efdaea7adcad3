"""Pairs of samples that are nearly the same, chained into groups; whatever the samples are.

How such pairs are found is in `near_duplicates` for pictures, in `text_near_duplicates` for texts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headstart.data.chaining import chained

# Groups that hold more of the data than this are chains of look-alikes, unless very strict.
MAX_SHARE = 0.1
MIN_CHAIN = 20  # in small data sets a tenth is a few samples, which may well be copies


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two samples that are nearly the same.

    Attributes:
        first: Sample id, before `second` in the alphabet.
        second: Sample id.
        similarity: Of their miniatures, or of their features where those confirmed it, or of
            their texts; 1 at most.
    """

    first: str
    second: str
    similarity: float


@dataclass(frozen=True)
class NearDuplicates:
    """What the search found.

    Attributes:
        pairs: The most alike first. Of files with one content, the first in the alphabet stands
            for all.
        group_of: Sample id -> the name of its group (the first id in it), of those that have one;
            all samples with one content are in the group of the one that stands for them.
        rule: From which likeness on samples count as nearly the same, in a sentence.
        notes: What could not be decided, in sentences.
    """

    pairs: tuple[NearPair, ...] = ()
    group_of: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The members of each group, sorted."""
        members: dict[str, list[str]] = defaultdict(list)
        for id_, name in sorted(self.group_of.items()):
            members[name].append(id_)
        return tuple(map(tuple, members.values()))


@dataclass(frozen=True)
class Pairs:
    """Pairs of samples by number, rows < columns, and how alike they are (float32)."""

    rows: np.ndarray
    columns: np.ndarray
    likeness: np.ndarray

    def where(self, chosen: np.ndarray) -> Pairs:
        """Those chosen, (num_pairs,) bool."""
        return Pairs(self.rows[chosen], self.columns[chosen], self.likeness[chosen])


def without_chains(
    found: Pairs, *, strict: float, num_samples: int, noun: str
) -> tuple[Pairs, str]:
    """The pairs without those that chain a large part of the data together; and a note on it.

    Args:
        found: All pairs.
        strict: In groups of more than a tenth of the samples only pairs at least so alike stay.
        num_samples: In which they were found.
        noun: What a sample is.
    """
    most = max(MIN_CHAIN, MAX_SHARE * num_samples)
    pairs = zip(found.rows.tolist(), found.columns.tolist(), strict=True)
    root = chained(pairs)
    sizes = Counter(root.values())
    largest = max(sizes.values(), default=0)
    if largest <= most:
        return found, ""
    is_large = np.array([sizes[root[i]] > most for i in found.rows.tolist()])
    kept = found.where(~is_large | (found.likeness >= strict))
    groups = "name the scenes or objects" if noun == "picture" else "name what they are about"
    return kept, (
        f"A group of near-duplicates would hold {largest:,} of {num_samples:,} {noun}s: so many "
        f"are look-alikes. Among them only those with a likeness of {strict:.4f} or more are kept "
        f"together; {groups} with --group if that is not enough."
    )


def near_duplicates_of(
    found: Pairs,
    ids: Sequence[str],
    copies: Mapping[str, Sequence[str]],
    *,
    rule: str,
    notes: Sequence[str],
) -> NearDuplicates:
    """What a search found, by name.

    Args:
        found: By number.
        ids: Of the samples, by number.
        copies: Each of these ids -> all ids of the same content, itself among them.
        rule: See NearDuplicates.
        notes: See NearDuplicates.
    """
    pairs = [
        NearPair(ids[i], ids[j], min(1.0, round(float(likeness), 4)))
        for i, j, likeness in zip(found.rows, found.columns, found.likeness, strict=True)
    ]
    pairs.sort(key=lambda pair: (-pair.similarity, pair.first, pair.second))
    root = chained((pair.first, pair.second) for pair in pairs)
    first: dict[str, str] = {}  # the first id of each group names it
    for id_ in sorted(root):
        first.setdefault(root[id_], id_)
    group_of = {copy: first[root[id_]] for id_ in sorted(root) for copy in copies[id_]}
    return NearDuplicates(tuple(pairs), group_of, rule, tuple(notes))
