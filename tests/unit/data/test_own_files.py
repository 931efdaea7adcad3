"""Files that `predict` wrote are told from all others."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.own_files import GEOJSON_START, is_own, mark_png


def png(mode: str, **options: object) -> bytes:
    values = np.arange(48, dtype=np.uint8).reshape(6, 8) % 7
    image = Image.fromarray(values).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "options"), [("L", {}), ("P", {"transparency": 255}), ("RGB", {})]
)
def test_a_marked_picture_is_the_same_picture(
    tmp_path: Path, mode: str, options: dict[str, object]
) -> None:
    plain, path = png(mode, **options), tmp_path / "a.png"
    path.write_bytes(mark_png(plain))
    assert is_own(path)
    with Image.open(path) as marked, Image.open(io.BytesIO(plain)) as image:
        marked.load()  # verifies the checksums of all chunks
        assert (marked.mode, marked.size) == (image.mode, image.size)
        assert np.array_equal(np.asarray(marked), np.asarray(image))
        assert marked.info["Software"] == "headstart predict"
    path.write_bytes(plain)
    assert not is_own(path)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.gpkg", "a.geojson"])
def test_what_cannot_be_read_is_not_our_own(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert not is_own(path)
    for content in (b"", b"hello", GEOJSON_START[:20].encode()):
        path.write_bytes(content)
        assert not is_own(path)
    path.unlink()
    path.mkdir()
    assert not is_own(path)


def test_a_layer_beside_ours_makes_a_geopackage_someone_elses(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE gpkg_contents (description TEXT)")
        file.execute("INSERT INTO gpkg_contents VALUES ('headstart predict')")
        file.commit()
        assert is_own(path)
        file.execute("INSERT INTO gpkg_contents VALUES ('houses')")
        file.commit()
    assert not is_own(path)
