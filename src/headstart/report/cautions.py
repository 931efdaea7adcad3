"""What a reader of a run should watch out for, worked out from the run alone. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headstart.report.record import RunRecord
from headstart.report.wording import count, names, percent

# Below this, the 95% interval of an accuracy of 0.9 is wider than 12 points (Wilson, 1927).
SMALL_TEST_SET = 100
# Below this many test samples one mistake moves a class's recall by more than 10 points.
FEW_TEST_SAMPLES = 10
# Below this many samples one of the five folds that settings are chosen by holds one or none.
FEW_TRAINING_SAMPLES = 10
# Stated confidence then misses the actual share of right answers by a tenth.
LARGE_CALIBRATION_ERROR = 0.10


@dataclass(frozen=True)
class Caution:
    """Something to watch out for: what was found, and what can be done about it."""

    message: str
    remedy: str = ""
    is_serious: bool = False


def cautions(record: RunRecord) -> tuple[Caution, ...]:
    """Everything to watch out for, the serious first, each once."""
    found = [*_about_results(record), *_about_training(record), *_about_data(record)]
    told = " ".join(caution.message for caution in found)
    found += [Caution(message) for message in record.warnings if message not in told]
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
    measure, majority = record.measures[record.headline], record.majority_accuracy
    low = measure.value if measure.low is None else measure.low
    if record.headline == "accuracy" and majority is not None and low <= majority:
        yield Caution(
            "This model is not clearly better than always answering "
            f"“{record.most_common_class}” ({percent(majority)}).",
            "More samples, or another backbone or strategy, may help; do not rely on it yet.",
            is_serious=True,
        )
    if not record.is_sealed:
        yield Caution(
            "There is no test set: the figures come from the validation pictures, which settings "
            "were chosen by, so they may flatter the model.",
            "Put pictures it has never seen into a folder, and run `headstart evaluate` on them.",
            is_serious=True,
        )
    if 0 < record.num_tested < SMALL_TEST_SET:
        yield Caution(
            f"The test set has only {count(record.num_tested, 'picture')}, so the figures are "
            "rough: read the intervals, not the single numbers.",
            "More labelled test pictures make them narrower.",
        )
    error = record.measures.get("ece")
    if error is not None and error.value > LARGE_CALIBRATION_ERROR:
        yield Caution(
            f"Its confidence is off by {percent(error.value)} on average: a stated 90% does not "
            "mean right nine times in ten.",
            "Use the confidence to sort pictures, not as a probability.",
        )
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
                f"It never answered {names(never)}, though the test set has such pictures.",
                "Add training pictures of these classes, or fit with `--balance weights`.",
                is_serious=True,
            )


def _about_training(record: RunRecord) -> Iterator[Caution]:
    fit = record.fit
    num_epochs, best = fit.get("epochs"), record.best_epoch
    if fit.get("stopped") == "interrupted":
        yield Caution(
            "Training was interrupted before its end.",
            f"Go on with `headstart fit --resume {record.folder.path}`.",
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
    if record.backbone.weights != "random":
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
            f"{FEW_TRAINING_SAMPLES} training pictures: {names(scarce)}.",
            "Add pictures of these first.",
        )
    rough = [n for n in record.dataset["classes"] if 0 < test.get(n, 0) < FEW_TEST_SAMPLES]
    if rough:
        yield Caution(
            f"{count(len(rough), 'class has', plural='classes have')} fewer than "
            f"{FEW_TEST_SAMPLES} test pictures, so figures for a single class are rough: "
            f"{names(rough)}.",
        )
    left_out = record.dataset.get("left_out") or []
    if left_out:
        yield Caution(
            f"{count(len(left_out), 'file')} could not be used and {_was(len(left_out))} left out: "
            f"{names(left_out)}.",
            "The findings below say why.",
        )
    for finding in record.dataset["findings"]:
        yield Caution(
            finding["message"], finding["remedy"], is_serious=finding["severity"] == "error"
        )


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
