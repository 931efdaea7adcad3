"""The model card of a run: README.md in the run folder, in the Markdown that model hubs show.

Source: Mitchell et al. 2019, Model Cards for Model Reporting (the headings follow it).
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from headstart.contracts import Measure, TermsContract, TextContract
from headstart.report import summary
from headstart.report.cautions import cautions
from headstart.report.evidence import Calibration, Strangers
from headstart.report.record import RunRecord, read_record
from headstart.report.results import border_words, class_measure, rung_metric
from headstart.report.wording import (
    ANY_TEXT,
    LONG_WORDS,
    TERM_WORDS,
    count,
    duration,
    figure,
    interval,
    metric_words,
    percent,
    rung_words,
    told,
)
from headstart.rundir import RunFolder

MOST_CLASSES_LISTED = 50


def write_model_card(folder: RunFolder) -> Path:
    """Write the model card of a finished run to its README.md.

    Returns:
        The file.

    Raises:
        RunError: A file of the run is missing or damaged, or the card cannot be written.
    """
    folder.write_text(folder.card, model_card(folder))
    return folder.card


def model_card(folder: RunFolder) -> str:
    """The model card of a finished run, as Markdown.

    Raises:
        RunError: A file of the run is missing or damaged.
    """
    record = read_record(folder)
    parts = [
        *_front_matter(record),
        f"# {_plain(summary.data_name(record))}: {_plain(record.name)}",
        "",
        f"{_plain(summary.purpose(record))} {_plain(summary.making(record))}",
        "",
        f"**{_plain(summary.verdict(record))}** {_plain(summary.comparison(record))}".rstrip(),
        "",
        *_use(record),
        *_data(record),
        *_metrics(record),
        *_trust(record),
        *_choice(record),
        *_limits(record),
        *_origin(record),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _front_matter(record: RunRecord) -> Iterator[str]:
    """What model hubs index, as YAML (of which JSON strings are a part)."""
    yield "---"
    yield "library_name: headstart"
    task = "image-segmentation" if record.is_dense else record.metrics.get("task")
    yield f"pipeline_tag: {json.dumps(task or 'image-classification')}"
    if record.backbone.licence.lower() not in ("", "unknown", "none"):
        yield f"license: {json.dumps(record.backbone.licence.lower())}"
    if record.is_of_words:
        yield "tags: [headstart, tf-idf]"
    else:
        yield f"base_model: {json.dumps(record.backbone.reference)}"
        yield "tags: [headstart, transfer-learning]"
    yield "---"
    yield ""


def _use(record: RunRecord) -> Iterator[str]:
    run = shlex.quote(record.name)
    yield "## How to use it"
    yield ""
    yield "```console"
    folder = " --output masks/" if record.is_dense else ""
    if record.is_of_texts:
        yield f"$ headstart predict {run} new.csv"
        yield f'$ echo "{ANY_TEXT}" | headstart predict {run} -'
        yield f"$ headstart evaluate {run} other-labelled.csv"
    else:
        yield f"$ headstart predict {run} new-photos/{folder}"
        yield f"$ headstart evaluate {run} other-labelled-photos/"
    yield "```"
    yield ""
    yield "```python"
    yield "import headstart as hs"
    yield ""
    if record.is_dense:
        yield f'hs.map_pictures({json.dumps(record.name)}, ["new-photos/"], "masks/")'
    else:
        yield f"model = hs.load({json.dumps(record.name)})"
        if record.is_of_texts:
            yield f'model.predict_texts(["{ANY_TEXT}"])'
            yield 'model.predict(["new.csv"])'
        else:
            yield 'model.predict(["new-photos/a.jpg"])'
    yield "```"
    yield ""


def _data(record: RunRecord) -> Iterator[str]:
    splits = [name for name in record.counts if any(record.counts[name].values())]
    yield "## Data"
    yield ""
    yield f"{_plain(record.dataset['reason'])} Split: {_plain(record.split['reason'])}"
    yield ""
    if not splits:
        sizes = record.split_sizes.items()
        yield (
            f"{record.unit.capitalize()}s: "
            + ", ".join(f"{n:,} for {name}" for name, n in sizes)
            + "."
        )
        yield ""
        return
    yield f"| Class | {' | '.join(splits)} |"
    yield "|---|" + "---:|" * len(splits)
    for name in list(record.totals)[:MOST_CLASSES_LISTED]:
        numbers = (f"{record.counts[split].get(name, 0):,}" for split in splits)
        yield f"| {_plain(name)} | {' | '.join(numbers)} |"
    yield ""
    if len(record.totals) > MOST_CLASSES_LISTED:
        left = len(record.totals) - MOST_CLASSES_LISTED
        yield f"and {left:,} classes more; dataset.json has them all."
        yield ""


def _metrics(record: RunRecord) -> Iterator[str]:
    split = "test" if record.is_sealed else "validation"
    yield "## Metrics"
    yield ""
    yield f"On {record.num_tested:,} {record.unit}s of the {split} split."
    yield ""
    yield "| Metric | Value | 95% interval |"
    yield "|---|---:|---:|"
    for name, measure in record.measures.items():
        words = metric_words(name)
        value = figure(measure.value, is_share=words.is_share)
        bounds = interval(measure, is_share=words.is_share) or "–"
        yield f"| {_plain(words.title)} | {_plain(value)} | {_plain(bounds)} |"
    yield ""
    if record.is_dense:
        if borders := border_words(record):
            yield borders
            yield ""
        yield from _mapped_classes(record)


def _mapped_classes(record: RunRecord) -> Iterator[str]:
    """The IoU of each class, the weakest first."""
    rows, total = record.metrics["per_class"], sum(record.pixels.values()) or 1
    yield "| Class | IoU | 95% interval | Share of the labelled pixels |"
    yield "|---|---:|---:|---:|"
    ranked = sorted(record.ious, key=lambda name: (record.ious[name], name))
    for name in ranked[:MOST_CLASSES_LISTED]:
        measure = class_measure(rows[name], "iou") or Measure(record.ious[name])
        cells = [
            figure(measure.value, is_share=True),
            interval(measure, is_share=True) or "–",
            percent(record.pixels.get(name, 0) / total),
        ]
        yield f"| {_plain(name)} | {' | '.join(map(_plain, cells))} |"
    yield ""
    if len(ranked) > MOST_CLASSES_LISTED:
        yield f"and {len(ranked) - MOST_CLASSES_LISTED:,} classes more; metrics.json has them all."
        yield ""


def _trust(record: RunRecord) -> Iterator[str]:
    """How far a single answer can be trusted; nothing where that was not measured."""
    evidence, unit = record.evidence, record.unit
    split = "test" if record.is_sealed else "validation"
    found: list[str] = []
    if evidence.calibration is not None:
        found += _calibration(evidence.calibration, split, unit)
    point = summary.best_abstention(record)
    if point is not None and point.min_confidence is not None:
        least = math.floor(10_000 * point.min_confidence) / 10_000  # up, it would answer fewer
        found.append(
            f"With `--min-confidence {least:g}` it answers "
            f"{percent(point.coverage)} of the {split} {unit}s and is right on "
            f"{told(point.accuracy, is_share=True)} of these; the others are left to people."
        )
    if evidence.strangers is not None:
        found.append(_strangers(evidence.strangers, split, unit))
    if not found:
        return
    yield "## How far to trust an answer"
    yield ""
    for sentence in found:  # of figures and our own words: nothing in it needs to be escaped
        yield f"- {sentence}"
    yield ""


def _calibration(calibration: Calibration, split: str, unit: str) -> Iterator[str]:
    if calibration.error is not None:
        yield (
            f"Stated confidence and share of right answers lie "
            f"{told(calibration.error, is_share=True)} apart on average, over the {split} {unit}s."
        )
    before, after = calibration.log_loss_before, calibration.log_loss_after
    if before is None or after is None:
        return
    if calibration.is_kept:
        yield (
            f"Its confidences are corrected by a temperature of {calibration.temperature:.2f}: on "
            f"{unit}s that it had not learned from, the test apart, that lowered the log loss from "
            f"{before:.3f} to {after:.3f}."
        )
    else:
        yield (
            f"Its confidences are not corrected: on {unit}s that it had not learned from, the test "
            f"apart, no temperature lowered the log loss of {before:.3f}."
        )


def _strangers(strangers: Strangers, split: str, unit: str) -> str:
    if strangers.goes_by_words:
        text = (
            f"A {unit} is flagged as a stranger (`is_stranger` in predictions) where more than "
            f"{percent(strangers.threshold)} of its words are unknown, each counted by how rare it "
            "is: an answer on it is a guess."
        )
        return f"{text}{_share_flagged(strangers, split, unit)}"
    if strangers.goes_by_letters:
        text = (
            f"A {unit} whose letters follow one another as they seldom do in training (over "
            f"{strangers.threshold:.3g} bits a letter), such as another language or gibberish, is "
            "flagged as a stranger (`is_stranger` in predictions): an answer on it is a guess. One "
            "that is written alike, of something else, is not told."
        )
        return f"{text}{_share_flagged(strangers, split, unit)}"
    near = f"within a distance of {strangers.threshold:.3g}, measured between features,"
    few = f"no training {unit} {near}"
    if strangers.k is not None and strangers.k > 1:
        few = f"fewer than {count(strangers.k, f'training {unit}')} {near}"
    text = (
        f"A {unit} with {few} is flagged as a stranger (`is_stranger` in predictions): it is "
        "unlike what the model was fitted on, and an answer on it is a guess."
    )
    if strangers.letters is not None:
        text += (
            f" So is one whose letters follow one another as they seldom do in training (over "
            f"{strangers.letters:.3g} bits a letter), such as another language or gibberish."
        )
    return f"{text}{_share_flagged(strangers, split, unit)}"


def _share_flagged(strangers: Strangers, split: str, unit: str) -> str:
    if strangers.share_flagged is None:
        return ""
    share = percent(strangers.share_flagged) if strangers.share_flagged else "none"
    return f" Of the {split} {unit}s, {share} were flagged."


def _choice(record: RunRecord) -> Iterator[str]:
    """What was compared to choose this model, and what came of it; nothing where nothing was."""
    rungs, metric, unit = record.evidence.rungs, rung_metric(record), record.unit
    if len(rungs) < 2:
        return
    words = metric_words(metric)
    yield "## How it was chosen"
    yield ""
    yield (
        f"Models were compared from the simplest up, on {unit}s that they had not learned from: by "
        f"cross-validation, or on the validation {unit}s. The test set had no part in it."
    )
    yield ""
    yield f"| Model | {_plain(words.title)} | 95% interval | Judged by | Time |"
    yield "|---|---:|---:|---|---:|"
    for rung in rungs:
        measure = rung.measures.get(metric)
        name = _plain(rung.label or rung_words(rung.strategy, counted=record.counted))
        cells = [
            f"**{name} (kept)**" if rung.is_kept else name,
            "–" if measure is None else figure(measure.value, is_share=words.is_share),
            ("" if measure is None else interval(measure, is_share=words.is_share)) or "–",
            rung.judged_on or "–",
            duration(rung.seconds) if rung.was_tried else "not tried",
        ]
        yield f"| {' | '.join([cells[0], *map(_plain, cells[1:])])} |"
    yield ""
    if record.evidence.verdict:
        yield _plain(record.evidence.verdict)
        yield ""


def _limits(record: RunRecord) -> Iterator[str]:
    yield "## Limits"
    yield ""
    other = "no label" if record.is_multilabel else "one of them anyway"
    subject = f"a {record.counted}"
    yield (
        f"- It knows its {len(record.classes):,} classes only: {subject} of anything else gets "
        f"{other}."
    )
    yield f"- It was measured on {record.unit}s like those of its data; others may fare worse."
    if record.is_of_texts:
        yield (
            "- The run holds extracts of texts of its data, in `texts.json`, `metrics.json` and "
            "`report.html`: mind whose they are before you share it."
        )
    for caution in cautions(record):
        yield f"- {_plain(caution.message)} {_plain(caution.remedy)}".rstrip()
    yield ""


def _origin(record: RunRecord) -> Iterator[str]:
    backbone = record.backbone
    yield "## Model and licence"
    yield ""
    if record.is_of_words:
        yield f"- Backbone: {_plain(backbone.reference)}; all was learned from the data"
    else:
        yield f"- Backbone: {_code(backbone.reference)}, weights {_code(backbone.weights)}"
        yield f"- Licence of the pretrained weights: {_plain(backbone.licence)}"
    yield f"- Input: {_input(record)}; input.json has the whole contract"
    yield f"- Strategy: {_plain(record.config['strategy'])}"
    version = _plain(str(record.config["headstart_version"]))
    yield f"- Fitted with Headstart {version} on {_plain(str(record.config['created']))}"


def _input(record: RunRecord) -> str:
    """What the model takes, in a few words."""
    contract = record.contract
    if isinstance(contract, TermsContract):
        sizes = (f"{num:,} {TERM_WORDS[kind]}" for kind, num in contract.sizes.items())
        return f"texts of any length, of which it knows {' and '.join(sizes)}"
    if isinstance(contract, TextContract):
        return f"{contract.described}; of longer texts {LONG_WORDS[contract.long]}"
    size = "any size" if record.is_dense else f"{contract.width} × {contract.height} pixels"
    read_as = f", read as {contract.units}" if contract.units else ""
    return f"{size}, bands {_plain(', '.join(contract.bands))}{read_as}"


def _plain(text: str) -> str:
    """A text that Markdown shows as it stands: on one line, nothing in it marks anything up."""
    return re.sub(
        r"([\\`*\[\]<>|#~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", " ".join(text.split())
    )


def _code(text: str) -> str:
    """A text as code, in a fence longer than any run of backticks in it."""
    text = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"`{text}`"
