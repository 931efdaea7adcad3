from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("rasterio", reason="needs the extra geo: rasterio is not installed")
pytest.importorskip("pystac_client", reason="needs the extra geo: pystac-client is not installed")

from headstart.progress import Event, Progress
from headstart.stac import asking
from range_server import RangeServer


class Told:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)

    @property
    def warnings(self) -> str:
        return "\n".join(e.message for e in self.events if e.kind == "warning")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def progress(told: Told) -> Progress:
    return Progress([told])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, and no sign-in of the one who runs the tests."""
    monkeypatch.setattr(asking, "WAITS_S", (0.02, 0.02))
    monkeypatch.setattr(asking, "TIMEOUT_S", (2.0, 2.0))
    for name in ("TOKEN", "HEADERS", "ASSET_HEADERS"):
        monkeypatch.delenv(f"HEADSTART_STAC_{name}", raising=False)


@pytest.fixture(scope="session")
def scenes() -> ModuleType:
    """Generated COGs."""
    import scenes

    return scenes


@pytest.fixture(scope="session")
def make() -> Any:
    """`make.item`, `make.collection` and `make.StacServer`."""
    import stac_server

    return stac_server


@pytest.fixture
def files() -> Iterator[Any]:
    """A file server that knows byte ranges."""
    with RangeServer() as server:
        yield server


@pytest.fixture
def serve(make: Any) -> Iterator[Callable[..., Any]]:
    """Starts STAC API servers: `serve(items)`."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(items: list[Mapping[str, Any]], **options: Any) -> Any:
            names = sorted({str(item["collection"]) for item in items})
            collections = [make.collection(name) for name in names]
            return stack.enter_context(make.StacServer(collections, items, **options))

        yield start


@pytest.fixture(scope="session")
def amazon_chips() -> list[Path]:
    """Real chips of Sentinel-2, as their publisher wrote them."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "amazon-forest"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/amazon-forest, which is not there")
    return sorted((folder / "train" / "images").glob("*.tiff"))


@pytest.fixture(scope="session")
def validate_core() -> Callable[[dict[str, Any]], None]:
    """Checks against the JSON schemas of STAC 1.1.0, which pystac brings; not of extensions."""
    from pystac.validation.local_validator import get_local_schema_cache
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    jsonschema = pytest.importorskip("jsonschema")
    schemas = get_local_schema_cache()
    resources = [
        (uri, Resource.from_contents(schema, default_specification=DRAFT7))
        for uri, schema in schemas.items()
    ]
    registry: Any = Registry().with_resources(resources)
    item = schemas["https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"]
    validate: Callable[[dict[str, Any]], None] = jsonschema.Draft7Validator(
        item, registry=registry
    ).validate
    return validate


@pytest.fixture(scope="session")
def fabricated_run() -> Any:
    """Fabricates run folders."""
    import fabricated_run

    return fabricated_run
