"""The verb `rank`: which backbone suits a data set, and what each costs. Only wiring.

Backbones race by linear probe on the samples for training and validation; the test set stays
sealed. Features go through the cache, so that a fit with the winner finds them there.

Source: a linear probe as the judge of a backbone: Kornblith, Shlens and Le, "Do better ImageNet
models transfer better?" (CVPR 2019). The race: Jamieson and Talwalkar (AISTATS 2016), see `racing`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from headstart.attempt import Situation
from headstart.backbones import load_backbone, resolve_auto
from headstart.backbones.catalog import PACKAGED_DEFAULT, catalog
from headstart.backbones.weights import find_local
from headstart.compute import choose_device
from headstart.config import RankOptions, parse_duration_s
from headstart.contracts import Sample
from headstart.errors import InterruptedFit, MissingExtraError, WeightsError
from headstart.interrupt import StopSignal
from headstart.learning import samples_for_table
from headstart.metrics.comparison import Comparison, compare_predictions
from headstart.preparing import prepare_data
from headstart.progress import Progress
from headstart.racing import Race, Racer, new_probe
from headstart.report.ranking import (
    BackboneFacts,
    Contender,
    Cost,
    Ranking,
    ranking_verdict,
    write_ranking,
)
from headstart.rundir import RunFolder
from headstart.tasks import make_task

# Of the budget, what judging and drawing may take after the last picture was read.
_TAIL_SHARE = 0.1
# Training a picture costs about eight times its inference (bench/formats.py), and the speed probe
# takes four batches of four pictures in each of up to four formats.
_PROBE_PICTURES = 8 * 4 * 4 * 4
# Steps cost more than the forward and backward pass that was measured: loading, optimizer.
_STEP_OVERHEAD = 1.15


def rank(path: Path, options: RankOptions, *, progress: Progress) -> Ranking:
    """Race backbones on a data set.

    Args:
        path: A folder or a table.
        options: As the user gave them.
        progress: Is told everything.

    Raises:
        HeadstartError: With what to do; what was computed is in the cache.
    """
    with StopSignal(progress) as stop, tempfile.TemporaryDirectory() as scratch:
        try:
            where = _situation(path, options, stop=stop, scratch=Path(scratch), progress=progress)
            field = _enter(where, options.backbones)
            race = _run(where, field)
            racers = sorted(
                (racer for racer in field.racers if racer.answers),
                key=lambda racer: racer.sort_key(race.headline),
            )
            for racer in racers:
                race.measure_pass(racer)
            _estimate_training(race, racers)
        except (KeyboardInterrupt, InterruptedFit):
            raise InterruptedFit(
                "Stopped. What was computed is in the cache: the same command goes on from there."
            ) from None
    contenders = tuple(_contender(race, racer, racers[0]) for racer in racers)
    ranking = Ranking(
        data=path,
        contenders=contenders,
        absent=(*field.absent, *race.absent),
        headline=race.headline,
        n=race.num_samples,
        parts=tuple(race.parts),
        verdict=ranking_verdict(contenders, race.headline),
        notes=tuple(race.notes),
        page=options.output,
    )
    if ranking.page is not None:
        write_ranking(ranking.page, ranking)
    return ranking


def default_backbones() -> list[str]:
    """The packaged default, and all of the catalogue whose weights are in the cache."""
    return [
        name
        for name, row in catalog().items()
        if name == PACKAGED_DEFAULT or find_local(row.reference) is not None
    ]


@dataclass(frozen=True, eq=False)
class _Field:
    """Who takes part, and (reference, why) of those that cannot."""

    racers: tuple[Racer, ...]
    absent: tuple[tuple[str, str], ...]


def _situation(
    path: Path, options: RankOptions, *, stop: StopSignal, scratch: Path, progress: Progress
) -> Situation:
    """What a fit by probe on this data would begin with."""
    started = time.monotonic()
    fit = options.as_fit()
    torch.manual_seed(fit.seed)
    data = prepare_data(path, fit, decode=False, progress=progress)
    return Situation(
        data=data,
        options=fit,
        own_augment=None,
        task=make_task(data.dataset.task, is_multilabel=data.dataset.is_multilabel),
        device=choose_device(fit.device),
        folder=RunFolder(scratch),  # a probe writes nothing to it
        progress=progress,
        stop=stop,
        started=started,
        deadline=started + parse_duration_s(options.budget),
    )


def _enter(where: Situation, references: Sequence[str]) -> _Field:
    """Load all that can be had, and measure how fast they are.

    Raises:
        ConfigError: There is no backbone of a name.
        WeightsError: None can be had.
    """
    wanted = [_settled(name, where.progress) for name in references or default_backbones()]
    names = list(dict.fromkeys(wanted))
    racers: list[Racer] = []
    absent: list[tuple[str, str]] = []
    with where.progress.bar("loading", total=len(names), unit="backbones") as advance:
        for name in names:
            try:
                backbone = load_backbone(name, progress=where.progress)
            except (WeightsError, MissingExtraError) as error:
                absent.append((name, str(error)))
                where.progress.warn(f"{name} takes no part: {error}")
            else:
                measured = new_probe(where, backbone).embedder.inference
                backbone.module.to("cpu")
                racers.append(Racer(name, backbone, measured.samples_per_s))
            advance(1)
    if not racers:
        lines = "\n".join(f"  {name}: {why}" for name, why in absent)
        raise WeightsError(
            f"No backbone can be had:\n{lines}\n"
            "Give others with --backbones: `headstart models` lists what is in the cache."
        )
    return _Field(tuple(racers), tuple(absent))


def _settled(reference: str, progress: Progress) -> str:
    if reference != "auto":
        return reference
    name, reason = resolve_auto(progress=progress)
    progress.choice("backbone", name, reason)
    return name


def _run(where: Situation, field: _Field) -> Race:
    assert where.deadline is not None
    samples = samples_for_table(new_probe(where, field.racers[0].backbone))
    is_multilabel = where.data.dataset.is_multilabel
    race = Race(
        where,
        samples,
        headline="macro_f1" if is_multilabel else "accuracy",
        reading_ends=where.deadline - _TAIL_SHARE * (where.deadline - where.started),
    )
    race.run(field.racers)
    return race


def _estimate_training(race: Race, racers: Sequence[Racer]) -> None:
    """What an epoch of fine-tuning would take, for those that came through the last round."""
    where = race.where
    assert where.deadline is not None
    num_train, num_validation = (len(where.data.samples(name)) for name in ("train", "validation"))
    through = [racer for racer in racers if len(racer.answers) == len(race.parts)]
    label = "measuring the speed of fine-tuning"
    with where.progress.bar(label, total=len(through), unit="backbones") as advance:
        for racer in through:
            left_s = where.deadline - time.monotonic()
            if _PROBE_PICTURES / racer.inference_per_s <= left_s:
                measured = new_probe(where, racer.backbone).training
                racer.backbone.module.to("cpu")
                train_s = _STEP_OVERHEAD * num_train / measured.samples_per_s
                racer.epoch_s = train_s + num_validation / racer.samples_per_s
            advance(1)


def _contender(race: Race, racer: Racer, best: Racer) -> Contender:
    prediction = racer.answers[-1].prediction
    evaluation = race.where.task.evaluate(prediction, _grouped(race, prediction.ids))
    spec, contract = racer.backbone.spec, racer.backbone.contract
    return Contender(
        backbone=BackboneFacts(
            reference=racer.reference,
            num_parameters=sum(p.numel() for p in racer.backbone.module.parameters()),
            num_features=spec.num_features,
            input=f"{len(contract.bands)} x {contract.height} x {contract.width}",
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
    names = [str(sample.group) for sample in samples]
    groups = None
    if len(set(names)) < len(names):
        groups = np.unique(names, return_inverse=True)[1]
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
