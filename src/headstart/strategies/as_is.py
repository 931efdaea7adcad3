"""`as-is`: the pretrained classifier answers; nothing learns.

In its own classes where there is no data to fit; in the user's classes where their names are found
among the pretrained ones. For masks the pretrained decoder answers, pixel by pixel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from headstart.contracts import Backbone, FeatureTable, Initialised, ParameterGroup
from headstart.decoder_weights import select_classes
from headstart.decoders import Decoder
from headstart.errors import ConfigError
from headstart.model import Model
from headstart.strategies import StrategySettings
from headstart.strategies.freezing import freeze
from headstart.strategies.heads import SelectionHead


class AsIs:
    """Matches the user's classes to the pretrained ones by name."""

    name = "as-is"
    needs_features = False

    def __init__(self, settings: StrategySettings) -> None:
        self.settings = settings

    def new_head(self, backbone: Backbone[Any]) -> nn.Module:
        """The pretrained classifier or decoder, answering in the user's classes.

        Raises:
            ConfigError: The weights bring none, or a class is not among its classes.
        """
        if self.settings.is_dense:
            return pretrained_masks(backbone, self.settings.classes)
        if self.settings.is_multilabel:
            raise ConfigError(
                "What answers as it is gives one class a sample, but the data has several labels "
                "a sample. Use --strategy probe."
            )
        if not isinstance(backbone.pretrained_head, nn.Linear):
            raise ConfigError(
                f"`{backbone.spec.reference}` brings no linear classifier of its own, so it cannot "
                "answer as it is. Use --strategy probe, or a backbone with a classifier."
            )
        matches = match_classes(self.settings.classes, backbone.pretrained_classes)
        return SelectionHead(backbone.pretrained_head, _as_members(matches, backbone))

    def initialise(self, model: Model, table: FeatureTable | None) -> Initialised:
        """Nothing to fit; tells which pretrained classes stand for each class."""
        pretrained = self.settings.pretrained_classes
        matches = match_classes(self.settings.classes, pretrained)
        named = {
            name: [pretrained[i] for i in indices]
            for name, indices in zip(self.settings.classes, matches, strict=True)
        }
        return Initialised({"matches": named})

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """Nothing learns."""
        freeze(model)
        return []

    def train_mode(self, model: Model) -> None:
        model.eval()

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        return "as it comes"

    def finish(self, model: Model) -> None:
        """The model is kept as it is."""


def pretrained_masks(backbone: Backbone[Any], classes: Sequence[str]) -> Decoder:
    """The decoder that the weights bring, answering in the user's classes.

    Args:
        backbone: As a pyramid.
        classes: Of the user, see `match_classes`.

    Raises:
        ConfigError: The weights bring no decoder, or a class is not among its classes, or two
            classes are one to it.
    """
    name, decoder = backbone.spec.reference, backbone.pretrained_head
    if not isinstance(decoder, Decoder):
        raise no_decoder(name)
    known = ", ".join(f"`{each}`" for each in backbone.pretrained_classes)
    own = ", ".join(f"`{each}`" for each in classes)
    try:
        matches = match_classes(classes, backbone.pretrained_classes)
    except ConfigError:
        raise ConfigError(
            f"The weights tell apart {known}, and the data has the classes {own}: not all of these "
            "are among them. Rename those that mean the same in a classes.txt, or learn the "
            "classes from these weights: --strategy full."
        ) from None
    rows = [row for (row, *_) in matches]
    if len(set(rows)) < len(rows):
        raise ConfigError(
            f"The weights tell apart {known}, and two of the classes of the data, {own}, are one "
            "of them. Give them one name in a classes.txt, or learn the classes: --strategy full."
        )
    return select_classes(decoder, rows)


def no_decoder(reference: str) -> ConfigError:
    """That weights cannot draw masks as they come."""
    return ConfigError(
        f"`{reference}` brings no decoder, so it cannot draw masks as it is. Take --backbone "
        "ukis-csmask-4b-l2a or another one that does, or let one learn: --strategy full."
    )


def knows_masks(backbone: Backbone[Any], classes: Sequence[str]) -> bool:
    """Whether `pretrained_masks` can be had of a backbone, as a pyramid, in these classes."""
    if not isinstance(backbone.pretrained_head, Decoder):
        return False
    try:
        matches = match_classes(classes, backbone.pretrained_classes)
    except ConfigError:
        return False
    return len({row for (row, *_) in matches}) == len(matches)


def match_classes(classes: Sequence[str], pretrained: Sequence[str]) -> list[list[int]]:
    """For each class the pretrained classes of the same name, by index.

    Names are compared without case, punctuation and a plural ending. A pretrained name may list
    synonyms, separated by commas (`ant, emmet, pismire`); each counts.

    Raises:
        ConfigError: A class has no match; all such classes are named.

    Example:
        >>> match_classes(["Ants", "bees"], ["bee", "ant, emmet, pismire", "fly"])
        [[1], [0]]
    """
    if tuple(classes) == tuple(pretrained):  # as of texts, whose classes are named by the data
        return [[index] for index in range(len(classes))]
    by_word: dict[str, list[int]] = {}
    for index, name in enumerate(pretrained):
        for synonym in name.split(","):
            by_word.setdefault(_singular(synonym), []).append(index)
    unmatched = [name for name in classes if _singular(name) not in by_word]
    if unmatched:
        listed = ", ".join(f"`{name}`" for name in unmatched[:10])
        raise ConfigError(
            f"The pretrained classifier knows {len(pretrained)} classes, but none is called "
            f"{listed}. To answer in classes of your own, fit: --strategy probe. To see its own "
            "answers, predict without a fit: `headstart predict timm:NAME photos/`."
        )
    return [sorted(set(by_word[_singular(name)])) for name in classes]


def _singular(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    for ending, replacement in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh")):
        if words.endswith(ending):
            return words[: -len(ending)] + replacement
    return words[:-1] if words.endswith("s") and not words.endswith("ss") else words


def _as_members(matches: Sequence[Sequence[int]], backbone: Backbone[Any]) -> torch.Tensor:
    members = torch.zeros(len(matches), len(backbone.pretrained_classes))
    for row, indices in enumerate(matches):
        members[row, list(indices)] = 1.0
    return members
