"""Who may see the user's sign-in: the catalogue's own host, and hosts that the user has named.

Headers come from the environment, so that they stand in no shell history and no run folder. They
are never printed. Knows no protocol and sends nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from headstart.errors import ConfigError

TOKEN = "HEADSTART_STAC_TOKEN"
HEADERS = "HEADSTART_STAC_HEADERS"
ASSET_HEADERS = "HEADSTART_STAC_ASSET_HEADERS"
# Names and values of headers, RFC 9110 section 5: no separators in the one, no line end in the
# other, which would start a header of its own.
_HEADER = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*([^\r\n\0]*?)\s*")
_ASSET_HEADER = re.compile(r"\s*([A-Za-z0-9.-]+(?::\d+)?)\s+(\S.*)", re.DOTALL)
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class SignIn:
    """Headers, and where each may be sent.

    Attributes:
        catalogue: The origin of the catalogue; empty for a catalogue of local files.
        catalogue_headers: Sent to that origin alone.
        asset_headers: host (with its port, if it was named) -> headers sent to it.
    """

    catalogue: str = ""
    catalogue_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    asset_headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls, catalogue: str) -> SignIn:
        """The sign-in for a catalogue, as the environment has it.

        Raises:
            ConfigError: A variable cannot be read as headers; its value is not shown.
        """
        headers = _parse_headers(os.environ.get(HEADERS, ""), HEADERS)
        token = os.environ.get(TOKEN, "").strip()
        if token:
            if re.search(r"[\r\n\0]", token):
                raise ConfigError(f"{TOKEN} has a line end in it. Set it to the token alone.")
            headers["Authorization"] = f"Bearer {token}"
        own = origin(catalogue) if is_remote(catalogue) else ""
        return cls(own, headers, _parse_asset_headers(os.environ.get(ASSET_HEADERS, "")))

    def headers_for(self, url: str) -> dict[str, str]:
        """What may be sent to a URL; nothing for a host that nobody has named."""
        here = origin(url)
        if not here:
            return {}
        if here == self.catalogue:
            return dict(self.catalogue_headers)
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
        host = (parts.hostname or "").lower()
        named = self.asset_headers.get(f"{host}:{port}")
        if named is None and port == _PORTS.get(parts.scheme):
            named = self.asset_headers.get(host)
        return dict(named or {})

    @property
    def names(self) -> set[str]:
        """The names of all headers, in small letters."""
        each = [self.catalogue_headers, *self.asset_headers.values()]
        return {name.lower() for headers in each for name in headers}

    @property
    def caution(self) -> str | None:
        """What the user should know about how it is sent."""
        parts = urlsplit(self.catalogue)
        if self.catalogue_headers and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            return (
                f"The sign-in is sent to {self.catalogue} without encryption; whoever is in "
                "between can read it. Use https:// where the catalogue has it."
            )
        return None


def is_remote(reference: str) -> bool:
    """Whether it is a web address, not a file."""
    return reference.lower().startswith(("http://", "https://"))


def origin(url: str) -> str:
    """Scheme, host and port of a web address; empty for anything else.

    Example:
        >>> origin("https://Data.Example.org/a?b=c")
        'https://data.example.org:443'
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # no port at all, such as http://host:port/
        return ""
    if parts.scheme not in _PORTS or not parts.hostname:
        return ""
    return f"{parts.scheme}://{parts.hostname.lower()}:{port}"


def shown(url: str) -> str:
    """A web address as it may be printed and written: without user, password and signed query.

    Example:
        >>> shown("https://me:secret@example.org/a.tif?sig=123")
        'https://example.org/a.tif'
    """
    if not is_remote(url):
        return url
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _parse_headers(text: str, variable: str) -> dict[str, str]:
    headers = {}
    for entry in filter(str.strip, text.split(";")):
        match = _HEADER.fullmatch(entry)
        if match is None:
            raise ConfigError(
                f"{variable} has an entry that is no header (its value is not shown). Write it "
                'as "Name: value", several with `;` between them.'
            )
        headers[match[1]] = match[2]
    return headers


def _parse_asset_headers(text: str) -> dict[str, dict[str, str]]:
    by_host: dict[str, dict[str, str]] = {}
    for entry in filter(str.strip, text.split(";")):
        match = _ASSET_HEADER.fullmatch(entry)
        header = _HEADER.fullmatch(match[2]) if match is not None else None
        if match is None or header is None:
            raise ConfigError(
                f"{ASSET_HEADERS} has an entry without a host or a header (its value is not "
                "shown). A sign-in is sent only to hosts that are named: write it as "
                '"data.example.org Name: value", several with `;` between them.'
            )
        by_host.setdefault(match[1].lower(), {})[header[1]] = header[2]
    return by_host
