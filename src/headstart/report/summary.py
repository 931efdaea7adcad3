"""The sentences that open a report and a model card: what the model does, and how well."""

from __future__ import annotations

import statistics
from pathlib import PurePath

from headstart.report.evidence import CoveragePoint
from headstart.report.record import RunRecord
from headstart.report.wording import count, figure, interval, metric_words, names, percent, told

_CLASSIFIERS = {
    "logistic": "a logistic classifier",
    "svm": "a linear support vector machine",
    "knn": "a nearest-neighbour classifier",
}
_FREEZING = {
    "head": "a new head trained on top of {backbone}, which stayed frozen",
    "gradual": "{backbone}, fine-tuned stage by stage from the top",
    "full": "{backbone}, fine-tuned as a whole",
    "lora": "{backbone}, of whose weights low-rank changes were learned",
    "scratch": "{backbone}, trained from random weights",
    "as-is": "{backbone} as it comes; nothing was learned from the data",
    "tfidf": "a logistic classifier of the words of a text (TF-IDF), without any pretrained model",
}
_DENSE_FREEZING = {
    "probe": "a classifier of single pixels on the features of {backbone}, which stayed frozen",
    "head": "a decoder trained on top of {backbone}, which stayed frozen",
    "gradual": "{backbone} with a decoder, fine-tuned stage by stage from the top",
    "full": "{backbone} with a decoder, fine-tuned as a whole",
    "scratch": "{backbone} with a decoder, trained from random weights",
}


def purpose(record: RunRecord) -> str:
    """What the model does, in one sentence."""
    classes = count(len(record.classes), "class", plural="classes")
    if record.is_dense:
        return f"Maps {classes} in pictures: {names(record.classes)}."
    if record.is_multilabel:
        return f"Finds which of {classes} are in a {_sample(record)}: {names(record.classes)}."
    return f"Tells {classes} of {_sample(record)}s apart: {names(record.classes)}."


def _sample(record: RunRecord) -> str:
    """What a sample is called where one is spoken of as such."""
    return "photo" if record.unit == "picture" else record.unit


def making(record: RunRecord) -> str:
    """How the model was made, in one sentence."""
    strategy, backbone = record.config["strategy"], record.backbone.architecture
    if record.is_dense and strategy in _DENSE_FREEZING:
        text = _DENSE_FREEZING[strategy].format(backbone=backbone)
    elif strategy == "probe":
        kind = _CLASSIFIERS.get(record.fit.get("classifier", ""), "a classical classifier")
        features = "features of several depths" if record.uses_depths else "the features"
        text = f"{kind} on {features} of {backbone}, which stayed frozen"
    else:
        text = _FREEZING.get(strategy, "{backbone}, with the strategy " + strategy)
        text = text.format(backbone=backbone)
    num_train = int(record.fit.get("num_samples", record.num_trained))
    is_fitted = num_train and strategy != "as-is"
    fitted = f"; fitted on {count(num_train, record.unit)}" if is_fitted else ""
    return f"It is {text}{fitted}."


def verdict(record: RunRecord) -> str:
    """The headline metric with its interval, in words."""
    name = record.headline
    measure, words = record.measures[name], metric_words(name)
    seen = f"{'unseen' if record.is_sealed else 'validation'} {record.unit}s"
    bounds = interval(measure, is_share=words.is_share)
    told = f" (95% interval {bounds})" if bounds else ""
    value = figure(measure.value, is_share=words.is_share)
    if name == "accuracy":
        num = measure.n or record.num_tested
        verb = "All labels right" if record.is_multilabel else "Right"
        return f"{verb} on {round(measure.value * num):,} of {num:,} {seen}: {value}{told}."
    return f"{words.title} of {value} on {record.num_tested:,} {seen}{told}."


def comparison(record: RunRecord) -> str:
    """What else places the headline: the share of pixels that are right, and a trivial answer.

    Each only where it is known.
    """
    found = []
    right = record.measures.get("pixel_accuracy")
    if record.headline == "miou" and right is not None:
        found.append(f"Of all pixels, {told(right, is_share=True)} are right.")
    majority = record.majority
    if majority is not None:
        reach = "have a mean IoU of" if record.headline == "miou" else "be right on"
        found.append(
            f"Always answering “{record.most_common_class}”, the most common class, would {reach} "
            f"{percent(majority)}."
        )
    return " ".join(found)


# Of fewer pictures a quartile is hardly more than one of them.
FEWEST_FOR_QUARTILES = 8
# Off by less than this on average, a stated 90% means right 85 to 95 times in 100.
_SMALL_CALIBRATION_ERROR = 0.05
# An accuracy worth leaving the rest to people for, and the least share still worth automating.
_NEARLY_ALWAYS_RIGHT, _LEAST_COVERAGE = 0.99, 0.3


def sureness(record: RunRecord) -> tuple[str, ...]:
    """How sure the figures are, and how far an answer can be trusted: a sentence for each proof."""
    evidence, learning = record.evidence, record.evidence.learning_curve
    found = [
        _long_run(record),
        _from_class_to_class(record),
        _from_picture_to_picture(record),
        _confidence(record),
        _abstention(record),
        evidence.verdict,
        "" if evidence.transfer is None else evidence.transfer.sentence,
        "" if learning is None else learning.sentence,
    ]
    return tuple(sentence for sentence in found if sentence)


def _long_run(record: RunRecord) -> str:
    measure = record.measures[record.headline]
    words = metric_words(record.headline)
    bounds = interval(measure, is_share=words.is_share)
    num = f"{measure.n or record.num_tested:,}"
    if not bounds:
        return f"No interval is known for this figure, which rests on {num} {record.unit}s."
    if record.headline != "accuracy":
        return f"The 95% interval is {bounds}: {num} {record.unit}s cannot tell it closer."
    return (
        f"In the long run, expect {bounds} of {record.unit}s like these to be right (95% "
        f"interval): {num} {record.unit}s cannot tell it closer."
    )


def _from_class_to_class(record: RunRecord) -> str:
    """The classes that are mapped best and worst; empty unless each pixel is answered."""
    ious = record.ious
    if not record.is_dense or len(ious) < 2:
        return ""
    best, worst = (choose(ious, key=ious.__getitem__) for choose in (max, min))
    return (
        f"It maps “{best}” best, with an IoU of {percent(ious[best])}, and “{worst}” worst, with "
        f"{percent(ious[worst])}."
    )


def _from_picture_to_picture(record: RunRecord) -> str:
    """How much the mean IoU varies; empty unless each pixel is answered."""
    mious = record.chips.mious
    if len(mious) < FEWEST_FOR_QUARTILES:
        return ""
    low, _, high = statistics.quantiles(mious, n=4, method="inclusive")
    return (
        f"Picture by picture the mean IoU is {percent(low)} to {percent(high)} for the middle "
        f"half, and {percent(mious[0])} for the worst."
    )


def _confidence(record: RunRecord) -> str:
    """That stated confidence can be trusted; empty where it cannot, or was not measured."""
    calibration = record.evidence.calibration
    if calibration is None or calibration.error is None:
        return ""
    error = calibration.error
    if error.value > _SMALL_CALIBRATION_ERROR:
        return ""
    return (
        "Its stated confidence can be taken at its word: on average it is off by "
        f"{told(error, is_share=True)}."
    )


def _abstention(record: RunRecord) -> str:
    """What leaving the unsure samples to people would bring; empty where that is nothing."""
    point = best_abstention(record)
    if point is None or point.min_confidence is None:
        return ""
    return (
        f"Where it is at least {percent(point.min_confidence)} sure, which is on "
        f"{percent(point.coverage)} of the {record.unit}s, it is right on "
        f"{told(point.accuracy, is_share=True)}."
    )


def best_abstention(record: RunRecord) -> CoveragePoint | None:
    """The largest share of samples to answer that is nearly always right; None without one.

    Where no share is that good, the share of the best accuracy, if it is better than that on all.
    """
    points = [p for p in record.evidence.coverage if _LEAST_COVERAGE <= p.coverage <= 1.0]
    if not points:
        return None
    good = [p for p in points if p.accuracy.value >= _NEARLY_ALWAYS_RIGHT]
    if good:
        return max(good, key=lambda p: p.coverage)
    best = max(points, key=lambda p: (p.accuracy.value, p.coverage))
    return best if best.accuracy.value > points[-1].accuracy.value else None


def data_name(record: RunRecord) -> str:
    """The name of the data set's folder."""
    return PurePath(str(record.config["data"])).name or str(record.config["data"])
