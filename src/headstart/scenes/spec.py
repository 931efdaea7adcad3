"""How a scene is to be predicted, and what came of it: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headstart.errors import ConfigError

Turns = Literal["none", "flips", "all"]
NODATA = 255  # in every file that is written: the largest value of 8 bits
MAX_CLASSES = NODATA
_RASTER_SUFFIXES = (".tif", ".tiff")
_POLYGON_SUFFIXES = (".gpkg", ".geojson")


@dataclass(frozen=True)
class PolygonSpec:
    """Polygons that are wanted besides the raster.

    Attributes:
        path: A `.gpkg` or `.geojson` to be written; GeoJSON is in degrees (WGS 84) where the scene
            has a coordinate reference system, as its standard (RFC 7946) demands.
        min_pixels: Smaller areas are left out, and smaller holes are filled.
        tolerance_pixels: Outlines may be moved by as much, to have fewer corners. The stairs that
            pixels make of a diagonal need 0.71 (half the diagonal of a pixel) to become straight;
            0 keeps every pixel's corner.
    """

    path: Path
    min_pixels: int = 16
    tolerance_pixels: float = 1.0


@dataclass(frozen=True)
class SceneSpec:
    """How a scene is to be predicted.

    Attributes:
        classes: Names; the place of each is its value in the output.
        bands: Of the scene, by name or number from 1, in the order that the model wants; None for
            all of them.
        colours: One (red, green, blue), each 0-255, a class; None: colours are made up.
        window: Height and width of what the model sees at once, in pixels. A scene that is smaller
            is seen whole.
        overlap: Pixels that neighbouring windows share at the least.
        batch_size: Windows that the model sees together, at the most.
        num_threads: Threads that read ahead.
        turns: Average over the scene as it is (`none`), and mirrored (`flips`, 4 times the work),
            and turned by right angles, too (`all`, 8 times the work).
        is_logits: Whether the model gives logits; else probabilities.
        probabilities: A `.tif` for the probability of each class; None for none.
        polygons: Polygons that are wanted; None for none.
        model_key: Tells models apart, such as the hash of the weights and the compute format: an
            interrupted prediction goes on only with the same one.
        units: What values are turned into when they are read, see `InputContract.units`.
        tags: What the rasters that are written say of themselves, such as where the scene is from.
    """

    classes: tuple[str, ...]
    bands: tuple[str | int, ...] | None = None
    colours: tuple[tuple[int, int, int], ...] | None = None
    window: int = 512
    overlap: int = 128
    batch_size: int = 8
    num_threads: int = 2
    turns: Turns = "none"
    is_logits: bool = True
    probabilities: Path | None = None
    polygons: PolygonSpec | None = None
    model_key: str = ""
    units: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScenePrediction:
    """What came of a scene.

    Attributes:
        path: The raster of classes.
        num_windows: Of the whole scene.
        num_skipped: Windows that hold no data at all; no model saw them.
        num_resumed: Windows that an earlier, interrupted prediction had already done.
        num_polygons: None when none were wanted.
        num_pixels: Class name -> number of pixels, in the order of the classes.
        num_nodata: Pixels without data.
        num_below: Areas that are no polygon, being smaller than the least.
        largest_below: Pixels of the largest of them; 0 where none is.
    """

    path: Path
    num_windows: int
    num_skipped: int
    num_resumed: int
    num_polygons: int | None
    num_pixels: Mapping[str, int]
    num_nodata: int
    num_below: int = 0
    largest_below: int = 0


def check_spec(spec: SceneSpec, *, source: Path | str, output: Path) -> None:
    """Raise ConfigError if a scene cannot be predicted like this, with all that is wrong."""
    wrong = []
    if not 1 <= len(spec.classes) <= MAX_CLASSES:
        wrong.append(
            f"The model has {len(spec.classes):,} classes, but a raster of 8 bits holds 1 to "
            f"{MAX_CLASSES}, besides nodata. Merge classes."
        )
    if spec.colours is not None and len(spec.colours) != len(spec.classes):
        wrong.append(
            f"{len(spec.colours)} colours are given for {len(spec.classes)} classes. Give one each."
        )
    if spec.window < 1 or not 0 <= spec.overlap < spec.window:
        wrong.append(
            f"Windows of {spec.window} pixels cannot overlap by {spec.overlap}: the overlap is 0 "
            "or more, and less than the window. A quarter of it is usual."
        )
    for name in ("batch_size", "num_threads"):
        if getattr(spec, name) < 1:
            wrong.append(f"`{name}` is {getattr(spec, name)}, but must be at least 1. Raise it.")
    wanted = [("The output", output, _RASTER_SUFFIXES)]
    if spec.probabilities is not None:
        wanted.append(("The file of probabilities", spec.probabilities, _RASTER_SUFFIXES))
    if spec.polygons is not None:
        wanted.append(("The file of polygons", spec.polygons.path, _POLYGON_SUFFIXES))
    for what, path, suffixes in wanted:
        if path.suffix.lower() not in suffixes:
            wrong.append(
                f"{what} is `{path}`, but it can only be written as {' or '.join(suffixes)}. Give "
                "it that suffix."
            )
        if path.resolve() == Path(source).resolve():
            wrong.append(f"{what} is `{path}`, which is the scene itself. Give another name.")
    if len({path.resolve() for _, path, _ in wanted}) < len(wanted):
        wrong.append("Two of the files to be written have one name. Give each its own.")
    if wrong:
        raise ConfigError("\n".join(wrong))
