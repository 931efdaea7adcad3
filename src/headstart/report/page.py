"""The report of a run: one self-contained HTML page and its figures, from the run folder alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from headstart.progress import Progress
from headstart.report import summary, trust_figures
from headstart.report.cautions import cautions
from headstart.report.drawing import Drawing, standalone
from headstart.report.evidence import Evidence
from headstart.report.figures import confusion_chart, overview_chart, run_charts
from headstart.report.gallery import Gallery, choose_samples, hang_gallery
from headstart.report.maps import Maps, draw_maps, maps_context
from headstart.report.mask_inspection import class_shares
from headstart.report.predictions import PredictionTable, read_prediction_table
from headstart.report.record import RunRecord, read_record
from headstart.report.rendering import render_page
from headstart.report.results import metric_row, results_context, rung_metric
from headstart.report.suspects import SuspectLabel, read_suspects
from headstart.report.text_extracts import read_extracts, write_extracts
from headstart.report.training import training_context
from headstart.report.wording import ANY_TEXT, LONG_WORDS, TERM_WORDS, count
from headstart.rundir import RunFolder

# So that the lists of a large, troubled data set leave the page under 3 MB; dataset.json has all.
MOST_IDS_LISTED = 200
# Of texts that are named in lists, so many of each are shown as well: a screen or two.
MOST_TEXTS_LISTED = 24
# As many as a first screen has room for; the others are one click away.
MOST_CAUTIONS_OPEN = 4

# Entry of `sizes` in dataset.json -> its name, its unit, and how its numbers are written.
_SIZES = {
    "width": ("Width", "pixels", "{:.0f}"),
    "height": ("Height", "pixels", "{:.0f}"),
    "characters": ("Length", "characters", "{:,.0f}"),
}


def write_report(folder: RunFolder, *, progress: Progress | None = None) -> Path:
    """Write `report.html` and the figures of a finished run.

    Args:
        folder: The run.
        progress: Told of the pictures drawn.

    Returns:
        The page.

    Raises:
        RunError: A file of the run is missing or damaged, or the page cannot be written.
    """
    record, progress = read_record(folder), progress or Progress()
    # A model that answers for each pixel leaves maps, and no line in a table of predictions.
    predictions = None if record.is_dense else read_prediction_table(record)
    suspects = None if record.is_dense else read_suspects(folder)
    texts = read_extracts(folder) if record.is_of_texts else {}
    charts, confusion = run_charts(record), confusion_chart(record)
    proofs = _proofs(record, predictions)
    gallery = None
    if predictions is not None:
        chosen = choose_samples(record, predictions, suspects=suspects or ())
        gallery = hang_gallery(record, chosen, progress=progress)
    maps = draw_maps(record, progress=progress)
    if maps is not None:
        proofs |= maps.drawings
    files = {name: drawing.svg for name, drawing in {**charts, **proofs}.items()}
    for name, chart in {**files, "confusion": confusion}.items():
        if chart:
            folder.write_text(folder.figures / f"{name}.svg", standalone(chart))
    context = {
        **_opening(record),
        **_data(record),
        **training_context(record),
        **results_context(record),
        **maps_context(record, maps),
        "charts": charts,
        "confusion_chart": confusion,
        "proofs": proofs,
        "evidence": record.evidence,
        "gallery": gallery,
        "suspects": suspects,
        "texts": texts,
        "worded": record.evidence.worded,
        "sections": _sections(record, gallery, suspects, maps),
    }
    folder.write_text(folder.report, render_page("report.html", context))
    return folder.report


def keep_texts(folder: RunFolder, texts: Mapping[str, str]) -> None:
    """Keep in a run of texts what its report shows of them; before the report is written.

    Args:
        folder: The run, with all its files but this one and the report.
        texts: sample id -> text, of all its samples.

    Raises:
        RunError: A file of the run is missing or damaged, or this one cannot be written.
    """
    record = read_record(folder)
    chosen = choose_samples(
        record, read_prediction_table(record), suspects=read_suspects(folder) or ()
    )
    write_extracts(folder, [*chosen.ids, *_named(record)], texts)


def _named(record: RunRecord) -> Iterator[str]:
    """Ids that lists of the page show with their texts: of findings, and of what has leaked."""
    for finding in record.dataset["findings"]:
        yield from finding["ids"][:MOST_TEXTS_LISTED]
    leakage = record.evidence.leakage
    for sample in () if leakage is None else leakage.leaked[:MOST_TEXTS_LISTED]:
        yield from (sample.id, sample.partner)


def _proofs(record: RunRecord, predictions: PredictionTable | None) -> dict[str, Drawing]:
    """The charts of the run's evidence by name; only those that there is data for."""
    evidence, metric, unit = record.evidence, record.headline, record.unit
    drawn: dict[str, Drawing | None] = {
        "ladder": trust_figures.ladder_drawing(
            evidence.rungs, metric=rung_metric(record), counted=record.counted
        ),
        "coverage": trust_figures.coverage_drawing(evidence.coverage, unit=unit),
    }
    if evidence.calibration is not None:
        calibration = evidence.calibration
        drawn["reliability"] = trust_figures.reliability_drawing(calibration, unit=unit)
    if evidence.learning_curve is not None:
        curve = evidence.learning_curve
        drawn["learning_curve"] = trust_figures.learning_drawing(curve, unit=unit)
    strangeness = None if predictions is None else predictions.strangeness
    if evidence.strangers is not None and strangeness:
        strangers = evidence.strangers
        drawn["ood"] = trust_figures.strangers_drawing(strangeness, strangers, unit=unit)
    if evidence.leakage is not None:
        leakage = evidence.leakage
        drawn["leakage"] = trust_figures.leakage_drawing(leakage, metric=metric, unit=unit)
    if evidence.transfer is not None:
        transfer = evidence.transfer
        drawn["transfer"] = trust_figures.transfer_drawing(transfer, metric=metric)
        drawn["transfer_curves"] = trust_figures.transfer_curves_drawing(transfer, metric=metric)
    return {name: drawing for name, drawing in drawn.items() if drawing is not None}


def _sections(
    record: RunRecord,
    gallery: Gallery | None,
    suspects: tuple[SuspectLabel, ...] | None,
    maps: Maps | None,
) -> list[tuple[str, str]]:
    """(anchor, name) of the sections that this run fills, in the order of the page."""
    evidence: Evidence = record.evidence
    has_ladder = len(evidence.rungs) > 1 or evidence.transfer is not None
    has_confidence = evidence.calibration is not None or len(evidence.coverage) > 1
    sections = {
        "result": ("Result", True),
        "data": ("Data", True),
        "ladder": ("Ladder", has_ladder),
        "training": ("Training", True),
        "metrics": ("Metrics", True),
        "confusion": ("Confusions", bool(record.metrics.get("confusion"))),
        "mistakes": ("Mistakes", gallery is not None),
        "maps": ("Maps", maps is not None and bool(maps.groups)),
        "bands": ("Bands", maps is not None and bool(maps.bands)),
        "places": ("Where errors lie", maps is not None and maps.places is not None),
        "masks": ("Masks to look at", maps is not None and bool(maps.masks)),
        "suspects": ("Suspect labels", suspects is not None),
        "confidence": ("Confidence", has_confidence),
        "labels": ("More labels", evidence.learning_curve is not None),
        "strangers": ("Strangers", evidence.strangers is not None and gallery is not None),
        "explanations": ("Where it looks", gallery is not None and bool(gallery.explained)),
        "words": ("Words", bool(evidence.worded)),
        "settings": ("Settings", True),
        "model": ("Model and input", True),
        "use": ("How to use it", True),
    }
    return [(anchor, name) for anchor, (name, is_there) in sections.items() if is_there]


def _opening(record: RunRecord) -> dict[str, Any]:
    run = shlex.quote(record.folder.path.as_posix())
    found = cautions(record)
    num_open = max(MOST_CAUTIONS_OPEN, sum(caution.is_serious for caution in found))
    return {
        "record": record,
        "title": f"{summary.data_name(record)}: {record.name}",
        "created": written_date(record.config["created"]),
        "purpose": summary.purpose(record),
        "making": summary.making(record),
        "verdict": summary.verdict(record),
        "comparison": summary.comparison(record),
        "sureness": summary.sureness(record),
        "headline": metric_row(record.headline, record.measures[record.headline]),
        "overview": overview_chart(record),
        "open_cautions": found[:num_open],
        "more_cautions": found[num_open:],
        "run": run,
        "run_text": repr(record.folder.path.as_posix()),
        "any_text": ANY_TEXT,
        "long_words": LONG_WORDS,
        "term_words": TERM_WORDS,
    }


def _data(record: RunRecord) -> dict[str, Any]:
    counts = record.counts
    splits = [name for name in counts if any(counts[name].values())]
    rows = [
        (name, [counts[s].get(name, 0) for s in splits], record.totals[name])
        for name in record.totals
    ]
    return {
        "splits": splits,
        "class_rows": rows,
        "split_facts": [(name, count(n, record.unit)) for name, n in record.split_sizes.items()],
        "largest_class": max(record.totals.values(), default=0) or 1,
        "most_ids": MOST_IDS_LISTED,
        "file_facts": _file_facts(record),
        "pixels": _pixels(record),
    }


def _file_facts(record: RunRecord) -> list[tuple[str, str]]:
    """How large the samples are, and how many files there are of each format."""
    sizes = record.dataset.get("sizes") or {}
    found = []
    for side, (name, unit, number) in _SIZES.items():
        if sizes.get(side):
            low, middle, high = (number.format(value) for value in sizes[side])
            found.append((name, f"{low} to {high} {unit}, half of them up to {middle}"))
    formats = record.dataset.get("formats") or {}
    return [*found, *((name, count(number, "file")) for name, number in formats.items())]


def _pixels(record: RunRecord) -> dict[str, Any] | None:
    """Splits, and the share of each class of their labelled pixels; None without masks."""
    counted = record.dataset.get("pixel_counts")
    if not counted:
        return None
    shares = class_shares(record.classes, counted, list(record.colours.values()))
    return {"splits": list(counted), "classes": shares}


def written_date(text: str) -> str:
    """An ISO time as a date and time to read; the text itself when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y, %H:%M}"
