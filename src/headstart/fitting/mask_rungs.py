"""The lowest rungs for masks: the most common class, and a classifier of single pixels. Wiring.

Both are judged on the validation samples, as what is trained is; the test set is not looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from headstart.contracts import IGNORE, Example, Sample
from headstart.fitting.attempt import Attempt
from headstart.fitting.judging_masks import group_numbers
from headstart.fitting.pixel_tables import fit_drawn_pixels, table_of_pixels
from headstart.fitting.rungs import Rung
from headstart.metrics.segmentation import count_confusion, evaluate_segmentation, gain_in_miou
from headstart.protocols import MaskTask
from headstart.trust.pixels import draw_pixels, pixel_features, prior_shift

# Chips that are read, evenly spread over those there are; and pixels of each class of one of them:
# neighbours tell the same, so that more would tell little more.
_MOST_CHIPS, _PIXELS_A_CLASS = 100, 200
# Pixels of all chips that are held at once, so that large ones do not fill the memory.
_MOST_PIXELS = 40_000_000

Answer = Callable[[Tensor], np.ndarray]


@dataclass(frozen=True, eq=False)
class JudgedRung:
    """A rung, and the pixels that it was judged by.

    Attributes:
        counts: sample id -> (K, K), rows the truth.
    """

    rung: Rung
    counts: Mapping[str, np.ndarray]


def judged_rung(
    name: str,
    why: str,
    counts: Mapping[str, np.ndarray],
    *,
    attempt: Attempt[MaskTask],
    below: JudgedRung | None,
    seconds: float,
) -> JudgedRung:
    """A rung with its metrics on validation samples, and its gain over the one below it."""
    groups = attempt.where.data.split.groups
    found = evaluate_segmentation(
        np.stack(list(counts.values())), attempt.classes, groups=group_numbers(list(counts), groups)
    )
    gain = None
    if below is not None:
        shared = [id_ for id_ in below.counts if id_ in counts]
        gain = gain_in_miou(
            np.stack([below.counts[id_] for id_ in shared]),
            np.stack([counts[id_] for id_ in shared]),
            groups=group_numbers(shared, groups),
        )
    rung = Rung(
        name,
        why,
        judged_on="validation",
        metrics=found.metrics,
        gain=gain,
        over="" if below is None else below.rung.strategy,
        seconds=seconds,
    )
    return JudgedRung(rung, counts)


def cheap_rungs(attempt: Attempt[MaskTask]) -> list[JudgedRung]:
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
    rungs: list[JudgedRung] = []
    for name, why, fit in (
        ("majority", "answers the most common class; what all others must beat", _majority),
        (
            "trivial",
            "a logistic regression on the bands of single pixels and their normalised differences",
            _single_pixels,
        ),
    ):
        counts = _count(attempt, fit(attempt, learnt_from), judged_on)
        seconds = time.monotonic() - started
        below = rungs[-1] if rungs else None
        rungs.append(judged_rung(name, why, counts, attempt=attempt, below=below, seconds=seconds))
        started = time.monotonic()
    return rungs


def _read(attempt: Attempt[MaskTask], samples: Sequence[Sample]) -> dict[str, Example]:
    """Some of the samples by their ids."""
    prepare = attempt.task.preparation(attempt.backbone.contract)
    facts = attempt.where.data.checkup.facts
    largest = max((facts[s.id].width * facts[s.id].height for s in samples), default=1)
    most = max(2, min(_MOST_CHIPS, _MOST_PIXELS // largest))
    stride = -(-len(samples) // most) or 1
    read = {}
    for sample in samples[::stride]:
        example = prepare(sample)
        assert isinstance(example, Example)
        read[sample.id] = example
    return read


def _pixel_counts(attempt: Attempt[MaskTask], chips: Mapping[str, Example]) -> Tensor:
    """(K,) labelled pixels of each class."""
    counts = torch.zeros(len(attempt.classes), dtype=torch.int64)
    for chip in chips.values():
        assert chip.target is not None
        counts += torch.bincount(chip.target[chip.target != IGNORE], minlength=len(counts))
    return counts


def _majority(attempt: Attempt[MaskTask], chips: Mapping[str, Example]) -> Answer:
    most_common = int(_pixel_counts(attempt, chips).argmax())
    return lambda inputs: np.full(inputs.shape[-2:], most_common)


def _single_pixels(attempt: Attempt[MaskTask], chips: Mapping[str, Example]) -> Answer:
    generator = torch.Generator().manual_seed(attempt.settings.seed)
    num_classes = len(attempt.classes)
    pixels = {}
    for id_, chip in chips.items():
        assert chip.target is not None
        places = draw_pixels(
            chip.target,
            num_a_class=_PIXELS_A_CLASS,
            num_classes=num_classes,
            generator=generator,
        )
        pixels[id_] = (pixel_features(chip.inputs)[places], chip.target.flatten()[places])
    table = table_of_pixels(pixels, attempt.where.data.split.groups, num_classes=num_classes)
    mean, std = table.features.mean(dim=0), table.features.std(dim=0).clamp_min(1e-6)
    fit, _ = fit_drawn_pixels(
        replace(table, features=(table.features - mean) / std), attempt.settings
    )
    shift = torch.zeros(num_classes)
    if attempt.value("balance") != "weights":  # as the probe above it answers
        shift = prior_shift(_pixel_counts(attempt, chips), table.targets)

    def answer(inputs: Tensor) -> np.ndarray:
        logits = fit.logits((pixel_features(inputs) - mean) / std) + shift
        return logits.argmax(dim=1).reshape(inputs.shape[-2:]).numpy()

    return answer


def _count(
    attempt: Attempt[MaskTask], answer: Answer, chips: Mapping[str, Example]
) -> dict[str, np.ndarray]:
    counts = {}
    for id_, chip in chips.items():
        assert chip.target is not None
        found = answer(chip.inputs)
        counts[id_] = count_confusion(chip.target.numpy(), found, len(attempt.classes))
    return counts
