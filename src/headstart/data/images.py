"""The only place that opens pictures: whatever Pillow reads comes out as RGB, 8 bits a channel.

Knows nothing of data sets, labels or models. Every function may be called from many threads at
once, and every trouble with a file is a PictureError that names the file and the kind of trouble.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from headstart.data.sixteen_bit import WHOLE_RANGE, as_eight_bits, is_wide
from headstart.errors import DataError

# What may be opened: raster formats that Pillow decodes itself. Those that need an outside program
# (EPS runs Ghostscript on the file) or have no decoder (PDF, HDF5, MPEG) are left out on purpose.
# The commonest stand first, as Pillow tries them in turn; TGA, which has no signature, is last.
PICTURE_FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"),
    *("DIB", "QOI", "PCX", "DDS", "ICO", "PSD", "SGI", "TGA"),
)
PICTURE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp"),
        *(".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k"),
        *(".j2c", ".jpc", ".jpf", ".jpx", ".qoi", ".pcx", ".dds", ".ico", ".psd", ".sgi", ".tga"),
    )
)

# 512 MiB once decoded to RGB. The largest camera sensors have 151 million pixels, so real photos
# pass; Pillow itself refuses to open more than this (twice its Image.MAX_IMAGE_PIXELS).
MAX_PIXELS = 178_956_970

# Modes with an opacity of each pixel, as Pillow calls them.
ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")

# What to do about a single file that cannot be used.
REPLACE_OR_SKIP = "Replace it, or leave it out with `--on-bad skip`."

# What Pillow's decoders raise on damaged files; found by feeding them cut and altered files (see
# tests/unit/data/test_images.py) and by reading their `raise` statements.
_DECODER_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError),
    *(AttributeError, AssertionError, RuntimeError, MemoryError, struct.error, zlib.error),
)
_JPEG_START_OF_SCAN = 0xDA
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = tuple(method for tag, method in _TRANSPOSE.items() if tag >= 5)
_HUSH_PILLOW = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


class PictureError(DataError):
    """A picture cannot be used.

    Attributes:
        kind: `missing-file`, `zero-byte`, `unreadable`, `truncated`, `decompression-bomb` or
            `float-values`: the kind of the finding that lists it.
    """

    def __init__(self, message: str, *, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What the header of a picture says.

    Attributes:
        format: As Pillow calls it: `JPEG`, `PNG`, ...
        width: Pixels as stored, before any rotation that EXIF asks for.
        height: Pixels as stored.
        mode: As Pillow calls it: `RGB`, `L`, `P`, `CMYK`, `I;16`, ...
    """

    format: str
    width: int
    height: int
    mode: str


@dataclass(frozen=True, slots=True)
class Posture:
    """How a picture lies in its file.

    Attributes:
        stored: (width, height) as stored.
        upright: (width, height) that `read_image` will give.
        is_turned: Whether its EXIF data want it turned or mirrored, as `read_image` does.
    """

    stored: tuple[int, int]
    upright: tuple[int, int]
    is_turned: bool


def read_image(
    source: Path | bytes,
    *,
    shorter_side: int | None = None,
    sixteen_bit_divisor: int | None = WHOLE_RANGE,
) -> Image.Image:
    """A picture as RGB, 8 bits a channel, upright; of an animation the first frame.

    Transparency is laid on white, as a page would show it. 16-bit values are all divided by the
    same number; no picture is stretched by its own extremes, which would make the same value mean
    different things in two pictures.

    Args:
        source: A file, or the bytes of one.
        shorter_side: JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where their shorter side
            still has at least this many pixels; it is up to the caller to resize the rest. Other
            formats come at full size.
        sixteen_bit_divisor: Of values of 16 bits, see `sixteen_bit`; what a model reads goes by its
            input contract. None goes by the picture alone, which is for looking at it only.

    Raises:
        PictureError: It is missing, empty, truncated, no picture, too large, has floating-point
            values, or values that do not fit into 8 bits when they are divided.

    Example:
        >>> read_image(Path("photo.jpg"), shorter_side=256)  # doctest: +SKIP
        <PIL.Image.Image image mode=RGB size=500x375>
    """
    _hush_pillow()
    try:
        with _open(source) as image:
            _refuse(image, _name(source))
            if shorter_side is not None:
                image.draft("RGB", (shorter_side, shorter_side))
            image.load()
            result = _rgb(_upright(image), sixteen_bit_divisor)
    except _DECODER_ERRORS as error:
        raise _picture_error(source, error) from error
    except Image.DecompressionBombError as error:
        raise _bomb(_name(source)) from error
    # A caller that applied the orientation again would turn the picture twice.
    result.info.clear()
    return result


def picture_facts(source: Path | bytes) -> PictureFacts:
    """What the header says; no pixel is decoded.

    Raises:
        PictureError: It is missing, empty or no picture.
    """
    _hush_pillow()
    try:
        with _open(source) as image:
            return _facts(image)
    except _DECODER_ERRORS as error:
        raise _picture_error(source, error) from error
    except Image.DecompressionBombError as error:
        raise _bomb(_name(source)) from error


def is_over_eight_bits(data: bytes) -> bool:
    """Whether a value of a 16-bit picture exceeds 255. Every pixel is decoded.

    False, too, for what cannot be read: it tells nothing of the unit of other pictures.

    Args:
        data: The whole file, which `verify_picture` has passed.
    """
    _hush_pillow()
    try:
        with _open(data) as image:
            image.load()
            return 255 < int(np.asarray(image).max()) <= 255 * WHOLE_RANGE
    except (*_DECODER_ERRORS, Image.DecompressionBombError):
        return False


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) that `read_image` will give; no pixel is decoded.

    Raises:
        PictureError: It is missing, empty or no picture.
    """
    return posture(path).upright


def posture(path: Path) -> Posture:
    """How a picture lies in its file; no pixel is decoded.

    Raises:
        PictureError: It is missing, empty or no picture.
    """
    _hush_pillow()
    try:
        with _open(path) as image:
            method = None if image.format == "TIFF" else _turning(image)
            upright = image.size[::-1] if method in _QUARTER_TURNS else image.size
            return Posture(image.size, upright, method is not None)
    except _DECODER_ERRORS as error:
        raise _picture_error(path, error) from error
    except Image.DecompressionBombError as error:
        raise _bomb(_name(path)) from error


def is_transparent(data: bytes) -> bool:
    """Whether a picture is transparent all over, so that it shows nothing. Every pixel is decoded.

    False, too, for what cannot be read, and for what has no alpha channel.

    Args:
        data: The whole file.
    """
    _hush_pillow()
    try:
        with _open(data) as image:
            return "A" in image.getbands() and image.getchannel("A").getextrema() == (0, 0)
    except (*_DECODER_ERRORS, Image.DecompressionBombError):
        return False


def verify_picture(data: bytes, *, decode: bool, name: str = "a picture") -> PictureFacts:
    """Make sure that `read_image` will work, at the price of the header or of a full decode.

    Without `decode`, the header is read and the end of the file looked at: a file whose end
    (marker of JPEG and PNG, trailer of GIF, declared length of WebP, strips of TIFF) is missing is
    then decoded to know. Bytes after the end of a picture are no fault.

    Args:
        data: The whole file.
        decode: Decode every pixel (a JPEG at an eighth of its size, which reads all of the file).
        name: For messages.

    Raises:
        PictureError: It cannot be read; `kind` says why.
    """
    _hush_pillow()
    try:
        if not data:
            raise PictureError(f"`{name}` has no content (0 bytes).", kind="zero-byte")
        with _open(data) as image:
            _refuse(image, name)
            facts = _facts(image)
            if decode or _looks_cut(image, data):
                image.draft("RGB", (image.width // 8, image.height // 8))
                image.load()
                if image.mode not in ("RGB", "L") and not is_wide(image.mode):
                    image.convert("RGB")
        return facts
    except _DECODER_ERRORS as error:
        raise _picture_error(data, error, name=name) from error
    except Image.DecompressionBombError as error:
        raise _bomb(name) from error


def thumbnail(path: Path | bytes, *, size: int) -> Image.Image:
    """A small upright RGB copy that fits into `size` x `size` pixels, its aspect ratio kept.

    Raises:
        PictureError: See `read_image`.
    """
    image = read_image(path, shorter_side=size, sixteen_bit_divisor=None)
    image.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image


def grey_miniature(data: bytes, *, side: int, name: str = "a picture") -> np.ndarray:
    """A tiny upright grey copy, squashed to a square, for telling near-duplicates.

    Of a JPEG only the brightness is decoded, and at a reduced size: of one of 6 megapixels in a
    fifth of the time of a full decode. All bytes of the picture are read, so that damage is found
    as well.

    Args:
        data: The whole file.
        side: Pixels of each side.
        name: For messages.

    Returns:
        (side, side) uint8, from 0, black.

    Raises:
        PictureError: See `read_image`.
    """
    _hush_pillow()
    try:
        with _open(data) as image:
            _refuse(image, name)
            width, height = image.size
            if image.mode in ("RGB", "L"):  # of CMYK, brightness cannot be decoded alone
                # Not less than 4 times what is needed: at 2 times, the thin dark lines of solar
                # cells fall on other pixels in a JPEG than in a PNG (bench/near_duplicates.py).
                image.draft("L", (4 * side, 4 * side))
            image.load()
            grey = image if image.mode == "L" else _rgb(image, None).convert("L")
            # A JPEG decoded at 1/8 ends in a pixel that reaches beyond the edge: leave that out.
            scale = max(1, round(width / grey.width))
            box = (0.0, 0.0, width / scale, height / scale)
            small = grey.resize((side, side), Image.Resampling.BILINEAR, box=box)
            small = small if (method := _turning(image)) is None else small.transpose(method)
    except _DECODER_ERRORS as error:
        raise _picture_error(data, error, name=name) from error
    except Image.DecompressionBombError as error:
        raise _bomb(name) from error
    return np.asarray(small)


def _hush_pillow() -> None:
    """Keep Pillow's remarks on odd files (bad EXIF, large size) off the terminal.

    Whatever matters among them is a finding of ours. `warnings.catch_warnings` is no way to do it:
    it swaps the filters of the whole process, so that two threads leave each other's behind.
    """
    if _HUSH_PILLOW not in warnings.filters:
        warnings.filterwarnings("ignore", module=_HUSH_PILLOW[3].pattern)


def _open(source: Path | bytes) -> Image.Image:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    return Image.open(file, formats=PICTURE_FORMATS)


def _name(source: Path | bytes) -> str:
    return "a picture" if isinstance(source, bytes) else str(source)


def _facts(image: Image.Image) -> PictureFacts:
    return PictureFacts(image.format or "", image.width, image.height, image.mode)


def _refuse(image: Image.Image, name: str) -> None:
    """Stop before decoding what could not be used or would exhaust memory."""
    if image.width * image.height > MAX_PIXELS:
        raise _bomb(name)
    if image.mode == "F":
        raise PictureError(
            f"`{name}` has floating-point values, whose range no one but its maker knows; "
            "8 or 16 bit integers are needed. Rescale it to 0-255 and save it as PNG or TIFF.",
            kind="float-values",
        )


def _bomb(name: str) -> PictureError:
    return PictureError(
        f"`{name}` claims more than {MAX_PIXELS:,} pixels, which is a damaged file, an attack, or "
        f"a picture to be cut into tiles first. {REPLACE_OR_SKIP}",
        kind="decompression-bomb",
    )


def _upright(image: Image.Image) -> Image.Image:
    """The loaded picture, turned as its EXIF data say."""
    method = _turning(image)
    return image if method is None else image.transpose(method)


def _turning(image: Image.Image) -> Image.Transpose | None:
    """How the EXIF data of a loaded picture want it turned. (Pillow has already turned a TIFF.)"""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS:
        return None  # damaged EXIF data: the picture itself is sound, and stays as it is stored
    return _TRANSPOSE.get(orientation) if isinstance(orientation, int) else None


def _rgb(image: Image.Image, sixteen_bit_divisor: int | None) -> Image.Image:
    """A loaded picture of any mode as RGB, without a copy when it is RGB already."""
    if is_wide(image.mode):
        return as_eight_bits(image, divisor=sixteen_bit_divisor)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = Image.new("RGB", layer.size, (255, 255, 255))
        page.paste(layer, mask=layer)
        return page
    return image if image.mode == "RGB" else image.convert("RGB")


def _looks_cut(image: Image.Image, data: bytes) -> bool:
    """Whether the end of the file seems to be missing. Cheap, and right for undamaged files."""
    match image.format:
        case "JPEG" | "MPO":
            # Thumbnails in EXIF data have end markers too, so look only after the scan begins.
            # Within it a marker cannot occur by chance: FF is always followed by 00 there.
            return not data.endswith(_JPEG_END) and _JPEG_END not in data[_jpeg_scan(data) :]
        case "PNG":
            return not data.endswith(_PNG_END) and _PNG_END not in data
        case "GIF":
            return not data.rstrip(b"\0").endswith(b";")
        case "WEBP":
            return int.from_bytes(data[4:8], "little") + 8 > len(data)
        case "BMP":
            return int.from_bytes(data[2:6], "little") > len(data)
        case "TIFF":
            return _tiff_end(image) > len(data)
        case _:
            return True  # rare formats are decoded always


def _jpeg_scan(data: bytes) -> int:
    """Where the first scan of a JPEG begins: the segments before it are walked by their lengths."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == _JPEG_START_OF_SCAN:
            break
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD8:  # padding, and markers without length
            place += 1 if marker == 0xFF else 2
            continue
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place


def _tiff_end(image: Image.Image) -> int:
    """The last byte that the strips or tiles of a TIFF's first page need."""
    tags: dict[int, tuple[int, ...]] = getattr(image, "tag_v2", {})
    ends = [0]
    for offsets, lengths in ((273, 279), (324, 325)):  # strips; tiles
        pairs = zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)
        ends.extend(offset + length for offset, length in pairs)
    return max(ends)


def _picture_error(
    source: Path | bytes, error: BaseException, *, name: str | None = None
) -> PictureError:
    """What a decoder or the file system complained about, as an error that a user can mend."""
    name = name or _name(source)
    if isinstance(error, FileNotFoundError):
        return PictureError(f"There is no file `{name}`. Check the path.", kind="missing-file")
    if isinstance(error, PermissionError | IsADirectoryError):
        return PictureError(f"`{name}` cannot be read ({error.strerror}). Mend that, or leave it.")
    remedy = REPLACE_OR_SKIP
    if isinstance(source, Path) and source.is_file() and source.stat().st_size == 0:
        return PictureError(f"`{name}` has no content (0 bytes). {remedy}", kind="zero-byte")
    if isinstance(error, UnidentifiedImageError):
        return PictureError(f"`{name}` is no picture that can be read. {remedy}")
    # Pillow tells a cut file from other damage by its words only.
    is_cut = re.search(r"truncated|not enough|incomplete|EOF", str(error), re.IGNORECASE)
    if is_cut or isinstance(error, EOFError):
        return PictureError(
            f"`{name}` is truncated: the file ends before the picture does. {remedy}",
            kind="truncated",
        )
    reason = str(error) or type(error).__name__
    return PictureError(f"`{name}` cannot be decoded ({reason}). {remedy}")
