"""The page of an inspection: what is in a data set, drawn, and what is wrong with it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.contracts import Dataset, Finding, Sample
from headstart.progress import Progress
from headstart.report.axes import Axis
from headstart.report.charts import bar_chart, histogram
from headstart.report.mask_inspection import BandReading, MaskPage, draw_mask_page
from headstart.report.rendering import write_page
from headstart.report.text_inspection import MOST_LISTED, TextPage, draw_text_page
from headstart.report.thumbnails import embed
from headstart.report.window_thumbnails import embed_sample
from headstart.report.wording import count, size

if TYPE_CHECKING:
    from PIL import Image

    from headstart.data.checks import FileFacts
    from headstart.data.languages import Languages
    from headstart.data.leaks import LeakedSample
    from headstart.data.near_duplicates import NearDuplicates
    from headstart.data.text_lengths import TextLengths

THUMBNAIL_PIXELS = 144
PICTURES_PER_CLASS = 12
MOST_PAIRS = 48  # some 200 kB of thumbnails
# About 1.5 MB of thumbnails; with more classes each shows fewer pictures, and then not all do.
MOST_PICTURES = 360
_SHEET_PIXELS = 1600


@dataclass(frozen=True)
class Inspection:
    """What an inspection of a data set brought to light.

    Attributes:
        dataset: As it was recognised.
        findings: Everything that is wrong with it.
        facts: sample id -> facts; those of unreadable files are left out of the distributions.
        counts: split (or `all`) -> class -> number of samples.
        split_reason: How a fit would split it, in a sentence.
        augmented: A sheet of augmented samples: the picture, or its file.
        augment_name: The preset of the sheet.
        near: Samples that are nearly the same.
        leaks: Samples of a ready-made test that also stand, or nearly, in train or validation.
        pixels: As `counts`, of pixels, where samples have masks; else empty.
        assignment: Sample id -> split, as a fit would split it; empty where it could not.
        reading: What the user says of the bands of rasters.
        lengths: Of texts; None of pictures.
        languages: Likewise.
    """

    dataset: Dataset
    findings: tuple[Finding, ...]
    facts: Mapping[str, FileFacts]
    counts: Mapping[str, Mapping[str, int]]
    split_reason: str
    augmented: Path | Image.Image | None = None
    augment_name: str = ""
    near: NearDuplicates | None = None
    leaks: tuple[LeakedSample, ...] = ()
    pixels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    assignment: Mapping[str, str] = field(default_factory=dict)
    reading: BandReading = field(default_factory=BandReading)
    lengths: TextLengths | None = None
    languages: Languages | None = None


@dataclass(frozen=True)
class PicturePair:
    """Two pictures side by side: each (sample id, words below it, data: address or None)."""

    why: str
    is_leak: bool
    pictures: tuple[tuple[str, str, str | None], ...]


@dataclass(frozen=True)
class ContactSheet:
    """Pictures of one class: (sample id, data: address or None when it cannot be shown)."""

    name: str
    num_samples: int
    pictures: tuple[tuple[str, str | None], ...]


def write_inspection(
    path: Path, inspection: Inspection, *, progress: Progress | None = None
) -> Path:
    """Write the page of an inspection.

    Args:
        path: The page to write.
        inspection: What was found.
        progress: Told of the pictures drawn.

    Returns:
        The page.

    Raises:
        ConfigError: The page cannot be written there.
        DataError: The sheet of augmented samples cannot be read.
    """
    dataset = inspection.dataset
    progress = progress or Progress()
    splits = [name for name in inspection.counts if any(inspection.counts[name].values())]
    totals = {
        name: sum(inspection.counts[split].get(name, 0) for split in splits)
        for name in dataset.classes
    }
    readable = [facts for facts in inspection.facts.values() if facts.width and facts.height]
    findings = sorted(inspection.findings, key=lambda finding: finding.severity)
    texts = _text_page(inspection, findings)
    is_drawn = dataset.legend is None and texts is None
    context: dict[str, Any] = {
        "title": f"What is in {dataset.root.resolve().name}",
        "inspection": inspection,
        "unit": "picture" if texts is None else "text",
        "dataset": dataset,
        "findings": findings,
        "num_errors": sum(finding.severity == "error" for finding in findings),
        "splits": splits,
        "class_rows": [
            (name, [inspection.counts[split].get(name, 0) for split in splits], totals[name])
            for name in dataset.classes
        ],
        "largest_class": max(totals.values(), default=0) or 1,
        "charts": _charts(readable),
        "picture_facts": _summary(readable),
        "masks": _mask_page(inspection, progress),
        "texts": texts,
        "most_listed": MOST_LISTED,
        "sheets": _contact_sheets(dataset, progress) if is_drawn else [],
        "augmented": _augmented(inspection.augmented),
        "pairs": [] if texts else _pairs(inspection),
        "num_pairs": 0 if texts else len(_told_pairs(inspection)),
    }
    return write_page(path, "inspection.html", context)


def _text_page(inspection: Inspection, findings: Sequence[Finding]) -> TextPage | None:
    if inspection.lengths is None:
        return None
    return draw_text_page(
        inspection.dataset,
        inspection.lengths,
        findings,
        near=inspection.near,
        leaks=inspection.leaks,
        languages=inspection.languages,
    )


def _mask_page(inspection: Inspection, progress: Progress) -> MaskPage | None:
    if inspection.dataset.legend is None:
        return None
    return draw_mask_page(
        inspection.dataset,
        inspection.facts,
        inspection.pixels,
        assignment=inspection.assignment,
        reading=inspection.reading,
        progress=progress,
    )


def _charts(facts: Sequence[FileFacts]) -> list[tuple[str, str]]:
    """Titles and charts of the distributions; none when no picture can be read."""
    if not facts:
        return []
    drawn = []
    for title, values, label in (
        ("Width", [fact.width for fact in facts], "width in pixels"),
        ("Height", [fact.height for fact in facts], "height in pixels"),
        ("File size", [fact.num_bytes / 1000 for fact in facts], "file size in kB"),
    ):
        positive = [value for value in values if value > 0]
        is_log = max(positive) > 30 * min(positive)  # else a few large files hide all others
        middle = statistics.median(positive)
        described = (
            f"{label.capitalize()} of {count(len(values), 'picture')}: from "
            f"{min(positive):,.0f} to {max(positive):,.0f}, median {middle:,.0f}."
        )
        axis = Axis(label, is_log=is_log)
        drawn.append((title, histogram(positive, title=title, description=described, x=axis)))
    kinds = Counter(f"{fact.format}, {fact.mode}" for fact in facts).most_common(12)
    told = ", ".join(f"{name}: {number:,}" for name, number in kinds) + "."
    bars = [(name, float(number)) for name, number in kinds]
    title = "Formats and colour modes"
    drawn.append((title, bar_chart(bars, title=title, description=told)))
    return drawn


def _summary(facts: Sequence[FileFacts]) -> list[tuple[str, str]]:
    """The distributions in words."""
    if not facts:
        return []
    widths, heights = [fact.width for fact in facts], [fact.height for fact in facts]
    sizes = [fact.num_bytes for fact in facts]
    return [
        ("Readable pictures", f"{len(facts):,}"),
        ("Width", _spread_words(widths)),
        ("Height", _spread_words(heights)),
        ("File size", f"{size(min(sizes))} to {size(max(sizes))}, {size(sum(sizes))} in all"),
    ]


def _spread_words(values: Sequence[int]) -> str:
    middle = statistics.median(values)
    return f"{min(values):,} to {max(values):,} pixels, median {middle:,.0f}"


def _contact_sheets(dataset: Dataset, progress: Progress) -> list[ContactSheet]:
    """A sheet a class, as many classes as the page has room for."""
    shown = dataset.classes[:MOST_PICTURES]
    each = max(1, min(PICTURES_PER_CLASS, MOST_PICTURES // max(1, len(shown))))
    members: dict[str, list[Sample]] = {name: [] for name in shown}
    for sample in dataset:
        for label in sample.labels:
            if label in members:
                members[label].append(sample)
    chosen = {name: _evenly(samples, each) for name, samples in members.items()}
    total = sum(map(len, chosen.values()))
    sheets = []
    with progress.bar("drawing pictures", total=total, unit="pictures") as advance:
        for name, samples in chosen.items():
            pictures = []
            for sample in samples:
                pictures.append((sample.id, embed_sample(sample, size=THUMBNAIL_PIXELS)))
                advance(1)
            sheets.append(ContactSheet(name, len(members[name]), tuple(pictures)))
    return sheets


def _told_pairs(inspection: Inspection) -> list[tuple[str, str, str, bool]]:
    """Both ids, why they are shown, and whether it is a leak: leaks first, then torn labels."""
    labels = {sample.id: sample.labels for sample in inspection.dataset}
    leaks = [(leak.id, leak.partner, leak.why, True) for leak in inspection.leaks]
    shown = {frozenset(leak[:2]) for leak in leaks}
    pairs = inspection.near.pairs if inspection.near else ()
    others = [
        (pair.first, pair.second, f"likeness {pair.similarity:.3f}", False)
        for pair in pairs
        if {pair.first, pair.second} not in shown
    ]
    return leaks + sorted(others, key=lambda pair: labels[pair[0]] == labels[pair[1]])


def _pairs(inspection: Inspection) -> list[PicturePair]:
    """The pairs that the page has room for, drawn."""
    samples = {sample.id: sample for sample in inspection.dataset}
    partner_split = {leak.id: leak.partner_split for leak in inspection.leaks}
    drawn = []
    for first, second, why, is_leak in _told_pairs(inspection)[:MOST_PAIRS]:
        pictures = []
        for id_, split in ((first, "test"), (second, partner_split.get(first, ""))):
            words = samples[id_].label + (f", in {split}" if is_leak else "")
            pictures.append((id_, words, embed_sample(samples[id_], size=THUMBNAIL_PIXELS)))
        drawn.append(PicturePair(why, is_leak, tuple(pictures)))
    return drawn


def _evenly(samples: Sequence[Sample], wanted: int) -> list[Sample]:
    """At most `wanted` samples, spread over the whole list."""
    if len(samples) <= wanted:
        return list(samples)
    return [samples[i * len(samples) // wanted] for i in range(wanted)]


def _augmented(sheet: Path | Image.Image | None) -> str:
    """The sheet of augmented samples as a data: address; empty without one."""
    if sheet is None:
        return ""
    if isinstance(sheet, Path):
        from headstart.data.images import read_image

        sheet = read_image(sheet)
    if max(sheet.size) > _SHEET_PIXELS:
        sheet = sheet.copy()
        sheet.thumbnail((_SHEET_PIXELS, _SHEET_PIXELS))
    return embed(sheet)
