"""The control of a fit of masks: what the pretrained weights brought; see `controlling`. Wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.fitting.controlling import Sides, curve_points, train_aside, transfer_told
from headstart.fitting.judging_masks import Judged, evaluate_chips, group_numbers, judge
from headstart.fitting.mask_attempt import MaskAttempt
from headstart.fitting.situation import Situation
from headstart.metrics.comparison import Comparison
from headstart.metrics.mask_comparison import MaskCounts, compare_masks
from headstart.protocols import MaskTask
from headstart.report.record import read_record


def train_mask_control(
    kept: MaskAttempt,
    judged: Sequence[Judged],
    *,
    new_control: Callable[[Situation[MaskTask]], MaskAttempt],
) -> dict[str, Any] | None:
    """The part `transfer` of metrics.json; None where the control was stopped or failed.

    Args:
        kept: The attempt whose model is the run's. Its results are saved already.
        judged: The test chips, as this model answered them.
        new_control: An attempt with the same architecture, and nothing learnt.
    """
    samples = [each.sample for each in judged]
    groups = kept.where.data.split.groups
    epochs = read_record(kept.where.folder).epochs if kept.facts.get("epochs") else ()
    seconds = _seconds_of(kept, epochs)
    trained = train_aside(
        kept,
        new_control,
        answer=lambda control: judge(control.predictor, samples),
        seconds=seconds,
    )
    if trained is None:
        return None
    control, answers = trained
    found = _compare(kept, before=answers, after=judged)
    sides = Sides(
        evaluate_chips(judged, kept.predictor, groups=groups),
        evaluate_chips(answers, control.attempt.predictor, groups=groups),
        curve_points(epochs, found.headline),
        seconds,
    )
    return transfer_told(kept, control, found, sides)


def _seconds_of(kept: MaskAttempt, epochs: Sequence[Mapping[str, Any]]) -> float:
    """What the kept attempt took to learn: cached maps, if it has them, and its epochs.

    What comes before and after epochs, such as to measure the fastest format, takes both sides as
    long. If it counted, the control of a short fit would have twice its epochs.
    """
    learning = epochs[-1]["seconds"] if epochs else kept.seconds
    return kept.where.seconds.get("features", 0.0) + float(learning)


def _compare(kept: MaskAttempt, *, before: Sequence[Judged], after: Sequence[Judged]) -> Comparison:
    """On the test chips, whichever order they were answered in."""
    by_id = {each.sample.id: each for each in before}
    return compare_masks(
        _counts([by_id[each.sample.id] for each in after]),
        _counts(after),
        kept.classes,
        groups=group_numbers([each.sample.id for each in after], kept.where.data.split.groups),
        names=("random weights", "pretrained weights"),
    )


def _counts(judged: Sequence[Judged]) -> MaskCounts:
    return MaskCounts(
        np.stack([each.counts for each in judged]), np.stack([each.boundary for each in judged])
    )
