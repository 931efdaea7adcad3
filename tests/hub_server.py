"""A small hub on loopback that speaks the protocol of the Hugging Face hub, for tests.

It answers `HEAD` and `GET /ORG/REPO/resolve/REVISION/PATH` with the headers that the hub's client
reads (commit, etag, size), byte ranges, redirects to another address for large files, and the error
codes of the hub. Faults can be switched on by setting `fault`.
"""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self

Fault = Literal[
    "none",
    "needs-login",  # 401, as for private and for missing repositories
    "gated",  # 403, terms not accepted
    "broken",  # 500 on everything
    "login-page",  # 200 with a page that is no hub's: a captive portal
    "hangs",  # accepts the connection and says nothing
    "cuts-once",  # breaks off the first download halfway, serves ranges after
    "changed-size",  # announces one byte more than it sends
]
COMMIT = "c0ffee" + "0" * 34


class HubServer:
    """Serves files from memory while the `with` block lasts.

    Attributes:
        fault: What goes wrong now.
        requests: What was asked, such as `HEAD /org/repo/resolve/main/config.json`.
        tokens: The authorization headers that came with the requests.
    """

    def __init__(self) -> None:
        self.fault: Fault = "none"
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        self.files: dict[tuple[str, str], bytes] = {}
        self.was_cut = False
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, repository: str, path: str, content: bytes) -> None:
        self.files[repository, path] = content

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.released.set()  # lets hanging answers end
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - two selves here
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def answer(self, *, with_body: bool) -> None:
                hub.requests.append(f"{self.command} {self.path}")
                hub.tokens.append(self.headers.get("Authorization"))
                if hub.fault == "hangs":
                    hub.released.wait(30)
                    self.close_connection = True
                    return
                if hub.fault == "broken":
                    self.refuse(500, "")
                elif hub.fault == "needs-login":
                    self.refuse(401, "")
                elif hub.fault == "gated":
                    self.refuse(403, "GatedRepo")
                elif hub.fault == "login-page":
                    self.send(200, b"<html>Please log in</html>", {}, with_body=with_body)
                else:
                    self.serve(with_body=with_body)

            def serve(self, *, with_body: bool) -> None:
                match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
                if match is None or match[1] not in {r for r, _ in hub.files}:
                    self.refuse(404, "RepoNotFound")
                elif match[2] not in ("main", COMMIT):
                    self.refuse(404, "RevisionNotFound")
                elif (match[1], match[3]) not in hub.files:
                    self.refuse(404, "EntryNotFound")
                else:
                    self.serve_file(hub.files[match[1], match[3]], with_body=with_body)

            def serve_file(self, content: bytes, *, with_body: bool) -> None:
                headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
                headers["X-Repo-Commit"] = COMMIT
                headers["Accept-Ranges"] = "bytes"
                headers["X-Linked-Size"] = str(len(content) + (hub.fault == "changed-size"))
                status = 200
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                if wanted and with_body:
                    start = int(wanted[1])
                    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                    status, content = 206, content[start:]
                self.send(status, content, headers, with_body=with_body)

            def send(
                self, status: int, content: bytes, headers: dict[str, str], *, with_body: bool
            ) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if not with_body:
                    return
                if hub.fault == "cuts-once" and not hub.was_cut and len(content) > 1000:
                    hub.was_cut = True
                    self.wfile.write(content[: len(content) // 2])
                    self.close_connection = True
                    return
                self.wfile.write(content)

            def refuse(self, status: int, code: str) -> None:
                self.send_response(status)
                if code:
                    self.send_header("X-Error-Code", code)
                if code in ("EntryNotFound", "RevisionNotFound"):
                    self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on the console."""

        return Handler
