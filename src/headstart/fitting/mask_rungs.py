"""The lowest rungs for masks: the most common class, and a classifier of single pixels. Wiring.

Both are judged on the validation samples, as what is trained is; the test set is not looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from headstart.contracts import IGNORE, Evaluation, Example, FeatureTable, Sample
from headstart.fitting.attempt import Attempt
from headstart.fitting.rungs import Rung
from headstart.metrics.segmentation import count_confusion, evaluate_segmentation
from headstart.strategies.probe import fit_linear_probe
from headstart.trust.pixels import draw_pixels, pixel_features

# Chips that are read, evenly spread over those there are; and pixels of each class of one of them:
# neighbours tell the same, so that more would tell little more.
_MOST_CHIPS, _PIXELS_A_CLASS = 100, 200

Answer = Callable[[Tensor], np.ndarray]


def cheap_rungs(attempt: Attempt) -> list[Rung]:
    """Majority and single pixels, judged on validation; none where there is no such sample.

    Args:
        attempt: Settled; says how samples are prepared.

    Raises:
        DataError: A sample cannot be read.
    """
    data = attempt.where.data
    started = time.monotonic()
    learnt_from = _read(attempt, data.samples("train"))
    judged_on = _read(attempt, data.samples("validation"))
    if not learnt_from or not judged_on:
        return []
    rungs = []
    for name, why, fit in (
        ("majority", "answers the most common class; what all others must beat", _majority),
        (
            "trivial",
            "a logistic regression on the bands of single pixels and their normalised differences",
            _single_pixels,
        ),
    ):
        found = _evaluate(attempt, fit(attempt, learnt_from), judged_on)
        seconds = time.monotonic() - started
        rungs.append(
            Rung(name, why, judged_on="validation", metrics=found.metrics, seconds=seconds)
        )
        started = time.monotonic()
    return rungs


def _read(attempt: Attempt, samples: Sequence[Sample]) -> list[tuple[str, Example]]:
    """Some of the samples with their groups."""
    prepare = attempt.task.preparation(attempt.backbone.contract)
    groups = attempt.where.data.split.groups
    stride = -(-len(samples) // _MOST_CHIPS) or 1
    read = []
    for sample in samples[::stride]:
        example = prepare(sample)
        assert isinstance(example, Example)
        read.append((groups[sample.id], example))
    return read


def _majority(attempt: Attempt, chips: Sequence[tuple[str, Example]]) -> Answer:
    counts = torch.zeros(len(attempt.classes), dtype=torch.int64)
    for _, chip in chips:
        assert chip.target is not None
        counts += torch.bincount(chip.target[chip.target != IGNORE], minlength=len(counts))
    most_common = int(counts.argmax())
    return lambda inputs: np.full(inputs.shape[-2:], most_common)


def _single_pixels(attempt: Attempt, chips: Sequence[tuple[str, Example]]) -> Answer:
    generator = torch.Generator().manual_seed(attempt.settings.seed)
    num_classes = len(attempt.classes)
    numbers = {group: i for i, group in enumerate(dict.fromkeys(group for group, _ in chips))}
    rows, targets, groups = [], [], []
    for group, chip in chips:
        assert chip.target is not None
        places = draw_pixels(
            chip.target,
            num_a_class=_PIXELS_A_CLASS,
            num_classes=num_classes,
            generator=generator,
        )
        rows.append(pixel_features(chip.inputs)[places])
        targets.append(chip.target.flatten()[places])
        groups.append(torch.full_like(places, numbers[group]))
    features = torch.cat(rows)
    mean, std = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
    table = FeatureTable(
        (features - mean) / std, torch.cat(targets), torch.cat(groups), num_classes
    )
    fit, _ = fit_linear_probe(table, attempt.settings)

    def answer(inputs: Tensor) -> np.ndarray:
        logits = fit.logits((pixel_features(inputs) - mean) / std)
        return logits.argmax(dim=1).reshape(inputs.shape[-2:]).numpy()

    return answer


def _evaluate(
    attempt: Attempt, answer: Answer, chips: Sequence[tuple[str, Example]]
) -> Evaluation:
    counts = []
    for _, chip in chips:
        assert chip.target is not None
        truth = chip.target.numpy()
        counts.append(count_confusion(truth, answer(chip.inputs), len(attempt.classes)))
    groups = np.unique([group for group, _ in chips], return_inverse=True)[1]
    return evaluate_segmentation(np.stack(counts), attempt.classes, groups=groups)
