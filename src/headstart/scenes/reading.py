"""Reads the slabs of a scene ahead, in threads; never more than a few at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from types import TracebackType

import numpy as np

from headstart.data.raster_header import RasterFacts
from headstart.data.raster_values import read_in_units
from headstart.data.rasters import Raster, Window, open_raster
from headstart.scenes.spec import SceneSpec
from headstart.scenes.windows import Grid, Slab

Pixels = Future[tuple[np.ndarray, np.ndarray]]
_CACHE_BYTES = 64 << 20  # of GDAL, at the least: some pieces of any ordinary tiling


@dataclass(frozen=True, eq=False)
class SlabPixels:
    """The pixels of a slab.

    Attributes:
        row: Number of its row of windows.
        slab: Where it lies in the row.
        values: (bands, window_height, width), 0 where there is no data; of the file's dtype, or
            float32 in the units of the spec.
        valid: (window_height, width) bool, where there is data.
    """

    row: int
    slab: Slab
    values: np.ndarray
    valid: np.ndarray


class SlabReader:
    """Reads slabs in order, ahead of who takes them.

    A file in strips as wide as the scene is read by one thread, whose cache holds the strips of a
    row of windows: else each slab would decode them again.

    Args:
        source: The scene.
        facts: Of the scene.
        grid: Its windows.
        spec: Which bands, and by how many threads.
    """

    def __init__(
        self, source: Path | str, *, facts: RasterFacts, grid: Grid, spec: SceneSpec
    ) -> None:
        self._grid = grid
        slab_width = min(facts.width, spec.batch_size * grid.window_width)
        is_in_strips = facts.block[1] > slab_width
        self.num_threads = 1 if is_in_strips else spec.num_threads
        columns = facts.width if is_in_strips else slab_width
        rows = grid.window_height + 2 * min(facts.block[0], facts.height)
        num_bytes = len(facts.bands) * rows * columns * np.dtype(facts.dtype).itemsize
        self.cache_bytes = max(_CACHE_BYTES, self.num_threads * num_bytes)
        self._lanes = [_Lane(source, spec) for _ in range(self.num_threads)]
        self._ahead: deque[tuple[int, Slab, Pixels]] = deque()

    def __enter__(self) -> SlabReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _, _, future in self._ahead:
            future.cancel()
        for lane in self._lanes:
            lane.close()

    def read_all(self, places: Iterable[tuple[int, Slab]]) -> Iterator[SlabPixels]:
        """Slabs with their pixels, in order, as (row of windows, slab) asks for them.

        Raises:
            PictureError: A piece of the file cannot be read.
            DataError: The unit of the file cannot be told, or is another than that of the spec.
        """
        for (row, slab), lane in zip(places, cycle(self._lanes), strict=False):
            top, height = self._grid.tops[row], self._grid.window_height
            future = lane.read(Window(slab.left, top, slab.width, height))
            self._ahead.append((row, slab, future))
            if len(self._ahead) > len(self._lanes):
                yield self._first()
        while self._ahead:
            yield self._first()

    def _first(self) -> SlabPixels:
        row, slab, future = self._ahead.popleft()
        return SlabPixels(row, slab, *future.result())


class _Lane:
    """A thread with the raster open: rasterio has it closed by the thread that opened it."""

    def __init__(self, source: Path | str, spec: SceneSpec) -> None:
        self._source = source
        self._bands = spec.bands
        self._units = spec.units
        self._raster: Raster | None = None
        self._open = ExitStack()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="read-scene")

    def read(self, window: Window) -> Pixels:
        return self._pool.submit(self._read, window)

    def close(self) -> None:
        self._pool.submit(self._open.close).result()
        self._pool.shutdown()

    def _read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        if self._raster is None:
            self._raster = self._open.enter_context(open_raster(self._source))
        return read_in_units(self._raster, window, bands=self._bands, units=self._units)
