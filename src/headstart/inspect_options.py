"""The options of `headstart inspect`: those of a fit that say how data are read, and what to draw.

As in `config`, command line and help derive from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field

from headstart.config import FitOptions, Preset, Units, make_options
from headstart.option_values import with_commas

_MAIN = Group("What to draw", sort_key=1)
_DATA = Group("How the data are read, as for headstart fit", sort_key=2)
_WITH_COMMAS = with_commas(_DATA)
_DRAWN = frozenset({"output", "augment"})


class InspectOptions(BaseModel):
    """Every option of `headstart inspect`. Those that a fit has too mean the same there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: Annotated[Path | None, Parameter(group=_MAIN)] = Field(
        None,
        description="An HTML page to write, with samples, distributions, masks and bands.",
    )
    augment: Annotated[Preset | None, Parameter(group=_MAIN)] = Field(
        None, description="Draw a sheet of augmented samples: into the page, or a .png."
    )
    backbone: Annotated[str, Parameter(group=_MAIN)] = Field(
        "auto",
        description="Of texts: the model whose tokens are counted, if it is on this machine. Auto: "
        "the first of bge-small-en and minilm that is; a fit takes bge-small-en where a hub is in "
        "reach.",
    )
    image_column: Annotated[str | None, Parameter(group=_DATA)] = Field(
        None, description="The column of a table that holds picture paths."
    )
    text_column: Annotated[tuple[str, ...] | None, _WITH_COMMAS] = Field(
        None,
        description="The column of a table that holds texts; several with commas between them are "
        "joined, each with its name.",
    )
    label_column: Annotated[str | None, Parameter(group=_DATA)] = Field(
        None, description="The column of a table that holds labels."
    )
    group: Annotated[str | None, Parameter(group=_DATA)] = Field(
        None,
        description="Samples that belong together: a column, or a pattern on file names.",
    )
    ignore_value: Annotated[tuple[str, ...] | None, _WITH_COMMAS] = Field(
        None, description="Values of masks that belong to no class, or `none`."
    )
    outside: Annotated[Literal["background", "ignore"] | None, Parameter(group=_DATA)] = Field(
        None, description="What lies in no polygon, where polygons are the labels."
    )
    bands: Annotated[tuple[str, ...] | None, _WITH_COMMAS] = Field(
        None, description="Bands of rasters to tell of, by name or number. Default: all."
    )
    units: Annotated[Units | None, Parameter(group=_DATA)] = Field(
        None, description="What the values of rasters mean, where the files do not say it."
    )
    seed: Annotated[int, Parameter(group=_DATA)] = Field(
        0, ge=0, lt=2**31, description="The splits are those of a fit with the same seed."
    )

    def as_fit(self) -> FitOptions:
        """The same data options of a fit.

        Raises:
            ConfigError: With every wrong value at once.
        """
        given = {n: v for n, v in self.model_dump(exclude_unset=True).items() if n not in _DRAWN}
        return make_options(given, source="the options")
