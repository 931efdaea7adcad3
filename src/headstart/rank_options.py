"""The options of `headstart rank`: those it shares with a fit, and those of the race.

As in `config`, command line and help derive from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import Field, ValidationError

from headstart.config import MAIN, TRUST, FitOptions, SharedOptions
from headstart.errors import ConfigError
from headstart.option_values import DURATION, explain


class RankOptions(SharedOptions):
    """Every option of `headstart rank`. Those that a fit has too mean the same there."""

    backbones: Annotated[
        tuple[str, ...], Parameter(group=MAIN, consume_multiple=True, negative="")
    ] = Field(
        (),
        description="The pretrained models that race: names from `headstart models`, `timm:NAME`, "
        "of texts `hf:ORG/REPO` or a folder, or auto. Default: those of the catalogue whose "
        "weights are here, and the packaged one.",
    )
    budget: Annotated[str, Parameter(group=MAIN), DURATION] = Field(
        "5m", description="Time for the whole race, such as 90s, 5m or 2h."
    )
    trust_remote_code: Annotated[bool, Parameter(group=MAIN, negative="")] = Field(
        False, description=TRUST
    )
    output: Annotated[Path | None, Parameter(group=MAIN)] = Field(
        None, description="An HTML page to write, with charts."
    )
    seed: Annotated[int, Parameter(group=MAIN)] = Field(
        0, ge=0, lt=2**31, description="A fit with the same seed seals the same test set."
    )

    def as_fit(self) -> FitOptions:
        """Those of a fit by probe that sees the same data in the same splits."""
        shared = self.model_dump(include=set(FitOptions.model_fields) - {"output"})
        return FitOptions(**shared, strategy="probe")


def make_rank_options(values: Mapping[str, Any]) -> RankOptions:
    """Options of a ranking from plain values.

    Raises:
        ConfigError: With every wrong key and value at once, and the nearest right one.
    """
    try:
        return RankOptions(**values)
    except ValidationError as error:
        told = explain(error, source="options", known=RankOptions.model_fields)
        raise ConfigError(told) from None
