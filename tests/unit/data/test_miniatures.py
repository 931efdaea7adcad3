from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart import cache
from headstart.data.images import PictureError, grey_miniature
from headstart.data.miniatures import (
    SIDE,
    as_pixels,
    is_blank,
    keep_miniatures,
    kept_miniatures,
    likeness_vectors,
    miniature,
    perceptual_hashes,
    views,
)


def smooth(seed: int, *, size: tuple[int, int] = (300, 220)) -> Image.Image:
    """A picture of soft blobs, as photos are when looked at from afar."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    return blobs.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bits_apart(first: bytes, second: bytes) -> int:
    pair = perceptual_hashes(as_pixels([first, second]))
    return int(np.bitwise_count(pair[0] ^ pair[1]))


def of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    return miniature(encoded(image, kind, **options), name="a picture")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "miniatures"


@pytest.mark.parametrize("size", [(300, 220), (301, 223), (97, 33), (1500, 1100), (20, 24)])
def test_a_jpeg_decoded_small_has_the_miniature_of_the_png(size: tuple[int, int]) -> None:
    image = smooth(0, size=size)
    png, jpeg = (
        np.frombuffer(of(image, *how), np.uint8).astype(int) for how in (("PNG",), ("JPEG",))
    )
    assert np.abs(png - jpeg).max() <= 6


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1"])
def test_every_mode_has_a_miniature(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert bits_apart(of(smooth(1)), of(smooth(1).convert(mode), kind)) <= 12
    if mode == "CMYK":
        assert bits_apart(of(smooth(1)), of(smooth(1).convert(mode), "JPEG")) <= 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_turned_by_its_exif_data_has_the_miniature_of_the_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    upright = smooth(2)
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    assert bits_apart(of(upright), of(stored, kind, exif=exif)) <= 2
    assert bits_apart(of(upright), of(stored, kind)) > 12


def test_a_damaged_picture_is_refused() -> None:
    data = encoded(smooth(3), "JPEG")
    with pytest.raises(PictureError, match=r"`x\.jpg` is truncated"):
        grey_miniature(data[: len(data) // 2], side=SIDE, name="x.jpg")


def test_the_hash_stays_and_other_pictures_are_far() -> None:
    image = smooth(4)
    assert bits_apart(of(image), of(image, "JPEG", quality=30)) <= 4
    assert bits_apart(of(image), of(image.resize((120, 90)))) <= 4
    assert bits_apart(of(image), of(image.point(lambda v: v * 0.7))) <= 4
    assert min(bits_apart(of(image), of(smooth(seed))) for seed in range(5, 15)) > 12


def test_each_view_of_a_picture_is_one_of_the_others_views() -> None:
    image = smooth(5)
    own = as_pixels([of(image)])
    hashes = {int(perceptual_hashes(view)[0]) for view in views(own)}
    assert len(hashes) == 8
    for method in Image.Transpose:
        turned = as_pixels([of(image.transpose(method))])
        assert (
            min(np.bitwise_count(perceptual_hashes(turned) ^ np.uint64(h))[0] for h in hashes) < 3
        )


def test_likeness_leaves_out_what_all_pictures_share() -> None:
    places = np.arange(SIDE) - (SIDE - 1) / 2
    oval = 120 * (np.hypot(*np.meshgrid(places, places)) < 6)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 10, (40, SIDE, SIDE))
    pixels = (60 + oval + noise).clip(0, 255).astype(np.uint8)
    flat = pixels.reshape(40, -1).astype(float)
    flat -= flat.mean(axis=1, keepdims=True)
    assert np.corrcoef(flat)[0, 1] > 0.9
    vectors = likeness_vectors(pixels)
    assert vectors[0] @ vectors[1] < 0.8
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_blank_is_told() -> None:
    flat = Image.new("RGB", (50, 40), (120, 30, 30))
    assert is_blank(as_pixels([of(flat), of(smooth(6))])).tolist() == [True, False]


def test_what_is_kept_is_found_again_whoever_wrote_it(own_cache: Path) -> None:
    assert kept_miniatures() == {}
    first, second = {b"a" * 32: bytes(256)}, {b"b" * 32: bytes(range(256))}
    keep_miniatures(first)
    keep_miniatures(second)
    keep_miniatures({})
    assert kept_miniatures() == first | second
    assert len(list(own_cache.rglob("*.npy"))) == 2


def test_a_damaged_file_of_the_cache_is_made_anew(own_cache: Path) -> None:
    keep_miniatures({b"a" * 32: bytes(256)})
    (path,) = own_cache.rglob("*.npy")
    path.write_bytes(b"damaged")
    assert kept_miniatures() == {}
    assert not path.exists()


def test_clearing_the_cache_clears_miniatures(
    own_cache: Path, make_photos: Callable[..., Path]
) -> None:
    keep_miniatures({b"a" * 32: bytes(256)})
    cache.clear("miniatures")
    assert kept_miniatures() == {}
