"""Windows of remote rasters by range requests, resampled to one grid, written as one GeoTIFF.

With `grids`, the only file of the room that knows rasterio. Waiting and retries are bounded.
"""

from __future__ import annotations

import math
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio import features, warp
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.shutil import copy as copy_raster
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from headstart.atomic import half_written_files, replacing
from headstart.errors import DataError
from headstart.stac import asking
from headstart.stac.bands import AssetBand
from headstart.stac.grids import Grid, Header
from headstart.stac.reaching import AssetError, Source

# Rows of a strip: a full Sentinel-2 band of 10,980 columns then takes 22 MB at a time.
_STRIP_ROWS = 1024
_BANDS_AT_ONCE = 4


@dataclass(frozen=True)
class Layer:
    """One band of a source, to become one band of what is written."""

    source: Source
    band: AssetBand
    header: Header

    @property
    def nodata(self) -> float | None:
        """What stands for nothing measured; the file says it before the item, as it is read."""
        return self.band.nodata if self.header.nodata is None else self.header.nodata


def environment(source: Source, *, is_fresh: bool = False) -> rasterio.Env:
    """GDAL's settings for one source: few requests, bounded waiting, no look around."""
    options: dict[str, Any] = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no asking for side files
        "GDAL_HTTP_MAX_RETRY": len(asking.WAITS_S),
        "GDAL_HTTP_RETRY_DELAY": asking.WAITS_S[0],
        "GDAL_HTTP_CONNECTTIMEOUT": math.ceil(asking.TIMEOUT_S[0]),
        "GDAL_HTTP_LOW_SPEED_TIME": math.ceil(asking.TIMEOUT_S[1]),
        "GDAL_HTTP_LOW_SPEED_LIMIT": 1,  # bytes a second: slow is no fault, silent is
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        "GDAL_INGESTED_BYTES_AT_OPEN": 32768,  # the header of a COG in one request
    }
    if is_fresh:  # or an answer that was cut short would be remembered
        options["CPL_VSIL_CURL_NON_CACHED"] = "/vsicurl/http"
    if source.headers:
        options["GDAL_HTTP_HEADERS"] = ",".join(
            '"' + f"{name}: {value}".replace("\\", "\\\\").replace('"', '\\"') + '"'
            for name, value in source.headers.items()
        )
    return rasterio.Env(**options)


def read_header(source: Source) -> Header:
    """What a raster says of itself.

    Raises:
        AssetError: It cannot be opened, or has no place on Earth.
    """
    with (
        _failing_clearly(source, "opened"),
        environment(source),
        rasterio.open(source.path, driver=source.driver) as dataset,
    ):
        if dataset.crs is None:
            raise AssetError(
                f"{source.name} has no coordinate system, so no window of it can be cut out "
                "by place. Leave the item out, or download the file and give it one."
            )
        return Header(
            crs=dataset.crs,
            transform=dataset.transform,
            width=dataset.width,
            height=dataset.height,
            dtypes=tuple(dataset.dtypes),
            nodata=dataset.nodata,
        )


@contextmanager
def _failing_clearly(source: Source, what: str) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        inner: BaseException = error
        while inner.__cause__ is not None:
            inner = inner.__cause__
        said = " ".join(str(inner).split()).replace(source.path, source.name)[:200]
        short = re.search(r"got (\d+) bytes, expected (\d+)", said)
        if short is not None:
            said = f"of a piece of {int(short[2]):,} bytes only {int(short[1]):,} came"
        raise AssetError(
            f"{source.name} could not be {what}: {said}. The file is damaged, or its server sends "
            "less than it promises or nothing at all. Run the same command again; what was fetched "
            "is kept."
        ) from None


def write_layers(
    layers: Sequence[Layer],
    grid: Grid,
    path: Path,
    *,
    tags: Mapping[str, str],
    advance: Callable[[], None],
    is_stopped: Callable[[], bool],
) -> None:
    """Read bands onto one grid and write them as a cloud-optimised GeoTIFF, whole or not at all.

    Stored values stay as they are: scale and offset are written beside them. Where bands have no
    value for nothing measured, a mask says which pixels all of them cover.

    Args:
        layers: One a band of what is written.
        grid: Of what is written.
        path: The file.
        tags: Written into it.
        advance: Called after each band, from several threads.
        is_stopped: Asked now and then, from several threads; then nothing is written.

    Raises:
        AssetError: A source broke off, also when read anew; the file cannot be written; or all was
            stopped.
    """
    dtype = np.result_type(*(layer.header.dtypes[_number(layer) - 1] for layer in layers))
    declared = [layer.nodata for layer in layers]
    is_known = all(value is not None and _fits(value, dtype) for value in declared)
    nodata = declared[0] if is_known else None
    covered = None if is_known else np.ones((grid.height, grid.width), dtype=bool)
    with _workshop(path) as folder:
        raw = folder / "raw.tif"
        lock = threading.Lock()
        profile = {
            **{"driver": "GTiff", "width": grid.width, "height": grid.height},
            **{"count": len(layers), "dtype": dtype, "crs": grid.crs, "transform": grid.transform},
            **{"nodata": nodata, "bigtiff": "IF_SAFER"},
            **{"tiled": True, "blockxsize": 512, "blockysize": 512, "interleave": "band"},
        }
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(raw, "w", **profile) as out:

            def write(number: int) -> None:
                layer = layers[number - 1]
                for window, values, valid in _strips(layer, grid):
                    if is_stopped():
                        raise AssetError("Stopped.")
                    values = values.astype(dtype, copy=False)
                    if nodata is not None and declared[number - 1] != nodata:
                        values = np.where(valid, values, np.asarray(nodata, dtype=dtype))
                    with lock:
                        out.write(values, number, window=window)
                        if covered is not None:
                            covered[window.row_off : window.row_off + window.height] &= valid
                advance()

            _run_all(write, range(1, len(layers) + 1))
            _describe(out, layers, tags)
            if covered is not None and not covered.all():
                out.write_mask(covered)
        codes = all(layer.band.is_code for layer in layers)
        with replacing(path) as temporary:
            copy_raster(
                raw,
                temporary,
                driver="COG",
                compress="DEFLATE",
                predictor="YES",
                bigtiff="IF_SAFER",
                overview_resampling="MODE" if codes else "AVERAGE",
                num_threads=2,
            )


@contextmanager
def _workshop(path: Path) -> Iterator[Path]:
    """A folder beside a file for what is not whole yet; what a killed fetch has left is removed."""
    folder = path.with_name(f".fetching-{path.name}")
    shutil.rmtree(folder, ignore_errors=True)
    for leftover in half_written_files(path):
        leftover.unlink()
    folder.mkdir(parents=True)
    try:
        yield folder
    except RasterioError as error:  # of a source it would be an AssetError
        raise AssetError(
            f"`{path}` cannot be written ({error}). Free some space, or give --output a folder "
            "elsewhere; what was fetched is kept."
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_shapes(
    shapes: Sequence[tuple[Mapping[str, Any], int]],
    shapes_crs: str,
    grid: Grid,
    path: Path,
    *,
    tags: Mapping[str, str],
) -> None:
    """Burn polygons into a mask on a grid, later ones over earlier; 0 where there is none.

    Args:
        shapes: GeoJSON geometries, each with its value, 1 to 255.
        shapes_crs: Of the geometries.
        grid: Of the mask.
        path: The GeoTIFF.
        tags: Written into it.

    Raises:
        DataError: A geometry cannot be drawn.
    """
    try:
        placed = [
            (warp.transform_geom(shapes_crs, grid.crs, shape), value) for shape, value in shapes
        ]
        mask = (
            features.rasterize(
                placed, (grid.height, grid.width), transform=grid.transform, dtype="uint8"
            )
            if placed
            else np.zeros((grid.height, grid.width), dtype=np.uint8)
        )
    except (ValueError, RasterioError) as error:
        raise DataError(
            f"The labels of `{path.name}` have a shape that cannot be drawn: {error}. Leave the "
            "item out, or tell the catalogue's publisher."
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "compress": "deflate"}
    place = {"crs": grid.crs, "transform": grid.transform}
    size = {"width": grid.width, "height": grid.height}
    with (
        replacing(path) as temporary,
        rasterio.open(temporary, "w", **profile, **place, **size) as out,
    ):
        out.write(mask, 1)
        out.update_tags(**tags)


def grid_of(path: Path) -> Grid:
    """The pixels of a file that was written earlier."""
    with rasterio.open(path, driver="GTiff") as dataset:
        return Grid(dataset.crs, dataset.transform, dataset.width, dataset.height)


def _run_all(write: Callable[[int], None], numbers: Sequence[int]) -> None:
    with ThreadPoolExecutor(_BANDS_AT_ONCE) as pool:
        writings = [pool.submit(write, number) for number in numbers]
        try:
            for writing in writings:
                writing.result()
        except BaseException:
            for writing in writings:
                writing.cancel()
            raise


def _describe(out: Any, layers: Sequence[Layer], tags: Mapping[str, str]) -> None:
    """Names, scales and provenance, as GDAL keeps them."""
    out.descriptions = [layer.band.name for layer in layers]
    out.scales = [1.0 if layer.band.scale is None else layer.band.scale for layer in layers]
    out.offsets = [0.0 if layer.band.offset is None else layer.band.offset for layer in layers]
    out.update_tags(**tags)
    for number, layer in enumerate(layers, start=1):
        band = layer.band
        told = {
            "source": layer.source.name,
            "asset": band.asset,
            "common_name": band.common_name,
            "wavelength_nm": band.wavelength_nm,
        }
        out.update_tags(number, **{key: f"{v}" for key, v in told.items() if v is not None})


def _strips(layer: Layer, grid: Grid) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
    """A band on the grid, some rows at a time: window, values (h, w), is it covered (h, w).

    A strip that fails is read once more, past GDAL's memory of what came before.
    """
    done = 0
    for is_second in (False, True):
        try:
            for window, values, valid in _strips_from(layer, grid, done, is_fresh=is_second):
                yield window, values, valid
                done = window.row_off + window.height
            return
        except AssetError:
            if is_second:
                raise
            time.sleep(asking.WAITS_S[0])


def _strips_from(
    layer: Layer, grid: Grid, start: int, *, is_fresh: bool
) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
    header = layer.header
    # A coarser grid takes the mean of what lies under a pixel (the commonest code): the source is
    # seen at the next finer multiple, and GDAL then reads no finer overview than it needs.
    factor = max(1, math.floor(grid.pixel_m / header.pixel_m + 1e-6))
    near = Resampling.nearest if layer.band.is_code else Resampling.bilinear
    coarse = Resampling.mode if layer.band.is_code else Resampling.average
    nodata = layer.nodata
    # Publishers make overviews by means, also of codes, and a mean of codes is another code.
    options = {"OVERVIEW_LEVEL": "NONE"} if layer.band.is_code else {}
    with (
        _failing_clearly(layer.source, "read"),
        environment(layer.source, is_fresh=is_fresh),
        rasterio.open(layer.source.path, driver=layer.source.driver, **options) as dataset,
        WarpedVRT(
            dataset,
            crs=grid.crs,
            transform=_finer(grid.transform, factor),
            width=grid.width * factor,
            height=grid.height * factor,
            resampling=near,
            src_nodata=nodata,
            nodata=nodata,
            add_alpha=nodata is None and ColorInterp.alpha not in dataset.colorinterp,
            tolerance=0.01,  # of a pixel, where GDAL's own habit is an eighth
        ) as seen,
    ):
        for row in range(start, grid.height, _STRIP_ROWS):
            rows = min(_STRIP_ROWS, grid.height - row)
            source_window = Window(0, row * factor, grid.width * factor, rows * factor)
            shape = (rows, grid.width)
            how: dict[str, Any] = {"window": source_window, "out_shape": shape}
            if factor > 1:
                how["resampling"] = coarse
            values = seen.read(_number(layer), **how)
            valid = seen.read_masks(_number(layer), window=source_window, out_shape=shape) > 0
            yield Window(0, row, grid.width, rows), values, valid


def _finer(transform: Affine, factor: int) -> Affine:
    """The same place on Earth, with pixels so many times smaller."""
    a, b, c, d, e, f = transform[:6]
    return Affine(a / factor, b / factor, c, d / factor, e / factor, f)


def _number(layer: Layer) -> int:
    return max(1, layer.band.index)


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a type of pixel can hold a value."""
    if np.issubdtype(dtype, np.floating):
        return True
    limits = np.iinfo(dtype)
    return math.isfinite(value) and limits.min <= value <= limits.max and value == int(value)


def tags_if_whole(path: Path) -> dict[str, str] | None:
    """The tags of a file that can be read to its last pixel; None of any other."""
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            dataset.read(window=Window(dataset.width - 1, dataset.height - 1, 1, 1))
            return {str(name): str(value) for name, value in dataset.tags().items()}
    except RasterioError:
        return None
