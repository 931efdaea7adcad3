from __future__ import annotations

import io

import pytest

from headstart.data import decoding
from headstart.data.decoding import decode, decoded, lines
from headstart.errors import DataError

TEXT = "naïve – größer, 日本語 🙂\n" * 50


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        *(("utf-8", ""), ("utf-8-sig", ""), ("utf-16", "UTF-16"), ("utf-32", "UTF-32")),
    ],
)
def test_unicode_is_read_whatever_its_form_and_however_it_is_cut(
    encoding: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 2, 3, 7, 1 << 20):
        monkeypatch.setattr(decoding, "_CHUNK_BYTES", max(size, 4))
        notes: list[str] = []
        assert decode(TEXT.encode(encoding), "a.csv", notes) == TEXT
        assert told in " ".join(notes)
        assert bool(notes) == bool(told)


def test_utf16_without_a_mark_is_told_by_its_zero_bytes() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        notes: list[str] = []
        assert decode("plain words\n".encode(encoding), "a.csv", notes) == "plain words\n"
        assert notes == ["a.csv was read as UTF-16."]


def test_windows_1252_is_read_with_its_quotes_and_euros(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "plain ascii first\n" * 9 + "“café” 5 € über\n" * 9
    for size in (5, 1 << 20):
        monkeypatch.setattr(decoding, "_CHUNK_BYTES", size)
        notes: list[str] = []
        assert decode(text.encode("cp1252"), "a.csv", notes) == text
        assert notes == ["a.csv is not UTF-8 and was read as Windows-1252 (Latin-1)."]


def test_a_few_bad_bytes_in_utf8_do_not_spoil_the_rest() -> None:
    notes: list[str] = []
    data = ("größer 日本\n" * 9).encode() + "café\n".encode("cp1252") + "größer\n".encode()
    assert decode(data, "a.csv", notes) == "größer 日本\n" * 9 + "café\n" + "größer\n"
    assert notes == [
        "a.csv is UTF-8 but for 1 of its bytes, which were read as Windows-1252 (Latin-1)."
    ]


def test_lines_end_where_they_end_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "unix\nwindows\r\nmac\rone\u2028line\x0bstill\n\nlast"
    expected = ["unix\n", "windows\r\n", "mac\r", "one\u2028line\x0bstill\n", "\n", "last"]
    for size in (4, 5, 6, 1 << 20):
        monkeypatch.setattr(decoding, "_CHUNK_BYTES", size)
        assert list(lines(decoded(io.BytesIO(text.encode()), "a", []), "a")) == expected
    assert list(lines(iter(["a\r", "\nb\r"]), "a")) == ["a\r\n", "b\r"]


def test_a_line_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_LINE", 100)
    with pytest.raises(DataError, match="a line of more than 100 characters"):
        list(lines(iter(["x" * 60, "y" * 60]), "a.csv"))
