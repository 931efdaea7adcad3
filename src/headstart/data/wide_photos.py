"""Photos of 16 bits that are given to a model which was fitted on photos of 8.

A fit tells of 16-bit pictures among its own (`data.checks`). What comes later is read by the input
contract, all values divided alike (`sixteen_bit`), and that is said where the model has seen none.
"""

from __future__ import annotations

from collections.abc import Sequence

from headstart.contracts import InputContract, Sample
from headstart.data.images import picture_facts
from headstart.data.listing import count
from headstart.data.rasters import RASTER_SUFFIXES
from headstart.data.sixteen_bit import is_wide
from headstart.errors import DataError
from headstart.progress import Progress


def warn_of_wide_photos(
    samples: Sequence[Sample], contract: InputContract, *, progress: Progress
) -> None:
    """Warn, once, of photos with more bits than those that a model was fitted on.

    Only headers are read. Rasters are refused where their values are out of range
    (`raster_values.refuse_other_range`); what cannot be read will be told of where it is read.

    Args:
        samples: To be answered by a model that was fitted on photos of 8 bits.
        contract: Of the model.
        progress: Is told.
    """
    wide = [s for s in samples if s.path.suffix.lower() not in RASTER_SUFFIXES and _is_wide(s)]
    if not wide or contract.units not in ("", "8bit"):  # others are refused
        return
    progress.warn(
        f"{count(len(wide), 'picture')} with 16 bits a pixel, such as `{wide[0].id}`, but the "
        f"model was fitted on pictures of 8: values are divided by {contract.sixteen_bit_divisor}, "
        "so that 65535 is white. If they use less of the range, all that is answered is answered "
        "of too dark a picture: stretch them all alike, save them with 8 bits, and predict those."
    )


def _is_wide(sample: Sample) -> bool:
    try:
        return is_wide(picture_facts(sample.path).mode)
    except DataError:
        return False
