"""A backbone on the device of a fit, in the format that was found to be quickest. Only wiring."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from headstart.backbones.depths import gives_depths, with_depths
from headstart.compute import FrozenTwin, MeasuredFormat, choose_format, has_arithmetic
from headstart.contracts import Backbone, ComputeFormat, InputContract
from headstart.fitting.preparing import PreparedData
from headstart.fitting.settle import Choice, Choices
from headstart.fitting.situation import Situation
from headstart.fitting.typical import typical_input
from headstart.model import Model
from headstart.predictor import EmbedOnly, example_input, speed_name
from headstart.protocols import Task


@dataclass(frozen=True, eq=False)
class Embedder:
    """A backbone on its device, with what it takes to get features from it.

    One pass gives the features of all depths, which cost little beside it; those of the last layer
    come last.

    Attributes:
        inference: The format that was found for it.
        deep: The same backbone giving features from all depths; None where it does not tell them.
        twin: The frozen twin of `deep`, or of the backbone where there is none; None for a backbone
            that is to be trained.
    """

    backbone: Backbone[Any]
    inference: MeasuredFormat
    deep: Backbone[Any] | None = None
    twin: FrozenTwin | None = None

    @classmethod
    def of(cls, backbone: Backbone[Any], where: Situation[Task], *, choices: Choices) -> Embedder:
        """With the fastest format for a backbone that stays as it is; on the fit's device."""
        backbone.module.to(where.device)
        read_as_stored(backbone, where.data)
        headless = where.task.build(backbone, nn.Identity()).to(where.device)
        inference = measure_format(
            headless, backbone, mode="inference", where=where, choices=choices
        )
        deep = with_depths(backbone) if gives_depths(backbone) else None
        if deep is not None:
            headless = where.task.build(deep, nn.Identity()).to(where.device)
        example = example_input(backbone.contract, where.device)
        twin = FrozenTwin(EmbedOnly(headless), inference.compute_format, example=example)
        return cls(backbone, inference, deep, twin)

    @property
    def widest(self) -> Backbone[Any]:
        """What a pass gives the features of."""
        return self.deep or self.backbone

    def embed(self, inputs: Tensor) -> Tensor:
        """inputs (B, ...) as in batches -> (B, num_features) float32 of the last layer."""
        return self.embed_widest(inputs)[:, -self.backbone.spec.num_features :]

    def embed_widest(self, inputs: Tensor) -> Tensor:
        """inputs (B, ...) as in batches -> (B, sum of the widths) float32 of all depths."""
        assert self.twin is not None
        return self.twin(inputs)

    def at_depths(self) -> Embedder:
        """The one whose features are those of all depths, from the same pass."""
        return replace(self, backbone=self.widest, deep=None)


def read_as_stored(backbone: Backbone[Any], data: PreparedData) -> None:
    """From now on read 16-bit pictures in the unit of this data set, as the run will tell."""
    if isinstance(backbone.contract, InputContract):
        divisor = data.checkup.sixteen_bit_divisor
        backbone.contract = replace(backbone.contract, sixteen_bit_divisor=divisor)


def measure_format(
    model: Model,
    backbone: Backbone[Any],
    *,
    mode: Literal["inference", "training"],
    where: Situation[Task],
    choices: Choices,
    precision: str | None = None,
) -> MeasuredFormat:
    """The fastest format, and its speed; of a resumed fit the one it began with, for the same bits.

    But not on a processor without that format's arithmetic, where it would take too long.

    Only those of a precision are measured, if one is given; else by what the user asked for.
    """
    name = f"{mode} format"
    is_dense = where.task.is_dense
    measured = choose_format(
        model if is_dense else EmbedOnly(model),
        typical_input(backbone.contract, where.data.samples("train"), where.device),
        mode=mode,
        precision=precision or where.options.precision,
        name=speed_name(model, backbone.spec.reference, is_dense=is_dense),
    )
    begun = ComputeFormat.parse(choices.earlier[name]) if name in choices.earlier else None
    if begun is not None and has_arithmetic(begun, where.device):
        measured = replace(measured, compute_format=begun, reason="as when the fit began")
    choices.add(Choice(name, str(measured.compute_format), measured.reason))
    return measured
