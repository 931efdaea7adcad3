"""The field of a race: which backbones take part, and what each came to. For `rank` and the ladder.

Loads backbones and judges them; the rounds are in `racing`, and what to do with the winner is the
caller's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from headstart.backbones import load_backbone_for, resolve_auto
from headstart.backbones.auto import texts_at_hand
from headstart.backbones.catalog import PACKAGED_DEFAULT, catalog
from headstart.backbones.weights import find_local
from headstart.contracts import Sample
from headstart.data.numbering import numbered_if_shared
from headstart.errors import MissingExtraError, WeightsError
from headstart.fitting.learning import samples_for_table
from headstart.fitting.long_texts import read_long
from headstart.fitting.settle import Choices
from headstart.fitting.situation import Situation
from headstart.metrics.comparison import Comparison, compare_predictions
from headstart.progress import Progress
from headstart.protocols import LabelTask
from headstart.racing import NO_TURN, Race, Racer, new_probe
from headstart.report.ranking import BackboneFacts, Contender, Cost


@dataclass(frozen=True, eq=False)
class Field:
    """Who takes part, and (reference, why) of those that cannot."""

    racers: tuple[Racer, ...]
    absent: tuple[tuple[str, str], ...]


def default_backbones(unit: str) -> list[str]:
    """The packaged default, and all that are named and whose weights are in the cache.

    Args:
        unit: What they are to read: `picture`, of which those for photos, or `text`.
    """
    if unit == "text":
        return texts_at_hand()
    return [
        name
        for name, row in catalog().items()
        if name == PACKAGED_DEFAULT
        or (row.contract.bands == ("R", "G", "B") and find_local(row.reference) is not None)
    ]


def enter(
    where: Situation[LabelTask], references: Sequence[str], *, option: str, ends: float = math.inf
) -> Field:
    """Load all that can be had, and measure how fast they are.

    Args:
        where: What a fit by probe would begin with.
        references: As the user gave them; one that is named twice takes part once.
        option: By which they were given, for messages.
        ends: `time.monotonic()` after which no further one is loaded, but the first always.

    Raises:
        ConfigError: There is no backbone of a name.
        WeightsError: None can be had.
    """
    progress = where.progress
    names = list(dict.fromkeys(_settled(name, where.task.unit, progress) for name in references))
    racers: list[Racer] = []
    absent: list[tuple[str, str]] = []
    with progress.bar("loading", total=len(names), unit="backbones") as advance:
        for name in names:
            is_late = bool(racers) and time.monotonic() > ends
            found = NO_TURN if is_late else _racer_or_why(name, where)
            if isinstance(found, Racer):
                racers.append(found)
            else:
                absent.append((name, found))
                progress.warn(f"{name} takes no part: {found}")
            advance(1)
    if not racers:
        lines = "\n".join(f"  {name}: {why}" for name, why in absent)
        raise WeightsError(
            f"No backbone can be had:\n{lines}\n"
            f"Give others with {option}: `headstart models` lists what is in the cache."
        )
    return Field(tuple(racers), tuple(absent))


def _racer_or_why(name: str, where: Situation[LabelTask]) -> Racer | str:
    """The backbone, ready to race, or in words why it cannot be had."""
    torch.manual_seed(where.options.seed)  # random weights are those that a fit would draw
    try:
        backbone = load_backbone_for(
            where.task.unit,
            name,
            weights=where.options.weights,
            trust_remote_code=where.options.trust_remote_code,
            progress=where.progress,
        )
        if where.task.unit == "text":  # as a fit in this budget will: both share their features
            silent = replace(where, progress=Progress())
            backbone, _ = read_long(backbone, silent, Choices(where.options, progress=Progress()))
        measured = new_probe(where, backbone).embedder.inference
    except (WeightsError, MissingExtraError) as error:
        return str(error)
    backbone.module.to("cpu")
    return Racer(name, backbone, measured.samples_per_s)


def _settled(reference: str, unit: str, progress: Progress) -> str:
    if reference != "auto":
        return reference
    name, reason = resolve_auto(unit)
    progress.choice("backbone", name, reason)
    return name


def run_race(
    where: Situation[LabelTask], field: Field, *, reading_ends: float, allowed: str
) -> Race:
    """Race on the samples that a probe learns from; `allowed` is how messages call the time.

    Raises:
        ConfigError: The time was over before anything could be judged.
        DataError: Samples cannot be read, or are too few to hold some out.
        InterruptedFit: The user asked to stop; what was computed is in the cache.
    """
    samples = samples_for_table(new_probe(where, field.racers[0].backbone))
    race = Race(
        where,
        samples,
        headline="macro_f1" if where.data.dataset.is_multilabel else "accuracy",
        reading_ends=reading_ends,
        allowed=allowed,
    )
    race.run(field.racers)
    return race


def in_order(race: Race, field: Field) -> list[Racer]:
    """Those that were judged, the best first."""
    judged = (racer for racer in field.racers if racer.answers)
    return sorted(judged, key=lambda racer: racer.sort_key(race.headline))


def judge(race: Race, racers: Sequence[Racer]) -> tuple[Contender, ...]:
    """What each came to, with intervals and its distance from the first."""
    return tuple(_contender(race, racer, racers[0]) for racer in racers)


def _contender(race: Race, racer: Racer, best: Racer) -> Contender:
    prediction = racer.answers[-1].prediction
    evaluation = race.where.task.evaluate(prediction, _grouped(race, prediction.ids))
    spec, contract = racer.backbone.spec, racer.backbone.contract
    return Contender(
        backbone=BackboneFacts(
            reference=racer.reference,
            num_parameters=sum(p.numel() for p in racer.backbone.module.parameters()),
            num_features=spec.num_features,
            input=contract.described,
            licence=spec.licence,
            domain=spec.domain,
        ),
        metrics=evaluation.metrics,
        n=evaluation.n,
        num_rounds=len(racer.answers),
        num_mistakes=round((1 - evaluation.metrics["accuracy"].value) * evaluation.n),
        cost=Cost(
            samples_per_s=racer.samples_per_s,
            all_s=race.num_samples / racer.samples_per_s,
            epoch_s=racer.epoch_s,
        ),
        gap=None if racer is best else _compare(race, best, racer),
    )


def _compare(race: Race, best: Racer, other: Racer) -> Comparison:
    """In the last round that both ran: both had then learned from the same samples."""
    number = len(other.answers) - 1
    first, second = (racer.answers[number].prediction for racer in (best, other))
    samples = _grouped(race, first.ids)
    groups = numbered_if_shared([str(sample.group) for sample in samples])
    task, classes = race.where.task, race.where.data.dataset.classes
    return compare_predictions(
        first.probabilities,
        second.probabilities,
        np.array([task.target(sample, classes) for sample in samples]),
        groups=groups,
        names=(best.reference, other.reference),
    )


def _grouped(race: Race, ids: Sequence[str]) -> list[Sample]:
    """Samples with the groups of the split: copies are no independent evidence."""
    by_id = {sample.id: sample for sample in race.samples}
    groups = race.where.data.split.groups
    return [replace(by_id[id_], group=groups[id_]) for id_ in ids]
