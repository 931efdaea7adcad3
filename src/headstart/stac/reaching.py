"""Whether an asset is there, of what kind it is, and whether it can be read by window.

GDAL, which reads the windows, says little of use when it fails, so each address is asked once by
ourselves first. Opens no raster.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from headstart.errors import DataError
from headstart.stac import asking
from headstart.stac.sign_in import SignIn, is_remote, shown

# How a file that is read by window begins, and the one driver that may open it: GDAL also knows
# formats that point elsewhere, and would follow a VRT to local files. TIFF 6.0 and BigTIFF, in both
# orders of bytes; JPEG 2000 (ISO 15444-1, annexes I and A).
_DRIVERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}
# A file from a server without ranges is fetched whole up to this; beyond it the user is told.
_MOST_WHOLE_BYTES = 100_000_000


class AssetError(DataError):
    """An asset cannot be reached, or is not what its item says."""


@dataclass(frozen=True)
class Source:
    """A raster that has answered.

    Attributes:
        path: What GDAL opens.
        headers: The sign-in that goes with each request.
        name: As it is told to the user.
        driver: Of GDAL, the only one that may open it.
    """

    path: str
    headers: Mapping[str, str]
    name: str
    driver: str


@contextmanager
def reach(href: str, sign_in: SignIn, *, session: requests.Session) -> Iterator[Source]:
    """A raster at an address, after it was asked whether it is there and of what kind.

    Args:
        href: A web address, or a file.
        sign_in: Sent only where it belongs.
        session: To ask with.

    Yields:
        What to open. A file of a server without ranges is fetched whole, and removed afterwards.

    Raises:
        AssetError: It is not there, refused, too large to fetch whole, or no raster.
    """
    if not is_remote(href):
        if "://" in href or href.startswith("/vsi"):
            raise AssetError(
                f"`{href}` is neither a web address nor a file. Choose a catalogue whose assets "
                "have https:// addresses; many offer these as alternates to s3:// or gs://."
            )
        if not Path(href).is_file():
            raise AssetError(f"There is no file `{href}`, which the item names. Fetch it first.")
        with Path(href).open("rb") as file:
            yield Source(href, {}, href, _driver(file.read(16), "", href))
        return
    answer = _probe(href, sign_in, session)
    if answer.has_ranges:
        headers = sign_in.headers_for(answer.href)
        yield Source(f"/vsicurl/{answer.href}", headers, shown(href), answer.driver)
        return
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        path = Path(folder) / "whole.tif"
        _fetch_whole(answer, path, session=session, sign_in=sign_in)
        yield Source(str(path), {}, shown(href), answer.driver)


@dataclass(frozen=True)
class _Answer:
    """What a server said when the first bytes of a file were asked for.

    Attributes:
        href: Where the address led to.
        driver: Of GDAL, by those bytes.
        has_ranges: Whether it sent these bytes alone.
        num_bytes: Of the whole file, where it does not; 0 when it does not tell.
    """

    href: str
    driver: str
    has_ranges: bool
    num_bytes: int


def _probe(href: str, sign_in: SignIn, session: requests.Session) -> _Answer:
    """Ask for the first bytes of a file."""
    headers = {**sign_in.headers_for(href), "Range": "bytes=0-15", "Accept-Encoding": "identity"}
    problem = ""
    for wait_s in (*asking.WAITS_S, None):
        try:
            with session.get(
                href, headers=headers, stream=True, timeout=asking.TIMEOUT_S
            ) as response:
                if response.status_code in (200, 206):
                    kind = response.headers.get("Content-Type", "")
                    size = response.headers.get("Content-Length", "")
                    return _Answer(
                        href=response.url,
                        driver=_driver(response.raw.read(16), kind, href),
                        has_ranges=response.status_code == 206,
                        num_bytes=int(size) if size.isdigit() else 0,
                    )
                _refuse(response.status_code, href, sign_in)
                problem = f"answered with status {response.status_code}"
        except requests.Timeout:
            problem = f"did not answer within {asking.TIMEOUT_S[1]:g} s"
        except (requests.RequestException, HTTPError) as error:
            problem = f"could not be reached ({asking.reason(error)})"
        if wait_s is not None:
            time.sleep(wait_s)
    raise AssetError(
        f"{shown(href)} {problem}, {len(asking.WAITS_S) + 1} times. Try again later; what was "
        "fetched is kept."
    )


def _refuse(status: int, href: str, sign_in: SignIn) -> None:
    """Complains about what asking again would not change."""
    if status in (401, 403, 407):
        was_sent = bool(sign_in.headers_for(href))
        host = href.split("/")[2]
        raise AssetError(
            f"{shown(href)} refused with status {status}, and a sign-in was "
            + ("sent: check it." if was_sent else "not sent there.")
            + " The sign-in of the catalogue stays with the catalogue's host. Name this one with "
            f'HEADSTART_STAC_ASSET_HEADERS="{host} Name: value".'
        )
    if status in (404, 410):
        raise AssetError(
            f"There is nothing at {shown(href)} (status {status}), though the item names it. Leave "
            "the item out, or tell the catalogue's publisher."
        )
    if status not in (408, 429) and status < 500:
        raise AssetError(
            f"{shown(href)} answered with status {status} when its first bytes were asked for. "
            "Leave the item out, or tell the catalogue's publisher."
        )


def _driver(beginning: bytes, kind: str, href: str) -> str:
    """The driver for a file that begins with some bytes."""
    for magic, driver in _DRIVERS.items():
        if beginning.startswith(magic):
            return driver
    what = repr(beginning)[2:-1] or "nothing"
    sent = f"it is sent as {kind} and " if kind else "it "
    raise AssetError(
        f"{shown(href)} is no GeoTIFF or JPEG 2000: {sent}begins with `{what}`. If that is a login "
        "page, name its host in HEADSTART_STAC_ASSET_HEADERS; or else leave the item out."
    )


def _fetch_whole(
    answer: _Answer, path: Path, *, session: requests.Session, sign_in: SignIn
) -> None:
    size, name = answer.num_bytes, shown(answer.href)
    if not 0 < size <= _MOST_WHOLE_BYTES:
        told = f"all of its {size / 1e6:,.0f} MB" if size else "a file of a size it does not tell"
        raise AssetError(
            f"{name} cannot be read by window: its server ignores ranges and sends {told}. Fetch "
            "the file by other means, or choose a server that knows ranges."
        )
    done = 0
    headers = {**sign_in.headers_for(answer.href), "Accept-Encoding": "identity"}
    try:
        with (
            session.get(
                answer.href, headers=headers, stream=True, timeout=asking.TIMEOUT_S
            ) as response,
            path.open("wb") as file,
        ):
            for piece in response.iter_content(1 << 20):
                file.write(piece)
                done += len(piece)
                if done > size:
                    break
    except requests.RequestException as error:
        raise AssetError(
            f"{name} broke off after {done:,} of {size:,} bytes ({asking.reason(error)}). Run the "
            "same command again; what was fetched is kept."
        ) from None
    if done != size:
        raise AssetError(
            f"{name} sent {done:,} bytes, but promised {size:,}. Run the same command again; what "
            "was fetched is kept."
        )
