"""Mean and spread of bands over training samples, for what ImageNet's figures do not describe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.contracts import InputContract, Sample
from headstart.data.chips import bands_to_read, is_for_photos, read_chip
from headstart.data.raster_values import sampled_pixels
from headstart.data.rasters import RASTER_SUFFIXES, open_raster
from headstart.errors import DataError
from headstart.progress import Progress

# Samples that are looked at, evenly spread, and pixels of each: 400,000 in all, which give a mean
# to a hundredth of the spread even where pixels of a chip are nearly alike.
_MOST_SAMPLES, _MOST_PIXELS = 100, 4_000
# Shares of the pixels that count as the outermost values do there: a few clouds, glints and broken
# pixels would else decide how everything else is seen.
_LOW, _HIGH = 0.5, 99.5
# Less than any band of a scene varies, in reflectance and in shares of 8 bits.
_LEAST_SPREAD = 1e-5
# So many spreads from the mean of training, the median of a picture is not one of its kind: dark
# sea among bright desert differs by less than ten.
_FAR = 12.0
_MOST_LOOKED_AT = 20


@dataclass(frozen=True)
class BandStatistics:
    """Of the pixels that hold data.

    Attributes:
        mean: One a band.
        std: One a band; 1 of a band that is the same everywhere.
        constant: Names of such bands.
        num_samples: How many were looked at.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    constant: tuple[str, ...]
    num_samples: int


def measure_bands(samples: Sequence[Sample], contract: InputContract) -> BandStatistics:
    """Robust mean and standard deviation of each band, in the units of a contract.

    Values beyond the outermost half percent of either end count as those at its border do.

    Args:
        samples: Of the training split.
        contract: Names the bands, and says what values are read as.

    Raises:
        DataError: A sample cannot be read as the contract says, or none holds any data.
    """
    stride = -(-len(samples) // _MOST_SAMPLES) or 1
    looked_at = samples[::stride]
    pixels = np.concatenate(list(_pixels(looked_at, contract)), axis=1).astype(np.float64)
    if pixels.shape[1] == 0:
        raise DataError(
            f"None of {len(looked_at)} training pictures that were looked at holds any data. "
            "`headstart inspect` draws them; look at their nodata value."
        )
    low, high = np.percentile(pixels, (_LOW, _HIGH), axis=1)
    pixels = pixels.clip(low[:, None], high[:, None])
    mean, std = pixels.mean(axis=1), pixels.std(axis=1)
    is_constant = std < _LEAST_SPREAD
    return BandStatistics(
        mean=tuple(float(f"{value:.6g}") for value in mean),
        std=tuple(float(f"{value:.6g}") for value in np.where(is_constant, 1.0, std)),
        constant=tuple(b for b, c in zip(contract.bands, is_constant, strict=True) if c),
        num_samples=len(looked_at),
    )


def warn_of_strange_values(
    samples: Sequence[Sample], contract: InputContract, *, progress: Progress
) -> None:
    """Warn, once, of pictures whose values lie far from all that a model has seen.

    Some rasters are looked at, evenly spread; photos are not, and those that cannot be read will be
    told of where they are read.

    Args:
        samples: To be answered.
        contract: Of the model, with the statistics of its training data.
        progress: Is told.
    """
    rasters = [s for s in samples if s.path.suffix.lower() in RASTER_SUFFIXES]
    if not contract.units or not rasters:
        return
    stride = -(-len(rasters) // _MOST_LOOKED_AT)
    found = []
    for sample in rasters[::stride]:
        try:
            found.append(_strange_values(sample, contract))
        except DataError:
            continue
    strange = [sentence for sentence in found if sentence]
    if strange:
        others = f" In all it is so of {len(strange)} of the {len(found)} that were looked at."
        progress.warn(
            f"{strange[0]}{others if len(found) > 1 else ''} Make sure that they are of the same "
            "sensor and product."
        )


def _strange_values(sample: Sample, contract: InputContract) -> str:
    """How a raster's values differ from those of training; empty where they do not."""
    (pixels,) = _pixels([sample], contract)
    if pixels.shape[1] == 0:
        return ""
    medians = np.median(pixels, axis=1)
    mean, std = (np.array(v) * contract.scale for v in (contract.mean, contract.std))
    away = np.abs(medians - mean) / std
    worst = int(away.argmax())
    if away[worst] <= _FAR:
        return ""
    return (
        f"`{sample.id}` is unlike what the model was fitted on: the median of "
        f"{contract.bands[worst]} is {medians[worst]:.4g}, the mean of training was "
        f"{mean[worst]:.4g}, give or take {std[worst]:.2g}."
    )


def _pixels(samples: Sequence[Sample], contract: InputContract) -> Iterator[np.ndarray]:
    """(bands, n) of each sample, in its units."""
    for sample in samples:
        pixels = _pixels_of(sample, contract)
        if len(pixels) == 1 < len(contract.bands):
            pixels = np.repeat(pixels, len(contract.bands), axis=0)
        step = -(-pixels.shape[1] // _MOST_PIXELS) or 1
        yield pixels[:, ::step]


def _pixels_of(sample: Sample, contract: InputContract) -> np.ndarray:
    if sample.path.suffix.lower() in RASTER_SUFFIXES:
        with open_raster(sample.path) as raster:
            is_photo = bool(raster.facts.colours) and is_for_photos(contract)
            bands = [] if is_photo else bands_to_read(raster, contract)
        if not is_photo:
            return sampled_pixels(
                sample.path, bands=bands, units=contract.units, within=sample.window
            )
    values, valid = read_chip(sample.path, contract, window=sample.window)
    return values[:, valid]
