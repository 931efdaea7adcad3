"""What neighbourhoods kept whole are worth: single pixels told apart under that and a random split.

Computed from a table of pixels, once the test set has been read. Wiring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from headstart.contracts import Evaluation
from headstart.data.splits import SplitPlan, random_twin
from headstart.fitting.attempt import Attempt
from headstart.fitting.judging_masks import group_numbers
from headstart.fitting.pixel_tables import (
    PixelTables,
    fit_drawn_pixels,
    pixel_tables,
    table_of_pixels,
)
from headstart.fitting.preparing import PreparedData
from headstart.map_twin import MapTwin
from headstart.metrics.segmentation import count_confusion
from headstart.protocols import MaskTask
from headstart.strategies.linear_fit import LinearFit
from headstart.strategies.logistic import fit_logistic


def may_leak(data: PreparedData, *, seed: int) -> bool:
    """Whether there is anything that `measure_mask_leakage` could tell of a split."""
    return bool(data.leaks) or random_twin(data.split, data.dataset, seed=seed) is not None


def leakage_by_pixels(attempt: Attempt[MaskTask], twin: MapTwin) -> dict[str, Any] | None:
    """`measure_mask_leakage` by the pixels of chips of all splits, as a frozen backbone sees them.

    Args:
        attempt: Fitted.
        twin: Of the backbone before anything was learnt.

    Raises:
        DataError: A feature is not finite.
    """
    data = attempt.where.data
    samples = [s for s in data.dataset if s.id in data.split.assignment]
    pixels = pixel_tables(
        [s for s in samples if s.id not in data.left_out],
        twin,
        task=attempt.task,
        contract=attempt.backbone.contract,
        num_classes=len(attempt.classes),
        seed=attempt.settings.seed,
        on_error=data.note_unreadable,
    )
    return measure_mask_leakage(attempt, pixels)


def measure_mask_leakage(attempt: Attempt[MaskTask], pixels: PixelTables) -> dict[str, Any] | None:
    """The part `leakage` of metrics.json; None where there is nothing to tell.

    A linear classifier of single pixels is fitted twice, with the same strength: under the split of
    the fit, and under one drawn without regard to groups and places.

    Args:
        attempt: Fitted, or at least settled; its classifier has no part in this.
        pixels: Of samples of all splits, as many of each class as a sample has if possible.

    Raises:
        DataError: A feature is not finite.

    Source: the gap between a random and a grouped split as a measure of leakage: Kapoor and
    Narayanan 2023, "Leakage and the reproducibility crisis in machine-learning-based science"
    (Patterns 4); for places Ploton et al. 2020 (Nature Communications 11).
    """
    data = attempt.where.data
    leaks = [leak for leak in data.leaks if leak.id in pixels]
    found: dict[str, Any] = {}
    sentences = []
    if leaks:
        sentences.append(
            f"{len(leaks)} of {len(data.samples('test'))} test pictures also stand, nearly, or "
            "with their ground, in training."
        )
    twin = random_twin(data.split, data.dataset, seed=attempt.where.options.seed)
    if twin is not None:
        grouped, shuffled = _scores(attempt, pixels, (data.split, twin))
        if grouped is not None and shuffled is not None:
            found.update(grouped=_metrics(grouped), random=_metrics(shuffled))
            before, after = (each.metrics["miou"].value for each in (shuffled, grouped))
            kept = "neighbourhoods and groups" if data.split.blocks else "groups"
            what = "of a linear classifier of single pixels"
            if before > after:
                sentences.append(
                    f"Under a random split the mean IoU {what} would have been "
                    f"{100 * (before - after):.1f} points higher ({before:.1%} against "
                    f"{after:.1%}): that is what {kept} kept whole take off, besides chance."
                )
            else:
                sentences.append(
                    f"Under a random split the mean IoU {what} would have been no higher "
                    f"({before:.1%} against {after:.1%}): that {kept} were kept whole took nothing "
                    "off here."
                )
    if not leaks and not found:
        return None
    return {
        "num_leaked": len(leaks),
        "leaked": [{"id": leak.id, "partner": leak.partner, "why": leak.why} for leak in leaks],
        **found,
        "sentence": " ".join(sentences),
    }


def _scores(
    attempt: Attempt[MaskTask], pixels: PixelTables, plans: Sequence[SplitPlan]
) -> list[Evaluation | None]:
    """Of a linear classifier under some splits; None where too little is left to learn or test."""
    out = attempt.where.data.left_out
    strength: float | None = None
    found: list[Evaluation | None] = []
    for plan in plans:
        known = [i for i in plan.assignment if i in pixels and i not in out and len(pixels[i][1])]
        learnt = [i for i in known if plan.assignment[i] != "test"]
        tested = [i for i in known if plan.assignment[i] == "test"]
        classes = {k for i in learnt for k in pixels[i][1].tolist()}
        if len(classes) < 2 or not tested:
            return [None] * len(plans)
        table = table_of_pixels(
            {i: pixels[i] for i in learnt}, plan.groups, num_classes=len(attempt.classes)
        )
        if strength is None:
            fit, told = fit_drawn_pixels(table, attempt.settings)
            strength = float(told.facts["C"])
        else:
            fit = fit_logistic(
                table.features,
                table.targets,
                num_classes=table.num_classes,
                C=strength,
            )
        found.append(_evaluated(attempt, pixels, tested, plan=plan, fit=fit))
    return found


def _evaluated(
    attempt: Attempt[MaskTask],
    pixels: PixelTables,
    ids: Sequence[str],
    *,
    plan: SplitPlan,
    fit: LinearFit,
) -> Evaluation:
    """With intervals over what the plan keeps whole."""
    counts = np.stack(
        [
            count_confusion(
                pixels[i][1].numpy(),
                fit.logits(pixels[i][0]).argmax(dim=1).numpy(),
                len(attempt.classes),
            )
            for i in ids
        ]
    )
    groups = group_numbers(ids, plan.groups)
    return attempt.task.evaluate(counts, attempt.classes, groups=groups)


def _metrics(evaluation: Evaluation) -> dict[str, Any]:
    return {name: asdict(measure) for name, measure in evaluation.metrics.items()}
