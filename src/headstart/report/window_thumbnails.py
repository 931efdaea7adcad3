"""Small pictures of samples, of which some are windows of large scenes; reads those by window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.contracts import Sample
from headstart.errors import DataError
from headstart.report.chip_figures import visible_picture
from headstart.report.thumbnails import embed, embed_file

if TYPE_CHECKING:
    import numpy as np


def embed_sample(sample: Sample, *, size: int) -> str | None:
    """A sample, at most `size` pixels on its longer side; None when it cannot be shown."""
    from PIL import Image

    if sample.window is None:
        return embed_file(sample.path, size=size)
    try:
        values, _, names = read_stored_window(sample)
    except DataError:
        return None
    image = Image.fromarray(visible_picture(values, names))
    image.thumbnail((size, size), Image.Resampling.BOX, reducing_gap=2.0)
    return embed(image)


def read_stored_window(sample: Sample) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(bands, h, w) as stored, (h, w) bool where there is data, and the names of the bands.

    Args:
        sample: A window.

    Raises:
        DataError: It cannot be read.
    """
    import numpy as np

    from headstart.data.images import read_image
    from headstart.data.rasters import RASTER_SUFFIXES, Window, open_raster

    assert sample.window is not None
    left, top, width, height = sample.window
    if sample.path.suffix.lower() not in RASTER_SUFFIXES:
        image = read_image(sample.path, sixteen_bit_divisor=None)
        part = np.asarray(image.crop((left, top, left + width, top + height)))
        return part.transpose(2, 0, 1), np.ones(part.shape[:2], bool), ("red", "green", "blue")
    with open_raster(sample.path) as raster:
        values, valid = raster.read(Window(left, top, width, height))
        return values, valid, raster.facts.bands
