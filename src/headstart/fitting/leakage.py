"""What leaks are worth: the score with and without leaked test samples, and under a random split.

Computed from answers and cached features, once the test set has been read. Wiring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from headstart.contracts import Evaluation, Prediction, Sample
from headstart.data.splits import SplitPlan, random_twin
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import feature_table
from headstart.strategies.logistic import fit_logistic_on_parts


def measure_leakage(
    attempt: LabelAttempt,
    features: Mapping[str, Tensor],
    prediction: Prediction,
    tested: Sequence[Sample],
) -> dict[str, Any] | None:
    """The part `leakage` of metrics.json; None where no group has two samples.

    Args:
        attempt: Fitted.
        features: sample id -> (num_features,) of the frozen backbone; empty where it was trained.
        prediction: Of the test set.
        tested: The same samples, with the groups of the split.

    Source: the gap between a random and a grouped split as a measure of leakage: Kapoor and
    Narayanan 2023, "Leakage and the reproducibility crisis in machine-learning-based science".
    """
    data = attempt.where.data
    found: dict[str, Any] = {}
    sentences = []
    answered = set(prediction.ids)
    leaks = [leak for leak in data.leaks if leak.id in answered]
    if leaks:
        whole = attempt.task.evaluate(prediction, tested)
        clean = _without(prediction, {leak.id for leak in leaks})
        kept = set(clean.ids)
        found.update(
            num_leaked=len(leaks),
            leaked=[{"id": leak.id, "partner": leak.partner, "why": leak.why} for leak in leaks],
        )
        found["with"] = _metrics(whole)
        if kept:
            rest = attempt.task.evaluate(clean, [s for s in tested if s.id in kept])
            found["without"] = _metrics(rest)
            sentences.append(
                f"{len(leaks)} of {len(prediction)} test samples also stand, or nearly, in "
                f"training: with them the accuracy is {whole.metrics['accuracy'].value:.1%}, "
                f"without them {rest.metrics['accuracy'].value:.1%}."
            )
        else:
            sentences.append("All test samples also stand, or nearly, in training.")
    twin = random_twin(data.split, data.dataset, seed=attempt.where.options.seed)
    # Of a support vector machine C is something else.
    is_logistic = attempt.facts.get("classifier") == "logistic"
    strength = attempt.facts.get("C") if is_logistic else None
    if twin is not None and strength is not None and features:
        grouped, shuffled = _scores(attempt, features, (data.split, twin), strength)
        if grouped is not None and shuffled is not None:
            found.update(grouped=_metrics(grouped), random=_metrics(shuffled))
            sentences.append(gap_sentence(grouped, shuffled))
    if not found:
        return None
    return {"num_leaked": 0, "leaked": [], **found, "sentence": " ".join(sentences)}


def gap_sentence(grouped: Evaluation, shuffled: Evaluation) -> str:
    """What groups kept whole take off, in a sentence; where they take off nothing, that."""
    before, after = (each.metrics["accuracy"].value for each in (grouped, shuffled))
    told = (
        f"Under a random split the linear head would have scored {100 * (after - before):+.1f} "
        f"points ({after:.1%} against {before:.1%}): "
    )
    if after > before:
        return told + "that is what groups kept whole take off, besides chance."
    return told + "here groups kept whole take nothing off."


def _without(prediction: Prediction, ids: set[str]) -> Prediction:
    rows = [i for i, id_ in enumerate(prediction.ids) if id_ not in ids]
    return replace(
        prediction,
        ids=tuple(prediction.ids[i] for i in rows),
        probabilities=prediction.probabilities[rows],
        strangers=None,
    )


def _scores(
    attempt: LabelAttempt,
    features: Mapping[str, Tensor],
    plans: Sequence[SplitPlan],
    strength: float,
) -> list[Evaluation | None]:
    """Of a linear head under some splits; None where too little is left to learn or to test."""
    out = attempt.where.data.left_out
    dataset = attempt.where.data.dataset
    samples = [s for s in dataset if s.id in features and s.id in plans[0].assignment]
    samples = [s for s in samples if s.id not in out]
    table = feature_table(attempt, [features], samples)
    splits = [[plan.assignment[s.id] for s in samples] for plan in plans]
    parts = [torch.tensor([name != "test" for name in names]).nonzero()[:, 0] for names in splits]
    if any(len(set(table.targets[part].flatten().tolist())) < 2 for part in parts):
        return [None] * len(plans)
    fits = fit_logistic_on_parts(
        table.features,
        table.targets,
        parts,
        num_classes=table.num_classes,
        C=strength,
        class_weights=attempt.settings.class_weights,
        basis=attempt.basis,
    )
    found: list[Evaluation | None] = []
    for plan, names, fit in zip(plans, splits, fits, strict=True):
        tested = [i for i, name in enumerate(names) if name == "test"]
        if not tested:
            found.append(None)
            continue
        test = [replace(samples[i], group=plan.groups[samples[i].id]) for i in tested]
        logits = fit.logits(table.features[tested])
        prediction = attempt.task.predict(logits, [s.id for s in test], attempt.classes)
        found.append(attempt.task.evaluate(prediction, test))
    return found


def _metrics(evaluation: Evaluation) -> dict[str, Any]:
    return {name: asdict(measure) for name, measure in evaluation.metrics.items()}
