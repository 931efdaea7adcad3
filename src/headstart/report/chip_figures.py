"""Pictures of one answer of a segmentation model: what it saw, the truth, the answer, the errors.

Pure numpy and Pillow: the only part of the report that is called while a model is evaluated.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headstart.report.colours import Colour
from headstart.rundir import RunFolder

if TYPE_CHECKING:
    import numpy as np

CHIP_FIGURES = ("picture", "truth", "answer", "error")
DOUBT_FIGURE, FALSE_COLOUR_FIGURE = "doubt", "false-colour"
# Red and blue of Okabe and Ito 2008, which every common kind of colour blindness tells apart.
WRONG: Colour = (213, 94, 0)
WRONG_AT_BORDER: Colour = (0, 114, 178)
_ERRORS = (WRONG, WRONG_AT_BORDER)
# A screen shows no more, and a page of several such stays small.
_MOST_PIXELS = 768
# A picture whose brightest 2% do not reach this is seen only in the dark.
_DARK = 96
BAND_PIXELS = 192  # of the longer side: small, for there may be a dozen
# Enough to tell a class, and to see through it what it was given to; errors stand out from a
# picture that has faded towards white.
_OPACITY, _ERROR_OPACITY, _FADED, _LEAST_GREY = 0.6, 0.95, 0.5, 64.0


def segmentation_figures(
    picture: np.ndarray, truth: np.ndarray, answer: np.ndarray, colours: Sequence[Colour]
) -> dict[str, bytes]:
    """Four pictures to set side by side, each as the bytes of a PNG file.

    Large ones are shrunk to 768 pixels on the longer side.

    Args:
        picture: (h, w, 3) uint8.
        truth: (h, w) int64, classes; below 0 where there is none.
        answer: (h, w) int64, classes.
        colours: (red, green, blue) of each class, each 0-255; see `colours.class_colours`.

    Returns:
        `picture` as it is; `truth` and `answer` in the colours of the classes over the picture in
        grey, hatched where the truth has no class; `error`: over a faded picture in red where the
        answer is wrong, in blue where it is so near a border in the truth, as `metrics.borders` has
        it.

    Raises:
        ValueError: The three are not of one size.
    """
    import numpy as np

    from headstart.metrics.borders import at_border, boundary_tolerance, near

    if not picture.shape[:2] == truth.shape == answer.shape:
        raise ValueError(
            f"A picture of {picture.shape}, a truth of {truth.shape} and an answer of "
            f"{answer.shape} are of several sizes. Give all three of one height and width."
        )
    is_known = truth >= 0
    is_wrong = (truth != answer) & is_known
    is_border = near(at_border(truth, is_known), boundary_tolerance(*truth.shape))
    errors = is_wrong.astype(np.int64) * (1 + is_border) - 1  # -1 right, 0 wrong, 1 at a border
    shrunk = _shrink(picture)
    rows = np.linspace(0, len(truth) - 1, shrunk.shape[0]).round().astype(np.int64)
    columns = np.linspace(0, truth.shape[1] - 1, shrunk.shape[1]).round().astype(np.int64)
    grid = np.ix_(rows, columns)
    grey = _grey(shrunk)
    known = is_known[grid][..., None]
    hatched = np.where(known, grey, _hatch(grey))
    faded = np.where(known, grey + _FADED * (255 - grey), hatched)
    return {
        "picture": _png(shrunk),
        "truth": _png(_painted(hatched, truth[grid], colours, opacity=_OPACITY)),
        "answer": _png(_painted(grey, answer[grid], colours, opacity=_OPACITY)),
        "error": _png(_painted(faded, errors[grid], _ERRORS, opacity=_ERROR_OPACITY)),
    }


def answer_figure(picture: np.ndarray, answer: np.ndarray, colours: Sequence[Colour]) -> bytes:
    """The `answer` of `segmentation_figures` alone, in a quarter of the time.

    Args:
        picture: (h, w, 3) uint8.
        answer: (h, w) int64, classes; below 0 where there is none.
        colours: See `segmentation_figures`.
    """
    import numpy as np

    grey = _grey(_shrink(picture))
    rows = np.linspace(0, len(answer) - 1, grey.shape[0]).round().astype(np.int64)
    columns = np.linspace(0, answer.shape[1] - 1, grey.shape[1]).round().astype(np.int64)
    return _png(_painted(grey, answer[np.ix_(rows, columns)], colours, opacity=_OPACITY))


def visible_picture(values: np.ndarray, bands: Sequence[str]) -> np.ndarray:
    """A picture to look at, of any bands and values.

    Red, green and blue where the bands have them, else the first three, or one as grey. Values of 8
    bits are shown as they are, but so dark ones as satellites give are brightened, all bands alike;
    others are stretched from their 2nd to their 98th percentile.

    Args:
        values: (bands, h, w) uint8, or any other numbers, in which NaN is shown black.
        bands: Names, one a band.

    Returns:
        (h, w, 3) uint8.
    """
    import numpy as np

    from headstart.data.bands import common_name

    names = [common_name(band) for band in bands]
    if {"red", "green", "blue"} <= set(names):
        chosen = [names.index(name) for name in ("red", "green", "blue")]
    else:
        chosen = [0, 1, 2] if len(values) >= 3 else [0, 0, 0]
    if values.dtype == np.uint8:
        picture = np.ascontiguousarray(np.moveaxis(values[chosen], 0, -1))
        low, high = _ends(picture[picture.any(axis=-1)].astype(np.float32))
        if not low < high < _DARK:
            return picture
        brightened = 255 * ((picture - low) / (high - low)).clip(0, 1)
        return np.asarray(brightened.round().astype(np.uint8))
    return np.stack([_stretched(values[i].astype(np.float32)) for i in chosen], axis=-1)


def doubt_figure(doubt: np.ndarray) -> bytes:
    """How unsure an answer is, pixel by pixel, in the colours of `colour_map`, as a PNG file.

    Args:
        doubt: (h, w) from 0, sure, to 1.
    """
    import numpy as np

    from headstart.report.colour_map import map_colours

    shrunk = _shrink((255 * doubt.clip(0, 1)).round().astype(np.uint8))
    return _png(map_colours(shrunk.astype(np.float64) / 255))


def false_colour(values: np.ndarray, bands: Sequence[str]) -> bytes | None:
    """Near infrared, red and green as red, green and blue, as a PNG file; None without these bands.

    Plants reflect near infrared: on such a picture they are red, and what is green but no plant is
    not. Each band is stretched as in `visible_picture`.

    Args:
        values: (bands, h, w).
        bands: Names, one a band.
    """
    import numpy as np

    from headstart.data.bands import common_name

    names = [common_name(band) for band in bands]
    wanted = ("nir" if "nir" in names else "nir08", "red", "green")
    if not set(wanted) <= set(names):
        return None
    planes = [_stretched(values[names.index(name)].astype(np.float32)) for name in wanted]
    return _png(_shrink(np.stack(planes, axis=-1)))


def band_figures(values: np.ndarray, bands: Sequence[str]) -> list[tuple[dict[str, Any], bytes]]:
    """Each band alone in grey, as a PNG file, with what black and white stand for.

    Args:
        values: (bands, h, w); where all are 0 there is no data.
        bands: Names, one a band.

    Returns:
        ({"name", "low", "high"}, picture) of each; darker is less than `low`, the 2nd percentile,
        brighter more than `high`, the 98th.
    """
    import numpy as np

    is_known = np.any(values != 0, axis=0)
    figures = []
    for name, plane in zip(bands, values, strict=True):
        band = np.where(is_known, plane.astype(np.float32), np.float32("nan"))
        low, high = _ends(band)
        told = {"name": name, "low": low, "high": high}
        figures.append((told, _png(_shrink(_stretched(band), most=BAND_PIXELS))))
    return figures


def band_figure_name(i: int) -> str:
    """What the picture of the i-th band is called in the run folder."""
    return f"band-{i}"


def write_chip_figures(folder: RunFolder, figures: Mapping[str, bytes], *, number: int) -> None:
    """Write what `segmentation_figures` drew to where the report looks for it.

    Args:
        folder: The run.
        figures: Name -> bytes of a PNG file.
        number: As the entry of `shown` in metrics.json has it.

    Raises:
        RunError: They cannot be written.
    """
    for name, data in figures.items():
        with folder.replacing(folder.chip_figure(number, name)) as temporary:
            temporary.write_bytes(data)


def _stretched(band: np.ndarray) -> np.ndarray:
    """(h, w) uint8 of (h, w) float32."""
    import numpy as np

    low, high = _ends(band)
    shares = (np.where(np.isfinite(band), band, low) - low) / max(high - low, 1e-9)
    pixels: np.ndarray = (255 * shares.clip(0, 1)).round().astype(np.uint8)
    return pixels


def _ends(band: np.ndarray) -> tuple[float, float]:
    """The 2nd and the 98th percentile of what is finite; 0 where nothing is."""
    import numpy as np

    known = band[np.isfinite(band)]
    if not known.size:
        return 0.0, 0.0
    low, high = np.percentile(known, (2, 98))
    return float(low), float(high)


def _shrink(picture: np.ndarray, *, most: int = _MOST_PIXELS) -> np.ndarray:
    """The picture, at most so many pixels on its longer side."""
    import numpy as np
    from PIL import Image

    height, width = picture.shape[:2]
    scale = most / max(height, width)
    if scale >= 1.0:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize(size, Image.Resampling.BOX, reducing_gap=2.0))


def _grey(picture: np.ndarray) -> np.ndarray:
    """(h, w, 3) float32: brightness alone, so that every colour on it is one of a class.

    Lifted, so that on a dark picture these colours stay those of the legend.
    """
    import numpy as np

    # Weights of red, green and blue: ITU-R BT.601.
    brightness = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.repeat(_LEAST_GREY + (1 - _LEAST_GREY / 255) * brightness[..., None], 3, axis=2)


def _hatch(grey: np.ndarray) -> np.ndarray:
    """Slanted stripes, lighter and darker."""
    import numpy as np

    down, across = np.indices(grey.shape[:2])
    stripes = np.where((down + across) % 8 < 4, 96.0, 160.0).astype(np.float32)
    return 0.35 * grey + 0.65 * stripes[..., None]


def _painted(
    grey: np.ndarray, classes: np.ndarray, colours: Sequence[Colour], *, opacity: float
) -> np.ndarray:
    """The colours of classes laid over grey; nothing where the class is below 0."""
    import numpy as np

    table = np.array(colours, dtype=np.float32)
    laid = grey * (1 - opacity) + table[classes.clip(0)] * opacity
    return np.where((classes >= 0)[..., None], laid, grey).round().clip(0, 255).astype(np.uint8)


def _png(pixels: np.ndarray) -> bytes:
    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()
