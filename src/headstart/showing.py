"""Results of the verbs as tables and sentences on the console. Knows no argument and no verb."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.progress import Progress

if TYPE_CHECKING:
    from headstart.api import Demonstration, Run
    from headstart.contracts import Evaluation, ModelCard
    from headstart.inspecting import Inspected
    from headstart.mapping import Mapped
    from headstart.prediction_files import PredictionTally
    from headstart.report.comparison import Compared
    from headstart.report.ranking import Ranking

_MOST_MODELS = 40
_MOST_MAPPED, _MOST_CLASSES = 40, 8
# The threshold of strangers is a 99% quantile of ordinary pictures, and rests on few of them.
_EXPECTED_STRANGERS = 0.05


def show_mapped(mapped: Sequence[Mapped], progress: Progress) -> None:
    """Which files were written, and what share of each picture every class has."""
    classes = list(mapped[0].shares) if mapped else []
    few = classes[:_MOST_CLASSES]
    counted = ["polygons"] if any(each.polygons for each in mapped) else []
    rows = [
        [
            each.mask,
            *(f"{100 * each.shares[name]:.1f}%" for name in few),
            *(f"{each.num_polygons or 0:,}" for _ in counted),
        ]
        for each in mapped[:_MOST_MAPPED]
    ]
    progress.table("Masks, and the shares of the classes", ["mask", *few, *counted], rows)
    if len(mapped) > _MOST_MAPPED:
        progress.note(f"and {len(mapped) - _MOST_MAPPED:,} more beside them")
    beside = {
        "Probabilities": [each.probabilities for each in mapped],
        "Polygons": [each.polygons for each in mapped],
        "Overlays": [each.overlay for each in mapped],
    }
    for what, paths in beside.items():
        written = [path for path in paths if path is not None]
        if written:
            others = f", and {len(written) - 1:,} more" if len(written) > 1 else ""
            progress.note(f"{what}: {written[0]}{others}")


def show_inspection(found: Inspected, progress: Progress) -> None:
    """What is in a data set, and what is wrong with it."""
    dataset = found.dataset
    progress.note(f"{dataset.root}: {dataset.reason}")
    for note in dataset.notes:
        progress.note("  " + note)
    splits = [split for split in found.counts if any(found.counts[split].values())]
    rows = [
        [name, *(found.counts[split].get(name, 0) for split in splits)] for name in dataset.classes
    ]
    if found.pixels:  # a picture with two classes would count twice
        rows = _shares(found.pixels, dataset.classes, splits)
    elif not dataset.is_multilabel:  # where a sample may have several labels, their sum is nothing
        rows.append(["all", *(sum(found.counts[split].values()) for split in splits)])
    unit = ", by share of the labelled pixels" if found.pixels else ""
    progress.table(f"{len(dataset):,} samples{unit}", ["class", *splits], rows)
    progress.note(f"Split: {found.split_reason}")
    if found.formats:
        most_common = sorted(found.formats.items(), key=lambda item: -item[1])
        formats = ", ".join(f"{name} {count:,}" for name, count in most_common)
        (w0, w1, w2), (h0, h1, h2) = found.sizes["width"], found.sizes["height"]
        progress.note(
            f"Formats: {formats}. Width {w0} to {w2} (median {w1:g}), "
            f"height {h0} to {h2} (median {h1:g}) pixels."
        )
    if found.lengths is not None and found.lengths.told:
        progress.note(f"Lengths: {found.lengths.told}")
    if found.languages is not None and found.languages.told:
        progress.note(f"Languages: {found.languages.told}")
    if not found.findings:
        progress.note("Nothing is wrong with it.")
    for finding in found.findings:
        lines = [f"{finding.message} {finding.remedy}"]
        lines += [f"    {id_}" for id_ in finding.ids[:5]]
        if len(finding.ids) > 5:
            # Of texts the page shows what they say, so not of all that a warning is about.
            is_whole = found.lengths is None or finding.severity == "error"
            page = "lists all" if is_whole else "shows more"
            lines.append(f"    and {len(finding.ids) - 5:,} more (--output page.html {page})")
        text = "\n".join(lines)
        if finding.severity == "error":
            progress.warn("[makes a fit impossible] " + text)
        else:
            progress.warn(text)
    for path in (found.page, found.sheet):
        if path is not None:
            progress.note(f"Written: {path}")


def _shares(
    pixels: Mapping[str, Mapping[str, int]], classes: Sequence[str], splits: Sequence[str]
) -> list[list[Any]]:
    """Rows of a table: of each class its share of the pixels of each split."""
    totals = {split: max(1, sum(pixels[split].values())) for split in splits if split in pixels}
    return [
        [name, *(f"{pixels[split][name] / total:.1%}" for split, total in totals.items())]
        for name in classes
    ]


def show_run(run: Run, progress: Progress) -> None:
    """What a fit achieved, and what to do next."""
    rows = [
        [
            name,
            f"{m.value:.3f}",
            "" if m.low is None else f"{m.low:.3f} to {m.high:.3f}",
            "" if m.n is None else m.n,
        ]
        for name, m in run.metrics.items()
    ]
    progress.table("On unseen samples", ["metric", "value", "95% interval", "n"], rows)
    is_of_texts = run.folder.read_json(run.folder.config)["task"] == "text-classification"
    new = "NEW_TEXTS.csv" if is_of_texts else "NEW_PICTURES/"
    target = " --output MASKS/" if "miou" in run.metrics else ""
    progress.note(
        f"Report:  {run.report}\n"
        f"Predict: headstart predict {shlex.quote(str(run.path))} {new}{target}\n"
        f"Weights: {run.folder.weights}"
    )


def show_evaluation(found: Evaluation, data: Path, progress: Progress) -> None:
    """Metrics on other data."""
    rows = [[name, str(measure)] for name, measure in found.metrics.items()]
    progress.table(f"On {found.n} samples of {data}", ["metric", "value"], rows)


def show_predicted(found: PredictionTally, progress: Progress, *, output: Path | None) -> None:
    """What was answered, how much was left undecided, and how much is like nothing in training."""
    n, unit = found.num_samples, found.unit
    if output is not None:
        most = found.answers.most_common(_MOST_CLASSES)
        told = ", ".join(f"{name} {number:,}" for name, number in most)
        if len(found.answers) > len(most):
            told += f", and {len(found.answers) - len(most):,} classes more"
        progress.note(f"Written: {output} ({n:,} rows{': ' if told else ''}{told})")
    if found.min_confidence is not None:
        progress.note(
            f"Undecided: {found.num_undecided:,} of {n:,} {unit}s (less sure than "
            f"{found.min_confidence:g})."
        )
    if found.num_strangers > _EXPECTED_STRANGERS * n + 1:
        progress.warn(
            f"{found.num_strangers:,} of {n:,} {unit}s are unlike any the model was fitted on: do "
            "not rely on what it says of them (column is_stranger)."
        )
    elif found.num_strangers:
        told = f"{found.num_strangers:,} of {n:,} (is_stranger)"
        progress.note(f"Unlike the training {unit}s: {told}.")


def show_comparison(found: Compared, progress: Progress) -> None:
    """Verdicts, then the differences of each run from the first, then what the runs are."""
    from headstart.report.comparison import difference_rows

    for comparison in found.comparisons:
        progress.note(comparison.verdict)
    for comparison in found.comparisons:
        rows = [
            [row.title, row.value_a, row.value_b, row.difference, row.interval, row.verdict]
            for row in difference_rows(comparison)
        ]
        names = [comparison.name_a, comparison.name_b]
        columns = ["metric", *names, "difference", "95% interval", f"{names[1]} is"]
        progress.table(f"On the same {found.n:,} unseen samples", columns, rows)
    rows = [
        [run.name, run.strategy, run.backbone, "" if run.seconds is None else f"{run.seconds:.1f}"]
        for run in found.runs
    ]
    progress.table("", ["run", "strategy", "backbone", "seconds"], rows)
    if found.page is not None:
        progress.note(f"Written: {found.page}")


def show_ranking(found: Ranking, progress: Progress) -> None:
    """The verdict, then every backbone with its score and its costs."""
    from headstart.report.ranking import ranking_rows
    from headstart.report.wording import metric_words

    progress.note(found.verdict)
    rows = ranking_rows(found)
    progress.table(
        "By a linear probe, out of fold; the test set is sealed",
        ["backbone", metric_words(found.headline).title.lower(), "95% interval", "samples", ""],
        [[row.reference, row.score, row.interval, row.n, row.said] for row in rows],
    )
    progress.table(
        f"On this machine, for {found.n:,} samples",
        ["backbone", f"{found.unit}s/s", "all features", "epoch of fine-tuning", "it may gain"],
        [[row.reference, row.rate, row.all, row.epoch, row.gain] for row in rows],
    )
    for reference, why in found.absent:
        progress.warn(f"{reference} took no part: {why}")
    for note in found.notes:
        progress.warn(note)
    if found.page is not None:
        progress.note(f"Written: {found.page}")
    progress.note(f"Fit:     {found.command}")


def show_models(cards: Sequence[ModelCard], progress: Progress) -> None:
    """The first models of a list."""
    shown = cards[:_MOST_MODELS]
    rows = [
        [
            card.name,
            f"{card.num_parameters / 1e6:.1f} M" if card.num_parameters else "",
            card.input.replace("3 x ", "", 1),
            card.licence,
            card.domain,
            "cache" if card.is_here else card.weights.partition("://")[0],
        ]
        for card in shown
    ]
    columns = ["name", "size", "input", "licence", "domain", "from"]
    progress.table("", columns, rows)
    if len(cards) > len(shown):
        progress.note(f"and {len(cards) - len(shown):,} more: narrow it, such as `models resnet50`")


def show_demo(result: Demonstration, progress: Progress) -> None:
    """What the demo achieved and predicted, and how to go on with own samples."""
    showcase = result.showcase
    show_run(result.run, progress)
    rows = [
        [Path(id_).name, label, f"{probability:.2f}"]
        for id_, label, probability in zip(
            result.prediction.ids[:8],
            result.prediction.labels,
            result.prediction.confidences,
            strict=False,
        )
    ]
    progress.table(showcase.title, [showcase.noun, "prediction", "confidence"], rows)
    progress.note(
        f"All {len(result.prediction)} predictions: {result.predictions}\n"
        f"{showcase.own.capitalize() + ':':8} {result.data}\n\n"
        f"Now your own {showcase.own}, {showcase.layout}:\n"
        f"  headstart inspect {showcase.path}\n"
        f"  headstart fit {showcase.path}"
    )


def show_cache(root: Path, uses: Sequence[Any], limit_bytes: int, progress: Progress) -> None:
    """Where the cache is and what is in it."""
    rows = [[use.kind, f"{use.num_files:,}", f"{use.num_bytes / 1e6:,.1f} MB"] for use in uses]
    progress.table(str(root), ["part", "files", "size"], rows)
    total = sum(use.num_bytes for use in uses)
    progress.note(f"{total / 1e9:.2f} GB of at most {limit_bytes / 1e9:.1f} GB")
