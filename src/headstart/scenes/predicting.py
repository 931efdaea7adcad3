"""The story of one scene: read, answer, blend and write at the same time, then make the files.

While the model answers one batch of windows, threads read the next ones, and another thread blends
and writes the last. It is handed the model as a function, and knows no task and no run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headstart.data.polygon_writing import WrittenAreas, require_polygons
from headstart.data.raster_header import RasterFacts
from headstart.data.raster_writing import bounded_cache
from headstart.data.rasters import open_raster
from headstart.errors import ConfigError, DataError, RunError
from headstart.locking import locked
from headstart.progress import Progress
from headstart.scenes.blending import Blender
from headstart.scenes.finishing import write_areas, write_classes, write_probabilities
from headstart.scenes.reading import SlabPixels, SlabReader
from headstart.scenes.spec import ScenePrediction, SceneSpec, check_spec
from headstart.scenes.turns import turned
from headstart.scenes.windows import Grid, make_grid
from headstart.scenes.work import State, Work, saved_state, scene_key, work_folder

Forward = Callable[[Tensor], Tensor]


def predict_scene(
    source: Path | str,
    output: Path,
    *,
    forward: Forward,
    spec: SceneSpec,
    progress: Progress,
    resume: bool = True,
) -> ScenePrediction:
    """Predict the class of each pixel of a raster of any size, in memory that does not grow.

    The output is a cloud-optimised GeoTIFF of 8 bits with the scene's transform and coordinate
    reference system, nodata 255, a colour table, and category names beside it. A killed prediction
    leaves `.NAME.unfinished` beside the output, and goes on from there with the same result, bit
    for bit, when model and machine compute alike.

    Args:
        source: A file, or anything else that GDAL opens by name. It needs no transform, nor a
            coordinate reference system.
        output: A `.tif`; replaced when it is there, once all is done.
        forward: images (B, bands, h, w) uint8, or float32 of any other values, raw, 0 where there
            is no data, on the CPU -> (B, K, h, w) float32 logits or probabilities, on any device.
            It is called from one thread, without gradients.
        spec: How.
        progress: Told of every window.
        resume: Go on where an interrupted prediction was, if it was the same one.

    Raises:
        ConfigError: The spec cannot work, the model gives another number of classes, or another
            process writes this output.
        DataError: The scene cannot be read, lacks a band, or the output cannot be written.
        RunError: The model gives values that are no numbers.
        MissingExtraError: Polygons are wanted, and the extra `geo` is not installed.
    """
    check_spec(spec, source=source, output=output)
    if spec.polygons is not None:
        require_polygons()
    facts = _checked_facts(source, spec)
    with locked(output):
        return _predict(
            source,
            output,
            facts=facts,
            forward=forward,
            spec=spec,
            progress=progress,
            resume=resume,
        )


def _predict(
    source: Path | str,
    output: Path,
    *,
    facts: RasterFacts,
    forward: Forward,
    spec: SceneSpec,
    progress: Progress,
    resume: bool,
) -> ScenePrediction:
    """As `predict_scene`, of a scene and an output that are known to be fit for it."""
    grid = make_grid(facts.height, facts.width, window=spec.window, overlap=spec.overlap)
    state = _start(source, output, facts=facts, spec=spec, resume=resume)
    num_resumed = state.next_row * len(grid.lefts)
    if num_resumed:
        progress.note(
            f"Going on with {output.name}: {num_resumed:,} of {grid.num_windows:,} windows are "
            "done already."
        )
    work = Work(
        work_folder(output),
        state,
        shape=(facts.height, facts.width),
        has_probabilities=spec.probabilities is not None,
    )
    answer = turned(_checked(forward, spec), spec.turns)
    try:
        reader = SlabReader(source, facts=facts, grid=grid, spec=spec)
        with bounded_cache(reader.cache_bytes):
            with (
                work,
                reader,
                progress.bar("predicting", total=grid.num_windows, unit="windows") as advance,
                closing(_windows(reader, grid, work=work, answer=answer, spec=spec)) as windows,
            ):
                advance(num_resumed)
                for num_windows in windows:
                    advance(num_windows)
            areas = _finish(work, output, facts=facts, spec=spec)
        work.remove()
    except OSError as error:
        raise DataError(
            f"`{output}` cannot be written ({error}). Make sure that the folder can be written to "
            "and that its disk has room, and start it again: it goes on where it was."
        ) from error
    finally:
        work.remove_if_empty()
    done = work.state
    if done.num_nodata == facts.height * facts.width:
        progress.warn(f"{source} holds no data: neither does {output.name}.")
    return ScenePrediction(
        output,
        num_windows=grid.num_windows,
        num_skipped=done.num_skipped,
        num_resumed=num_resumed,
        num_polygons=None if areas is None else areas.num_polygons,
        num_pixels=dict(zip(spec.classes, done.counts, strict=True)),
        num_nodata=done.num_nodata,
        num_below=0 if areas is None else areas.num_below,
        largest_below=0 if areas is None else areas.largest_below,
    )


def _checked_facts(source: Path | str, spec: SceneSpec) -> RasterFacts:
    """What the header says, when the scene has the bands that are wanted, of numbers."""
    with open_raster(source) as raster:
        raster.places(spec.bands)
        facts = raster.facts
    if facts.dtype.startswith("complex"):
        raise DataError(
            f"`{source}` holds complex numbers ({facts.dtype}), which no model takes. Make bands "
            "of real numbers of it, such as amplitude and phase."
        )
    return facts


def _start(
    source: Path | str, output: Path, *, facts: RasterFacts, spec: SceneSpec, resume: bool
) -> State:
    """Where to begin: where an interrupted prediction of the very same was, or at the start."""
    key = scene_key(source, facts, spec)
    has_probabilities = spec.probabilities is not None
    if resume and (
        saved := saved_state(work_folder(output), key=key, has_probabilities=has_probabilities)
    ):
        return saved
    return State(key, next_row=0, counts=(0,) * len(spec.classes))


def _windows(
    reader: SlabReader, grid: Grid, *, work: Work, answer: Forward, spec: SceneSpec
) -> Generator[int, None, None]:
    """Predict the windows that are left; yields how many more were answered."""
    slabs = grid.slabs(spec.batch_size)
    left = ((row, slab) for row in range(work.state.next_row, len(grid.tops)) for slab in slabs)
    blender = Blender(grid, work=work)
    waiting: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="blend-scene") as pool:
        for pixels in reader.read_all(left):
            seen, images = _cut(pixels, grid)
            probabilities = np.empty((0, len(spec.classes), 0, 0), np.float32)
            if seen:
                with torch.inference_mode():
                    probabilities = answer(torch.from_numpy(images)).cpu().numpy()
            if waiting is not None:
                waiting.result()  # at most one batch waits to be blended
            waiting = pool.submit(_blend, blender, pixels, probabilities, seen)
            yield len(pixels.slab.lefts)
        if waiting is not None:
            waiting.result()


def _cut(pixels: SlabPixels, grid: Grid) -> tuple[list[int], np.ndarray]:
    """The windows of a slab that hold data: their numbers, and (n, bands, h, w)."""
    slab = pixels.slab
    places = [slice(left - slab.left, left - slab.left + grid.window_width) for left in slab.lefts]
    seen = [i for i, place in enumerate(places) if pixels.valid[:, place].any()]
    dtype = np.uint8 if pixels.values.dtype == np.uint8 else np.float32
    shape = (len(seen), len(pixels.values), grid.window_height, grid.window_width)
    images = np.empty(shape, dtype)
    for image, number in zip(images, seen, strict=True):
        image[:] = pixels.values[:, :, places[number]]
    return seen, images


def _blend(
    blender: Blender, pixels: SlabPixels, probabilities: np.ndarray, seen: list[int]
) -> None:
    blender.add(pixels.row, pixels.slab, probabilities=probabilities, seen=seen, valid=pixels.valid)


def _checked(forward: Forward, spec: SceneSpec) -> Forward:
    """The model as probabilities, which are made sure to be what they should."""

    def answer(images: Tensor) -> Tensor:
        given = forward(images)
        wanted = (len(images), len(spec.classes), *images.shape[-2:])
        if tuple(given.shape) != wanted:
            raise ConfigError(
                f"The model gives values of shape {tuple(given.shape)} for {len(images)} windows, "
                f"but {wanted} is needed: one a class and pixel. Give the classes of the model."
            )
        probabilities = given.float()
        if spec.is_logits:
            probabilities = probabilities.softmax(dim=1)
        if not torch.isfinite(probabilities.sum()):
            raise RunError(
                "The model gives values that are no finite numbers. Where it computes in float16 "
                "or bfloat16, let it compute in float32; else its weights are damaged: fit anew."
            )
        return probabilities

    return answer


def _finish(
    work: Work, output: Path, *, facts: RasterFacts, spec: SceneSpec
) -> WrittenAreas | None:
    """Make the files; that of classes last, since it says that all is done."""
    if work.probabilities is not None and spec.probabilities is not None:
        write_probabilities(work.probabilities, spec.probabilities, spec=spec, facts=facts)
    areas = None
    if spec.polygons is not None:
        areas = write_areas(work.classes, spec.polygons, classes=spec.classes, facts=facts)
    write_classes(work.classes, output, spec=spec, facts=facts)
    return areas
