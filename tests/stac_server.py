"""A real STAC API on loopback: stac-fastapi over items in memory, served by uvicorn.

The protocol (routes, validation of requests and answers, links, conformance) is stac-fastapi's;
only the search itself, over a list, is ours.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import attr
import uvicorn
from stac_fastapi.api.app import StacApi
from stac_fastapi.api.models import create_get_request_model, create_post_request_model
from stac_fastapi.extensions.pagination import TokenPaginationExtension
from stac_fastapi.extensions.query import QueryExtension
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import BaseCoreClient
from stac_fastapi.types.errors import NotFoundError
from stac_fastapi.types.rfc3339 import str_to_interval

Json = dict[str, Any]


@attr.s
class InMemoryClient(BaseCoreClient):
    """Answers from lists."""

    collections: list[Json] = attr.ib(factory=list)
    items: list[Json] = attr.ib(factory=list)

    def all_collections(self, **kwargs: Any) -> Json:
        return {"collections": self.collections, "links": []}

    def get_collection(self, collection_id: str, **kwargs: Any) -> Json:
        for collection in self.collections:
            if collection["id"] == collection_id:
                return collection
        raise NotFoundError(f"no collection {collection_id}")

    def get_item(self, item_id: str, collection_id: str, **kwargs: Any) -> Json:
        for item in self.items:
            if (item["collection"], item["id"]) == (collection_id, item_id):
                return self._linked(item, kwargs["request"])
        raise NotFoundError(f"no item {item_id}")

    def item_collection(self, collection_id: str, **kwargs: Any) -> Json:
        return self._page(
            [i for i in self.items if i["collection"] == collection_id], 10, 0, kwargs
        )

    def get_search(self, **kwargs: Any) -> Json:
        raise NotFoundError("this catalogue is searched by POST, as its landing page says")

    def post_search(self, search_request: Any, **kwargs: Any) -> Json:
        asked = search_request
        found = [item for item in self.items if _fits(item, asked)]
        start = int(asked.token or 0)
        return self._page(
            found,
            asked.limit or 10,
            start,
            kwargs,
            body=asked.model_dump(mode="json", exclude_none=True),
        )

    def _page(
        self,
        found: Sequence[Json],
        limit: int,
        start: int,
        kwargs: Mapping[str, Any],
        body: Json | None = None,
    ) -> Json:
        request = kwargs["request"]
        links = []
        if body is not None and start + limit < len(found):
            links.append(
                {
                    "rel": "next",
                    "type": "application/geo+json",
                    "method": "POST",
                    "href": str(request.url),
                    "body": {**body, "token": str(start + limit)},
                }
            )
        page = [self._linked(item, request) for item in found[start : start + limit]]
        return {"type": "FeatureCollection", "features": page, "links": links}

    def _linked(self, item: Json, request: Any) -> Json:
        base = str(request.base_url).rstrip("/") + f"/collections/{item['collection']}"
        links = [
            {"rel": "self", "type": "application/geo+json", "href": f"{base}/items/{item['id']}"},
            {"rel": "collection", "type": "application/json", "href": base},
        ]
        return {**item, "links": [*item.get("links", []), *links]}


def _fits(item: Json, asked: Any) -> bool:
    if asked.collections and item["collection"] not in asked.collections:
        return False
    if asked.ids and item["id"] not in asked.ids:
        return False
    if asked.bbox:
        w, s, e, n = asked.bbox
        x0, y0, x1, y1 = item["bbox"]
        if x0 > e or x1 < w or y0 > n or y1 < s:
            return False
    if asked.datetime:
        start, end = str_to_interval(asked.datetime)
        taken = str_to_interval(item["properties"]["datetime"])
        if (start and taken < start) or (end and taken > end):
            return False
    for name, rule in (getattr(asked, "query", None) or {}).items():
        value = item["properties"].get(name)
        if value is None or ("lte" in rule and value > rule["lte"]):
            return False
    return True


class StacServer:
    """Serves collections and items while the `with` block lasts.

    Attributes:
        requests: What was asked, such as `POST /search`.
        tokens: The Authorization headers that came with the requests.
        last_headers: All headers of the last request, names in small letters.
    """

    def __init__(
        self, collections: Sequence[Json], items: Sequence[Json], *, knows_query: bool = True
    ) -> None:
        extensions: list[Any] = [TokenPaginationExtension()]
        if knows_query:
            extensions.append(QueryExtension())
        api = StacApi(
            settings=ApiSettings(),
            client=InMemoryClient(collections=list(collections), items=list(items)),
            extensions=extensions,
            search_get_request_model=create_get_request_model(extensions),
            search_post_request_model=create_post_request_model(extensions),
        )
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        self.last_headers: dict[str, str] = {}
        self._server = uvicorn.Server(
            uvicorn.Config(self._watched(api.app), port=0, log_level="error", lifespan="off")
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def _watched(self, app: Any) -> Any:
        async def watched(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.requests.append(f"{scope['method']} {scope['path']}")
                headers = dict(scope["headers"])
                token = headers.get(b"authorization")
                self.tokens.append(None if token is None else token.decode())
                self.last_headers = {
                    name.decode(): value.decode() for name, value in headers.items()
                }
            await app(scope, receive, send)

        return watched

    @property
    def url(self) -> str:
        [server] = self._server.servers
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        for _ in range(1000):
            if self._server.started:
                return self
            time.sleep(0.01)
        raise TimeoutError("uvicorn has not started within 10 s")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)


def collection(id_: str, **more: Any) -> Json:
    """A collection."""
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": id_,
        "description": "For tests.",
        "license": "CC-BY-4.0",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
        },
        "links": [],
        **more,
    }


def item(
    id_: str,
    bbox: Sequence[float],
    assets: Mapping[str, Any],
    *,
    collection: str = "scenes",
    datetime: str = "2023-06-10T14:00:00Z",
    cloud: float | None = 5.0,
    **properties: Any,
) -> Json:
    """An item."""
    w, s, e, n = bbox
    ring = [[w, s], [e, s], [e, n], [w, n], [w, s]]
    told = {"datetime": datetime, **properties}
    if cloud is not None:
        told["eo:cloud_cover"] = cloud
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": id_,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(bbox),
        "properties": told,
        "assets": dict(assets),
        "links": [],
    }
