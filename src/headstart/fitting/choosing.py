"""A fit's backbone: the one that was named, or of several the winner of a race by probe.

The race sees what the probe of the fit will learn from, never the test set. The features of the
winner stay in the cache, so that the fit does not compute them twice. Wiring.

Source: successive halving, see `racing`; a linear probe as the judge of a backbone, see `ranking`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch

from headstart.backbones import load_backbone_for, resolve_auto
from headstart.config import ANY_BACKBONE
from headstart.contracts import Backbone, Measure
from headstart.field import Field, default_backbones, enter, in_order, judge, run_race
from headstart.fitting.settle import Choice, Choices
from headstart.fitting.situation import Situation
from headstart.protocols import LabelTask, Task
from headstart.report.ranking import Contender
from headstart.report.wording import count, figure, metric_words
from headstart.rundir import RunFolder

# Of the time left, what a race may take: the most of it is for the features of all pictures and
# for fine-tuning.
_SHARE = 1 / 3
# Of the race's time, when the last backbone is loaded, and when the last picture is read.
_LOADING_SHARE, _READING_SHARE = 0.5, 0.9


def load_chosen(
    where: Situation[Task], choices: Choices, *, reference: str, is_random: bool
) -> Backbone[Any]:
    """A backbone by its reference, on the fit's device; `auto` is settled.

    Args:
        where: The fit.
        choices: Of the fit; what is found is added.
        reference: As it was asked for, or the winner of a race.
        is_random: With random weights, whatever was asked for.

    Raises:
        HeadstartError: It cannot be had; see `load_backbone_for`.
    """
    weights = "random" if is_random else where.options.weights
    if reference == "auto":
        reference, reason = resolve_auto(where.task.unit)
        choices.add(Choice("backbone", reference, reason))
    backbone = load_backbone_for(
        where.task.unit,
        reference,
        weights=weights,
        # What a resumed fit began with has been agreed to.
        trust_remote_code=where.options.trust_remote_code and (not choices.earlier or "as-agreed"),
        progress=where.progress,
    )
    code = backbone.spec.arguments.get("code")
    if code is not None:
        names = ", ".join(code["files"])
        choices.add(Choice("code", names, f"of {code['origin']}, run as --trust-remote-code says"))
    backbone.module.to(where.device)
    return backbone


def choose_backbone(where: Situation[LabelTask], choices: Choices) -> str:
    """The backbone that won; it is added to the choices, with how each did.

    Args:
        where: The fit. Samples that cannot be read are left out of it.
        choices: Of the fit.

    Raises:
        ConfigError: There is no backbone of a name, or the time was over before any was judged.
        DataError: Samples cannot be read, or are too few to hold some out.
        InterruptedFit: The user asked to stop; what was computed is in the cache.
        WeightsError: None can be had.
    """
    began = time.monotonic()
    assert where.deadline is not None  # of a ladder
    allowed_s = _SHARE * max(0.0, where.deadline - began)
    field = enter(
        where,
        list(_entrants(where.options.racing, where.task.unit)),
        option="--backbone",
        ends=began + _LOADING_SHARE * allowed_s,
    )
    if len(field.racers) > 1:
        choice = _race(where, field, began=began, allowed_s=allowed_s)
    else:
        choice = _alone(field)
    choices.add(choice)
    where.seconds["race"] = time.monotonic() - began
    torch.manual_seed(where.options.seed)  # what follows is as in a fit with the winner alone
    return str(choice.value)


def recall_race(folder: RunFolder, choices: Choices) -> None:
    """Add what a race had chosen when the fit began, if there was one: none is run again."""
    for earlier in folder.read_json(folder.config)["choices"]:
        if earlier["name"] == "backbone" and "tried" in earlier:
            choices.add(Choice(**{**earlier, "tried": tuple(earlier["tried"])}))


def _entrants(names: Iterable[str], unit: str) -> Iterator[str]:
    for name in names:
        if name == ANY_BACKBONE:
            yield from default_backbones(unit)
        else:
            yield name


def _alone(field: Field) -> Choice:
    """Where only one takes part there is nothing to find out."""
    winner = field.racers[0].reference
    why = "there was no other to race"
    num = 1 + len(field.absent)
    reason = "the only one at hand" if num == 1 else f"the only one of {num} that could take part"
    tried = (_absent(winner, why, is_kept=True), *(_absent(*each) for each in field.absent))
    return Choice("backbone", winner, reason, tried=tried)


def _race(where: Situation[LabelTask], field: Field, *, began: float, allowed_s: float) -> Choice:
    num = count(len(field.racers), "backbone")
    where.progress.note(f"{num} race by probe, for at most {allowed_s:.0f} s:")
    race = run_race(
        where,
        field,
        reading_ends=began + _READING_SHARE * allowed_s,
        allowed=f"third of the time left that a race may take, {allowed_s:.0f} s,",
    )
    for note in race.notes:
        where.progress.note(f"  {note}")
    for name, why in race.absent:
        where.progress.warn(f"{name} takes no part: {why}")
    contenders = judge(race, in_order(race, field))
    absent = (*field.absent, *race.absent)
    tried = (
        *(_judged(found, race.headline) for found in contenders),
        *(_absent(*each) for each in absent),
    )
    reason = _reason(contenders, race.headline)
    return Choice("backbone", contenders[0].backbone.reference, reason, tried=tried)


def _reason(contenders: Sequence[Contender], headline: str) -> str:
    """Why the first was taken, with its figures and those of the next."""
    best, *others = contenders
    words = metric_words(headline)

    def score(found: Contender) -> str:
        return figure(found.metrics[headline].value, is_share=words.is_share)

    said = f"on {count(best.n, 'sample')}: {words.title.lower()} {score(best)}"
    if not others:
        return f"the only one that was through when the time for the race was over, by probe {said}"
    said = f"won the race of {len(contenders)} backbones by probe {said}"
    following = others[0]
    said += f", next {following.backbone.reference} {score(following)}"
    if following.n != best.n:
        said += f" on {following.n:,}"
    return f"{said}, which cannot be told from it" if following.is_as_good else said


def _judged(found: Contender, headline: str) -> dict[str, Any]:
    """A row of metrics.json; the gap is paired, in the headline, in the last round of both."""
    gap = None
    if found.gap is not None:
        main = found.gap.main
        gap = asdict(Measure(main.value, main.low, main.high, found.gap.n))
    return {
        "reference": found.backbone.reference,
        "num_rounds": found.num_rounds,
        "n": found.n,
        "metrics": {name: asdict(found.metrics[name]) for name in (headline, "log_loss")},
        "gap": gap,
        "samples_per_s": round(found.cost.samples_per_s, 1),
        "kept": found.gap is None,
        "why": found.said,
    }


def _absent(reference: str, why: str, *, is_kept: bool = False) -> dict[str, Any]:
    """A row of metrics.json for what was not judged."""
    unknown = {"num_rounds": 0, "n": 0, "metrics": {}, "gap": None, "samples_per_s": None}
    return {"reference": reference, **unknown, "kept": is_kept, "why": why}
