"""Items of a catalogue that fit: from a STAC API, a catalogue of files, or a saved search.

Every source is read lazily and within bounds, and nothing is believed: what comes back is matched
again here. Knows no raster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pystac
from pystac.utils import make_absolute_href
from pystac_client.item_search import ItemSearch

from headstart.errors import ConfigError, did_you_mean
from headstart.progress import Progress
from headstart.stac.asking import CatalogueError, CatalogueIO
from headstart.stac.criteria import (
    Criteria,
    box_of,
    boxes_touch,
    cloud_of,
    footprint_km,
    parse_interval,
    rfc3339,
    times_of,
)
from headstart.stac.sign_in import SignIn, is_remote, shown

# The most that one request asks for: what the STAC API specification calls a good page is 10 to
# 10,000; most servers crop at 250 or more.
_PAGE = 100
# A search ends after so many items that do not fit for each one that was asked for, or a server
# that ignores filters would be read to its end.
_MOST_STRANGERS = 20
# Of a catalogue of files: documents read at once, and at most.
_AT_ONCE = 8
_MOST_DOCUMENTS = 20_000
# What pystac raises at JSON that is no item: it takes fields as it finds them.
_NO_ITEM = (
    *(pystac.STACError, pystac.STACTypeError),
    *(KeyError, TypeError, ValueError, AttributeError),
)


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        items: Each of them fits; web addresses of assets are absolute.
        io: To go on reading from the same catalogue.
        was_cut: Whether there may be more than the limit let through.
    """

    items: tuple[pystac.Item, ...]
    io: CatalogueIO
    was_cut: bool = False


def find_items(catalogue: str, criteria: Criteria, *, progress: Progress) -> Found:
    """The items that fit, in the catalogue's order.

    Args:
        catalogue: The landing page of a STAC API; the catalog.json, collection or item of a
            catalogue of files, on the web or not; or a GeoJSON file of items.
        criteria: What an item must be like.
        progress: Told what was left out, and why.

    Raises:
        CatalogueError: The catalogue does not answer as one, or has no such collection or item.
    """
    if not is_remote(catalogue):
        catalogue = str(_catalogue_file(Path(catalogue)).resolve())
    sign_in = SignIn.from_environment(catalogue)
    if sign_in.caution:
        progress.warn(sign_in.caution)
    io = CatalogueIO(catalogue, sign_in)
    root = io.read_object(catalogue)
    candidates = _candidates(root, catalogue, io, criteria, progress)
    items: list[pystac.Item] = []
    left_out: Counter[str] = Counter()
    most = max(1000, _MOST_STRANGERS * criteria.limit)
    was_cut = False
    for number, item in enumerate(candidates):
        why_not = criteria.why_not(item)
        if not why_not:
            if len(items) == criteria.limit:
                was_cut = True
                break
            items.append(item)
            if criteria.ids and len(items) == len(set(criteria.ids)):
                break
        else:
            left_out[why_not] += 1
        if number + 1 >= most:
            progress.warn(
                f"The search was ended after {most:,} items, of which {len(items):,} fit. Ask for "
                "less, with a smaller box or a shorter time."
            )
            break
    for why, count in left_out.items():
        if io.is_api:
            progress.warn(f"{count:,} items that the server sent {why}; they are left out.")
    _miss_none(root, catalogue, io, criteria, items)
    return Found(tuple(items), io, was_cut)


def _catalogue_file(path: Path) -> Path:
    return path / "catalog.json" if path.is_dir() else path


def _candidates(
    root: Mapping[str, Any],
    catalogue: str,
    io: CatalogueIO,
    criteria: Criteria,
    progress: Progress,
) -> Iterator[pystac.Item]:
    """Items that may fit, by what the document at the address is."""
    kind = root.get("type")
    if kind == "Feature":
        return iter([as_item(root, catalogue)])
    if kind == "FeatureCollection":
        features = root.get("features")
        if not isinstance(features, list):
            raise CatalogueError(f"{shown(catalogue)} is a GeoJSON file without `features`.")
        return (as_item(values, catalogue) for values in features)
    if kind not in ("Catalog", "Collection"):
        raise CatalogueError(
            f"{shown(catalogue)} answered a JSON object of type `{kind}`, where a STAC catalogue "
            "is of type Catalog, Collection or Feature. Check the address: it ends in /stac, /v1, "
            "catalog.json or the like."
        )
    search = _search_link(root, catalogue)
    if kind == "Catalog" and search is not None:
        io.is_api = True
        return _from_api(root, search, io, criteria, progress)
    return _from_files(root, catalogue, io, criteria, progress)


def _search_link(root: Mapping[str, Any], catalogue: str) -> tuple[str, str] | None:
    """Address and method of the search of a STAC API; None for a catalogue of files."""
    found = [link for link in links_of(root) if link.get("rel") == "search"]
    if not found:
        return None
    # POST where it is offered: boxes and filters then need no escaping (STAC API, item search).
    best = next((link for link in found if link.get("method") == "POST"), found[0])
    return urljoin(catalogue, str(best["href"])), str(best.get("method") or "GET")


def _from_api(
    root: Mapping[str, Any],
    search: tuple[str, str],
    io: CatalogueIO,
    criteria: Criteria,
    progress: Progress,
) -> Iterator[pystac.Item]:
    url, method = search
    conforms = [str(each) for each in root.get("conformsTo") or ()]
    query = None
    if criteria.max_cloud is not None and any("item-search#query" in each for each in conforms):
        query = {"eo:cloud_cover": {"lte": criteria.max_cloud}}
    pages = ItemSearch(
        url,
        method=method,
        stac_io=io,
        limit=min(_PAGE, criteria.limit + 1),  # one more tells whether the limit cut any off
        collections=[criteria.collection] if criteria.collection else None,
        ids=list(criteria.ids) or None,
        bbox=criteria.bbox,
        datetime=None if criteria.interval is None else str(criteria.interval),
        query=query,
    ).pages_as_dicts()
    known: set[tuple[str | None, str]] = set()
    while True:
        try:
            page = next(pages, None)
            features = [] if page is None else list(page["features"])
        except (KeyError, TypeError, AttributeError) as error:
            raise CatalogueError(
                f"{shown(url)} answered a page that is none of a STAC API ({error!r}). Check the "
                "address."
            ) from None
        except CatalogueError as error:
            if not known:
                raise
            raise CatalogueError(
                f"{error} {len(known):,} items had come before: --limit {len(known)} takes these."
            ) from None
        items = [as_item(values, url) for values in features]
        fresh = [item for item in items if (item.collection_id, item.id) not in known]
        if not fresh:
            if items:
                progress.warn(
                    f"{shown(url)} sends the same items page after page; the search was ended "
                    f"after {len(known):,} items."
                )
            return
        known.update((item.collection_id, item.id) for item in fresh)
        yield from fresh


def _from_files(
    root: Mapping[str, Any],
    href: str,
    io: CatalogueIO,
    criteria: Criteria,
    progress: Progress,
) -> Iterator[pystac.Item]:
    """Walks a catalogue of files, each document once, collections that cannot fit left aside."""
    waiting: list[tuple[Mapping[str, Any], str]] = [(root, href)]
    seen = {href}
    while waiting:
        values, here = waiting.pop()
        is_wanted, goes_deeper = _may_fit(values, criteria)
        by_rel: dict[str, list[str]] = {"item": [], "child": []}
        for link in links_of(values):
            if link.get("rel") in by_rel and isinstance(link.get("href"), str):
                target = make_absolute_href(link["href"], here, start_is_dir=False)
                if target not in seen:
                    seen.add(target)
                    by_rel[link["rel"]].append(target)
        if is_wanted:
            yield from _read_items(by_rel["item"], io, progress)
        if goes_deeper:
            for target in reversed(by_rel["child"]):
                waiting.append((io.read_object(target), target))
        if len(seen) > _MOST_DOCUMENTS:
            progress.warn(
                f"The catalogue has more than {_MOST_DOCUMENTS:,} documents; the rest was not "
                "read. Give the address of one of its collections."
            )
            return


def _read_items(hrefs: list[str], io: CatalogueIO, progress: Progress) -> Iterator[pystac.Item]:
    """Several at once, but no more than the one who asks takes."""
    left = iter(hrefs)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := list(islice(left, _AT_ONCE)):
            readings = [(href, pool.submit(io.read_object, href)) for href in batch]
            for href, reading in readings:
                try:
                    item = as_item(reading.result(), href)
                except CatalogueError as error:  # one broken document must not hide the others
                    progress.warn(f"An item is left out. {error}")
                    continue
                yield item


def _may_fit(values: Mapping[str, Any], criteria: Criteria) -> tuple[bool, bool]:
    """Whether the items of a catalogue, and the catalogues below it, can be what is wanted.

    By the extent of a collection, which holds all its items (STAC collection specification).
    """
    if values.get("type") != "Collection":
        return True, True
    is_other = criteria.collection is not None and values.get("id") != criteria.collection
    extent = values.get("extent")
    extent = extent if isinstance(extent, dict) else {}
    try:
        boxes = [box_of(box) for box in extent["spatial"]["bbox"]]
        if criteria.bbox is not None and all(
            box is not None and not boxes_touch(criteria.bbox, box) for box in boxes
        ):
            return False, False
        start, end = extent["temporal"]["interval"][0]
        if criteria.interval is not None and not criteria.interval.overlaps(
            None if start is None else parse_interval(start).start,
            None if end is None else parse_interval(end).end,
        ):
            return False, False
    except (KeyError, TypeError, IndexError, ValueError, ConfigError):
        return not is_other, True  # it does not tell its extent: look inside
    return not is_other, True


def links_of(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The links of a STAC document; what is none is passed over."""
    links = values.get("links")
    links = links if isinstance(links, list) else []
    return [link for link in links if isinstance(link, dict) and link.get("href")]


def as_item(values: Any, href: str) -> pystac.Item:
    """A STAC item from its JSON, in the form of the newest version, with absolute addresses.

    Args:
        values: The JSON.
        href: Where it was read, in case it does not tell itself.

    Raises:
        CatalogueError: It is no STAC item.
    """
    try:
        own = next((link["href"] for link in links_of(values) if link.get("rel") == "self"), None)
        is_own = isinstance(own, str) and (is_remote(own) or not is_remote(href))
        item = pystac.Item.from_dict(dict(values), href=own if is_own else href, migrate=True)
        item.make_asset_hrefs_absolute()
    except _NO_ITEM as error:
        name = values.get("id") if isinstance(values, dict) else None
        raise CatalogueError(
            f"`{name}` at {shown(href)} is no STAC item: {' '.join(str(error).split())[:200]}. "
            "Tell the catalogue's publisher."
        ) from None
    return item


def _miss_none(
    root: Mapping[str, Any],
    catalogue: str,
    io: CatalogueIO,
    criteria: Criteria,
    items: list[pystac.Item],
) -> None:
    """Complains when an item or the collection that was asked for by name does not exist."""
    missing = sorted(set(criteria.ids) - {item.id for item in items})
    if missing:
        raise CatalogueError(
            f"{shown(catalogue)} has no item {', '.join(f'`{id_}`' for id_ in missing)} that fits "
            f"({criteria}). Check the id and the other filters; `headstart stac search` lists ids."
        )
    if items or criteria.collection is None or not io.is_api:
        return
    data = next((link for link in links_of(root) if link.get("rel") == "data"), None)
    if data is None:
        return
    found = io.read_object(urljoin(catalogue, str(data["href"]))).get("collections")
    names = [str(each.get("id")) for each in found or () if isinstance(each, dict)]
    if names and criteria.collection not in names:
        raise CatalogueError(
            f"{shown(catalogue)} has no collection `{criteria.collection}`. "
            + did_you_mean(criteria.collection, names[:50])
        )


def licence_of(item: pystac.Item, io: CatalogueIO) -> str:
    """The licence of an item: its own, or its collection's; `unknown` when neither tells.

    Raises:
        CatalogueError: The collection that it names cannot be read.
    """
    own = item.properties.get("license")
    if own:
        return str(own)
    link = item.get_single_link("collection")
    href = None if link is None else link.get_absolute_href()
    if href is None:
        return "unknown"
    return str(io.read_object(href).get("license") or "unknown")


def item_row(item: pystac.Item) -> list[str]:
    """An item as a row of the table of a search: id, date, cloud, footprint, assets."""
    start = times_of(item)[0]
    cloud, size = cloud_of(item), footprint_km(item)
    return [
        item.id,
        "" if start is None else rfc3339(start)[:10],
        "" if cloud is None else f"{cloud:.0f}%",
        "" if size is None else f"{size[0]:.3g} × {size[1]:.3g} km",
        ", ".join(item.assets),
    ]
