"""Bytes as text, whatever they were encoded with: piece by piece, each byte decoded once.

UTF-8 unless the file says otherwise by its first bytes, or by bytes that are no UTF-8. Knows
nothing of tables.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from headstart.errors import DataError

_CHUNK_BYTES = 1 << 20
# A line is held whole. One of more characters than this is no line of a table or of JSON.
MAX_LINE = 1 << 26
# What `surrogateescape` makes of bytes that are no UTF-8, and what those are in Windows-1252: a
# superset of Latin-1, and what web browsers take Latin-1 for (WHATWG Encoding Standard, 4.2).
_ESCAPED = re.compile("[\udc80-\udcff]")
_AS_WINDOWS = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(128, 256)}
_SIGNATURES = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decoded(file: BinaryIO, name: str, notes: list[str]) -> Iterator[str]:
    """The text of a file, piece by piece, without any byte order mark.

    Bytes that are no UTF-8 decide where they first occur: where they outnumber what is good UTF-8
    beyond ASCII, the file is Windows-1252 from there on; else it is damaged, and they alone are
    read as that.

    Args:
        file: At its beginning.
        name: What to call it in notes.
        notes: Is told when it is not UTF-8.
    """
    chunk = file.read(_CHUNK_BYTES)
    encoding = _by_first_bytes(chunk)
    if encoding is not None:
        notes.append(f"{name} was read as {encoding[:6].upper()}.")
        yield from _without_mark(_decoded_as(encoding, chunk, file))
    else:
        yield from _without_mark(_as_utf8_at_first(chunk, file, name, notes))


def decode(data: bytes, name: str, notes: list[str]) -> str:
    """All of a small file as text; see `decoded`."""
    return "".join(decoded(io.BytesIO(data), name, notes))


def lines(texts: Iterable[str], name: str) -> Iterator[str]:
    """Lines with their ends, which may be `\\n`, `\\r\\n` and `\\r` in one file.

    Other characters at which `str.splitlines` would cut, such as U+2028, stay in their line.

    Raises:
        DataError: A line is longer than MAX_LINE.
    """
    parts: list[str] = []
    length = 0
    held = ""  # a `\r` at the end of a piece, which may be half of a `\r\n`
    for text in texts:
        text = held + text
        held = "\r" if text.endswith("\r") else ""
        for line in io.StringIO(text.removesuffix("\r") if held else text, newline=""):
            if line[-1] in "\r\n":
                yield "".join((*parts, line)) if parts else line
                parts, length = [], 0
            else:
                parts.append(line)
                length += len(line)
        if length > MAX_LINE:
            raise DataError(
                f"`{name}` has a line of more than {MAX_LINE:,} characters. Lines that end with "
                "a line break are needed: check that it is the right file."
            )
    if parts or held:
        yield "".join((*parts, held))


def _by_first_bytes(start: bytes) -> str | None:
    """`utf-16` or `utf-32` by its mark, or by the zero bytes that Latin letters have there."""
    for mark, encoding in _SIGNATURES:
        if start.startswith(mark):
            return encoding
    even, odd = start[0:4096:2], start[1:4096:2]
    if len(odd) > 1 and max(even.count(0), odd.count(0)) > 0.4 * len(odd):
        if even.count(0) < 0.05 * len(even):
            return "utf-16-le"
        if odd.count(0) < 0.05 * len(odd):
            return "utf-16-be"
    return None


def _decoded_as(encoding: str, chunk: bytes, file: BinaryIO) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    while chunk:
        yield decoder.decode(chunk)
        chunk = file.read(_CHUNK_BYTES)
    yield decoder.decode(b"", final=True)


def _as_utf8_at_first(chunk: bytes, file: BinaryIO, name: str, notes: list[str]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    is_proven, num_damaged = False, 0  # proven: there was UTF-8 beyond ASCII
    while True:
        begun = decoder.getstate()[0]  # bytes of a character that the last chunk cut
        text = decoder.decode(chunk, final=not chunk)
        num_bad = 0 if text.isascii() else len(_ESCAPED.findall(text))
        if num_bad:
            num_good = sum(not c.isascii() for c in text) - num_bad if not is_proven else 0
            if not is_proven and num_bad > num_good:
                notes.append(f"{name} is not UTF-8 and was read as Windows-1252 (Latin-1).")
                yield (begun + chunk).decode("cp1252", "replace")
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk.decode("cp1252", "replace")
                return
            num_damaged += num_bad
            text = text.translate(_AS_WINDOWS)
        is_proven = is_proven or not text.isascii()
        yield text
        if not chunk:
            break
        chunk = file.read(_CHUNK_BYTES)
    if num_damaged:
        notes.append(
            f"{name} is UTF-8 but for {num_damaged:,} of its bytes, which were read as "
            "Windows-1252 (Latin-1)."
        )


def _without_mark(texts: Iterator[str]) -> Iterator[str]:
    first = next(texts, "")
    yield first.removeprefix("\ufeff")
    yield from texts
