"""By what the files that `predict` writes are known as its own, so that it replaces no others.

Each says of itself by what it was made, where its format has a place for that: so it stays known
when it is copied or moved, and no list of files has to be kept beside them. Only heads are read.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path

from headstart.data.rasters import RASTER_SUFFIXES, raster_facts
from headstart.errors import DataError

SOFTWARE = "headstart predict"
# What a TIFF says it was made by, as GDAL calls that field. Source: TIFF 6.0, Software (305).
TIFF_FIELD = "TIFFTAG_SOFTWARE"
# A GeoJSON object may have members of one's own. Source: RFC 7946, section 6.1.
GEOJSON_START = f'{{"type": "FeatureCollection", "generator": "{SOFTWARE}", "features": ['
# What a PNG begins with: its signature, and the chunk IHDR, which is always the first.
_PNG_HEAD_BYTES = 8 + 25


def mark_png(data: bytes) -> bytes:
    """A PNG that says what made it.

    Args:
        data: The whole file.

    Source: PNG specification (W3C 2003), sections 5.3 (chunks) and 11.3.4 (tEXt, `Software`).
    """
    return data[:_PNG_HEAD_BYTES] + _png_mark() + data[_PNG_HEAD_BYTES:]


def is_own(path: Path) -> bool:
    """Whether `predict` wrote a file; False of what cannot be read, or is none."""
    suffix = path.suffix.lower()
    try:
        if suffix in RASTER_SUFFIXES:
            return raster_facts(path).tags.get(TIFF_FIELD) == SOFTWARE
        if suffix == ".gpkg":
            return _is_own_geopackage(path)
        with path.open("rb") as file:
            if suffix == ".geojson":
                return file.read(len(GEOJSON_START)) == GEOJSON_START.encode()
            mark = _png_mark()
            return file.read(_PNG_HEAD_BYTES + len(mark)).endswith(mark)
    except (DataError, OSError):
        return False


def _png_mark() -> bytes:
    content = b"tEXt" + b"Software\0" + SOFTWARE.encode("latin-1")
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def _is_own_geopackage(path: Path) -> bool:
    """By the description of its layer; a GeoPackage is a file of SQLite.

    Source: OGC 12-128r19, GeoPackage Encoding Standard, section 1.1.3 (gpkg_contents).
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as file:
            rows = file.execute("SELECT description FROM gpkg_contents").fetchall()
    except sqlite3.Error:
        return False
    return rows == [(SOFTWARE,)]
