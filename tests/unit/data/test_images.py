from __future__ import annotations

import io
import pickle
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import (
    PICTURE_FORMATS,
    PICTURE_SUFFIXES,
    PictureError,
    is_over_eight_bits,
    picture_facts,
    read_image,
    thumbnail,
    verify_picture,
)
from headstart.errors import DataError


def photo(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def kind_of(data: bytes | Path) -> str:
    with pytest.raises(PictureError) as caught:
        read_image(data)
    return caught.value.kind


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "TGA", "QOI"])
def test_lossless_formats_come_out_as_they_went_in(format: str) -> None:
    image = read_image(encoded(photo(), format))
    assert image.mode == "RGB"
    assert np.array_equal(pixels(image), pixels(photo()))


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_formats_come_out_close(format: str) -> None:
    image = read_image(encoded(photo(), format))
    assert image.size == (60, 40)
    assert np.abs(pixels(image) - pixels(photo())).mean() < 12


def test_a_palette_becomes_its_colours() -> None:
    original = photo().quantize(16)
    assert np.array_equal(
        pixels(read_image(encoded(original, "PNG"))), pixels(original.convert("RGB"))
    )


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(mode: str) -> None:
    format = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    image = read_image(encoded(photo().convert(mode), format))
    assert image.mode == "RGB"
    expected = pixels(photo().convert(mode).convert("RGB"))
    assert np.abs(pixels(image) - expected).mean() < 12


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = photo().convert(mode)
    image.putalpha(Image.new("L", image.size, 0))
    assert (pixels(read_image(encoded(image, "PNG"))) == 255).all()


def test_a_transparent_palette_colour_is_laid_on_white() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    assert (pixels(read_image(encoded(image, "PNG", transparency=b"\xff\x00"))) == 255).all()
    assert (pixels(read_image(encoded(image, "PNG", transparency=0))) == [200, 10, 20]).all()


def test_sixteen_bit_values_are_divided_by_257() -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    for format in ("PNG", "TIFF"):
        image = read_image(encoded(Image.fromarray(values), format))
        assert pixels(image)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_dark_sixteen_bit_picture_is_read_in_the_unit_of_the_others() -> None:
    dark = encoded(Image.fromarray(np.array([[0, 100, 255]], np.uint16)), "PNG")
    assert pixels(read_image(dark))[0, :, 0].tolist() == [0, 0, 1]


def test_eight_bit_values_in_a_sixteen_bit_file_are_kept_where_all_are_such() -> None:
    data = encoded(Image.fromarray(np.array([[0, 7, 255]], np.uint16)), "PNG")
    for divisor in (1, None):
        image = read_image(data, sixteen_bit_divisor=divisor)
        assert pixels(image)[0, :, 0].tolist() == [0, 7, 255]


def test_sixteen_bits_are_refused_where_eight_are_stored_in_them() -> None:
    data = encoded(Image.fromarray(np.array([[0, 4012]], np.uint16)), "PNG")
    with pytest.raises(PictureError, match=r"0 to 4012, but those of the .* fitted on end at 255"):
        read_image(data, sixteen_bit_divisor=1)


@pytest.mark.parametrize(("most", "is_over"), [(255, False), (256, True), (65535, True)])
def test_whether_a_value_is_over_eight_bits_is_found(most: int, is_over: bool) -> None:
    for format in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(np.array([[0, most]], np.uint16)), format)
        assert is_over_eight_bits(data) is is_over


def test_what_cannot_be_read_as_sixteen_bits_says_nothing_about_others() -> None:
    beyond = encoded(Image.fromarray(np.array([[0, 70_000]], np.int32)), "TIFF")
    assert not is_over_eight_bits(beyond)
    assert not is_over_eight_bits(b"no picture")


def test_integers_beyond_sixteen_bits_are_refused() -> None:
    image = Image.fromarray(np.array([[0, 70_000]], np.int32))
    with pytest.raises(PictureError, match="from 0 to 70000"):
        read_image(encoded(image, "TIFF"))


def test_floating_point_values_are_refused_with_a_remedy() -> None:
    data = encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(PictureError, match="Rescale it to 0-255") as caught:
        read_image(data)
    assert caught.value.kind == "float-values"


def test_of_a_gif_the_first_frame_is_read() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (pixels(read_image(data)) == [255, 0, 0]).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_once(format: str, orientation: int) -> None:
    upright = Image.new("L", (48, 32))
    upright.paste(255, (0, 0, 16, 16))  # white at the top left
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(stored.convert("RGB"), format, exif=exif.tobytes()))
    assert image.size == (48, 32)
    assert pixels(image)[4, 4].min() > 200
    assert pixels(image)[28, 40].max() < 50
    assert image.getexif().get(0x0112) in (None, 1)  # nobody turns it again


def test_damaged_exif_data_do_not_stop_a_photo() -> None:
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert read_image(data).size == (60, 40)


@pytest.mark.parametrize("side", [1, 30, 50, 64, 100, 200, 399, 400, 1000])
def test_a_reduced_jpeg_keeps_the_shorter_side_asked_for(side: int) -> None:
    image = read_image(encoded(photo(617, 403), "JPEG"), shorter_side=side)
    assert min(image.size) >= min(side, 403)
    assert min(image.size) < max(2 * side, 52)


def test_reduction_leaves_other_formats_whole() -> None:
    assert read_image(encoded(photo(200, 100), "PNG"), shorter_side=20).size == (200, 100)


def test_a_reduced_jpeg_is_turned_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(photo(400, 200), "JPEG", exif=exif.tobytes())
    assert read_image(data, shorter_side=50).size == (50, 100)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_found_without_decoding_all(format: str, tmp_path: Path) -> None:
    whole = encoded(photo(200, 150), format)
    assert verify_picture(whole, decode=False).format == format
    path = tmp_path / "cut"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(PictureError) as caught:
        verify_picture(path.read_bytes(), decode=False)
    assert caught.value.kind in ("truncated", "unreadable")
    with pytest.raises(DataError, match="cut"):
        read_image(path)


def test_a_truncated_jpeg_with_a_whole_thumbnail_is_found() -> None:
    exif = b"Exif\0\0" + b"\0" * 20 + encoded(photo(16, 12), "JPEG")
    data = encoded(photo(300, 200), "JPEG", exif=exif)
    with pytest.raises(PictureError) as caught:
        verify_picture(data[: len(data) - 500], decode=False)
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_bytes_after_the_end_are_no_fault(format: str) -> None:
    data = encoded(photo(), format) + b"\0 appended by some camera"
    assert verify_picture(data, decode=False).width == 60
    assert verify_picture(data, decode=True).width == 60


def test_damage_in_the_middle_is_found_by_decoding() -> None:
    data = bytearray(encoded(photo(200, 150), "PNG"))
    data[len(data) // 2 :][:40] = b""
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    verify_picture(bytes(data), decode=False)
    with pytest.raises(PictureError):
        verify_picture(bytes(data), decode=True)


def test_each_trouble_has_its_kind(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.write_bytes(b"")
    text.write_text("I am no picture")
    assert kind_of(empty) == "zero-byte"
    assert kind_of(text) == "unreadable"
    assert kind_of(tmp_path / "none.jpg") == "missing-file"
    assert kind_of(tmp_path) == "unreadable"
    with pytest.raises(PictureError, match=r"text\.jpg"):
        picture_facts(text)
    with pytest.raises(PictureError) as caught:
        verify_picture(b"", decode=False)
    assert caught.value.kind == "zero-byte"


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_decompression_bomb_is_refused_before_decoding() -> None:
    assert kind_of(bomb(60_000, 60_000)) == "decompression-bomb"
    with pytest.raises(PictureError) as caught:
        verify_picture(bomb(60_000, 60_000), decode=True)
    assert caught.value.kind == "decompression-bomb"
    assert picture_facts(bomb(12_000, 10_000)).width == 12_000  # and Pillow's warning is not heard


def test_postscript_is_never_run() -> None:
    assert kind_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n") == (
        "unreadable"
    )


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_no_damage_raises_anything_but_a_picture_error(format: str) -> None:
    whole = encoded(photo(), format)
    rng = np.random.default_rng(0)
    num_refused = 0
    for _ in range(150):
        data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(data), rng.integers(0, 6)):
            data[place] = rng.integers(0, 256)
        for read in (read_image, lambda d: verify_picture(d, decode=True)):
            try:
                read(bytes(data))
            except PictureError:
                num_refused += 1
    assert num_refused > 50


def test_a_picture_error_survives_the_way_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(PictureError("cut", kind="truncated")))
    assert (str(error), error.kind) == ("cut", "truncated")


def test_facts_are_of_the_header() -> None:
    facts = picture_facts(encoded(photo().convert("L"), "PNG"))
    assert (facts.format, facts.width, facts.height, facts.mode) == ("PNG", 60, 40, "L")


def test_a_thumbnail_fits_and_keeps_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "wide.jpg"
    photo(400, 200).save(path)
    assert thumbnail(path, size=64).size == (64, 32)


def test_many_threads_read_the_same_pixels() -> None:
    data = [encoded(photo(90, 70, seed), "JPEG" if seed % 2 else "PNG") for seed in range(12)]
    alone = [pixels(read_image(d)) for d in data]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(read_image, data * 5))
    for i, image in enumerate(together):
        assert np.array_equal(pixels(image), alone[i % 12])


def test_every_suffix_and_format_is_one_that_pillow_reads() -> None:
    extensions = Image.registered_extensions()
    readable = {suffix for suffix, format in extensions.items() if format in Image.OPEN}
    assert readable | {".mpo"} >= PICTURE_SUFFIXES
    assert set(PICTURE_FORMATS) <= Image.OPEN.keys()


def test_a_real_photo_is_read(ants_bees: Path) -> None:
    path = next(iter(sorted((ants_bees / "train" / "ants").glob("*.jpg"))))
    facts = picture_facts(path)
    image = read_image(path)
    assert image.mode == "RGB"
    assert sorted(image.size) == sorted((facts.width, facts.height))
