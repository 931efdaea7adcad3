"""Tiny grey copies of pictures: the cache they are kept in, their perceptual hash, their likeness.

A miniature stands for a picture in the search for near-duplicates. It is content-addressed, so that
a picture is shrunk once and never again. Knows neither samples nor labels.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import numpy as np

from headstart import cache
from headstart.atomic import replacing
from headstart.data.images import grey_miniature

# With 8, copies are lost among solar cells; with 32, cropped photos are further from their
# originals, at four times the memory: bench/near_duplicates.py --sides.
SIDE = 16
# A part of the cache folder of its own for each way to make them.
_LAYOUT = f"bilinear-{SIDE}-1"
_DIGEST_BYTES = 32
# Less contrast than this (standard deviation in grey levels) is a blank: all blanks look alike.
_BLANK = 2.0


def miniature(data: bytes, *, name: str) -> bytes:
    """The miniature of a picture file: SIDE x SIDE grey values, row by row.

    Raises:
        PictureError: It cannot be read; see `read_image`.
    """
    return grey_miniature(data, side=SIDE, name=name).tobytes()


# --- the cache --------------------------------------------------------------------------------


def kept_miniatures() -> dict[bytes, bytes]:
    """All miniatures in the cache, by the sha256 of the file (32 bytes)."""
    found: dict[bytes, bytes] = {}
    folder = cache.cache_folder("miniatures") / _LAYOUT
    for path in sorted(folder.glob("*.npy")) if folder.is_dir() else []:
        try:
            rows = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            continue  # removed by another process to keep the cache within its limit
        except (ValueError, EOFError):
            path.unlink(missing_ok=True)  # damaged on disk: its rows are made anew
            continue
        cache.touch(path)
        data, width = rows.tobytes(), rows.shape[1]
        for start in range(0, len(data), width):
            row = data[start : start + width]
            found[row[:_DIGEST_BYTES]] = row[_DIGEST_BYTES:]
    return found


def keep_miniatures(made: Mapping[bytes, bytes]) -> None:
    """Add miniatures to the cache as one more file, whole or not at all.

    Raises:
        OSError: The cache folder cannot be written.
    """
    if not made:
        return
    flat = np.frombuffer(b"".join(k + v for k, v in made.items()), np.uint8)
    path = cache.cache_folder("miniatures") / _LAYOUT / f"{uuid.uuid4().hex}.npy"
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, flat.reshape(len(made), -1), allow_pickle=False)
    cache.shrink()


# --- hashes and likeness ----------------------------------------------------------------------


def as_pixels(miniatures: list[bytes]) -> np.ndarray:
    """(n, SIDE, SIDE) uint8 grey values."""
    return np.frombuffer(b"".join(miniatures), np.uint8).reshape(len(miniatures), SIDE, SIDE)


def is_blank(pixels: np.ndarray) -> np.ndarray:
    """(n,) bool: pictures (n, SIDE, SIDE) of one grey all over, which nothing tells apart."""
    return np.asarray(pixels.reshape(len(pixels), -1).std(axis=1) < _BLANK)


def views(pixels: np.ndarray) -> list[np.ndarray]:
    """The pictures as they are, mirrored, and turned by quarters: 8 arrays of (n, SIDE, SIDE)."""
    flips = [pixels, pixels[:, :, ::-1], pixels[:, ::-1], pixels[:, ::-1, ::-1]]
    return flips + [np.swapaxes(flip, 1, 2) for flip in flips]


def perceptual_hashes(pixels: np.ndarray) -> np.ndarray:
    """(n,) uint64: the signs of the lowest 8 x 8 coefficients of the cosine transform.

    Brightness, contrast and compression change few of the signs. The constant term is left out: its
    bit is 0 in all. Mirroring changes the sign of every other coefficient, so that all eight views
    of a picture are looked up alike.

    Args:
        pixels: (n, SIDE, SIDE) uint8.

    Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions",
        section 3.2.1 (pHash by DCT). Against the difference hash it finds as many copies,
        among solar cells with a tenth of the false candidates: bench/near_duplicates.py --hashes.
    """
    places = np.arange(SIDE) * 2 + 1
    basis = np.cos(np.pi * np.outer(np.arange(8), places) / (2 * SIDE)).astype(np.float32)
    coefficients = basis @ pixels.astype(np.float32) @ basis.T  # (n, 8, 8)
    bits = (coefficients > 0).reshape(len(pixels), 64)
    bits[:, 0] = False
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def likeness_vectors(pixels: np.ndarray) -> np.ndarray:
    """(n, SIDE * SIDE) float32 unit vectors, whose products are the likeness of the pictures.

    What all pictures share (the rim of a solar cell, the oval of an X-ray) is no likeness: the mean
    picture of the data, over all eight views, is taken off each. It is its own mirror image, so
    that what a copy has been turned or mirrored by makes no difference.

    Args:
        pixels: (n, SIDE, SIDE) uint8, none blank.
    """
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    mean = flat.mean(axis=0)[view_places()].mean(axis=0)
    return without_mean(flat, mean)


def view_places() -> np.ndarray:
    """(8, SIDE * SIDE): where each value of a flat view stands in the flat picture."""
    places = np.arange(SIDE * SIDE).reshape(1, SIDE, SIDE)
    return np.stack([view.ravel() for view in views(places)])


def without_mean(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Vectors (n, d) without most of their mean (d,), scaled to length 1.

    The share taken off is n / (n + 8): of two pictures, the mean is half of each.
    """
    num_pictures = len(vectors)
    centred = vectors - mean * np.float32(num_pictures / (num_pictures + 8))
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, 1e-6), np.float32)
