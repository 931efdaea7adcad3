"""Small pictures inside a page, as data: addresses, so that the page needs no other file."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_QUALITY = 75


@dataclass(frozen=True)
class Thumbnail:
    """A small picture: its data: address, and its size in pixels."""

    source: str
    width: int
    height: int


def embed(picture: Image.Image) -> str:
    """A picture as a WebP data: address."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=_QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def embed_file(path: Path, *, size: int) -> str | None:
    """A picture file, at most `size` pixels on its longer side; None when it cannot be shown.

    It cannot be shown when it is no longer there or no readable picture; the page then says so.
    """
    thumbnail = read_thumbnail(path, size=size)
    return None if thumbnail is None else thumbnail.source


def read_thumbnail(path: Path, *, size: int) -> Thumbnail | None:
    """As `embed_file`, with the size of the small picture."""
    from headstart.data.images import thumbnail

    if not path.is_file():
        return None
    try:
        picture = thumbnail(path, size=size)
    except DataError:
        return None
    return Thumbnail(embed(picture), *picture.size)
