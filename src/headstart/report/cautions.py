"""What a reader of a run should watch out for, worked out from the run alone. Draws nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headstart.report.commands import words_command
from headstart.report.evidence import Leakage, Rung
from headstart.report.record import RunRecord
from headstart.report.suspects import read_suspects
from headstart.report.wording import count, figure, metric_words, names, percent, told

# Below this, the 95% interval of an accuracy of 0.9 is wider than 12 points (Wilson, 1927).
SMALL_TEST_SET = 100
# Below this many test samples one mistake moves a class's recall by more than 10 points.
FEW_TEST_SAMPLES = 10
# Below this many samples one of the five folds that settings are chosen by holds one or none.
FEW_TRAINING_SAMPLES = 10
# Stated confidence then misses the actual share of right answers by a tenth.
LARGE_CALIBRATION_ERROR = 0.10
# Real, well-kept data sets have around 3% wrong labels (Northcutt, Athalye, Mueller 2021).
MANY_SUSPECTS = 0.03
# The threshold lets some 1% of training-like samples through as strangers; this is five times it.
MANY_STRANGERS = 0.05

# Half of what either answer or truth covers is then covered by just one of them.
LOW_IOU = 0.5
# A class with a smaller share of the test pixels hangs on a few places in a few pictures.
FEW_PIXELS = 0.005
# An interval so wide holds both a model to rely on and one to mend.
WIDE_INTERVAL = 0.15

_BASELINES = ("majority", "trivial")
# What a trivial baseline looks at, by what is answered for; and what to do where that is enough.
_TRIVIAL = {
    "picture": (
        "Colours alone do",
        "Look whether background, light or camera give the class away.",
    ),
    "pixel": (
        "A classifier of single pixels does",
        "Use that one where it is enough: it is the faster, and easier to explain.",
    ),
    "text": (
        "The words alone, whatever their order (TF-IDF), do",
        "A classifier of words is enough here: it is the faster, and easier to explain. Keep it "
        "with `{command}`.",
    ),
}


@dataclass(frozen=True)
class Caution:
    """Something to watch out for: what was found, and what can be done about it."""

    message: str
    remedy: str = ""
    is_serious: bool = False


def cautions(record: RunRecord) -> tuple[Caution, ...]:
    """Everything to watch out for, the serious first, each once."""
    found = [
        *_about_results(record),
        *_about_evidence(record),
        *(_about_mapped_classes(record) if record.is_dense else _about_classes(record)),
        *_about_masks(record),
        *_about_training(record),
        *_about_data(record),
    ]
    told = " ".join(caution.message for caution in found)
    found += [
        Caution(message)
        for message in record.warnings
        # Findings are warned of with what to do about them behind.
        if message not in told and not any(message.startswith(each.message) for each in found)
    ]
    if record.num_damaged_lines:
        lines = count(record.num_damaged_lines, "line")
        found.append(
            Caution(f"{lines} of {record.folder.log.name} cannot be read, and are left out.")
        )
    unique: dict[str, Caution] = {}
    for caution in found:
        unique.setdefault(caution.message, caution)
    return tuple(sorted(unique.values(), key=lambda caution: not caution.is_serious))


def _about_results(record: RunRecord) -> Iterator[Caution]:
    measure, majority = record.measures[record.headline], record.majority
    low = measure.value if measure.low is None else measure.low
    if majority is not None and low <= majority:
        yield Caution(
            "This model is not clearly better than always answering "
            f"“{record.most_common_class}” ({percent(majority)}).",
            "More samples, or another backbone or strategy, may help; do not rely on it yet.",
            is_serious=True,
        )
    if not record.is_sealed:
        yield Caution(
            f"There is no test set: the figures come from the validation {record.unit}s, which "
            "settings were chosen by, so they may flatter the model.",
            f"Put {record.unit}s it has never seen into a {_place(record)}, and run "
            "`headstart evaluate` on them.",
            is_serious=True,
        )
    if 0 < record.num_tested < SMALL_TEST_SET:
        yield Caution(
            f"The test set has only {count(record.num_tested, record.unit)}, so the figures are "
            "rough: read the intervals, not the single numbers.",
            f"More labelled test {record.unit}s make them narrower.",
        )
    if record.is_dense and measure.low is not None and measure.high is not None:
        width = measure.high - measure.low
        if width > WIDE_INTERVAL:
            title = metric_words(record.headline).title
            yield Caution(
                f"The interval of the {title[:1].lower()}{title[1:]} is {100 * width:.0f} points "
                "wide: pictures differ much, or are few.",
                "Label more test pictures, of places unlike those there are.",
            )
    error = record.measures.get("ece")
    if error is not None and error.value > LARGE_CALIBRATION_ERROR:
        yield Caution(
            f"Its confidence is off by {percent(error.value)} on average: a stated 90% does not "
            "mean right nine times in ten.",
            f"Use the confidence to sort {record.unit}s, not as a probability.",
        )


def _about_evidence(record: RunRecord) -> Iterator[Caution]:
    evidence = record.evidence
    if evidence.leakage is not None and evidence.leakage.num_leaked:
        yield _leak(record, evidence.leakage)
    yield from _about_ladder(record, evidence.rungs)
    strangers = evidence.strangers
    share = None if strangers is None else strangers.share_flagged
    if share is not None and share > MANY_STRANGERS:
        yield Caution(
            f"{percent(share)} of the test {record.unit}s look unlike anything in training.",
            f"Add training {record.unit}s like them; the section on strangers shows them.",
        )
    suspects = read_suspects(record.folder) or ()
    judged = record.metrics.get("suspects", {}).get("num_judged", record.num_trained)
    if len(suspects) > MANY_SUSPECTS * max(1, judged):
        yield Caution(
            f"{count(len(suspects), 'label looks', plural='labels look')} wrong, which is more "
            "than in most data sets.",
            f"Look through them below, then fit with `--drop-suspects "
            f"{shlex.quote(str(record.folder.suspects))}`.",
        )


def _leak(record: RunRecord, leakage: Leakage) -> Caution:
    """Test samples that stand in training too, with the figures that they flatter."""
    samples = count(leakage.num_leaked, f"test {record.unit}")
    message = f"{samples} also {'stands' if leakage.num_leaked == 1 else 'stand'} in training"
    name, words = record.headline, metric_words(record.headline)
    before, after = leakage.with_leaked.get(name), leakage.without_leaked.get(name)
    if before is None or after is None:
        return Caution(
            f"{message}, or nearly.", "Take them out of one of the two.", is_serious=True
        )
    return Caution(
        f"{message}, or nearly: {words.title.lower()} is "
        f"{figure(before.value, is_share=words.is_share)} with them and "
        f"{told(after, is_share=words.is_share)} without.",
        "Trust the second figure.",
        is_serious=True,
    )


def _about_ladder(record: RunRecord, rungs: Sequence[Rung]) -> Iterator[Caution]:
    kept = next((rung for rung in rungs if rung.is_kept), None)
    if kept is None:
        return
    if kept.strategy in _BASELINES and not record.is_of_words:
        yield Caution(
            "No rung of the ladder was clearly better than a trivial baseline, which was kept.",
            "More samples, or another backbone, may help; do not rely on it yet.",
            is_serious=True,
        )
        return
    metric = record.headline if record.is_dense else "accuracy"
    for rung in rungs:
        ours, theirs = kept.measures.get(metric), rung.measures.get(metric)
        if rung is kept or rung.strategy != "trivial" or ours is None or theirs is None:
            continue
        if (ours.value if ours.low is None else ours.low) <= theirs.value:
            simple, remedy = _TRIVIAL[record.counted]
            command = words_command(record.config["data"], record.given)
            yield Caution(
                f"{simple} about as well: {told(theirs, is_share=True)} against "
                f"{told(ours, is_share=True)}. The model may look at nothing else.",
                remedy.format(command=command),
                is_serious=True,
            )


def _about_classes(record: RunRecord) -> Iterator[Caution]:
    confusion = record.metrics.get("confusion")
    if confusion:
        said = [sum(column) for column in zip(*confusion["counts"], strict=True)]
        never = [
            name
            for name, row, n in zip(confusion["classes"], confusion["counts"], said, strict=True)
            if n == 0 and sum(row) > 0
        ]
        if never:
            yield Caution(
                f"It never answered {names(never)}, though the test set has such {record.unit}s.",
                f"Add training {record.unit}s of these classes, or fit with `--balance weights`.",
                is_serious=True,
            )
    weak = {
        name: row["recall"]
        for name, row in record.metrics["per_class"].items()
        if 0 < (row.get("recall") or 0) < 0.5 and row.get("n", 0) >= FEW_TEST_SAMPLES
    }
    if weak:
        listed = [f"{name} ({percent(weak[name])})" for name in sorted(weak, key=weak.__getitem__)]
        yield Caution(
            f"It misses more than half of {names(listed)}: in brackets the share it finds.",
            f"Add training {record.unit}s of these classes, or fit with `--balance weights`.",
            is_serious=True,
        )


def _about_mapped_classes(record: RunRecord) -> Iterator[Caution]:
    """Classes of a model that answers for each pixel."""
    pixels, total = record.pixels, sum(record.pixels.values())
    absent = [name for name in record.classes if total and not pixels.get(name)]
    if absent:
        yield Caution(
            f"No test picture has a labelled pixel of {names(absent)}, so nothing is known about "
            f"{'it' if len(absent) == 1 else 'them'}.",
            "Label test pictures that show it." if len(absent) == 1 else "Label such pictures.",
            is_serious=True,
        )
    ious = record.ious
    weak = sorted((name for name in ious if ious[name] < LOW_IOU), key=ious.__getitem__)
    if weak:
        listed = [f"{name} ({percent(ious[name])})" for name in weak]
        yield Caution(
            f"It maps {names(listed)} badly: in brackets the IoU.",
            "Label more of it, look whether its masks are right, or fit with `--balance weights`.",
            is_serious=True,
        )
    rare = [name for name, n in pixels.items() if 0 < n < FEW_PIXELS * total]
    if rare:
        yield Caution(
            f"{count(len(rare), 'class covers', plural='classes cover')} less than "
            f"{percent(FEW_PIXELS)} of the test pixels, so figures for a single class are rough: "
            f"{names(rare)}.",
            "Label more test pictures that show it." if len(rare) == 1 else "",
        )


def _about_masks(record: RunRecord) -> Iterator[Caution]:
    found = record.chips.out_of_line
    if found:
        yield Caution(
            f"{count(len(found), 'picture has', plural='pictures have')} a loss far above that of "
            f"the others: {names([chip.id for chip in found], limit=3)}.",
            "Look whether the mask, rather than the model, is wrong; the section on masks lists "
            "them.",
        )


def _about_training(record: RunRecord) -> Iterator[Caution]:
    fit = record.fit
    num_epochs, best = fit.get("epochs"), record.best_epoch
    if fit.get("stopped") == "interrupted":
        yield Caution(
            "Training was interrupted before its end.",
            f"Go on with `headstart fit --resume {shlex.quote(str(record.folder.path))}`.",
            is_serious=True,
        )
    elif fit.get("stopped") == "budget":
        yield Caution(
            "The time budget ended the training; what was best until then is kept.",
            "Give a larger `--budget`.",
        )
    last = record.epochs[-1]["epoch"] if record.epochs else num_epochs
    if best is not None and best == last and len(record.epochs) > 1:
        yield Caution(
            "The last epoch was the best: the model was still improving when training ended.",
            "Give more `--epochs`.",
        )
    licence = record.backbone.licence
    if record.backbone.is_pretrained:
        if licence.lower() in ("", "unknown"):
            yield Caution(
                "The licence of the pretrained weights is unknown.",
                "Ask where they came from before you publish or sell what builds on them.",
            )
        elif "-nc" in licence.lower() or "noncommercial" in licence.lower():
            yield Caution(
                f"The pretrained weights may not be used commercially (licence {licence}).",
                "`headstart models` lists others.",
            )


def _about_data(record: RunRecord) -> Iterator[Caution]:
    train, test = record.counts.get("train", {}), record.counts.get("test", {})
    total = sum(train.values())
    scarce = [
        name for name in record.dataset["classes"] if train.get(name, 0) < FEW_TRAINING_SAMPLES
    ]
    if total and scarce:
        yield Caution(
            f"{count(len(scarce), 'class has', plural='classes have')} fewer than "
            f"{FEW_TRAINING_SAMPLES} training {record.unit}s: {names(scarce)}.",
            f"Add {record.unit}s of these first.",
        )
    rough = [n for n in record.dataset["classes"] if 0 < test.get(n, 0) < FEW_TEST_SAMPLES]
    if rough:
        yield Caution(
            f"{count(len(rough), 'class has', plural='classes have')} fewer than "
            f"{FEW_TEST_SAMPLES} test {record.unit}s, so figures for a single class are rough: "
            f"{names(rough)}.",
        )
    left_out = record.dataset.get("left_out") or []
    if left_out:
        why = record.dataset.get("left_out_because", {}).get(left_out[0], "")
        noun = "text" if record.is_of_texts else "file"
        yield Caution(
            f"{count(len(left_out), noun)} {_was(len(left_out))} left out: {names(left_out)}.",
            f"The first one: {why}." if why else "",
        )
    for finding in record.dataset["findings"]:
        yield Caution(
            finding["message"], finding["remedy"], is_serious=finding["severity"] == "error"
        )


def _place(record: RunRecord) -> str:
    """Where labelled samples are put for a measurement."""
    return "table or a folder" if record.is_of_texts else "folder"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
