"""A small file server on loopback that knows byte ranges, for tests; faults can be switched on."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self

Fault = Literal[
    "none",
    "missing",  # 404
    "broken",  # 500 on everything
    "broken-once",  # 500 on the first request of each file
    "forbidden",  # 403 without the right header
    "login-page",  # 200 with a page
    "no-ranges",  # 200 with the whole file, whatever is asked
    "no-ranges-no-size",  # the same, without telling how long it is
    "cuts",  # ranges beyond the header of a file break off halfway
    "cuts-once",  # the first of them does
    "truncated",  # half of what was promised
    "hangs-later",  # says nothing when more than the header of a file is asked for
    "hangs",  # accepts the connection and says nothing
]


class RangeServer:
    """Serves files from memory while the `with` block lasts.

    Attributes:
        faults: path -> what goes wrong with it.
        redirects: path -> address.
        answers: path -> what makes JSON of the query.
        requests: (path, range header) of what was asked.
        num_bytes: How much was sent, bodies alone.
        headers: (path, headers) as they came.
    """

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, str]] = {}
        self.faults: dict[str, Fault] = {}
        self.redirects: dict[str, str] = {}
        self.answers: dict[str, Callable[[str], bytes]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.headers: list[tuple[str, dict[str, str]]] = []
        self.num_bytes = 0
        self.failed_once: set[str] = set()
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, path: str, content: bytes, *, kind: str = "image/tiff") -> str:
        self.files[path] = (content, kind)
        return self.url + path

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - two selves here
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                if path in server.answers:
                    server.files[path] = (server.answers[path](query), "application/json")
                server.requests.append((path, self.headers.get("Range")))
                server.headers.append((path, dict(self.headers)))
                fault = server.faults.get(path, "none")
                if path in server.redirects:
                    self.send(302, b"", {"Location": server.redirects[path]})
                elif fault == "hangs":
                    server.released.wait(30)
                    self.close_connection = True
                elif fault == "broken":
                    self.send(500, b"", {})
                elif fault == "broken-once" and path not in server.failed_once:
                    server.failed_once.add(path)
                    self.send(500, b"", {})
                elif fault == "login-page":
                    self.send(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})
                elif fault == "forbidden" and self.headers.get("X-Key") != "sesame":
                    self.send(403, b"", {})
                elif fault == "missing" or path not in server.files:
                    self.send(404, b"<html>Not found</html>", {"Content-Type": "text/html"})
                else:
                    self.serve(path, fault)

            def serve(self, path: str, fault: Fault) -> None:
                content, kind = server.files[path]
                headers = {"Content-Type": kind}
                wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if fault == "truncated":
                    self.send(200, content, headers, is_cut=True)
                    return
                if wanted is None or fault.startswith("no-ranges"):
                    self.send(200, content, headers, has_size=fault != "no-ranges-no-size")
                    return
                start, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
                last = min(last, len(content) - 1)
                if start > last:
                    self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                    return
                headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
                if fault == "hangs-later" and start > 0:
                    server.released.wait(30)
                    self.close_connection = True
                    return
                is_first = path not in server.failed_once
                is_cut = fault == "cuts" or (fault == "cuts-once" and is_first)
                if is_cut and start > 0:
                    server.failed_once.add(path)
                    self.send(206, content[start : last + 1], headers, is_cut=True)
                    return
                self.send(206, content[start : last + 1], headers)

            def send(
                self,
                status: int,
                content: bytes,
                headers: dict[str, str],
                *,
                has_size: bool = True,
                is_cut: bool = False,
            ) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if has_size:
                    self.send_header("Content-Length", str(len(content)))
                else:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                if is_cut:
                    content = content[: len(content) // 2]
                    self.close_connection = True
                if self.command == "HEAD":
                    return
                try:
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    return  # the other side has seen enough
                server.num_bytes += len(content)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on the console."""

        return Handler
