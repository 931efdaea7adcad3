"""Which samples of the test also stand, or nearly, among those a model is fitted to; and why.

Ready-made splits are checked with this, not trusted. Knows nothing of files or models: it sees a
split plan, content hashes and the near-duplicates that were found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from headstart.contracts import SPLITS, Dataset, Finding, Split
from headstart.data.listing import count, series
from headstart.data.near_pairs import NearDuplicates
from headstart.data.sample_findings import noun_of
from headstart.data.splits import SplitPlan

LeakKind = Literal["same-file", "near-duplicate", "group", "place"]
_REMEDY = (
    "Remove them from one of the two, or all split folders (or the split column) to have Headstart "
    "split."
)


@dataclass(frozen=True, slots=True)
class LeakedSample:
    """A sample of the test that the model has seen, or as good as.

    Attributes:
        id: Sample id, in test.
        kind: `same-file`, `near-duplicate`, `group` or `place`, whichever comes first.
        partner: Sample id, in train or validation: the one most alike.
        partner_split: `train`, or `validation` when no partner is in train.
        why: In a few words: `same file` or `same text`, `near-duplicate 0.98`, `group patient_3`,
            `same place, 40% of it`.
    """

    id: str
    kind: LeakKind
    partner: str
    partner_split: Split
    why: str


def leaked(
    plan: SplitPlan,
    dataset: Dataset,
    *,
    same_content: Mapping[str, str],
    near: NearDuplicates | None = None,
) -> tuple[LeakedSample, ...]:
    """The samples of the test whose group also stands in train or validation.

    Validation counts, since choices are made on it. Splits that Headstart drew have none.

    Args:
        plan: Made by `split_dataset` with the same contents and near-duplicates.
        dataset: The one it was made for; its samples name their groups.
        same_content: Sample id -> hash of its content (`Checkup.same_content`).
        near: What `find_near_duplicates` found.

    Returns:
        Each once, in the order of the data set.
    """
    fitted = {id_: s for id_, s in plan.assignment.items() if s != "test"}
    seen = {plan.groups[id_] for id_ in fitted}
    suspects = [id_ for id_ in plan.ids("test") if plan.groups[id_] in seen]
    if not suspects:
        return ()
    partners = _Partners(fitted, plan, dataset, same_content, near or NearDuplicates())
    return tuple(partners.explain(id_) for id_ in suspects)


class _Partners:
    """Finds the best reason for a leak.

    Args:
        fitted: Sample id -> split, of those in train and validation.
        plan: See `leaked`.
        dataset: See `leaked`.
        same_content: See `leaked`.
        near: See `leaked`.
    """

    def __init__(
        self,
        fitted: Mapping[str, Split],
        plan: SplitPlan,
        dataset: Dataset,
        same_content: Mapping[str, str],
        near: NearDuplicates,
    ) -> None:
        self.fitted = fitted
        self.plan = plan
        self.told_of_copies = "same text" if noun_of(dataset) == "text" else "same file"
        self.content = {id_: same_content.get(id_, id_) for id_ in plan.assignment}
        self.named = {s.id: s.group for s in dataset.samples if s.group is not None}
        self.by_content = self._index(self.content)
        self.by_name = self._index(self.named)
        self.by_group = self._index(plan.groups)
        self.alike: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for pair in near.pairs:
            if pair.first not in self.content or pair.second not in self.content:
                continue  # of a sample that was left out since
            first, second = self.content[pair.first], self.content[pair.second]
            self.alike[first].append((second, pair.similarity))
            self.alike[second].append((first, pair.similarity))

    def explain(self, id_: str) -> LeakedSample:
        """Why a sample is leaked whose group also stands in train or validation."""
        copies = self.by_content.get(self.content[id_])
        if copies:
            return self._leak(id_, "same-file", copies[0], self.told_of_copies)
        near = [
            (SPLITS.index(self.fitted[partner]), -similarity, partner)
            for content, similarity in self.alike.get(self.content[id_], ())
            for partner in self.by_content.get(content, ())
        ]
        if near:
            _, distance, partner = min(near)
            return self._leak(id_, "near-duplicate", partner, f"near-duplicate {-distance:.2f}")
        name = self.named.get(id_)
        if name is not None and self.by_name.get(name):
            return self._leak(id_, "group", self.by_name[name][0], f"group {name}")
        partner = self.by_group[self.plan.groups[id_]][0]
        return self._leak(id_, "group", partner, "through a chain of copies or groups")

    def _index(self, keys: Mapping[str, str]) -> dict[str, list[str]]:
        """Key -> samples that the model is fitted to, those of train first."""
        index: dict[str, list[str]] = defaultdict(list)
        for id_ in sorted(self.fitted, key=lambda i: (SPLITS.index(self.fitted[i]), i)):
            if id_ in keys:
                index[keys[id_]].append(id_)
        return dict(index)

    def _leak(self, id_: str, kind: LeakKind, partner: str, why: str) -> LeakedSample:
        return LeakedSample(id_, kind, partner, self.fitted[partner], why)


# --- findings ---------------------------------------------------------------------------------


def leak_findings(leaks: Sequence[LeakedSample], *, noun: str = "picture") -> Iterable[Finding]:
    """What `inspect` and `fit` say about leaks (of equal files, the checks have said it).

    Args:
        leaks: As `leaked` found them.
        noun: What a sample is.
    """
    near = [leak for leak in leaks if leak.kind == "near-duplicate"]
    if near:
        yield Finding(
            "leaked-near-duplicate",
            "warning",
            f"{count(len(near), noun)} of the test with a near-duplicate in train or "
            "validation: the test flatters the model.",
            _REMEDY,
            _with_partners(near),
        )
    grouped = [leak for leak in leaks if leak.kind == "group"]
    if grouped:
        reasons = series(sorted({leak.why for leak in grouped}), limit=3)
        yield Finding(
            "leaked-group",
            "warning",
            f"{count(len(grouped), 'sample')} of the test in a group that also stands in train or "
            f"validation ({reasons}): the test flatters the model.",
            _REMEDY,
            _with_partners(grouped),
        )
    placed = [leak for leak in leaks if leak.kind == "place"]
    if placed:
        yield Finding(
            "leaked-place",
            "warning",
            f"{count(len(placed), noun)} of the test on ground that train or validation shows "
            f"too, such as `{placed[0].id}` and `{placed[0].partner}`: the test flatters the "
            "model.",
            _REMEDY,
            _with_partners(placed),
        )


def near_duplicate_findings(dataset: Dataset, near: NearDuplicates) -> Iterable[Finding]:
    """What `inspect` and `fit` say about near-duplicates, wherever they stand."""
    if not near.pairs:
        return
    yield Finding(
        "near-duplicate",
        "warning",
        f"{count(len(near.group_of), noun_of(dataset))} in {count(len(near.groups), 'group')} of "
        f"near-duplicates, such as `{near.pairs[0].first}` and `{near.pairs[0].second}`.",
        "Nothing where Headstart splits: it keeps them together. Else remove all but one of each.",
        tuple(id_ for group in near.groups for id_ in group),
    )
    if dataset.legend is not None:
        return  # which classes two views of one place show may well differ
    labels = {sample.id: sample.labels for sample in dataset.samples}
    torn = [pair for pair in near.pairs if labels[pair.first] != labels[pair.second]]
    if torn:
        yield Finding(
            "conflicting-near-duplicates",
            "warning",
            f"{count(len(torn), 'pair')} of near-duplicates with different labels, such as "
            f"`{torn[0].first}` and `{torn[0].second}`.",
            "Look at them, and decide which label is right.",
            tuple(dict.fromkeys(id_ for pair in torn for id_ in (pair.first, pair.second))),
        )


def _with_partners(leaks: Iterable[LeakedSample]) -> tuple[str, ...]:
    """Ids of leaked samples, each followed by its partner."""
    return tuple(dict.fromkeys(id_ for leak in leaks for id_ in (leak.id, leak.partner)))
