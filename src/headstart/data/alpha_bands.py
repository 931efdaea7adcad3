"""A last band that is marked as alpha, though it may see something: it is left out, and told.

GDAL marks the fourth band of 8 bits as alpha unless it is told otherwise, also where that is the
near infrared. Where it has a name, the name decides (`rasters`); else nothing in the file does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.contracts import Sample
from headstart.data.listing import count
from headstart.data.raster_header import RasterFacts
from headstart.data.raster_values import sampled_pixels
from headstart.data.rasters import RASTER_SUFFIXES, raster_facts
from headstart.errors import DataError
from headstart.progress import Progress

# Opacity is all or nothing but at soft edges, which are fewer pixels than this.
_SOFT_SHARE = 0.01
# Files that are looked at, evenly spread.
_MOST_LOOKED_AT = 20


def warn_of_unread_alpha(
    samples: Sequence[Sample], *, bands: Sequence[str] | None, progress: Progress
) -> None:
    """Warn, once, of bands that are left out as opacity, but hold what may be something else.

    Args:
        samples: Pictures; those that cannot be read will be told of where they are read.
        bands: Of the model that is to answer them; None of a fit that chooses them.
        progress: Is told.
    """
    paths = {s.path: s.id for s in samples if s.path.suffix.lower() in RASTER_SUFFIXES}
    stride = -(-len(paths) // _MOST_LOOKED_AT) or 1
    looked_at = list(paths)[::stride]
    found = [(path, number) for path in looked_at if (number := _doubtful_band(path, bands))]
    if not found:
        return
    path, number = found[0]
    numbers = ",".join(str(i + 1) for i in range(number))
    several = f" In all it is so of {len(found)} of the {count(len(looked_at), 'raster')} that "
    several += "were looked at."
    progress.warn(
        f"Band {number} of `{paths[path]}` is left out: it has no name and is marked as opacity "
        "(alpha), though it has as many values as a band that sees something, such as near "
        f"infrared. Where it is 0, no pixel counts.{several if len(looked_at) > 1 else ''} "
        + (
            f"Learn from it with --bands {numbers}, or name it in the files (nir); if it is "
            f"opacity, --bands {numbers.rpartition(',')[0]} says so."
            if bands is None
            else "The model was fitted without it: to use it, fit one with "
            f"--bands {numbers}, or name it in the files (nir)."
        )
    )


def _doubtful_band(path: Path, bands: Sequence[str] | None) -> int:
    """The number of a band that is marked as alpha and not like one; 0 where there is none."""
    try:
        facts = raster_facts(path)
        number = len(facts.bands) + 1
        if not facts.has_alpha or facts.colours or _is_read(facts, bands or ()):
            return 0
        values = sampled_pixels(path, bands=[number], units="")
    except DataError:
        return 0
    counts = np.sort(np.unique(values, return_counts=True)[1])
    return number if counts[:-2].sum() > _SOFT_SHARE * counts.sum() else 0


def _is_read(facts: RasterFacts, bands: Sequence[str]) -> bool:
    """Whether a model asks for the band that is marked as alpha."""
    return not {str(len(facts.readable_bands)), facts.readable_bands[-1]}.isdisjoint(bands)
