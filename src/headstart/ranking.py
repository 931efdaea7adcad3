"""The verb `rank`: which backbone suits a data set, and what each costs. Only wiring.

Backbones race by linear probe on the samples for training and validation; the test set stays
sealed. Features go through the cache, so that a fit with the winner finds them there.

Source: a linear probe as the judge of a backbone: Kornblith, Shlens and Le, "Do better ImageNet
models transfer better?" (CVPR 2019). The race: Jamieson and Talwalkar (AISTATS 2016), see `racing`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from headstart.compute import choose_device
from headstart.errors import ConfigError, InterruptedFit
from headstart.field import default_backbones, enter, in_order, judge, run_race
from headstart.fitting.preparing import prepare_data
from headstart.fitting.refusing import refuse_other_task
from headstart.fitting.situation import Situation
from headstart.interrupt import StopSignal
from headstart.option_values import parse_duration_s
from headstart.progress import Progress
from headstart.protocols import LabelTask
from headstart.racing import Race, Racer, new_probe
from headstart.rank_options import RankOptions
from headstart.report.commands import fit_command, reading_options
from headstart.report.ranking import Ranking, ranking_verdict, write_ranking
from headstart.rundir import RunFolder
from headstart.tasks import make_label_task

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
    if options.output is not None:
        _refuse_page(options.output)
    with StopSignal(progress) as stop, tempfile.TemporaryDirectory() as scratch:
        try:
            where = _situation(path, options, stop=stop, scratch=Path(scratch), progress=progress)
            assert where.deadline is not None
            names = options.backbones or default_backbones(where.task.unit)
            field = enter(where, names, option="--backbones")
            reading_ends = where.deadline - _TAIL_SHARE * (where.deadline - where.started)
            race = run_race(
                where, field, reading_ends=reading_ends, allowed=f"budget of {options.budget}"
            )
            racers = in_order(race, field)
            for racer in racers:
                race.measure_pass(racer)
            _estimate_training(race, racers)
        except (KeyboardInterrupt, InterruptedFit):
            raise InterruptedFit(
                "Stopped. What was computed is in the cache: the same command goes on from there."
            ) from None
    contenders = judge(race, racers)
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
        unit=where.task.unit,
        command=fit_command(
            path,
            reading_options(options.model_dump(include=options.model_fields_set)),
            *("--backbone", contenders[0].backbone.reference),
            *(("--trust-remote-code",) if options.trust_remote_code else ()),
        ),
    )
    if ranking.page is not None:
        write_ranking(ranking.page, ranking)
    return ranking


def _refuse_page(page: Path) -> None:
    """Stop before the race where its page could not be written at the end.

    Raises:
        ConfigError: It is a folder, or where it belongs nothing can be written.
    """
    folder = next(above for above in page.absolute().parents if above.exists())
    if page.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(
            f"--output `{page}` cannot be written. Give a file, such as ranking.html, in a folder "
            "of your own."
        )


def _situation(
    path: Path, options: RankOptions, *, stop: StopSignal, scratch: Path, progress: Progress
) -> Situation[LabelTask]:
    """What a fit by probe on this data would begin with."""
    started = time.monotonic()
    fit = options.as_fit()
    torch.manual_seed(fit.seed)
    data = prepare_data(path, fit, decode=False, progress=progress)
    if data.dataset.legend is not None:
        raise ConfigError(
            f"`{path}` holds masks, and backbones are ranked for labels of whole pictures only. "
            "Fit with one after the other, and look at their reports."
        )
    refuse_other_task(fit, data.dataset.task)
    return Situation(
        data=data,
        options=fit,
        own_augment=None,
        task=make_label_task(data.dataset.task, is_multilabel=data.dataset.is_multilabel),
        device=choose_device(fit.device),
        folder=RunFolder(scratch),  # a probe writes nothing to it
        progress=progress,
        stop=stop,
        started=started,
        deadline=started + parse_duration_s(options.budget),
    )


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
