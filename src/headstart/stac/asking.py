"""Asking a catalogue over HTTP: bounded in time, size and retries, and clear about what failed.

The sign-in goes only to the hosts it belongs to, also after a redirect. Knows nothing of items.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import requests
from pystac.link import Link
from pystac_client.stac_api_io import StacApiIO
from requests import PreparedRequest, Response, Session

from headstart.errors import DataError
from headstart.stac.sign_in import SignIn, is_remote, shown

# Three attempts in all: a passing fault is over by then, and a real one is told within seconds.
WAITS_S = (0.5, 2.0)
# To connect, and between two pieces of an answer.
TIMEOUT_S = (10.0, 30.0)
# A whole answer. A page of 100 items is 1 to 5 MB; beyond this it is no page of a catalogue.
DEADLINE_S = 120.0
MOST_BYTES = 200_000_000
# RFC 9110: these may be gone the next time one asks.
_PASSING = (429, 500, 502, 503, 504)
_LONGEST_WAIT_S = 20.0


class CatalogueError(DataError):
    """A catalogue did not answer, or not as a STAC catalogue does."""


class HostBoundSession(Session):
    """Sends the sign-in only where it belongs, also after a redirect."""

    def __init__(self, sign_in: SignIn) -> None:
        super().__init__()
        self.sign_in = sign_in
        self.max_redirects = 5

    def rebuild_auth(self, prepared_request: PreparedRequest, response: Response) -> None:
        """Called by `requests` before it follows a redirect."""
        super().rebuild_auth(prepared_request, response)
        for name in list(prepared_request.headers):
            if str(name).lower() in self.sign_in.names:
                del prepared_request.headers[name]
        prepared_request.headers.update(self.sign_in.headers_for(prepared_request.url or ""))


class CatalogueIO(StacApiIO):
    """How pystac and pystac-client read: over a session of ours, or from local files.

    Attributes:
        is_remote: Whether the catalogue is on the web; then no local file is ever read for it.
        is_api: Whether it turned out to be a STAC API, which can search by itself.
    """

    def __init__(self, catalogue: str, sign_in: SignIn) -> None:
        super().__init__()
        self.is_remote = is_remote(catalogue)
        self.is_api = False
        self.sign_in = sign_in
        self.session = HostBoundSession(sign_in)

    def read_object(self, href: str) -> dict[str, Any]:
        """The JSON object at a web address or in a file.

        Raises:
            CatalogueError: There is none.
        """
        return _as_object(self.read_text(href), href)

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Read what a link or an address points to."""
        if isinstance(source, Link) or is_remote(str(source)):
            return super().read_text(source, *args, **kwargs)
        if self.is_remote:
            raise CatalogueError(
                f"The catalogue points to `{source}`, a file on this machine. A catalogue on the "
                "web has no business there: tell its publisher."
            )
        try:
            return Path(str(source)).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise CatalogueError(
                f"There is no file `{source}`. Give the web address or the file of a catalogue: "
                "its landing page, catalog.json, or what `headstart stac search --save` wrote."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise CatalogueError(
                f"`{source}` cannot be read ({error}). Give the JSON file of a catalogue."
            ) from None

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Ask a server; called by pystac-client for pages and by pystac for documents.

        Raises:
            CatalogueError: It refused, did not answer in time, or answered something else.
        """
        method = (method or "GET").upper()
        sends = {"json": parameters} if method == "POST" else {"params": parameters or {}}
        asked = {**(headers or {}), **self.sign_in.headers_for(href)}
        request = requests.Request(method, href, headers=asked, **sends)
        for wait_s in (*WAITS_S, None):
            error: CatalogueError | _Passing
            try:
                return self._ask_once(request)
            except _Passing as passing:
                error = passing
            if wait_s is None:
                break
            time.sleep(min(max(wait_s, error.wait_s), _LONGEST_WAIT_S))
        raise CatalogueError(
            f"{shown(href)} {error}, {len(WAITS_S) + 1} times. Try again later; if it stays so, "
            "ask the catalogue's publisher."
        )

    def _ask_once(self, request: requests.Request) -> str:
        url = str(request.url)
        try:
            prepared = self.session.prepare_request(request)
            settings = self.session.merge_environment_settings(
                str(prepared.url), proxies={}, stream=True, verify=True, cert=None
            )
            with self.session.send(prepared, timeout=TIMEOUT_S, **settings) as response:
                _refuse_faults(response, self.sign_in)
                text = _read_bounded(response).decode("utf-8", errors="replace")
                _as_object(text, url, content_type=response.headers.get("Content-Type", ""))
        except requests.Timeout:
            raise _Passing(f"did not answer within {TIMEOUT_S[1]:g} s") from None
        except (
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
        ):
            raise _Passing("broke off in the middle of its answer") from None
        except requests.ConnectionError as error:
            raise _Passing(f"could not be reached ({reason(error)})") from None
        except (requests.RequestException, ValueError) as error:
            raise CatalogueError(
                f"`{shown(url)}` cannot be asked ({reason(error)}). Check the address."
            ) from None
        return text


class _Passing(Exception):  # noqa: N818 - it may be over the next time
    """A fault that may be gone when asked again."""

    def __init__(self, message: str, *, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def _refuse_faults(response: Response, sign_in: SignIn) -> None:
    status, url = response.status_code, shown(response.url)
    if 200 <= status < 300:
        return
    if status in _PASSING:
        try:
            wait_s = float(response.headers.get("Retry-After", 0))
        except ValueError:  # a date: our own waits will do
            wait_s = 0.0
        raise _Passing(f"answered with status {status}", wait_s=wait_s)
    if status in (401, 403, 407):
        was_sent = bool(sign_in.headers_for(response.url))
        raise CatalogueError(
            f"{url} refused with status {status}, and the sign-in was "
            + ("sent: check it. " if was_sent else "not sent there. ")
            + "Set HEADSTART_STAC_TOKEN to a token, or HEADSTART_STAC_HEADERS to "
            '"Name: value"; both go to the catalogue\'s own host alone.'
        )
    if status == 404:
        raise CatalogueError(
            f"There is nothing at {url} (status 404). Check the address and the names in it: a "
            "catalogue is given by its landing page or its catalog.json."
        )
    said = " ".join(response.text[:300].split())
    raise CatalogueError(
        f"{url} answered with status {status}: {said or 'nothing more'}. Check what was asked; a "
        "filter that the server does not understand may be left out."
    )


def _read_bounded(response: Response) -> bytes:
    """The body, unless it is endless or drips."""
    started, pieces, size = time.monotonic(), [], 0
    for piece in response.iter_content(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise CatalogueError(
                f"{shown(response.url)} sent more than {MOST_BYTES / 1e6:.0f} MB, which is no page "
                "of a catalogue. Check the address."
            )
        if time.monotonic() - started > DEADLINE_S:
            raise _Passing(f"had not finished its answer after {DEADLINE_S:g} s")
    return b"".join(pieces)


def _as_object(text: str, href: str, *, content_type: str = "") -> dict[str, Any]:
    """The JSON object in an answer.

    Raises:
        CatalogueError: It is something else.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        looks_json = text.lstrip()[:1] in ("{", "[")
        what = f"broken JSON ({error})" if looks_json else f"`{' '.join(text[:60].split())}`"
        kind = f", of type {content_type}" if content_type else ""
        raise CatalogueError(
            f"{shown(href)} answered {what}{kind}, where a catalogue answers JSON. Check the "
            "address; a login page, a proxy or a browser page of the catalogue may be in between."
        ) from None
    if not isinstance(values, dict):
        raise CatalogueError(
            f"{shown(href)} holds JSON, but no object, so it is no catalogue, collection or item. "
            "Check the address."
        )
    return values


def reason(error: Exception) -> str:
    """The innermost reason, without the address: it may hold a signature."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    inner = getattr(inner, "reason", None) or inner
    text = str(inner)
    return text.rpartition(": ")[2] if isinstance(inner, Exception) else text
