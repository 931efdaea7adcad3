"""The model card of a run: README.md in the run folder, in the Markdown that model hubs show.

Source: Mitchell et al. 2019, Model Cards for Model Reporting (the headings follow it).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from headstart.report import summary
from headstart.report.cautions import cautions
from headstart.report.record import RunRecord, read_record
from headstart.report.wording import figure, interval, metric_words
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
        *_limits(record),
        *_origin(record),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _front_matter(record: RunRecord) -> Iterator[str]:
    """What model hubs index, as YAML (of which JSON strings are a part)."""
    yield "---"
    yield "library_name: headstart"
    yield f"pipeline_tag: {json.dumps(record.metrics.get('task', 'image-classification'))}"
    if record.backbone.licence.lower() not in ("", "unknown"):
        yield f"license: {json.dumps(record.backbone.licence.lower())}"
    yield f"base_model: {json.dumps(record.backbone.reference)}"
    yield "tags: [headstart, transfer-learning]"
    yield "---"
    yield ""


def _use(record: RunRecord) -> Iterator[str]:
    run = shlex.quote(record.name)
    yield "## How to use it"
    yield ""
    yield "```console"
    yield f"$ headstart predict {run} new-photos/"
    yield f"$ headstart evaluate {run} other-labelled-photos/"
    yield "```"
    yield ""
    yield "```python"
    yield "import headstart as hs"
    yield ""
    yield f"model = hs.load({json.dumps(record.name)})"
    yield 'model.predict(["new-photos/a.jpg"])'
    yield "```"
    yield ""


def _data(record: RunRecord) -> Iterator[str]:
    splits = [name for name in record.counts if any(record.counts[name].values())]
    yield "## Data"
    yield ""
    yield f"{_plain(record.dataset['reason'])} Split: {_plain(record.split['reason'])}"
    yield ""
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
    yield f"On {record.num_tested:,} pictures of the {split} split."
    yield ""
    yield "| Metric | Value | 95% interval |"
    yield "|---|---:|---:|"
    for name, measure in record.measures.items():
        words = metric_words(name)
        value = figure(measure.value, is_share=words.is_share)
        bounds = interval(measure, is_share=words.is_share) or "–"
        yield f"| {_plain(words.title)} | {_plain(value)} | {_plain(bounds)} |"
    yield ""


def _limits(record: RunRecord) -> Iterator[str]:
    yield "## Limits"
    yield ""
    other = "no label" if record.is_multilabel else "one of them anyway"
    yield (
        f"- It knows its {len(record.classes):,} classes only: a picture of anything else gets "
        f"{other}."
    )
    yield "- It was measured on pictures like those of its data; others may fare worse."
    for caution in cautions(record):
        yield f"- {_plain(caution.message)} {_plain(caution.remedy)}".rstrip()
    yield ""


def _origin(record: RunRecord) -> Iterator[str]:
    backbone, contract = record.backbone, record.contract
    yield "## Model and licence"
    yield ""
    yield f"- Backbone: {_code(backbone.reference)}, weights {_code(backbone.weights)}"
    yield f"- Licence of the pretrained weights: {_plain(backbone.licence)}"
    yield (
        f"- Input: {contract.width} × {contract.height} pixels, bands "
        f"{_plain(', '.join(contract.bands))}; input.json has the whole contract"
    )
    yield f"- Strategy: {_plain(record.config['strategy'])}"
    version = _plain(str(record.config["headstart_version"]))
    yield f"- Fitted with Headstart {version} on {_plain(str(record.config['created']))}"


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
