"""The verb `stac fetch`: items become GeoTIFFs, several at once, none of them twice.

Each file appears whole or not at all, and carries where it came from. One item that fails does not
stop the others: all failures are told together at the end.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pystac

from headstart.errors import DataError
from headstart.progress import Progress
from headstart.stac.asking import CatalogueError, CatalogueIO, HostBoundSession
from headstart.stac.bands import AssetBand, choose_bands
from headstart.stac.cogs import Layer, grid_of, is_whole, read_header, write_layers
from headstart.stac.grids import Wanted, settle_grid
from headstart.stac.reaching import AssetError, reach
from headstart.stac.searching import Found, licence_of
from headstart.stac.side_items import side_path, tags_of, write_index, write_side_item
from headstart.stac.sign_in import is_remote, shown

# Waiting for servers, not computing: so a few items at once, with a few bands each.
_ITEMS_AT_ONCE = 4
REQUEST_TAG = "HEADSTART_REQUEST"


@dataclass(frozen=True)
class Errand:
    """One file that is to be there.

    Attributes:
        item: Whose pixels.
        bands: What to read.
        wanted: Where and how finely.
        path: The file.
        like: A file that was fetched before, whose pixels this one is put on; it is then a mask.
    """

    item: pystac.Item
    bands: tuple[AssetBand, ...]
    wanted: Wanted
    path: Path
    like: Path | None = None

    @property
    def request(self) -> str:
        """A digest of all that decides the pixels; signatures of addresses do not."""
        bands = [{**asdict(band), "href": shown(band.href)} for band in self.bands]
        wanted = replace(self.wanted, bands=())
        told = [self.item.collection_id, self.item.id, bands, wanted, self.like is not None]
        return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:32]

    @property
    def is_done(self) -> bool:
        """Whether the file is there, whole, and of this very request."""
        has_item = self.like is not None or side_path(self.path).is_file()
        return has_item and is_whole(self.path, {REQUEST_TAG: self.request})


@dataclass(frozen=True)
class Fetched:
    """What `fetch` left in a folder.

    Attributes:
        folder: Where.
        paths: One GeoTIFF an item.
        num_kept: How many of them were there already.
        num_bytes: Of all files.
        index: The STAC items, with their files, as GeoJSON.
    """

    folder: Path
    paths: tuple[Path, ...]
    num_kept: int
    num_bytes: int
    index: Path


def fetch_items(found: Found, wanted: Wanted, *, output: Path, progress: Progress) -> Fetched:
    """Cut a window of some bands out of each item, and write one GeoTIFF an item.

    Args:
        found: The items.
        wanted: Bands, window and grid.
        output: The folder.
        progress: Shows a bar.

    Raises:
        DataError: Nothing was found, an item lacks a band, or some items could not be fetched; the
            others are then there.
    """
    if not found.items:
        raise DataError(
            "Nothing matches, so nothing was fetched. Look with `headstart stac search`, and widen "
            "--bbox, --datetime or --max-cloud."
        )
    names = file_names(found.items)
    errands = [
        Errand(item, tuple(choose_bands(item, wanted.bands)), wanted, output / f"{name}.tif")
        for item, name in zip(found.items, names, strict=True)
    ]
    refuse_local(errands, found.io)
    num_kept, failures = run_errands(errands, found.io, progress=progress)
    done = [errand for errand in errands if errand.path.is_file()]
    index = write_index(output, [errand.path for errand in done])
    tell_failures(failures, errands, output)
    return Fetched(
        folder=output,
        paths=tuple(errand.path for errand in done),
        num_kept=num_kept,
        num_bytes=sum(errand.path.stat().st_size for errand in done),
        index=index,
    )


def file_names(items: Sequence[pystac.Item]) -> list[str]:
    """A file name for each item, safe whatever the catalogue calls it, and each but once."""
    names: list[str] = []
    for item in items:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", item.id).strip("._")[:150] or "item"
        name, number = plain, 1
        while name.lower() in {known.lower() for known in names}:
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
    return names


def refuse_local(errands: Sequence[Errand], io: CatalogueIO) -> None:
    """A catalogue on the web must not make us read files of this machine.

    Raises:
        CatalogueError: It tries to.
    """
    for errand in errands:
        for band in errand.bands:
            if io.is_remote and not is_remote(band.href) and "://" not in band.href:
                raise CatalogueError(
                    f"The item `{errand.item.id}` points to `{band.href}`, a file on this machine, "
                    "but its catalogue is on the web. Tell the catalogue's publisher."
                )


def run_errands(
    errands: Sequence[Errand], io: CatalogueIO, *, progress: Progress
) -> tuple[int, dict[str, DataError]]:
    """Fetch what is not there yet.

    Returns:
        How many files were there already, and what went wrong, by the name of the file.
    """
    ready = {errand.path for errand in errands if errand.is_done}
    left = [errand for errand in errands if errand.path not in ready]
    failures: dict[str, DataError] = {}
    if not left:
        return len(ready), failures
    licences = _licences(left, io, progress)
    lock = threading.Lock()
    total = sum(len(errand.bands) for errand in left)
    label = f"fetching {len(left):,} item{'s' if len(left) > 1 else ''}"
    with (
        HostBoundSession(io.sign_in) as session,
        progress.bar(label, total=total, unit="bands") as advance,
        ThreadPoolExecutor(_ITEMS_AT_ONCE) as pool,
    ):

        def advance_one() -> None:
            with lock:  # bars are drawn by one thread at a time
                advance(1)

        running: dict[Future[None], Errand] = {
            pool.submit(_run, e, io, session, licences[e.item.id], advance_one): e for e in left
        }
        try:
            waiting = set(running)
            while waiting:
                over, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in over:
                    try:
                        future.result()
                    except DataError as error:
                        failures[running[future].path.stem] = error
        except BaseException:  # Ctrl-C: what has not begun shall not begin
            for future in running:
                future.cancel()
            raise
    return len(ready), failures


def _run(
    errand: Errand,
    io: CatalogueIO,
    session: HostBoundSession,
    licence: str,
    advance: Callable[[], None],
) -> None:
    """Fetch one item: each address is asked once, then all bands are read onto one grid."""
    hrefs = list(dict.fromkeys(band.href for band in errand.bands))
    with ExitStack() as stack:
        sources = {
            href: stack.enter_context(reach(href, io.sign_in, session=session)) for href in hrefs
        }
        headers = {href: read_header(source) for href, source in sources.items()}
        layers = []
        for band in errand.bands:
            header = headers[band.href]
            if band.index > len(header.dtypes):
                raise AssetError(
                    f"{shown(band.href)} has {len(header.dtypes)} bands, but the item promises a "
                    f"band `{band.name}` with number {band.index}. Tell the catalogue's publisher."
                )
            indexes = [band.index] if band.index else range(1, len(header.dtypes) + 1)
            layers += [
                Layer(
                    sources[band.href],
                    replace(band, index=index, name=_name(band, index, len(header.dtypes))),
                    header,
                )
                for index in indexes
            ]
        if errand.like is None:
            grid = settle_grid([layer.header for layer in layers], errand.wanted)
            write_side_item(errand.path, errand.item, layers=layers, grid=grid, licence=licence)
        else:
            grid = grid_of(errand.like)
        tags = {**tags_of(errand.item, licence), REQUEST_TAG: errand.request}
        write_layers(layers, grid, errand.path, tags=tags, advance=advance)


def _name(band: AssetBand, index: int, count: int) -> str:
    """Bands that the item does not name are called after their asset and number."""
    return band.name if band.index or count == 1 else f"{band.name}_{index}"


def _licences(errands: Sequence[Errand], io: CatalogueIO, progress: Progress) -> dict[str, str]:
    """The licence of each item; the collection is asked once for all of its items."""
    by_collection: dict[str | None, str] = {}
    licences: dict[str, str] = {}
    for item in (errand.item for errand in errands):
        key = None if item.properties.get("license") else item.collection_id
        if key is None or key not in by_collection:
            try:
                licence = licence_of(item, io)
            except CatalogueError as error:
                progress.warn(f"The licence of `{item.collection_id}` is not known. {error}")
                licence = "unknown"
            if key is None:
                licences[item.id] = licence
                continue
            by_collection[key] = licence
        licences[item.id] = by_collection[key]
    return licences


def tell_failures(
    failures: Mapping[str, DataError], errands: Sequence[Errand], output: Path
) -> None:
    """All that went wrong at once, and what is there all the same.

    Raises:
        AssetError: Something went wrong.
    """
    if not failures:
        return
    done = sum(errand.path.is_file() for errand in errands)
    shown_failures = [f"  {id_}: {error}" for id_, error in list(failures.items())[:10]]
    if len(failures) > 10:
        shown_failures.append(f"  and {len(failures) - 10} more")
    raise AssetError(
        f"{len(failures)} of {len(errands)} items could not be fetched:\n"
        + "\n".join(shown_failures)
        + f"\n{done} are in `{output}` and are kept; the same command fetches only what is missing."
    )
