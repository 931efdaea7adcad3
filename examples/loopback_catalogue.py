"""A small catalogue of Earth observation data on this machine, so that the notebook runs anywhere.

A landscape of water, forest and fields is drawn as a satellite would see it, cut into chips that
somebody has labelled and into scenes that nobody has, and served as a STAC catalogue of files with
byte ranges, as object stores serve theirs. Set EXAMPLE_CHIPS to a folder with `train/images`,
`train/masks`, `val/images`, `val/masks` and `unlabelled` (three-band GeoTIFFs of red, green and
blue, masks of the same names with 1 for forest and 2 for the rest), and that is served instead.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster
from rasterio.transform import Affine, array_bounds
from rasterio.warp import transform_bounds

STAC_VERSION = "1.1.0"
# What items tell beyond the core: names of bands, clouds, and what the values of a mask stand for.
EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
# Bands as Sentinel-2 names them, with their common names.
BANDS = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
# UTM zone 20 south, 10 m a pixel, somewhere near Manaus.
CRS, WEST, NORTH, PIXEL_M = "EPSG:32720", 600_000.0, 9_700_000.0, 10.0
# What the values 1, 2 and 3 of the masks stand for.
KINDS = ("field", "water", "forest")
# Blue, green, red and near infrared of water and forest, in 8 bits; fields have a colour each.
WATER, FOREST = (60, 42, 24, 14), (38, 56, 36, 150)


@dataclass(frozen=True)
class Land:
    """A piece of land as it was seen.

    Attributes:
        id: Of its item in the catalogue.
        bands: Name -> (h, w) uint8; 0 stands for nothing measured.
        crs: Of the transform.
        transform: From pixels to coordinates.
        truth: (h, w) uint8, what somebody has labelled; None of a scene.
        told: What the item tells: `datetime`, `eo:cloud_cover`, `split`.
    """

    id: str
    bands: Mapping[str, np.ndarray]
    crs: str
    transform: Affine
    truth: np.ndarray | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


# --- drawing ----------------------------------------------------------------------------------


def waves(shape: tuple[int, int], every: float, rng: np.random.Generator) -> np.ndarray:
    """(h, w) smooth noise around 0, whose hills are about `every` pixels apart."""
    height, width = shape
    coarse = rng.normal(size=(int(height / every) + 4, int(width / every) + 4)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def draw_land(shape: tuple[int, int], *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bands (4, h, w) uint8 in the order of BANDS, and the kind of each pixel (h, w), from 1."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    kind = np.where(waves(shape, 110, rng) + 0.4 * waves(shape, 30, rng) > 0, 3, 1)
    kind[np.abs(waves(shape, 240, rng) + 0.1 * waves(shape, 20, rng)) < 0.1] = 2
    # Fields: rectangles, each of its own colour from bare to green, and even within.
    across = ((columns + 12 * waves(shape, 150, rng)) // 34).astype(int)
    down = ((rows + 12 * waves(shape, 150, rng)) // 26).astype(int)
    number = (across * 7919 + down * 104_729) % 997
    green = rng.uniform(0, 1, 997)[number]
    bare = rng.uniform(0.8, 1.2, 997)[number]
    pixels = np.stack([b - (b - g) * green for b, g in ((70, 42), (88, 66), (110, 44), (90, 170))])
    pixels *= bare
    for value, colour in ((2, WATER), (3, FOREST)):
        pixels = np.where(kind == value, np.reshape(colour, (4, 1, 1)), pixels)
    # Crowns of trees make forest rough; the sensor makes everything a little so.
    pixels = pixels * (1 + np.where(kind == 3, 0.16, 0.0) * waves(shape, 2.5, rng))
    pixels = 1.35 * pixels + rng.normal(0, 3, pixels.shape)
    return pixels.clip(1, 255).astype(np.uint8), kind.astype(np.uint8)


def under_clouds(pixels: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Bands (4, h, w) with about this share behind clouds."""
    height = waves(pixels.shape[1:], 90, np.random.default_rng(seed))
    cloud = (8 * (height - np.quantile(height, 1 - share))).clip(0, 1)
    return (pixels * (1 - cloud) + 235 * cloud).astype(np.uint8)


def drawn_lands(*, num_chips: int, side: int) -> Iterator[Land]:
    """Labelled chips, every fourth of them for testing, and three scenes of other land."""
    for number in range(num_chips):
        pixels, kind = draw_land((side, side), seed=100 + number)
        place = Affine(PIXEL_M, 0, WEST + 3 * side * PIXEL_M * number, 0, -PIXEL_M, NORTH - 40_000)
        told = {"datetime": "2023-06-10T14:20:00Z", "split": "val" if number % 4 == 3 else "train"}
        bands = dict(zip(BANDS, pixels, strict=True))
        yield Land(f"chip-{number:02}", bands, CRS, place, truth=kind, told=told)
    pixels, _ = draw_land((700, 900), seed=7)
    place = Affine(PIXEL_M, 0, WEST, 0, -PIXEL_M, NORTH)
    for day, cloud in (("2023-06-10", 0.0), ("2023-06-20", 0.6), ("2023-09-08", 0.1)):
        seen = under_clouds(pixels, share=cloud, seed=int(day[-2:])) if cloud else pixels
        told = {"datetime": f"{day}T14:20:00Z", "eo:cloud_cover": 100 * cloud}
        yield Land(f"scene-{day}", dict(zip(BANDS, seen, strict=True)), CRS, place, told=told)


def lands_of(folder: Path) -> Iterator[Land]:
    """The chips and scenes of a folder; chips whose mask has another size are left out."""
    for split in ("train", "val"):
        for path in sorted((folder / split / "images").iterdir()):
            truth = np.asarray(Image.open(folder / split / "masks" / f"{path.stem}.png"))
            land = _land_of(path, truth=truth.astype(np.uint8), split=split)
            if truth.shape == land.bands["B04"].shape:
                yield land
    for path in sorted((folder / "unlabelled").iterdir()):
        yield _land_of(path, **{"eo:cloud_cover": 0.0})


def _land_of(path: Path, *, truth: np.ndarray | None = None, **told: Any) -> Land:
    with rasterio.open(path) as file:
        pixels = np.maximum(file.read((1, 2, 3)), 1)  # 0 is kept for what was not measured
        bands = dict(zip(("B04", "B03", "B02"), pixels, strict=True))
        place = (str(file.crs), file.transform)
    name = re.sub(r"[^\w-]+", "-", path.stem)
    told = {"datetime": "2023-06-10T14:20:00Z", **told}
    return Land(name if truth is not None else f"scene-{name}", bands, *place, truth, told)


# --- the catalogue ----------------------------------------------------------------------------


def as_cog(values: np.ndarray, land: Land, *, nodata: int | None) -> bytes:
    """A cloud-optimised GeoTIFF of one band (h, w)."""
    height, width = values.shape
    profile = {"width": width, "height": height, "count": 1, "dtype": values.dtype}
    with MemoryFile() as raw, MemoryFile() as cog:
        with raw.open(
            driver="GTiff", nodata=nodata, crs=land.crs, transform=land.transform, **profile
        ) as file:
            file.write(values, 1)
        with rasterio.open(raw.name) as file:
            copy_raster(file, cog.name, driver="COG", compress="DEFLATE", blocksize=256)
        content: bytes = cog.read()
    return content


def item_of(land: Land, *, classes: Sequence[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A STAC item, and its files: name -> content. A chip's item has a mask with its legend."""
    files = {
        f"{land.id}_{band}.tif": as_cog(values, land, nodata=0)
        for band, values in land.bands.items()
    }
    assets: dict[str, Any] = {
        band: {
            "href": f"../../data/{land.id}_{band}.tif",
            "type": COG,
            "roles": ["data"],
            "bands": [{"name": band, "eo:common_name": BANDS[band]}],
        }
        for band in land.bands
    }
    if land.truth is not None:
        files[f"{land.id}_mask.tif"] = as_cog(land.truth, land, nodata=None)
        legend = [{"value": i, "name": name} for i, name in enumerate(classes, start=1)]
        assets["mask"] = {
            "href": f"../../data/{land.id}_mask.tif",
            "type": COG,
            "roles": ["labels"],
            "classification:classes": legend,
        }
    bounds = array_bounds(*next(iter(land.bands.values())).shape, land.transform)
    west, south, east, north = transform_bounds(land.crs, "EPSG:4326", *bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    item = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": EXTENSIONS,
        "id": land.id,
        "collection": "scenes" if land.truth is None else "chips",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": dict(land.told),
        "assets": assets,
        "links": [{"rel": "collection", "href": "./collection.json"}],
    }
    return item, files


def collection_of(
    id_: str, items: Sequence[Mapping[str, Any]], *, description: str, licence: str
) -> dict[str, Any]:
    """A STAC collection that links to its items."""
    boxes = np.array([item["bbox"] for item in items])
    box = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": id_,
        "description": description,
        "license": licence,
        "extent": {
            "spatial": {"bbox": [box]},
            "temporal": {"interval": [["2023-01-01T00:00:00Z", None]]},
        },
        "links": [{"rel": "item", "href": f"./{item['id']}.json"} for item in items],
    }


class LoopbackCatalogue:
    """A STAC catalogue of files, served on this machine until `close`.

    Args:
        lands: What is in it.
        classes: What the values 1, 2, ... of the masks are called.
        licence: Of all of it.

    Attributes:
        items: The STAC items, by id.
        num_bytes: So much has been sent.
    """

    def __init__(self, lands: Iterator[Land], *, classes: Sequence[str], licence: str) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.num_bytes = 0
        for land in lands:
            item, files = item_of(land, classes=classes)
            self.items[land.id] = item
            self.files |= {f"/data/{name}": content for name, content in files.items()}
            self._add(f"/collections/{item['collection']}/{land.id}.json", item)
        described = {"chips": "Chips that experts have labelled.", "scenes": "Scenes."}
        for id_, description in described.items():
            own = [item for item in self.items.values() if item["collection"] == id_]
            collection = collection_of(id_, own, description=description, licence=licence)
            self._add(f"/collections/{id_}/collection.json", collection)
        root = {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "id": "example",
            "description": "A landscape for an example.",
            "links": [
                {"rel": "child", "href": f"./collections/{id_}/collection.json"}
                for id_ in described
            ],
        }
        self._add("/catalog.json", root)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """The address of its root."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/catalog.json"

    def sizes(self, id_: str) -> list[int]:
        """Bytes of each file of an item."""
        return [len(c) for path, c in self.files.items() if path.startswith(f"/data/{id_}_")]

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _add(self, path: str, document: Mapping[str, Any]) -> None:
        self.files[path] = json.dumps(document).encode()


def _handler(catalogue: LoopbackCatalogue) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = catalogue.files.get(self.path)
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if content is None:
                self.answer(404, b"", {})
            elif wanted is None or int(wanted[1]) >= len(content):
                self.answer(200, content, {})
            else:
                start, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
                part = content[start : last + 1]
                told = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
                self.answer(206, part, {"Content-Range": told})

        do_HEAD = do_GET

        def answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            kind = "image/tiff" if self.path.endswith(".tif") else "application/json"
            sizes = {"Content-Type": kind, "Content-Length": str(len(content))}
            for name, value in {**sizes, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)
                catalogue.num_bytes += len(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on the console."""

    return Handler


def publish(*, num_chips: int = 20, side: int = 256) -> LoopbackCatalogue:
    """A catalogue of drawn land; or of your own chips, EXAMPLE_CHIPS.

    Args:
        num_chips: Labelled chips that are drawn.
        side: Of a drawn chip, in pixels.
    """
    own = os.environ.get("EXAMPLE_CHIPS")
    if own:
        lands = lands_of(Path(own).expanduser().resolve())
        return LoopbackCatalogue(lands, classes=("forest", "other"), licence="other")
    lands = drawn_lands(num_chips=num_chips, side=side)
    return LoopbackCatalogue(lands, classes=KINDS, licence="CC0-1.0")
