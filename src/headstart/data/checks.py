"""Finds what is wrong with a data set, all at once, before it costs anybody an hour.

Knows nothing of models. Files are read once, in threads: hash, header, and a cheap look at the end
of the file; with `decode` every pixel is decoded too. What reading a file tells is in `file_facts`,
what is wrong with masks alone in `mask_checks`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event

from headstart.contracts import Dataset, Finding, Sample
from headstart.data.file_facts import FileFacts as FileFacts
from headstart.data.file_facts import Reading, keep_new, read_files
from headstart.data.images import MAX_PIXELS
from headstart.data.listing import count, series
from headstart.data.mask_checks import MaskFacts
from headstart.data.mask_classes import mask_class_findings
from headstart.data.miniatures import kept_miniatures
from headstart.data.sample_findings import class_findings, content_findings, fingerprint, noun_of
from headstart.data.sixteen_bit import AS_STORED, WHOLE_RANGE, is_wide
from headstart.data.text_findings import text_findings
from headstart.errors import DataError
from headstart.progress import Progress

# Kinds of error that concern single files, which a fit can do without.
SKIPPABLE = frozenset(
    {
        *("missing-file", "zero-byte", "unreadable", "truncated"),
        *("decompression-bomb", "float-values", "empty-picture"),
        *("missing-mask", "missing-image", "unreadable-mask", "coloured-mask", "size-mismatch"),
        *("crs-mismatch", "elsewhere", "empty-mask", "unknown-value", "not-georeferenced"),
        "empty-text",
    }
)
_FILE_ERRORS = {
    "missing-file": ("that cannot be found", "Mend the paths, or make the files readable."),
    "zero-byte": ("without content (0 bytes)", "Copy them anew from their source."),
    "unreadable": (
        "that cannot be decoded as pictures",
        "Replace them, or convert them to JPEG or PNG.",
    ),
    "truncated": ("whose end is missing", "Copy or download them anew."),
    "decompression-bomb": (
        f"that claim more than {MAX_PIXELS:,} pixels",
        "Replace them, or cut them into tiles.",
    ),
    "float-values": (
        "with floating-point values",
        "Rescale them to 0-255, and save them as PNG or TIFF with 8 or 16 bits.",
    ),
    "empty-picture": (
        "without data: every pixel is nodata, NaN or transparent",
        "Replace them, or mend the nodata value that they declare (`gdalinfo` shows it).",
    ),
}
_CONTENT_DIGITS = 16
_CHUNK = 32  # files a task: one by one, the bookkeeping of threads costs a tenth of the time
_LISTED = 20  # files a finding that an error message lists


@dataclass(frozen=True)
class Checkup:
    """What the checks found.

    Attributes:
        findings: Those made while reading the data set first.
        facts: Sample id -> facts of its file.
        fingerprint: Of contents and labels (or masks), whatever the files are called: sha256.
        sixteen_bit_divisor: What 16-bit values are divided by, in all pictures alike: 1 where there
            are 16-bit pictures and none has a value over 255, else 257.
        masks: Sample id -> facts of its mask, where samples have masks.
        noun: What `--on-bad skip` leaves out, one by one.
    """

    findings: tuple[Finding, ...]
    facts: Mapping[str, FileFacts]
    fingerprint: str
    sixteen_bit_divisor: int = WHOLE_RANGE
    masks: Mapping[str, MaskFacts] = field(default_factory=dict)
    noun: str = "file"

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that make a fit impossible."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that do not."""
        return tuple(f for f in self.findings if f.severity == "warning")

    @property
    def bad_ids(self) -> tuple[str, ...]:
        """Files that `--on-bad skip` leaves out, each once, sorted."""
        return tuple(sorted({i for f in self.errors if f.kind in SKIPPABLE for i in f.ids}))

    @property
    def same_content(self) -> dict[str, str]:
        """Sample id -> content hash, as `split_dataset` takes it."""
        return {name: facts.sha256 for name, facts in self.facts.items() if facts.sha256}

    @property
    def contents(self) -> dict[str, str]:
        """Sample id -> the beginning of its content hash: what a run keeps to know it again.

        64 bits: of a million samples two have the same by chance once in 37 million runs.
        """
        return {name: full[:_CONTENT_DIGITS] for name, full in self.same_content.items()}


def check_dataset(
    dataset: Dataset,
    *,
    decode: bool,
    progress: Progress,
    num_threads: int | None = None,
    hashed: bool = False,
    masks: Mapping[str, MaskFacts] | None = None,
) -> Checkup:
    """Look for every kind of trouble at once.

    Errors, which make a fit impossible: files that are missing, empty, unreadable, truncated, too
    large or of floating-point values (rasters with masks may have those, and any number of bands);
    no samples; a single class. All else is a warning. Equal
    pictures under different labels are a warning too: labels are never all right, a model can be
    fitted all the same, and such pictures are kept in one split, so that no measurement suffers.

    Args:
        dataset: As read; with masks, as `check_masks` returned it.
        decode: Decode every pixel. Without it, a file is decoded only when its end looks missing.
        progress: Is told about every file.
        num_threads: By default two more than there are cores, for those that wait for the disk.
        hashed: Find out what near-duplicates are searched by (`FileFacts.perceptual`). Files that
            are new to the cache are decoded for it, those already there are not.
        masks: What `check_masks` knows of the masks; None where there are none.
    """
    threads = num_threads or min(16, (os.cpu_count() or 1) + 2)
    label = "decoding pictures" if decode else "checking pictures"
    kept = kept_miniatures() if hashed else None
    facts: dict[str, FileFacts] = {}
    troubles: dict[str, dict[str, str]] = defaultdict(dict)  # kind -> id -> what was found
    samples = dataset.samples
    chunks = [samples[i : i + _CHUNK] for i in range(0, len(samples), _CHUNK)]
    reading = Reading(decode, kept, Event())
    check = partial(read_files, reading=reading)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="check")
    try:
        with progress.bar(label, total=len(samples), unit="pictures") as advance:
            for checked in pool.map(check, chunks):
                for name, of_file, trouble in checked:
                    facts[name] = of_file
                    if trouble is not None:  # that of a file beside a raster is of no kind
                        troubles[getattr(trouble, "kind", "unreadable")][name] = str(trouble)
                advance(len(checked))
    finally:
        pool.shutdown(cancel_futures=True)
        if kept is not None:
            keep_new(facts.values(), kept, progress=progress)
    is_any_wide = any(is_wide(of_file.mode) for of_file in facts.values())
    divisor = AS_STORED if is_any_wide and not reading.is_over.is_set() else WHOLE_RANGE
    findings = [
        *dataset.findings,
        *_file_findings(troubles),
        *_sample_findings(dataset, facts, masks or {}),
        *_wide_findings(facts, divisor),
        *_empty_band_findings(facts),
    ]
    fingerprint = _fingerprint(dataset, facts, masks or {})
    return Checkup(tuple(findings), facts, fingerprint, divisor, masks or {})


def checkup_of_texts(dataset: Dataset, facts: Mapping[str, FileFacts]) -> Checkup:
    """What is wrong with texts, of which nothing but their contents is known."""
    findings = (*dataset.findings, *_sample_findings(dataset, facts, {}))
    return Checkup(findings, facts, _fingerprint(dataset, facts, {}), noun="text")


def leave_out_bad(dataset: Dataset, checkup: Checkup) -> tuple[Dataset, Checkup]:
    """What `--on-bad skip` does: the data set without its bad files, checked anew without them.

    Their findings become warnings. A class that loses all of its samples is no class any more;
    errors that leaving files out cannot mend (or brings about) are still in the checkup.
    """
    bad = checkup.bad_ids
    kept = dataset.without(bad)
    alive = {label for sample in kept for label in sample.labels}
    if kept.legend is None:  # a legend fixes the classes, whichever of them occur
        kept = replace(kept, classes=tuple(c for c in kept.classes if c in alive))
    left_out = [
        replace(f, severity="warning", remedy="Left out, as --on-bad skip asks.")
        for f in checkup.errors
        if f.kind in SKIPPABLE
    ]
    read = [f for f in dataset.findings if f.kind not in SKIPPABLE or f.severity == "warning"]
    facts = {s.id: checkup.facts[s.id] for s in kept}
    masks = {s.id: checkup.masks[s.id] for s in kept if s.id in checkup.masks}
    findings = (
        *left_out,
        *read,
        *_sample_findings(kept, facts, masks),
        *_wide_findings(facts, checkup.sixteen_bit_divisor),
        *_empty_band_findings(facts),
    )
    kept = replace(kept, findings=tuple(read))
    fingerprint = _fingerprint(kept, facts, masks)
    checkup = replace(checkup, findings=findings, facts=facts, masks=masks)
    return kept, replace(checkup, fingerprint=fingerprint)


def raise_for_errors(checkup: Checkup) -> None:
    """Stop when a fit is impossible.

    Raises:
        DataError: With the files of all errors.
    """
    if not checkup.errors:
        return
    lines = ["The data cannot be used as it is:"]
    is_cut = False
    for finding in checkup.errors:
        lines.append(f"- {finding.message} {finding.remedy}")
        lines += [f"    {name}" for name in finding.ids[:_LISTED]]
        if len(finding.ids) > _LISTED:
            is_cut = True
            lines.append(f"    and {len(finding.ids) - _LISTED:,} more")
    if checkup.bad_ids:
        bad = count(len(checkup.bad_ids), checkup.noun)
        lines.append(f"Mend them, or leave {bad} out with `--on-bad skip`.")
    if is_cut:
        lines.append("All are listed by `headstart inspect DATA --output page.html`.")
    raise DataError("\n".join(lines))


# --- files ------------------------------------------------------------------------------------


def _file_findings(troubles: Mapping[str, Mapping[str, str]]) -> Iterable[Finding]:
    for kind, (what, remedy) in _FILE_ERRORS.items():
        names = troubles.get(kind)
        if names:
            message = f"{count(len(names), 'file')} {what}."
            yield Finding(kind, "error", message, remedy, tuple(sorted(names)))


def _wide_findings(facts: Mapping[str, FileFacts], divisor: int) -> Iterable[Finding]:
    wide = sorted(name for name, of_file in facts.items() if is_wide(of_file.mode))
    if not wide:
        return
    how, remedy = (
        "read as 8: values divided by 257",
        "Nothing, if they use the whole range to 65535; if they look dark, stretch them all "
        "alike first.",
    )
    if divisor == AS_STORED:
        how, remedy = (
            "none with a value over 255: read as they are, and so will be what is predicted",
            "Nothing, if they hold 8-bit values; if they are all dark, stretch them all alike "
            "first.",
        )
    message = f"{count(len(wide), 'picture')} with 16 bits a pixel, {how}."
    yield Finding("sixteen-bit", "warning", message, remedy, tuple(wide))


def _empty_band_findings(facts: Mapping[str, FileFacts]) -> Iterable[Finding]:
    concerned = sorted(name for name, of_file in facts.items() if of_file.empty_bands)
    if concerned:
        first = facts[concerned[0]]
        yield Finding(
            "empty-band",
            "warning",
            f"{count(len(concerned), 'picture')} with bands without data, such as "
            f"`{concerned[0]}`: {series(first.empty_bands)}. With them no pixel of it is learnt "
            "from.",
            "Replace them, or choose other bands with --bands.",
            tuple(concerned),
        )


# --- samples ----------------------------------------------------------------------------------


def _sample_findings(
    dataset: Dataset, facts: Mapping[str, FileFacts], masks: Mapping[str, MaskFacts]
) -> Iterable[Finding]:
    """What is wrong with the classes, and with equal contents."""
    if noun_of(dataset) == "text":
        yield from text_findings(dataset)
    if dataset.samples and dataset.legend is not None:
        yield from mask_class_findings(dataset, masks)
    else:
        yield from class_findings(dataset)
    same = {name: of_file.sha256 for name, of_file in facts.items() if of_file.num_bytes}
    yield from content_findings(dataset, same, {s.id: _answer(s, masks) for s in dataset.samples})


def _answer(sample: Sample, masks: Mapping[str, MaskFacts]) -> str:
    """What a model is to learn of a sample: its label, or all of its mask."""
    return masks[sample.id].sha256 if sample.id in masks else sample.label


def _fingerprint(
    dataset: Dataset, facts: Mapping[str, FileFacts], masks: Mapping[str, MaskFacts]
) -> str:
    return fingerprint((facts[s.id].sha256, _answer(s, masks)) for s in dataset.samples)
