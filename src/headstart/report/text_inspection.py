"""The part of an inspection's page that is about texts: how long they are, which recur, samples.

Of each text the page has an extract, and of each kind of trouble so many that a data set of a
million texts makes a page that can be read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headstart.contracts import Dataset, Finding, Sample
from headstart.report.axes import Axis
from headstart.report.charts import histogram
from headstart.report.drawing import Mark
from headstart.report.text_extracts import MOST_OF_THE_BEGINNING, extract
from headstart.report.wording import count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headstart.data.languages import Languages
    from headstart.data.leaks import LeakedSample
    from headstart.data.near_pairs import NearDuplicates
    from headstart.data.text_lengths import TextLengths, TokenLengths

TEXTS_PER_CLASS, MOST_TEXTS = 6, 120  # some 50 kB of extracts
MOST_PAIRS = 24  # of each kind
MOST_LISTED = 200  # texts a finding that are listed with what they say
_BEFORE_THE_DIFFERENCE = 60  # characters
# A window is marked in the chart where some text comes near it; else the mark would squeeze all.
_NEAR_THE_WINDOW = 0.5


@dataclass(frozen=True)
class Shown:
    """A text with its id, in words what it is, and an extract."""

    id: str
    words: str
    text: str


@dataclass(frozen=True)
class TextPair:
    """Two texts that are nearly the same, why they are shown, and whether it is a leak."""

    why: str
    is_leak: bool
    texts: tuple[Shown, ...]


@dataclass(frozen=True)
class SameText:
    """One text under several labels: an extract, and of each label the ids that have it."""

    text: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ClassTexts:
    """Texts of one class, spread over all of it."""

    name: str
    num_samples: int
    texts: tuple[Shown, ...]


@dataclass(frozen=True)
class TextPage:
    """What the page shows of texts.

    Attributes:
        facts: The lengths in words.
        why_not: Why tokens are not counted; empty where they are.
        charts: Titles and charts of the lengths.
        classes: Texts of each class, of as many as the page has room for.
        torn: Texts that stand under different labels.
        num_torn: How many there are.
        pairs: Leaks first, then pairs under different labels.
        num_pairs: How many there are.
        extracts: id -> extract, of those that findings list.
    """

    facts: tuple[tuple[str, str], ...]
    why_not: str
    charts: tuple[tuple[str, str], ...]
    classes: tuple[ClassTexts, ...]
    torn: tuple[SameText, ...]
    num_torn: int
    pairs: tuple[TextPair, ...]
    num_pairs: int
    extracts: Mapping[str, str]


def draw_text_page(
    dataset: Dataset,
    lengths: TextLengths,
    findings: Sequence[Finding],
    *,
    near: NearDuplicates | None,
    leaks: Sequence[LeakedSample],
    languages: Languages | None = None,
) -> TextPage:
    """Extracts and charts of texts.

    Args:
        dataset: All of them.
        lengths: Of them.
        findings: Whose texts are shown.
        near: Texts that are nearly the same.
        leaks: Texts of a ready-made test that also stand, or nearly, in train or validation.
        languages: Which they are in.
    """
    of_id = {sample.id: sample for sample in dataset}
    torn = _copies_under_different_labels(findings, of_id)
    pairs, num_pairs = _pairs(near, leaks, of_id)
    listed = {id_ for finding in findings for id_ in finding.ids[:MOST_LISTED] if id_ in of_id}
    return TextPage(
        facts=_facts(lengths, languages),
        why_not=lengths.why_not,
        charts=_charts(lengths),
        classes=_classes(dataset),
        torn=tuple(_same_text(copies) for copies in torn[:MOST_PAIRS]),
        num_torn=len(torn),
        pairs=pairs,
        num_pairs=num_pairs,
        extracts={id_: _extract(of_id[id_]) for id_ in listed},
    )


def _extract(sample: Sample) -> str:
    return extract(sample.text or "")


def _shown(sample: Sample) -> Shown:
    return Shown(sample.id, sample.label, _extract(sample))


# --- lengths ----------------------------------------------------------------------------------


def _facts(lengths: TextLengths, languages: Languages | None) -> tuple[tuple[str, str], ...]:
    from headstart.data.text_lengths import spread_of

    if not len(lengths.characters):
        return ()
    facts = [
        ("Texts", f"{len(lengths.characters):,}"),
        ("Characters", f"{spread_of(lengths.characters)}, {lengths.characters.sum():,} in all"),
    ]
    if lengths.tokens is not None:
        facts += _token_facts(lengths.tokens)
    if languages is not None and languages.told:
        facts.append(("Languages", languages.told))
    return tuple(facts)


def _token_facts(tokens: TokenLengths) -> list[tuple[str, str]]:
    from headstart.data.text_lengths import spread_of

    n, over = len(tokens.counts), tokens.num_over
    counted = "" if n == tokens.num_texts else f", counted on {n:,} texts spread evenly over all"
    longer = f"none: {tokens.model} reads up to {tokens.window:,} tokens at once"
    if over:
        longer = (
            f"{count(over, 'text')} ({over / n:.1%}) over the {tokens.window:,} tokens that "
            f"{tokens.model} reads at once"
        )
    return [
        ("Tokens", f"{spread_of(tokens.counts, 'tokens')} of {tokens.model}{counted}"),
        ("Longer than its window", longer),
    ]


def _charts(lengths: TextLengths) -> tuple[tuple[str, str], ...]:
    drawn = []
    if lengths.characters.any():
        drawn.append(("Characters", _histogram("Characters", lengths.characters)))
    tokens = lengths.tokens
    if tokens is not None and tokens.counts.any():
        title = f"Tokens of {tokens.model}"
        is_near = tokens.counts.max() > _NEAR_THE_WINDOW * tokens.window
        mark = Mark(tokens.window, "window") if is_near else None
        drawn.append((title, _histogram(title, tokens.counts, mark)))
    return tuple(drawn)


def _histogram(title: str, values: NDArray[np.int64], mark: Mark | None = None) -> str:
    from headstart.data.text_lengths import spread_of

    positive = values[values > 0]
    label = title[0].lower() + title[1:]
    return histogram(
        positive.tolist(),
        title=f"{title} of a text",
        description=f"{title} of {count(len(positive), 'text')}: {spread_of(positive)}.",
        x=Axis(label, is_log=positive.max() > 30 * positive.min()),
        mark=mark,
        counted="texts",
    )


# --- texts that recur -------------------------------------------------------------------------


def _copies_under_different_labels(
    findings: Iterable[Finding], of_id: Mapping[str, Sample]
) -> list[list[Sample]]:
    """As the checks found them, in the order of their ids."""
    ids = [id_ for f in findings if f.kind == "conflicting-labels" for id_ in f.ids]
    copies: dict[str, list[Sample]] = defaultdict(list)
    for sample in (of_id[id_] for id_ in ids if id_ in of_id):
        copies[(sample.text or "").strip()].append(sample)
    return list(copies.values())


def _same_text(samples: Sequence[Sample]) -> SameText:
    from headstart.data.listing import series

    ids: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        ids[sample.label].append(sample.id)
    labels = tuple((label, series(of_label)) for label, of_label in sorted(ids.items()))
    return SameText(_extract(samples[0]), labels)


def _pairs(
    near: NearDuplicates | None, leaks: Sequence[LeakedSample], of_id: Mapping[str, Sample]
) -> tuple[tuple[TextPair, ...], int]:
    """The pairs that the page has room for, of each kind some; and how many there are."""
    known = {frozenset((leak.id, leak.partner)) for leak in leaks}
    found = [
        pair
        for pair in (near.pairs if near else ())
        if frozenset((pair.first, pair.second)) not in known
    ]
    torn = [p for p in found if of_id[p.first].labels != of_id[p.second].labels]
    agreeing = [p for p in found if of_id[p.first].labels == of_id[p.second].labels]
    likeness = {
        frozenset((pair.first, pair.second)): pair.similarity
        for pair in (near.pairs if near else ())
        if frozenset((pair.first, pair.second)) in known
    }
    drawn = [_leak(leak, of_id, likeness) for leak in leaks[:MOST_PAIRS]]
    for pair in (*torn[:MOST_PAIRS], *agreeing[:MOST_PAIRS]):
        first, second = of_id[pair.first], of_id[pair.second]
        why = _alike(first, second, pair.similarity)
        if first.labels != second.labels:
            why += ", under different labels"
        drawn.append(TextPair(why, False, _side_by_side(first, second)))
    return tuple(drawn), len(leaks) + len(found)


def _leak(
    leak: LeakedSample, of_id: Mapping[str, Sample], likeness: Mapping[frozenset[str], float]
) -> TextPair:
    tested, fitted = of_id[leak.id], of_id[leak.partner]
    first, second = _side_by_side(tested, fitted)
    first = replace(first, words=f"{tested.label}, in test")
    second = replace(second, words=f"{fitted.label}, in {leak.partner_split}")
    if leak.kind == "same-file":
        return TextPair("The same text", True, (first, second))
    similarity = likeness.get(frozenset((leak.id, leak.partner)))
    why = leak.why if similarity is None else _alike(tested, fitted, similarity)
    return TextPair(why, True, (first, second))


def _side_by_side(first: Sample, second: Sample) -> tuple[Shown, Shown]:
    """Two texts; of long ones that begin alike the part from a little before they differ."""
    texts = (first.text or "").strip(), (second.text or "").strip()
    pairs = enumerate(zip(*texts, strict=False))
    num_alike = next((i for i, (one, other) in pairs if one != other), min(map(len, texts)))
    start = num_alike - _BEFORE_THE_DIFFERENCE
    if num_alike < MOST_OF_THE_BEGINNING or texts[0] == texts[1]:
        return _shown(first), _shown(second)
    start += max(0, texts[0][start:num_alike].find(" ") + 1)
    cut = [f"… {extract(text[start:])}" for text in texts]
    return replace(_shown(first), text=cut[0]), replace(_shown(second), text=cut[1])


def _alike(first: Sample, second: Sample, similarity: float) -> str:
    from headstart.data.text_near_duplicates import plain

    if similarity == 1 and plain(first.text or "") == plain(second.text or ""):
        return "The same but for case and punctuation"
    return f"{int(100 * similarity)}% alike"  # 99.9% are not all


# --- samples ----------------------------------------------------------------------------------


def _classes(dataset: Dataset) -> tuple[ClassTexts, ...]:
    """Some texts a class, of as many classes as the page has room for."""
    shown = dataset.classes[:MOST_TEXTS]
    each = max(1, min(TEXTS_PER_CLASS, MOST_TEXTS // max(1, len(shown))))
    members: dict[str, list[Sample]] = {name: [] for name in shown}
    for sample in dataset:
        for label in sample.labels:
            if label in members:
                members[label].append(sample)
    return tuple(
        ClassTexts(name, len(of_class), tuple(_shown(s) for s in _evenly(of_class, each)))
        for name, of_class in members.items()
    )


def _evenly(samples: Sequence[Sample], wanted: int) -> list[Sample]:
    """At most `wanted` samples, spread over the whole list."""
    if len(samples) <= wanted:
        return list(samples)
    return [samples[i * len(samples) // wanted] for i in range(wanted)]
