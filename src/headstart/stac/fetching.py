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
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pystac

from headstart.errors import DataError
from headstart.progress import Progress
from headstart.stac.asking import CatalogueError, CatalogueIO, HostBoundSession
from headstart.stac.bands import AssetBand, choose_bands
from headstart.stac.cogs import Layer, grid_of, read_header, tags_if_whole, write_layers
from headstart.stac.criteria import times_of
from headstart.stac.grids import OutsideError, Wanted, settle_grid
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
        legend: Of a mask that is drawn here: which value stands for what.
    """

    item: pystac.Item
    bands: tuple[AssetBand, ...]
    wanted: Wanted
    path: Path
    like: Path | None = None
    legend: str = ""

    @property
    def request(self) -> str:
        """A digest of all that decides the pixels; signatures of addresses do not."""
        bands = [{**asdict(band), "href": shown(band.href)} for band in self.bands]
        wanted = replace(self.wanted, bands=())
        told = [
            self.item.collection_id,
            self.item.id,
            bands,
            wanted,
            self.like is not None,
            self.legend,
        ]
        return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:32]

    @property
    def is_done(self) -> bool:
        """Whether the file is there, whole, and of this very request.

        Raises:
            DataError: There is a file of that name that no fetch has written.
        """
        if not self.path.exists():
            return False
        has_item = side_path(self.path).is_file()
        tags = tags_if_whole(self.path)
        if REQUEST_TAG not in (tags or {}) and not (tags is None and has_item):
            raise DataError(
                f"`{self.path}` is in the way: it is not of a fetch. Move it, or give --output "
                "another folder."
            )
        is_complete = self.like is not None or has_item
        return tags is not None and is_complete and tags[REQUEST_TAG] == self.request


@dataclass(frozen=True)
class Outcome:
    """What became of errands.

    Attributes:
        num_kept: How many files were there already.
        done: The files that are there now.
        failures: What went wrong, by the file that is missing.
    """

    num_kept: int
    done: tuple[Path, ...]
    failures: Mapping[Path, DataError]


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
    if wanted.bbox is None:
        progress.note("There is no --bbox, so each item is fetched whole.")
    outcome = run_errands(errands, found.io, progress=progress)
    index = write_index(output, outcome.done)
    tell_failures(outcome.failures, outcome.done, output)
    return as_fetched(output, outcome, index)


def as_fetched(folder: Path, outcome: Outcome, index: Path) -> Fetched:
    """What is in a folder now."""
    return Fetched(
        folder=folder,
        paths=outcome.done,
        num_kept=outcome.num_kept,
        num_bytes=sum(path.stat().st_size for path in outcome.done),
        index=index,
    )


def file_names(items: Sequence[pystac.Item], *, has_day: bool = False) -> list[str]:
    """A file name for each item, safe whatever the catalogue calls it, and each but once.

    Args:
        items: Whose files they are.
        has_day: Put the day after the id, where the id does not tell it.
    """
    names: list[str] = []
    for item in items:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", item.id).strip("._")[:150] or "item"
        start = times_of(item)[0]
        day = "" if start is None or not has_day else f"{start:%Y-%m-%d}"
        if day and day not in plain and day.replace("-", "") not in plain:
            plain = f"{plain}_{day}"
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


def run_errands(errands: Sequence[Errand], io: CatalogueIO, *, progress: Progress) -> Outcome:
    """Fetch what is not there yet; what has no pixel in the box is left out with a warning.

    Raises:
        DataError: A file that is not of a fetch is in the way, or no item has a pixel in the box.
    """
    ready = {errand.path for errand in errands if errand.is_done}
    left = [errand for errand in errands if errand.path not in ready]
    licences = licences_of([errand.item for errand in left], io, progress=progress)
    failures: dict[Path, DataError] = {}
    outside: dict[Path, OutsideError] = {}
    total = sum(len(errand.bands) for errand in left)
    label = f"fetching {len(left):,} item{'s' if len(left) > 1 else ''}"
    lock, stopped = threading.Lock(), threading.Event()
    with (
        HostBoundSession(io.sign_in) as session,
        progress.bar(label, total=total, unit="bands") as advance,
        ThreadPoolExecutor(_ITEMS_AT_ONCE) as pool,
    ):

        def advance_one() -> None:
            with lock:  # bars are drawn by one thread at a time
                advance(1)

        road = Road(io, session, advance_one, stopped.is_set)
        running = {
            pool.submit(_run, errand, road, licence): errand.path
            for errand, licence in zip(left, licences, strict=True)
        }
        try:
            for future in as_completed(running):
                try:
                    future.result()
                except OutsideError as error:
                    outside[running[future]] = error
                except DataError as error:
                    failures[running[future]] = error
        except BaseException:  # Ctrl-C: what has begun ends at its next strip
            stopped.set()
            for future in running:
                future.cancel()
            raise
    for path, reason in outside.items():
        progress.warn(f"`{path.stem}` is left out. {reason}")
    missing = {**failures, **outside}
    if len(outside) == len(errands):
        raise DataError(
            f"No item has a pixel in the box. {next(iter(outside.values()))} Move --bbox."
        )
    done = tuple(errand.path for errand in errands if errand.path not in missing)
    return Outcome(len(ready), done, failures)


@dataclass(frozen=True)
class Road:
    """What all errands of a fetch share.

    Attributes:
        io: To the catalogue.
        session: To the assets.
        advance: Called after each band.
        is_stopped: Whether the user has had enough.
    """

    io: CatalogueIO
    session: HostBoundSession
    advance: Callable[[], None]
    is_stopped: Callable[[], bool]


def _run(errand: Errand, road: Road, licence: str) -> None:
    """Fetch one item: each address is asked once, then all bands are read onto one grid."""
    hrefs = list(dict.fromkeys(band.href for band in errand.bands))
    with ExitStack() as stack:
        sources = {
            href: stack.enter_context(reach(href, road.io.sign_in, session=road.session))
            for href in hrefs
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
        grid = (
            settle_grid([layer.header for layer in layers], errand.wanted)
            if errand.like is None
            else grid_of(errand.like)
        )
        write_layers(
            layers,
            grid,
            errand.path,
            tags={**tags_of(errand.item, licence), REQUEST_TAG: errand.request},
            advance=road.advance,
            is_stopped=road.is_stopped,
        )
        if errand.like is None:  # after the file: a fetch that was killed in between is done anew
            write_side_item(errand.path, errand.item, layers=layers, grid=grid, licence=licence)


def _name(band: AssetBand, index: int, count: int) -> str:
    """Bands that the item does not name are called after their asset and number."""
    return band.name if band.index or count == 1 else f"{band.name}_{index}"


def licences_of(items: Sequence[pystac.Item], io: CatalogueIO, *, progress: Progress) -> list[str]:
    """The licence of each item; a collection is asked once for all of its items."""
    by_collection: dict[str | None, str] = {}
    licences = []
    for item in items:
        own = item.properties.get("license")
        if not own and item.collection_id not in by_collection:
            try:
                by_collection[item.collection_id] = licence_of(item, io)
            except CatalogueError as error:
                progress.warn(f"The licence of `{item.collection_id}` is not known. {error}")
                by_collection[item.collection_id] = "unknown"
        licences.append(str(own or by_collection[item.collection_id]))
    return licences


def tell_failures(failures: Mapping[Path, DataError], done: Sequence[Path], output: Path) -> None:
    """All that went wrong at once, and what is there all the same.

    Raises:
        AssetError: Something went wrong.
    """
    if not failures:
        return
    told = [f"  {path.relative_to(output)}: {error}" for path, error in failures.items()]
    if len(told) > 10:
        told[10:] = [f"  and {len(told) - 10} more"]
    raise AssetError(
        f"{len(failures)} of {len(failures) + len(done)} files could not be fetched:\n"
        + "\n".join(told)
        + f"\n{len(done)} are in `{output}` and are kept; the same command fetches only what is "
        "missing."
    )
