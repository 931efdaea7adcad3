"""Catalogues of Earth observation data (STAC): search, fetch, and a run that describes itself.

The verbs of the room. What needs a package of the extra `geo` is imported when a verb is called, so
that importing this costs nothing.

Example:
    >>> from headstart import stac
    >>> found = stac.search("https://example.org/stac", bbox="-62.1,-3.4,-61.9,-3.2",
    ...                     max_cloud=20)                                      # doctest: +SKIP
    >>> stac.fetch(found, "scenes", bands="B04,B08", bbox="-62.1,-3.4,-62,-3.3")  # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import ConfigError, MissingExtraError
from headstart.progress import Progress
from headstart.stac.criteria import BBox, parse_bbox
from headstart.stac.criteria import Criteria as Criteria
from headstart.stac.criteria import make_criteria as make_criteria
from headstart.stac.description import describe_run as describe_run

if TYPE_CHECKING:
    from headstart.contracts import InputContract
    from headstart.stac.fetching import Fetched
    from headstart.stac.labels import LabelledSet
    from headstart.stac.searching import Found


def search(
    catalogue: str,
    criteria: Criteria | None = None,
    *,
    progress: Progress | None = None,
    **values: Any,
) -> Found:
    """Items of a catalogue that fit.

    Args:
        catalogue: The landing page of a STAC API; the catalog.json, collection or item of a
            catalogue of files, on the web or not; or a GeoJSON file that `save_items` wrote.
        criteria: All filters at once; or give them by name, as `values`.
        progress: Told about what is left out; None is silent.
        **values: Filters, as `make_criteria` takes them: `collection`, `bbox`, `datetime`,
            `max_cloud`, `limit`, `ids`.

    Raises:
        ConfigError: A filter cannot be read.
        CatalogueError: The catalogue does not answer as one.
        MissingExtraError: The packages of the extra `geo` are missing.
    """
    _need_geo("Searching a STAC catalogue")
    from headstart.stac.searching import find_items

    settled = make_criteria(**values) if criteria is None else criteria
    return find_items(catalogue, settled, progress=progress or Progress())


def fetch(
    found: Found,
    output: Path | str,
    *,
    bands: str | Sequence[str] | None = None,
    bbox: str | Sequence[float] | None = None,
    resolution_m: float | None = None,
    crs: str | None = None,
    progress: Progress | None = None,
) -> Fetched | LabelledSet:
    """Cut a window of some bands out of items: one GeoTIFF an item, or a labelled data set.

    Only the window is read, by range requests. Where every item has labels, what is written is a
    data set: `images/`, `masks/` and `classes.json`. What is there already is not fetched again.

    Args:
        found: What `search` found.
        output: The folder.
        bands: Names of bands, or common names such as `nir`; None takes all of an item's one
            picture.
        bbox: The window: west, south, east and north in degrees; None takes all of each item.
        resolution_m: Metres a pixel; None is that of the finest band asked for.
        crs: Such as `EPSG:32720`; None is that of the finest band asked for.
        progress: Shows bars; None is silent.

    Raises:
        ConfigError: An option cannot be read.
        DataError: Nothing was found, or something could not be fetched; the rest is then there.
        MissingExtraError: The packages of the extra `geo` are missing.
    """
    _need_geo("Fetching from a STAC catalogue")
    from headstart.stac.bands import parse_bands
    from headstart.stac.fetching import fetch_items
    from headstart.stac.grids import Wanted
    from headstart.stac.labels import fetch_dataset, is_labelled

    if resolution_m is not None and not 0 < resolution_m < 1e6:
        raise ConfigError(f"--resolution {resolution_m:g} cannot be. Give metres a pixel, as 10.")
    names = bands if bands is None or isinstance(bands, str) else ",".join(bands)
    wanted = Wanted(
        bands=parse_bands(names),
        bbox=None if bbox is None else parse_bbox(bbox),
        resolution_m=resolution_m,
        crs=crs,
    )
    progress, folder = progress or Progress(), Path(output)
    if found.items and all(is_labelled(item) for item in found.items):
        return fetch_dataset(found, wanted, output=folder, progress=progress)
    return fetch_items(found, wanted, output=folder, progress=progress)


def fetch_scenes(
    found: Found,
    output: Path | str,
    *,
    contract: InputContract,
    bbox: BBox | None = None,
    on_bad: str = "stop",
    progress: Progress | None = None,
) -> Fetched:
    """Scenes with the bands that a model wants: one GeoTIFF an item, called after it and its day.

    Args:
        found: What `search` found.
        output: The folder; what is there already is not fetched again.
        contract: Names the bands; one of photos takes them from a picture made for the eye first.
        bbox: The window, as of `make_criteria`; None takes all of each item.
        on_bad: `stop` when an item cannot be fetched, once the others are; or `skip` it with a
            warning.
        progress: Shows bars; None is silent.

    Raises:
        DataError: Nothing was found, or something could not be fetched; the rest is then there.
        MissingExtraError: The packages of the extra `geo` are missing.
    """
    _need_geo("Fetching from a STAC catalogue")
    from headstart.data.chips import is_for_photos
    from headstart.stac.grids import Wanted
    from headstart.stac.model_input import fetch_input

    wanted = Wanted(bands=contract.bands, bbox=bbox)
    return fetch_input(
        found,
        wanted,
        output=Path(output),
        is_for_the_eye=is_for_photos(contract) and contract.units in ("", "8bit"),
        on_bad=on_bad,
        progress=progress or Progress(),
    )


def save_items(found: Found, path: Path | str) -> None:
    """Write items as a GeoJSON file, which `search` and `fetch` take in place of a catalogue.

    Addresses stay as the catalogue gave them, signatures too.

    Raises:
        ConfigError: It cannot be written.
    """
    from headstart.atomic import replacing

    features = [item.to_dict(transform_hrefs=False) for item in found.items]
    text = json.dumps({"type": "FeatureCollection", "features": features}, indent=1) + "\n"
    try:
        with replacing(Path(path)) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"Cannot write `{path}`: {error.strerror}. Give --save a file that can be written."
        ) from None


def _need_geo(purpose: str) -> None:
    if any(find_spec(name) is None for name in ("pystac_client", "rasterio")):
        raise MissingExtraError(purpose, extra="geo")
