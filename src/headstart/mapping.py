"""The verb `predict` of a segmentation model: pictures and scenes as masks in files. Wiring."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from headstart.atomic import replacing
from headstart.contracts import Sample
from headstart.data.band_statistics import warn_of_strange_values
from headstart.data.chips import bands_to_read, is_for_photos
from headstart.data.images import picture_facts
from headstart.data.raster_values import file_unit
from headstart.data.rasters import RASTER_SUFFIXES, open_raster
from headstart.errors import ConfigError, DataError
from headstart.progress import Progress
from headstart.report.chip_figures import segmentation_figures, visible_picture
from headstart.report.colours import class_colours
from headstart.saved import FittedSegmenter
from headstart.scenes.predicting import predict_scene
from headstart.scenes.spec import SceneSpec

# A photo is seen whole; past so many pixels its maps would fill the memory of a laptop.
MOST_PIXELS = 16_000_000
# Sides of the windows of a scene, of those that the crops of training had: more of the surroundings
# is seen, and less is seen twice.
_WINDOW, _OVERLAP = 2, 0.5


@dataclass(frozen=True)
class Mapped:
    """A picture that was mapped.

    Attributes:
        id: The path as given.
        mask: The file with the class of each pixel.
        overlay: The picture with the classes laid over it; None of a scene.
        shares: Class name -> share of the pixels that hold data.
    """

    id: str
    mask: Path
    overlay: Path | None
    shares: dict[str, float]


def map_files(
    fitted: FittedSegmenter,
    samples: Sequence[Sample],
    output: Path,
    *,
    on_error: Callable[[Sample, DataError], None] | None,
    progress: Progress,
) -> list[Mapped]:
    """Write a mask for each picture: `NAME.png` and `NAME-overlay.png`, of a TIFF `NAME.tif`.

    A PNG has the index of the class as its value, and the classes' colours as its palette. A TIFF
    is read by windows, whatever its size, and its mask has its coordinates; see `predict_scene`.

    Args:
        fitted: The model.
        samples: Pictures, see `find_pictures`.
        output: A folder; made if it is not there.
        on_error: Told of each picture that cannot be read; None: the error is raised.
        progress: Told about everything.

    Raises:
        ConfigError: Two pictures would write the same file, or the folder cannot be made.
        DataError: A picture cannot be read, and there is no `on_error`.
    """
    targets = _targets(samples, output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The folder `{output}` cannot be made ({error.strerror}). Give --output another."
        ) from None
    warn_of_strange_values(samples, fitted.predictor.contract, progress=progress)
    mapped = []
    with progress.bar("mapping", total=len(samples), unit="pictures") as advance:
        for sample, target in zip(samples, targets, strict=True):
            is_scene = sample.path.suffix.lower() in RASTER_SUFFIXES
            try:
                map_one = _map_scene if is_scene else _map_photo
                mapped.append(map_one(fitted, sample, target, progress=progress))
            except DataError as error:
                if on_error is None:
                    raise
                on_error(sample, error)
            advance(1)
    return mapped


def _targets(samples: Sequence[Sample], output: Path) -> list[Path]:
    """Where each mask goes."""
    pictures = {sample.path.resolve() for sample in samples}
    owners: dict[Path, Sample] = {}
    targets = []
    for sample in samples:
        suffix = ".tif" if sample.path.suffix.lower() in RASTER_SUFFIXES else ".png"
        target = output / f"{sample.path.stem}{suffix}"
        targets.append(target)
        for written in dict.fromkeys((target, target.with_suffix(".png"), _overlay(target))):
            if written in owners:
                raise ConfigError(
                    f"`{owners[written].id}` and `{sample.id}` would both write `{written}`. "
                    "Predict them one after the other, each into an --output of its own."
                )
            if written.resolve() in pictures:
                raise ConfigError(
                    f"The mask of `{sample.id}` would replace the picture `{written}`. Give "
                    "--output another folder."
                )
            owners[written] = sample
    return targets


def _overlay(target: Path) -> Path:
    return target.with_name(f"{target.stem}-overlay.png")


def _map_scene(
    fitted: FittedSegmenter, sample: Sample, target: Path, *, progress: Progress
) -> Mapped:
    predictor, legend = fitted.predictor, fitted.legend
    contract = predictor.contract
    with open_raster(sample.path) as raster:
        has_palette = bool(raster.facts.colours) and is_for_photos(contract)
        bands = [] if has_palette else bands_to_read(raster, contract)
    if has_palette:  # its values stand for colours
        return _map_photo(fitted, sample, target.with_suffix(".png"), progress=progress)
    if contract.units:
        file_unit(sample.path, bands=bands, units=contract.units)  # before anything is written
    num_bands = len(contract.bands)

    def forward(images: Tensor) -> Tensor:
        return predictor.logits(images.expand(-1, num_bands, -1, -1))

    window = _WINDOW * predictor.contract.height
    spec = SceneSpec(
        classes=legend.names,
        bands=tuple(bands),
        colours=class_colours(len(legend.names), own=legend.colours),
        window=window,
        overlap=round(_OVERLAP * predictor.contract.height),
        batch_size=predictor.num_at_once(window, window),
        model_key=fitted.key,
        units=contract.units,
    )
    done = predict_scene(sample.path, target, forward=forward, spec=spec, progress=progress)
    total = max(sum(done.num_pixels.values()), 1)
    shares = {name: num / total for name, num in done.num_pixels.items()}
    return Mapped(sample.id, done.path, None, shares)


def _map_photo(
    fitted: FittedSegmenter, sample: Sample, target: Path, *, progress: Progress
) -> Mapped:
    predictor, legend = fitted.predictor, fitted.legend
    facts = picture_facts(sample.path)
    num_pixels = facts.width * facts.height
    if num_pixels > MOST_PIXELS:
        raise DataError(
            f"`{sample.id}` has {num_pixels:,} pixels, and a photo is mapped whole up to "
            f"{MOST_PIXELS:,}. Save it as a TIFF, which is read by windows, or cut it into tiles."
        )
    ((batch, logits),) = predictor.answers([sample])
    answer = logits.argmax(dim=1)[0].cpu().numpy()
    colours = class_colours(len(legend.names), own=legend.colours)
    assert batch.inputs is not None
    picture = visible_picture(batch.inputs[0].cpu().numpy(), predictor.contract.bands)
    figures = segmentation_figures(picture, np.full(answer.shape, -1), answer, colours)
    overlay = _overlay(target)
    _write(target, _as_png(answer, colours))
    _write(overlay, figures["answer"])
    counts = np.bincount(answer.ravel(), minlength=len(legend.names))
    shares = dict(zip(legend.names, (counts / answer.size).tolist(), strict=True))
    return Mapped(sample.id, target, overlay, shares)


def _as_png(answer: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> bytes:
    image = Image.fromarray(answer.astype(np.uint8), mode="P")
    image.putpalette([value for colour in colours for value in colour])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)
