"""What is known of the file of a sample after reading it once; and what is wrong with it.

Photos are verified by `images`. Rasters that have masks are verified by `rasters`: of any number of
bands, and of any values. Knows nothing of data sets; the findings are made in `checks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np

from headstart.contracts import Sample
from headstart.data.images import (
    ALPHA_MODES,
    PictureError,
    is_over_eight_bits,
    is_transparent,
    picture_facts,
    read_image,
    verify_picture,
)
from headstart.data.miniatures import keep_miniatures, miniature
from headstart.data.raster_header import RasterFacts
from headstart.data.raster_miniatures import (
    bands_without_data,
    raster_miniature,
    stretched_miniature,
    visible_bands,
)
from headstart.data.rasters import RASTER_SUFFIXES, Window, open_raster, verify_pixels
from headstart.data.sixteen_bit import is_wide
from headstart.errors import DataError
from headstart.progress import Progress

# Rasters of more values than this get no miniature: to read one whole takes 128 MB for bytes.
MAX_SHRUNK_VALUES = 1 << 27


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of a file after reading it.

    Attributes:
        sha256: Of its bytes, in hexadecimal; empty when it could not be read.
        num_bytes: Its size.
        format: As Pillow calls it, of rasters as GDAL does; empty when it is no picture.
        width: Pixels as stored, before any rotation by EXIF; 0 when unknown.
        height: Pixels as stored; 0 when unknown.
        mode: As Pillow calls it (`RGB`, `L`, `I;16`), of rasters `3 x uint8`; empty when unknown.
        perceptual: Its miniature, see `miniatures`; empty when not asked for.
        raster: The header of a raster; None of photos. Of a window as if it were a file.
        empty_bands: Names of bands of a raster without data in any pixel, where others have some.
        part_of: The file that it is a window of; empty of whole files. Then all else is that of the
            window: the hash is of its place and its pixels.
    """

    sha256: str
    num_bytes: int
    format: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    perceptual: bytes = b""
    raster: RasterFacts | None = None
    empty_bands: tuple[str, ...] = ()
    part_of: str = ""

    @property
    def miniature_key(self) -> bytes:
        """What its miniature is kept under, (32,) bytes: rasters are shrunk in their own way."""
        return _key(bytes.fromhex(self.sha256), is_raster=self.raster is not None)


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        decode: Decode every pixel.
        kept: Key -> miniature, of pictures that need not be shrunk again; None: shrink none.
        is_over: Set by the first 16-bit picture with a value over 255; no other need be decoded.
    """

    decode: bool
    kept: Mapping[bytes, bytes] | None
    is_over: Event


Read = tuple[str, FileFacts, DataError | None]


def read_files(samples: Sequence[Sample], *, reading: Reading) -> list[Read]:
    """The ids, the facts of their files, and their trouble if they have some."""
    return [(sample.id, *_read_file(sample, reading)) for sample in samples]


def keep_new(
    facts: Iterable[FileFacts], kept: Mapping[bytes, bytes], *, progress: Progress
) -> None:
    """Put the miniatures that were made into the cache."""
    made = {f.miniature_key: f.perceptual for f in facts if f.perceptual}
    try:
        keep_miniatures({key: made[key] for key in made.keys() - kept.keys()})
    except OSError as error:
        progress.warn(
            f"The cache cannot be written ({error.strerror or error}): pictures are shrunk anew "
            "for near-duplicates each time. Give HEADSTART_CACHE a folder of your own."
        )


def _read_file(sample: Sample, reading: Reading) -> tuple[FileFacts, DataError | None]:
    path = sample.path
    if sample.window is not None:
        try:
            return _read_window(sample, sample.window, reading), None
        except DataError as error:
            return FileFacts("", 0), error
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a third quicker unbuffered
            data = file.readall()
    except OSError as error:
        trouble = PictureError(f"{error.strerror or error}", kind="missing-file")
        return FileFacts("", 0), trouble
    digest = hashlib.sha256(data).digest()
    is_raster = sample.mask is not None and path.suffix.lower() in RASTER_SUFFIXES
    may_be_empty = sample.mask is not None and path.suffix.lower() == ".png"
    kept = b"" if reading.kept is None else reading.kept.get(_key(digest, is_raster=is_raster), b"")
    read = _read_raster if is_raster else _read_photo
    try:
        facts = read(path, data, digest.hex(), kept, reading)
        if may_be_empty and facts.mode in ALPHA_MODES and is_transparent(data):
            raise PictureError(f"`{path}` is transparent all over.", kind="empty-picture")
        return facts, None
    except DataError as trouble:
        return FileFacts(digest.hex(), len(data)), trouble


def _read_photo(
    path: Path, data: bytes, sha256: str, perceptual: bytes, reading: Reading
) -> FileFacts:
    is_shrunk = reading.kept is not None and not perceptual  # which decodes all of it by itself
    facts = verify_picture(data, decode=reading.decode and not is_shrunk, name=str(path))
    if is_shrunk:
        perceptual = miniature(data, name=str(path))
    if is_wide(facts.mode) and not reading.is_over.is_set() and is_over_eight_bits(data):
        reading.is_over.set()
    size = (facts.width, facts.height)
    return FileFacts(sha256, len(data), facts.format, *size, facts.mode, perceptual)


def _read_raster(
    path: Path, data: bytes, sha256: str, perceptual: bytes, reading: Reading
) -> FileFacts:
    if not data:
        raise PictureError(f"`{path}` has no content (0 bytes).", kind="zero-byte")
    with open_raster(path) as raster:
        facts = raster.facts
        verify_pixels(raster, decode=reading.decode)
        num_values = facts.width * facts.height * len(facts.bands)
        if reading.kept is not None and not perceptual and num_values <= MAX_SHRUNK_VALUES:
            perceptual = raster_miniature(raster)
        empty = bands_without_data(raster)
    if len(empty) == len(facts.bands):
        raise PictureError(f"`{path}` holds no data: {_why_empty(facts)}.", kind="empty-picture")
    size, mode = (facts.width, facts.height), f"{len(facts.bands)} x {facts.dtype}"
    return FileFacts(sha256, len(data), facts.format, *size, mode, perceptual, facts, empty)


def _read_window(sample: Sample, window: tuple[int, int, int, int], reading: Reading) -> FileFacts:
    """Facts of a window; of its file nothing else is read.

    Its place is a part of the hash: two windows of a lake are no copies of each other.
    """
    header, seen, empty = None, [0, 1, 2], ()
    if sample.path.suffix.lower() in RASTER_SUFFIXES:
        with open_raster(sample.path) as raster:
            values, valid = raster.read(Window(*window))
            empty = () if valid.any() else bands_without_data(raster, Window(*window))
            header = raster.facts.part(window)
            seen = visible_bands(header.bands, sensor=header.sensor)
        format_, mode = header.format, f"{len(header.bands)} x {header.dtype}"
    else:
        picture = picture_facts(sample.path)
        format_, mode = picture.format, picture.mode
        left, top, width, height = window
        image = read_image(sample.path).crop((left, top, left + width, top + height))
        values = np.moveaxis(np.asarray(image), -1, 0)
        valid = np.ones(values.shape[1:], bool)
        if is_wide(mode):
            reading.is_over.set()  # told apart only where files are read whole
    names = header.bands if header is not None else ("R", "G", "B")
    digest = hashlib.sha256(f"{window} {names} {values.dtype}".encode())
    digest.update(np.ascontiguousarray(values).data)
    digest.update(np.packbits(valid).data)
    key = _key(digest.digest(), is_raster=header is not None)
    perceptual = b""
    if reading.kept is not None:
        perceptual = reading.kept.get(key, b"") or stretched_miniature(values[seen], valid)
    _, _, width, height = window
    return FileFacts(
        digest.hexdigest(),
        values.nbytes,
        format_,
        width,
        height,
        mode,
        perceptual,
        header,
        empty,
        part_of=str(sample.path),
    )


def _why_empty(facts: RasterFacts) -> str:
    values = [] if facts.nodata is None else [f"its nodata value, {facts.nodata:g}"]
    values += ["NaN"] if facts.dtype.startswith("float") else []
    values += ["transparent"] if facts.has_alpha else []
    return f"every pixel is {' or '.join(values) or 'masked'}"


def _key(digest: bytes, *, is_raster: bool) -> bytes:
    return hashlib.sha256(b"what is seen of " + digest).digest() if is_raster else digest
