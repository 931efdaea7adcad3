"""What a model reads of texts: what becomes of long ones, and which it knows nothing of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from torch import nn

from headstart.backbones.text_languages import models_of_many
from headstart.contracts import Backbone, Finding, TextContract
from headstart.data.text_lengths import TokenLengths, count_tokens, unknown_findings
from headstart.data.tokenising import Tokeniser
from headstart.fitting.attempt import FROZEN
from headstart.fitting.embedding import measure_format
from headstart.fitting.settle import Choice, Choices
from headstart.fitting.situation import Situation
from headstart.progress import Progress
from headstart.report.wording import duration

Way = Literal["cut", "head-tail", "windows"]
# Where fewer texts than this share are too long, what their ends say changes no figure.
_FEW = 0.01


def read_long(
    backbone: Backbone[TextContract], where: Situation[Any], choices: Choices
) -> tuple[Backbone[TextContract], tuple[Finding, ...]]:
    """The same backbone, reading long texts as was asked for, or as suits those there are.

    Args:
        backbone: Of texts.
        where: The fit.
        choices: Of the fit; what is settled is added.

    Returns:
        The backbone, and what is wrong with texts in its eyes.
    """
    samples = where.data.samples("train")
    lengths = count_tokens(
        [sample.text or "" for sample in samples],
        Tokeniser(backbone.contract),
        model=backbone.spec.architecture,
        progress=where.progress,
    )
    findings = unknown_findings(
        lengths, samples, others=models_of_many(beside=backbone.spec.reference)
    )
    return _reading(backbone, _way(backbone, lengths, where, choices)), findings


def _reading(backbone: Backbone[TextContract], how: Way) -> Backbone[TextContract]:
    return replace(backbone, contract=replace(backbone.contract, long=how))


def _way(
    backbone: Backbone[TextContract],
    lengths: TokenLengths,
    where: Situation[Any],
    choices: Choices,
) -> Way:
    options = where.options
    how: Way
    if options.long is not None:
        how = options.long
    elif "long" in choices.earlier:
        how = choices.earlier["long"]
        choices.add(Choice("long", how, "as when the fit began"))
    else:
        is_read_once = options.strategy in ("auto", *FROZEN)
        how, why = _suits(lengths.num_over / len(lengths.counts), is_read_once=is_read_once)
        if how == "windows" and where.deadline is not None:
            # Of the whole budget, whatever is over by now: a fit must not find another way than the
            # race before it, in which the winner has read.
            most_s = where.reading_ends - where.started
            all_s = _reading_s(_reading(backbone, how), where)
            if all_s > most_s:
                how = "head-tail"
                why = (
                    f"to read all of each takes about {duration(all_s)}, and the budget has "
                    f"{duration(most_s)} for it"
                )
        choices.add(Choice("long", how, f"{why}: {lengths.told}".rstrip(".")))
    return how


def _reading_s(backbone: Backbone[TextContract], where: Situation[Any]) -> float:
    """Seconds that all texts take, by the speed of a typical one."""
    backbone.module.to(where.device)
    model = where.task.build(backbone, nn.Identity()).to(where.device)
    silent = Choices(where.options, progress=Progress())
    measured = measure_format(model, backbone, mode="inference", where=where, choices=silent)
    num_texts = len(where.data.samples("train", "validation", "test"))
    return num_texts / measured.samples_per_s


def _suits(share: float, *, is_read_once: bool) -> tuple[Way, str]:
    """What to do, and why.

    Args:
        share: Of the texts that are longer than the window.
        is_read_once: Whether each text goes through the backbone once, and not in each epoch.
    """
    if share < _FEW:
        return "cut", "hardly any text is too long"
    if is_read_once:
        return "windows", "frozen features are read once, so that all of each text can be"
    return "head-tail", "texts are read in each epoch, and say most where they begin and end"
