"""What becomes of texts that are longer than a model's window, by how many there are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from headstart.contracts import Backbone, TextContract
from headstart.data.text_lengths import count_tokens
from headstart.data.tokenising import Tokeniser
from headstart.fitting.attempt import FROZEN, Situation
from headstart.fitting.settle import Choice, Choices

Way = Literal["cut", "head-tail", "windows"]
# Where fewer texts than this share are too long, what their ends say changes no figure.
_FEW = 0.01


def read_long(
    backbone: Backbone[TextContract], where: Situation[Any], choices: Choices
) -> Backbone[TextContract]:
    """The same backbone, reading long texts as was asked for, or as suits those there are.

    Args:
        backbone: Of texts.
        where: The fit.
        choices: Of the fit; what is settled is added.
    """
    options = where.options
    how: Way
    if options.long is not None:
        how = options.long
    elif "long" in choices.earlier:
        how = choices.earlier["long"]
        choices.add(Choice("long", how, "as when the fit began"))
    else:
        texts = [sample.text or "" for sample in where.data.samples("train")]
        name = backbone.spec.architecture
        tokeniser = Tokeniser(backbone.contract)
        lengths = count_tokens(texts, tokeniser, model=name, progress=where.progress)
        is_read_once = options.strategy in ("auto", *FROZEN)
        how, why = _suits(lengths.num_over / len(lengths.counts), is_read_once=is_read_once)
        choices.add(Choice("long", how, f"{why}: {lengths.told}".rstrip(".")))
    return replace(backbone, contract=replace(backbone.contract, long=how))


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
