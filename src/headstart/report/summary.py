"""The sentences that open a report and a model card: what the model does, and how well."""

from __future__ import annotations

from pathlib import PurePath

from headstart.report.record import RunRecord
from headstart.report.wording import count, figure, interval, metric_words, names, percent

_CLASSIFIERS = {
    "logistic": "a logistic classifier",
    "svm": "a linear support vector machine",
    "knn": "a nearest-neighbour classifier",
}
_FREEZING = {
    "head": "a new head trained on top of {backbone}, which stayed frozen",
    "gradual": "{backbone}, fine-tuned stage by stage from the top",
    "full": "{backbone}, fine-tuned as a whole",
    "scratch": "{backbone}, trained from random weights",
    "as-is": "{backbone} as it comes; nothing was learned from the data",
}


def purpose(record: RunRecord) -> str:
    """What the model does, in one sentence."""
    classes = count(len(record.classes), "class", plural="classes")
    if record.is_multilabel:
        return f"Finds which of {classes} are in a photo: {names(record.classes)}."
    return f"Tells {classes} of photos apart: {names(record.classes)}."


def making(record: RunRecord) -> str:
    """How the model was made, in one sentence."""
    strategy, backbone = record.config["strategy"], record.backbone.architecture
    if strategy == "probe":
        kind = _CLASSIFIERS.get(record.fit.get("classifier", ""), "a classical classifier")
        text = f"{kind} on the features of {backbone}, which stayed frozen"
    else:
        text = _FREEZING.get(strategy, "{backbone}, with the strategy " + strategy)
        text = text.format(backbone=backbone)
    num_train = int(record.fit.get("num_samples", record.num_trained))
    fitted = (
        f"; fitted on {count(num_train, 'picture')}" if num_train and strategy != "as-is" else ""
    )
    return f"It is {text}{fitted}."


def verdict(record: RunRecord) -> str:
    """The headline metric with its interval, in words."""
    name = record.headline
    measure, words = record.measures[name], metric_words(name)
    seen = "unseen pictures" if record.is_sealed else "validation pictures"
    bounds = interval(measure, is_share=words.is_share)
    told = f" (95% interval {bounds})" if bounds else ""
    value = figure(measure.value, is_share=words.is_share)
    if name == "accuracy":
        num = measure.n or record.num_tested
        verb = "All labels right" if record.is_multilabel else "Right"
        return f"{verb} on {round(measure.value * num):,} of {num:,} {seen}: {value}{told}."
    return f"{words.title} of {value} on {record.num_tested:,} {seen}{told}."


def comparison(record: RunRecord) -> str:
    """How the most trivial answer would do; empty where that is another metric."""
    majority = record.majority_accuracy
    if majority is None or record.headline != "accuracy":
        return ""
    return (
        f"Always answering “{record.most_common_class}”, the most common class, would be right on "
        f"{percent(majority)}."
    )


def data_name(record: RunRecord) -> str:
    """The name of the data set's folder."""
    return PurePath(str(record.config["data"])).name or str(record.config["data"])
