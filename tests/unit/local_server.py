"""A local HTTP server whose pages behave as told: correct, slow, cut off, redirected.

It acts as the k3s releases, a proxy, or any site, only on the loopback interface.
"""

from __future__ import annotations

import hashlib
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Page = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        site.requests.append((self.path, dict(self.headers)))
        page = site.pages.get(self.path) or site.pages.get("*")
        self.close_connection = True
        if page is None:
            self.answer(404, b"not here")
        else:
            page(self)

    def do_PUT(self) -> None:
        self.do_GET()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet: pytest shows the requests list where it matters."""


class Site:
    """pages: path -> its handler; requests: (path, headers) in order; stop: ends slow pages."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stop = threading.Event()

    def page(self, path: str, *pages: Page) -> str:
        """The first request gets the first page, and so on; the last page answers all further
        ones."""
        queue = list(pages)
        self.pages[path] = lambda handler: (queue.pop(0) if len(queue) > 1 else queue[0])(handler)
        return self.url + path

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet if a client hangs up in the middle of an answer, which some tests do on purpose."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def local_site(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site = Site(f"http{'s' * (tls is not None)}://127.0.0.1:{server.server_port}")
    server.site = site  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def content(body: bytes, *, etag: str = "", ranges: bool = True) -> Page:
    """A file, with ranges (RFC 9110)."""

    def page(handler: Handler) -> None:
        tags = {"ETag": etag} if etag else {}
        wanted = handler.headers.get("Range", "")
        changed = handler.headers.get("If-Range", etag) != etag
        if not ranges or not wanted or changed:
            handler.answer(200, body, **tags)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(body):
            handler.answer(416, Content_Range=f"bytes */{len(body)}")
        else:
            span = f"bytes {start}-{len(body) - 1}/{len(body)}"
            handler.answer(206, body[start:], Content_Range=span, **tags)

    return page


def cut_off(body: bytes, after: int, *, etag: str = "") -> Page:
    """Promises the whole body, sends a part, and closes."""
    tags = {"ETag": etag} if etag else {}
    return lambda handler: handler.answer(200, body[:after], length=str(len(body)), **tags)


def stalling(body: bytes, after: int, *, trickle: float = 0.0) -> Page:
    """Sends a part, then nothing (or a byte every `trickle` seconds)."""

    def page(handler: Handler) -> None:
        site: Site = handler.server.site  # type: ignore[attr-defined]
        handler.answer(200, body[:after], length=str(len(body)))
        while not site.stop.wait(trickle or 60):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    return page


def status(code: int, **headers: str) -> Page:
    return lambda handler: handler.answer(code, b"", **headers)


def moved(to: str) -> Page:
    return status(302, Location=to)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
