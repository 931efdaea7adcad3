"""From a sample with a mask to an Example: raw values of its bands, and the class of each pixel.

Photos are read by `images`, rasters by `rasters`, by the band names of the input contract and in
its units; normalisation is the model's. What `chip_transforms` change is changed in picture and
mask together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headstart.contracts import IGNORE, Example, InputContract, Legend, Sample
from headstart.data.bands import choose_bands, common_name
from headstart.data.chip_memory import ChipMemory
from headstart.data.chip_transforms import ChipAugment, ChipTransform, chip_transform
from headstart.data.images import ALPHA_MODES, PictureError, picture_facts, read_image
from headstart.data.mask_files import read_mask
from headstart.data.raster_header import RasterFacts
from headstart.data.raster_values import read_in_units, refuse_other_range
from headstart.data.rasters import RASTER_SUFFIXES, Raster, Window, open_raster
from headstart.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

PHOTO_BANDS = ("R", "G", "B")


class PrepareChip:
    """Reads a sample with its mask. May be called from many threads at once, and be pickled.

    With `augment` it remembers what it has decoded, see `ChipMemory`.

    Args:
        contract: Names the bands; photos have `R, G, B`.
        legend: Explains the masks.
        augment: A preset's name, an `albumentations.Compose`, or a callable (inputs, target) ->
            (inputs, target), see `chip_transforms`; then a crop of `size` is cut at random. None:
            the whole chip as it is.
        size: (height, width) of the crops; by default those of the contract.

    Raises:
        ConfigError: There is no such preset, or `augment` is none of the above.

    Example:
        >>> prepare = PrepareChip(contract, dataset.legend, "aerial")  # doctest: +SKIP
        >>> prepare(dataset.samples[0]).inputs.shape  # doctest: +SKIP
        torch.Size([3, 256, 256])
    """

    def __init__(
        self,
        contract: InputContract,
        legend: Legend,
        augment: ChipAugment | None = None,
        *,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.contract = contract
        self.legend = legend
        self.transform: ChipTransform | None = None
        self._memory = ChipMemory()
        if augment is not None:
            size = size or (contract.height, contract.width)
            self.transform = chip_transform(
                augment,
                size=size,
                fill=tuple(mean * contract.scale for mean in contract.mean),
                num_classes=len(legend.names),
            )

    def __call__(self, sample: Sample) -> Example:
        """The sample as an Example, changed as training changes it where that was asked for.

        Returns:
            inputs (bands, H, W), uint8 where the file has 8 bits and stays as it is stored, else
            float32, and 0 where there is no data; target (H, W) int64, IGNORE where the legend
            ignores the value, the mask is transparent, or the picture holds no data. None where the
            sample has no mask.

        Raises:
            PictureError: Picture or mask cannot be read.
            DataError: The picture lacks a band or is in another unit, the mask has a value that the
                legend does not, or the two are of different sizes.
        """
        import torch

        if self.transform is None:
            return self._read(sample)
        example = self._memory.get(sample.id)
        if example is None:
            example = self._read(sample)
            self._memory.keep(sample.id, example)
        if example.target is not None:
            return Example(*self.transform(example.inputs, example.target))
        # A crop without its mask has a use too: to see what training sees.
        nothing = torch.full(example.inputs.shape[-2:], IGNORE, dtype=torch.int64)
        return Example(self.transform(example.inputs, nothing)[0])

    def _read(self, sample: Sample) -> Example:
        """The whole chip as it is; raises what `__call__` does."""
        import torch

        values, valid = read_chip(sample.path, self.contract, window=sample.window)
        inputs = torch.from_numpy(values)
        if sample.mask is None:
            return Example(inputs)
        indices = read_mask(sample, self.legend)
        if indices.shape != valid.shape:
            height, width = valid.shape
            raise DataError(
                f"`{sample.path}` is {width} x {height} pixels, but its mask `{sample.mask}` "
                f"{indices.shape[1]} x {indices.shape[0]}. Make both from the same pixels, or "
                "leave the pair out with `--on-bad skip`."
            )
        if not valid.all():
            indices[~valid] = IGNORE
        return Example(inputs, torch.from_numpy(np.ascontiguousarray(indices)))


def read_chip(
    path: Path, contract: InputContract, *, window: tuple[int, int, int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The bands of a contract, in its units, and which pixels hold data.

    Args:
        path: A photo, or a raster of any number of bands.
        contract: Names the bands, and says what values are read as.
        window: (left, top, width, height) in pixels; None is all of it. Rasters are read by window,
            photos cut to it.

    Returns:
        (bands, H, W) contiguous, uint8 where the file has 8 bits and stays as it is stored, else
        float32, 0 where there is no data; and (H, W) bool.

    Raises:
        PictureError: It cannot be read.
        DataError: It lacks a band, its unit cannot be told, or it is another than the model takes.
    """
    if path.suffix.lower() not in RASTER_SUFFIXES:
        return _cut(*_read_photo(path, contract), window)
    with open_raster(path) as raster:
        if is_for_photos(contract) and raster.facts.colours:
            # values of a palette stand for colours
            return _cut(*_read_photo(path, contract), window)
        bands = bands_to_read(raster, contract)
        place = None if window is None else Window(*window)
        values, valid = read_in_units(raster, place, bands=bands, units=contract.units)
    if len(values) == 1 < len(contract.bands):
        values = np.repeat(values, len(contract.bands), axis=0)
    dtype = np.uint8 if values.dtype == np.uint8 else np.float32
    return np.ascontiguousarray(values, dtype=dtype), valid


def gives_photo(facts: RasterFacts) -> bool:
    """Whether red, green and blue can be had of a raster, as `bands_to_read` asks for them."""
    names = facts.bands
    if facts.colours or (len(names) == 1 and facts.dtype == "uint8"):
        return True
    if is_unnamed(names):
        return len(names) == 3
    return {"red", "green", "blue"} <= {common_name(name) for name in names}


def is_unnamed(bands: Sequence[str]) -> bool:
    """Whether no band of a file has a name of its own."""
    return all(re.fullmatch(r"band_\d+", name) for name in bands)


def is_for_photos(contract: InputContract) -> bool:
    """Whether a model takes nothing but red, green or blue of photos."""
    return set(contract.bands) <= set(PHOTO_BANDS)


def bands_to_read(raster: Raster, contract: InputContract) -> list[str | int]:
    """What to ask a raster for; a photo saved as TIFF is taken for one, whatever its bands say.

    One band where three are needed is the same in all three.

    Raises:
        DataError: There is no such band, or its values are not stored as the model knows them.
    """
    names = raster.facts.bands
    bands: list[str | int] = list(contract.bands)
    if is_for_photos(contract) and is_unnamed(names):
        if len(names) == 3:
            bands = [PHOTO_BANDS.index(band) + 1 for band in contract.bands]
        elif len(names) == 1 and raster.facts.dtype == "uint8":
            bands = [1]  # grey: the same in all three, as of any grey photo
    if is_for_photos(contract) and not contract.units and contract.scale > 1:
        refuse_other_range(raster, bands=bands, scale=contract.scale)
    return bands


def _cut(
    values: np.ndarray, valid: np.ndarray, window: tuple[int, int, int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """A window of what was read whole; None is all of it."""
    if window is None:
        return values, valid
    left, top, width, height = window
    rows, columns = slice(top, top + height), slice(left, left + width)
    return np.ascontiguousarray(values[:, rows, columns]), valid[rows, columns]


def _read_photo(path: Path, contract: InputContract) -> tuple[np.ndarray, np.ndarray]:
    if contract.units not in ("", "8bit"):
        raise DataError(
            f"`{path}` is a photo of 8 bits, but the model takes {contract.units}. Give rasters "
            "(.tif) of the kind that it was fitted on."
        )
    places = _places_in_photo(path, contract)
    image = read_image(path, sixteen_bit_divisor=contract.sixteen_bit_divisor)
    values = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)[places])
    if contract.units:
        values = values.astype(np.float32) / 255
    valid = np.ones(values.shape[1:], bool)
    # Transparent pixels are laid on white, which is no part of any class. Other formats that can be
    # transparent are drawings, or not read by `rasters` everywhere.
    if path.suffix.lower() == ".png" and picture_facts(path).mode in ALPHA_MODES:
        with open_raster(path) as raster:
            _, valid = raster.read_stored()
        if valid.shape != values.shape[1:]:
            raise PictureError(
                f"`{path}` is transparent in parts and says by EXIF that it wants to be turned, "
                "which would part it from its mask. Save it upright."
            )
    return values, valid


def _places_in_photo(path: Path, contract: InputContract) -> list[int]:
    try:
        return choose_bands(contract.bands, PHOTO_BANDS, source=str(path))
    except DataError:
        raise DataError(
            f"`{path}` is a photo with the bands R, G, B, but {len(contract.bands)} are needed: "
            f"{', '.join(contract.bands)}. Choose among the three with `--bands`, or give rasters "
            "(.tif) that have them."
        ) from None
