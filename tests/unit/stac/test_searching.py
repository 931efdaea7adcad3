from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest

from headstart import stac
from headstart.progress import Progress
from headstart.stac import asking
from headstart.stac.asking import CatalogueError

HERE = (-62.0, -3.0, -61.0, -2.0)
THERE = (10.0, 40.0, 11.0, 41.0)


@pytest.fixture
def items(make: Any) -> list[dict[str, Any]]:
    """A dozen scenes of June, ever cloudier, and one elsewhere."""
    found = [
        make.item(f"S{day:02}", HERE, {}, cloud=5.0 * day, datetime=f"2023-06-{day:02}T14:00:00Z")
        for day in range(1, 13)
    ]
    return [*found, make.item("elsewhere", THERE, {}, cloud=0.0)]


# --- a STAC API -------------------------------------------------------------------------------


def test_a_search_of_an_api_gives_what_fits(serve: Callable[..., Any], items: list[Any]) -> None:
    server = serve(items)
    found = stac.search(
        server.url,
        collection="scenes",
        bbox="-61.5,-2.5,-61.4,-2.4",
        datetime="2023-06-03/2023-06-20",
        max_cloud=30,
    )
    assert [item.id for item in found.items] == ["S03", "S04", "S05", "S06"]
    assert not found.was_cut


def test_pages_are_followed_until_the_limit_and_no_further(
    serve: Callable[..., Any], make: Any
) -> None:
    server = serve([make.item(f"S{i:04}", HERE, {}) for i in range(400)])
    found = stac.search(server.url, limit=150)
    assert [item.id for item in found.items] == [f"S{i:04}" for i in range(150)]
    assert found.was_cut
    assert server.requests.count("POST /search") == 2


def test_a_server_that_knows_no_queries_is_filtered_here(
    serve: Callable[..., Any], items: list[Any], told: Any, progress: Progress
) -> None:
    server = serve(items, knows_query=False)
    found = stac.search(server.url, max_cloud=10, progress=progress)
    assert [item.id for item in found.items] == ["S01", "S02", "elsewhere"]
    assert "10 items that the server sent have more than 10% of cloud" in told.warnings


def test_items_are_found_by_their_ids(serve: Callable[..., Any], items: list[Any]) -> None:
    found = stac.search(serve(items).url, ids=["S02", "S05"])
    assert [item.id for item in found.items] == ["S02", "S05"]


def test_an_id_that_does_not_exist_is_named(serve: Callable[..., Any], items: list[Any]) -> None:
    with pytest.raises(CatalogueError, match="no item `S99`"):
        stac.search(serve(items).url, ids=["S02", "S99"])


def test_a_mistyped_collection_is_told_with_the_nearest(
    serve: Callable[..., Any], items: list[Any]
) -> None:
    with pytest.raises(CatalogueError, match=r"no collection `scene`. Did you mean `scenes`"):
        stac.search(serve(items).url, collection="scene")


def test_the_token_is_sent_with_each_request_to_the_catalogue(
    serve: Callable[..., Any], items: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_STAC_TOKEN", "secret")
    server = serve(items)
    stac.search(server.url)
    assert server.tokens == ["Bearer secret"] * 2


# --- servers that fail or lie -----------------------------------------------------------------


def landing(files: Any, **more: Any) -> dict[str, Any]:
    """The landing page of an API that is searched by GET."""
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "test",
        "description": "For tests.",
        "conformsTo": ["https://api.stacspec.org/v1.0.0/item-search"],
        "links": [{"rel": "search", "href": f"{files.url}/search", "method": "GET"}],
        **more,
    }


def page(files: Any, items: list[Any], *, following: str = "") -> bytes:
    links = [{"rel": "next", "href": f"{files.url}/search?{following}"}] if following else []
    return json.dumps({"type": "FeatureCollection", "features": items, "links": links}).encode()


@pytest.fixture
def api(files: Any) -> str:
    """The address of an API that answers `/search` as the test says."""
    address: str = files.add("/", json.dumps(landing(files)).encode(), kind="application/json")
    return address


def test_endless_pages_end_with_the_limit(files: Any, api: str, make: Any) -> None:
    def more(query: str) -> bytes:
        number = int(query.rpartition("=")[2]) if query.startswith("page=") else 0
        items = [make.item(f"S{number}-{i}", HERE, {}) for i in range(5)]
        return page(files, items, following=f"page={number + 1}")

    files.answers["/search"] = more
    found = stac.search(api, limit=12)
    assert len(found.items) == 12
    assert found.was_cut
    assert [path for path, _ in files.requests].count("/search") == 3


def test_endless_pages_of_what_was_not_asked_for_end_too(
    files: Any, api: str, make: Any, told: Any, progress: Progress
) -> None:
    def more(query: str) -> bytes:
        number = int(query.rpartition("=")[2]) if query.startswith("page=") else 0
        items = [make.item(f"S{number}-{i}", THERE, {}) for i in range(100)]
        return page(files, items, following=f"page={number + 1}")

    files.answers["/search"] = more
    assert stac.search(api, bbox=HERE, limit=10, progress=progress).items == ()
    assert "ended after 1,000 items" in told.warnings
    assert "lie elsewhere" in told.warnings


def test_the_same_page_over_and_over_ends_the_search(
    files: Any, api: str, make: Any, told: Any, progress: Progress
) -> None:
    same = [make.item("S1", HERE, {})]
    files.answers["/search"] = lambda query: page(files, same, following="page=2")
    found = stac.search(api, progress=progress)
    assert [item.id for item in found.items] == ["S1"]
    assert "the same items page after page" in told.warnings


def test_a_passing_fault_is_asked_again(files: Any, api: str, make: Any) -> None:
    files.answers["/search"] = lambda query: page(files, [make.item("S1", HERE, {})])
    files.faults["/search"] = "broken-once"
    assert len(stac.search(api).items) == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("broken", r"/search answered with status 500, 3 times. Try again later"),
        ("truncated", r"/search broke off in the middle of its answer, 3 times"),
        ("login-page", r"/search answered `<html>Please log in</html>`, of type text/html, where"),
        ("missing", r"nothing at .*/search \(status 404\). Check the address"),
        ("forbidden", r"refused with status 403, and the sign-in was not sent.*STAC_TOKEN"),
        ("hangs", r"/search did not answer within 0.2 s, 3 times"),
    ],
)
def test_a_fault_that_stays_is_told_with_what_to_do(
    fault: str,
    says: str,
    files: Any,
    api: str,
    make: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fault == "hangs":
        monkeypatch.setattr(asking, "TIMEOUT_S", (0.2, 0.2))
    files.answers["/search"] = lambda query: page(files, [make.item("S1", HERE, {})])
    files.faults["/search"] = fault
    with pytest.raises(CatalogueError, match=says):
        stac.search(api)


def test_a_fault_after_some_pages_tells_how_to_take_these(files: Any, api: str, make: Any) -> None:
    def more(query: str) -> bytes:
        if "page" in query:
            return b"{broken"
        return page(files, [make.item(f"S{i}", HERE, {}) for i in range(7)], following="page=2")

    files.answers["/search"] = more
    with pytest.raises(CatalogueError, match=r"broken JSON.*--limit 7 takes these"):
        stac.search(api)
    assert len(stac.search(api, limit=6).items) == 6


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"[1, 2]", "no object"),
        (b'{"type": "Dataset"}', "of type `Dataset`"),
        (b'{"type": "FeatureCollection"}', "without `features`"),
        (b'{"type": "Feature", "id": "S1"}', "`S1` at .* is no STAC item"),
    ],
)
def test_json_that_is_no_catalogue_is_refused(answer: bytes, says: str, files: Any) -> None:
    address = files.add("/x", answer, kind="application/json")
    with pytest.raises(CatalogueError, match=says):
        stac.search(address)


@pytest.mark.parametrize("features", ["nonsense", [7], [{"type": "Feature"}], 3])
def test_a_page_that_is_none_is_refused(features: Any, files: Any, api: str) -> None:
    answer = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    files.add("/search", answer, kind="application/json")
    with pytest.raises(CatalogueError, match=r"no STAC item|none of a STAC API"):
        stac.search(api)


def test_nobody_there_is_told_with_the_address() -> None:
    with pytest.raises(CatalogueError, match=r"127.0.0.1:9/stac could not be reached"):
        stac.search("http://127.0.0.1:9/stac")


def test_a_sign_in_follows_no_redirect_to_another_host(
    files: Any, api: str, make: Any, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = serve([make.item("S1", HERE, {})])
    files.redirects["/search"] = f"{other.url}/collections/scenes/items"
    monkeypatch.setenv("HEADSTART_STAC_TOKEN", "secret")
    monkeypatch.setenv("HEADSTART_STAC_HEADERS", "X-Key: secret")
    assert len(stac.search(api).items) == 1
    sent = dict(files.headers)
    assert sent["/search"]["X-Key"] == "secret"
    assert other.requests == ["GET /collections/scenes/items"]
    assert other.tokens == [None]
    assert "x-key" not in other.last_headers


# --- catalogues of files ----------------------------------------------------------------------


@pytest.fixture
def catalogue(tmp_path: Path, make: Any) -> Path:
    """Two collections, one of them on the other side of the world, with relative links."""
    root = pystac.Catalog("root", "For tests.")
    for name, box in (("amazon", HERE), ("alps", THERE)):
        extent = pystac.Extent(
            pystac.SpatialExtent([list(box)]),
            pystac.TemporalExtent([[pystac.utils.str_to_datetime("2023-06-01T00:00:00Z"), None]]),
        )
        collection = pystac.Collection(name, "For tests.", extent, license="CC0-1.0")
        root.add_child(collection)
        for day in range(1, 4):
            values = make.item(
                f"{name}-{day}",
                box,
                {"B02": {"href": "./B02.tif", "type": "image/tiff"}},
                collection=name,
                datetime=f"2023-06-{day:02}T00:00:00Z",
            )
            collection.add_item(pystac.Item.from_dict(values))
    root.normalize_and_save(str(tmp_path / "stac"), pystac.CatalogType.SELF_CONTAINED)
    return tmp_path / "stac" / "catalog.json"


def test_a_catalogue_of_files_is_walked_and_filtered(catalogue: Path) -> None:
    found = stac.search(str(catalogue), bbox=HERE, datetime="2023-06-02/..")
    assert [item.id for item in found.items] == ["amazon-2", "amazon-3"]
    href = found.items[0].assets["B02"].href
    assert Path(href) == catalogue.parent / "amazon" / "amazon-2" / "B02.tif"


def test_a_folder_stands_for_the_catalogue_in_it(catalogue: Path) -> None:
    assert len(stac.search(str(catalogue.parent), collection="alps").items) == 3


def test_a_catalogue_of_files_is_read_no_further_than_needed(catalogue: Path, files: Any) -> None:
    for path in catalogue.parent.rglob("*.json"):
        name = "/" + path.relative_to(catalogue.parent).as_posix()
        files.add(name, path.read_bytes(), kind="application/json")
    found = stac.search(f"{files.url}/catalog.json", bbox=HERE, limit=1)
    assert [item.id for item in found.items] == ["amazon-1"]
    asked = {path for path, _ in files.requests}
    assert "/alps/collection.json" not in asked or "/alps/alps-1/alps-1.json" not in asked
    assert found.items[0].assets["B02"].href == f"{files.url}/amazon/amazon-1/B02.tif"


def test_a_broken_item_hides_no_others(catalogue: Path, told: Any, progress: Progress) -> None:
    (catalogue.parent / "amazon" / "amazon-2" / "amazon-2.json").write_text("{}")
    found = stac.search(str(catalogue), collection="amazon", progress=progress)
    assert [item.id for item in found.items] == ["amazon-1", "amazon-3"]
    assert "An item is left out" in told.warnings


def test_links_that_lead_in_circles_are_followed_once(catalogue: Path) -> None:
    path = catalogue.parent / "alps" / "collection.json"
    values = json.loads(path.read_text())
    values["links"].append({"rel": "child", "href": "../catalog.json"})
    path.write_text(json.dumps(values))
    assert len(stac.search(str(catalogue)).items) == 6


def test_a_catalogue_on_the_web_reads_no_file_of_this_machine(files: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    root = {"type": "Catalog", "links": [{"rel": "child", "href": str(secret)}]}
    # An absolute path is taken as one on the server; a scheme of its own gets no further either.
    address = files.add("/catalog.json", json.dumps(root).encode(), kind="application/json")
    with pytest.raises(CatalogueError, match=r"nothing at|a file on this machine"):
        stac.search(address)
    root["links"] = [{"rel": "child", "href": secret.as_uri()}]
    files.add("/catalog.json", json.dumps(root).encode(), kind="application/json")
    with pytest.raises(CatalogueError, match=r"nothing at|a file on this machine"):
        stac.search(address)


def test_a_saved_search_stands_for_a_catalogue(
    serve: Callable[..., Any], items: list[Any], tmp_path: Path
) -> None:
    found = stac.search(serve(items).url, max_cloud=20)
    stac.save_items(found, tmp_path / "found.geojson")
    again = stac.search(str(tmp_path / "found.geojson"), max_cloud=10)
    assert [item.id for item in again.items] == ["S01", "S02", "elsewhere"]


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(CatalogueError, match=r"There is no file .*nowhere.json"):
        stac.search("nowhere.json")
