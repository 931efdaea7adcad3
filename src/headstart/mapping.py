"""The verb `predict` of a segmentation model: pictures and scenes as masks in files. Wiring."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from headstart.atomic import replacing
from headstart.contracts import Sample
from headstart.data.alpha_bands import warn_of_unread_alpha
from headstart.data.band_statistics import warn_of_strange_values
from headstart.data.chips import bands_to_read, is_for_photos, read_chip
from headstart.data.ground import pixel_area_m2
from headstart.data.listing import count
from headstart.data.own_files import mark_png
from headstart.data.raster_header import RasterFacts
from headstart.data.raster_values import file_unit
from headstart.data.raster_writing import write_plain
from headstart.data.rasters import RASTER_SUFFIXES, open_raster, read_window
from headstart.data.tiling import MOST_PHOTO_PIXELS
from headstart.data.wide_photos import warn_of_wide_photos
from headstart.errors import ConfigError, DataError
from headstart.fitted import FittedSegmenter
from headstart.locking import locked
from headstart.map_options import MIN_PIXELS, SIMPLIFY, MapOptions
from headstart.map_targets import Targets, ToMap, refuse_to_replace, targets_of
from headstart.progress import Progress
from headstart.report.chip_figures import answer_figure, visible_picture
from headstart.report.colours import Colour, class_colours
from headstart.scenes.predicting import predict_scene
from headstart.scenes.spec import NODATA, PolygonSpec, ScenePrediction, SceneSpec

# Sides of the windows of a scene, of those that the crops of training had: more of the surroundings
# is seen, and less is seen twice.
_WINDOW, _OVERLAP = 2, 0.5
# An overlay is drawn from no more pixels a side than this; it shows at most half as many.
_SHOWN = 1536
# What a scene says of where it is from, as `stac fetch` writes it; its mask says the same.
_PROVENANCE = ("stac_item", "stac_collection", "stac_source", "datetime", "platform", "license")


@dataclass(frozen=True)
class Mapped:
    """A picture that was mapped.

    Attributes:
        id: The path as given.
        mask: The file with the class of each pixel.
        overlay: The picture with the classes laid over it; None of a scene.
        shares: Class name -> share of the pixels that hold data.
        probabilities: The file with the probability of each class; None when not wanted.
        polygons: The file with the areas as polygons; None when not wanted.
        num_polygons: In it.
    """

    id: str
    mask: Path
    overlay: Path | None
    shares: dict[str, float]
    probabilities: Path | None = None
    polygons: Path | None = None
    num_polygons: int | None = None


def map_files(
    fitted: FittedSegmenter,
    pictures: Sequence[ToMap],
    output: Path,
    *,
    options: MapOptions,
    on_error: Callable[[Sample, DataError], None] | None,
    progress: Progress,
) -> list[Mapped]:
    """Write a mask for each picture: `NAME.png` and `NAME-overlay.png`, of a TIFF `NAME.tif`.

    A PNG has the index of the class as its value, and the classes' colours as its palette. A TIFF
    is read by windows, whatever its size, and its mask has its coordinates; see `predict_scene`.

    Args:
        fitted: The model.
        pictures: See `pictures_to_map`.
        output: A folder; made if it is not there.
        options: What is written besides, and how.
        on_error: Told of each picture that cannot be read; None: the error is raised.
        progress: Told about everything.

    Raises:
        ConfigError: Two pictures would write the same file, one is there that no prediction wrote,
            another process writes one, or the folder cannot be made.
        DataError: A picture cannot be read, and there is no `on_error`.
    """
    options.check()
    targets = targets_of(pictures, output, options=options)
    takes_photos = is_for_photos(fitted.predictor.contract)
    refuse_to_replace(pictures, targets, takes_photos=takes_photos)
    job = _Mapping(fitted, options, progress)
    samples, contract = [each.sample for each in pictures], fitted.predictor.contract
    warn_of_strange_values(samples, contract, progress=progress)
    warn_of_unread_alpha(samples, bands=contract.bands, progress=progress)
    if not fitted.knows_wide:
        warn_of_wide_photos(samples, contract, progress=progress)
    mapped = []
    folders = {possible[0].mask.parent for possible in targets}
    with (
        _made_if_used(output, folders),
        progress.bar("mapping", total=len(pictures), unit="pictures") as advance,
    ):
        for picture, possible in zip(pictures, targets, strict=True):
            try:
                mapped.append(job.map_one(picture.sample, possible))
            except DataError as error:
                if on_error is None:
                    raise
                on_error(picture.sample, error)
            advance(1)
    return mapped


class _Mapping:
    """What all pictures of a call share.

    Args:
        fitted: The model.
        options: What is written, and how.
        progress: Told about everything.
    """

    def __init__(self, fitted: FittedSegmenter, options: MapOptions, progress: Progress) -> None:
        self.fitted = fitted
        self.options = options
        self.progress = progress
        legend = fitted.legend
        self.colours = class_colours(len(legend.names), own=legend.colours)
        self._told = ""

    def map_one(self, sample: Sample, possible: Sequence[Targets]) -> Mapped:
        """Map a picture, to the last of the targets when it is a photo."""
        if sample.path.suffix.lower() in RASTER_SUFFIXES:
            with open_raster(sample.path) as raster:
                facts, contract = raster.facts, self.fitted.predictor.contract
                if not (facts.colours and is_for_photos(contract)):  # values that are colours
                    bands = bands_to_read(raster, contract)
                    return self._map_scene(sample, possible[0], facts=facts, bands=bands)
        return self._map_photo(sample, possible[-1])

    def _map_scene(
        self, sample: Sample, targets: Targets, *, facts: RasterFacts, bands: Sequence[str | int]
    ) -> Mapped:
        contract = self.fitted.predictor.contract
        if contract.units:
            file_unit(sample.path, bands=bands, units=contract.units)  # before anything is written
        done = predict_scene(
            sample.path,
            targets.mask,
            forward=self._forward,
            spec=self._spec(
                targets,
                facts,
                bands=tuple(bands),
                units=contract.units,
                window=_WINDOW * contract.height,
                overlap=round(_OVERLAP * contract.height),
            ),
            progress=self.progress,
        )
        self._tell_of_small_areas(sample, done, facts)
        return _mapped(sample, targets, done, overlay=None)

    def _forward(self, images: Tensor) -> Tensor:
        predictor = self.fitted.predictor
        return predictor.logits(images.expand(-1, len(predictor.contract.bands), -1, -1))

    def _map_photo(self, sample: Sample, targets: Targets) -> Mapped:
        """By the road that scenes take, of one window where that is not too large."""
        contract = self.fitted.predictor.contract
        values, valid = read_chip(sample.path, contract)
        height, width = valid.shape
        is_whole = height * width <= MOST_PHOTO_PIXELS
        window = max(height, width) if is_whole else _WINDOW * contract.height
        overlap = 0 if is_whole else round(_OVERLAP * contract.height)
        with locked(targets.mask), _staging(targets.mask) as folder:
            picture = folder / "picture.tif"
            write_plain(picture, values, valid=valid)
            with open_raster(picture) as raster:
                facts = raster.facts
            done = predict_scene(
                picture,
                folder / "classes.tif",
                forward=self._forward,
                spec=self._spec(targets, facts, bands=None, window=window, overlap=overlap),
                progress=Progress() if is_whole else self.progress,
                resume=False,
            )
            (answer,), is_known = read_window(done.path)
            answer[~is_known] = NODATA
        step = math.ceil(max(height, width) / _SHOWN)
        few = answer[::step, ::step].astype(np.int64)
        few[few == NODATA] = -1
        shown = visible_picture(
            np.ascontiguousarray(values[:, ::step, ::step]), tuple(contract.bands)
        )
        _write(targets.overlay, answer_figure(shown, few, self.colours))
        _write(targets.mask, _as_png(answer, self.colours))
        self._tell_of_small_areas(sample, done, facts)
        return _mapped(sample, targets, done, overlay=targets.overlay)

    def _spec(
        self,
        targets: Targets,
        facts: RasterFacts,
        *,
        bands: tuple[str | int, ...] | None,
        window: int,
        overlap: int,
        units: str = "",
    ) -> SceneSpec:
        fitted, options = self.fitted, self.options
        return SceneSpec(
            classes=fitted.legend.names,
            bands=bands,
            colours=self.colours,
            window=window,
            overlap=overlap,
            batch_size=fitted.predictor.num_at_once(window, window),
            turns=options.turns,
            probabilities=targets.probabilities,
            polygons=self._polygons(targets.polygons, facts),
            model_key=fitted.key,
            units=units,
            tags={name: facts.tags[name] for name in _PROVENANCE if name in facts.tags},
        )

    def _polygons(self, path: Path | None, facts: RasterFacts) -> PolygonSpec | None:
        """How polygons are to be; what an area is in pixels is said once, and when it changes."""
        if path is None:
            return None
        tolerance = SIMPLIFY if self.options.simplify is None else self.options.simplify
        if self.options.min_area is None:
            return PolygonSpec(path, MIN_PIXELS, tolerance)
        area_m2 = pixel_area_m2(facts)
        num_pixels = math.ceil(self.options.min_area / (area_m2 or 1) - 1e-6)
        told = (
            f"--min-area {self.options.min_area:g} is {count(num_pixels, 'pixel')} of "
            f"{area_m2:.3g} m²"
            if area_m2 is not None
            else f"--min-area {self.options.min_area:g} is taken for pixels: a picture that does "
            "not know where it lies has no square metres"
        )
        if told != self._told:
            self.progress.note(told + ".")
            self._told = told
        return PolygonSpec(path, num_pixels, tolerance)

    def _tell_of_small_areas(
        self, sample: Sample, done: ScenePrediction, facts: RasterFacts
    ) -> None:
        """Why there is no polygon at all, where areas are so small."""
        if done.num_polygons != 0 or not done.num_below:
            return
        least = f"the {MIN_PIXELS} pixels that count without --min-area"
        if self.options.min_area is not None:
            least = f"--min-area {self.options.min_area:g}"
        area_m2 = pixel_area_m2(facts)
        largest = count(done.largest_below, "pixel")
        if area_m2 is not None:
            size_m2 = done.largest_below * area_m2
            largest += f" ({size_m2:,.0f} m²)" if size_m2 >= 100 else f" ({size_m2:.3g} m²)"
        few = done.num_below == 1
        what = "its only area is" if few else f"all of its {done.num_below:,} areas are"
        self.progress.warn(
            f"`{sample.id}` leaves no polygon: {what} smaller than {least}"
            f"{', with' if few else '; the largest has'} {largest}. Give a smaller --min-area."
        )


def _mapped(
    sample: Sample, targets: Targets, done: ScenePrediction, *, overlay: Path | None
) -> Mapped:
    total = max(sum(done.num_pixels.values()), 1)
    return Mapped(
        sample.id,
        targets.mask,
        overlay,
        {name: num / total for name, num in done.num_pixels.items()},
        probabilities=targets.probabilities,
        polygons=targets.polygons,
        num_polygons=done.num_polygons,
    )


@contextmanager
def _made_if_used(output: Path, folders: Iterable[Path]) -> Iterator[None]:
    """While it is entered there is an output folder; what was made and holds nothing goes.

    Args:
        output: The folder.
        folders: Those that files will be put in, below it; each is made by who needs it.

    Raises:
        ConfigError: The folder cannot be made.
    """
    above = {path for folder in (output, *folders) for path in (folder, *folder.parents)}
    made = sorted((p for p in above if not p.exists()), key=lambda p: len(p.parts), reverse=True)
    try:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The folder `{output}` cannot be made ({error.strerror}). Give --output another."
            ) from None
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it holds something, or was never made
                folder.rmdir()


@contextmanager
def _staging(mask: Path) -> Iterator[Path]:
    """An empty folder beside a mask, for what is on the way to it; gone at the end."""
    folder = mask.with_name(f".{mask.name}.unfinished")
    shutil.rmtree(folder, ignore_errors=True)  # of a killed process
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_png(answer: np.ndarray, colours: Sequence[Colour]) -> bytes:
    """(h, w) uint8 as a picture of classes; no data is transparent."""
    image = Image.fromarray(answer, mode="P")
    palette = [value for colour in colours for value in colour]
    options = {}
    if (answer == NODATA).any():
        palette += [0] * (3 * (NODATA + 1) - len(palette))  # up to the entry of no data
        options = {"transparency": NODATA}
    image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    """A PNG, known as our own."""
    with replacing(path) as temporary:
        temporary.write_bytes(mark_png(data))
