"""A channel is a redirect to a release, or a text file with its version."""

import asyncio
import gzip
import resource
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from k3os.errors import UserError
from k3os.operator import channels
from tests.serving import serving

ANSWERS = {
    "/redirect": (302, "https://example.com/releases/tag/v1.33.1%2Bk3s1", b""),
    "/text": (200, "", b"v1.2.0\nmore\n"),
    "/page": (200, "", b"<html>"),
    "/none": (404, "", b"v1.2.0"),
    "/evil": (302, "https://example.com/../..", b""),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code, location, body = ANSWERS[self.path]
        self.send_response(code)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at what comes back."""


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(("path", "version"), [("/redirect", "v1.33.1+k3s1"), ("/text", "v1.2.0")])
def test_the_version_is_found(url, path: str, version: str) -> None:
    assert asyncio.run(channels.look_up(url + path)) == version


@pytest.mark.parametrize("path", ["/page", "/none", "/evil"])
def test_an_answer_without_a_version_is_an_error_that_names_the_address(url, path: str) -> None:
    with pytest.raises(UserError) as found:
        asyncio.run(channels.look_up(url + path))
    assert url + path in str(found.value)


def test_nobody_there_is_an_error_that_names_the_address() -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/stable"):
        asyncio.run(channels.look_up("http://127.0.0.1:9/stable"))


@pytest.mark.parametrize(
    ("name", "component", "wanted"),
    [
        ("k3s", {"channel": "stable"}, f"{channels.K3S_CHANNELS}/stable"),
        ("k3s", {"channel": "v1.33", "url": "http://m/"}, "http://m/channels/v1.33"),
        ("k3os", {"channel": "stable", "url": "http://r"}, "http://r/channels/stable"),
        ("k3os", {"channel": "http://x/y", "url": "http://r"}, "http://x/y"),
    ],
)
def test_a_channel_is_looked_up_where_its_releases_are(name, component, wanted) -> None:
    assert channels.address(name, component) == wanted


class Endless(BaseHTTPRequestHandler):
    """Endless answers: a lot at once, a compressed flood, or a byte now and then."""

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/bomb":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        part = {"/bomb": gzip.compress(bytes(100 << 20)), "/flood": bytes(1 << 16)}
        try:
            while True:
                self.wfile.write(part.get(self.path, b"\n"))
                if self.path == "/drip":
                    time.sleep(0.05)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at what comes back."""


@pytest.mark.parametrize("path", ["/bomb", "/flood", "/drip"])
def test_an_answer_without_an_end_costs_no_memory_and_no_time(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(channels, "DEADLINE", 1.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    server.daemon_threads = True
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving(server):
        address = f"http://127.0.0.1:{server.server_port}{path}"
        with pytest.raises(UserError, match=r"names no version|no whole answer"):
            asyncio.run(channels.look_up(address))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150 << 10, "kB; the server's own part is 100 MiB once"


def test_a_redirect_to_nowhere_is_an_answer_without_a_version() -> None:
    class Nowhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the test looks at what comes back."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Nowhere)
    with serving(server), pytest.raises(UserError, match="names no version"):
        asyncio.run(channels.look_up(f"http://127.0.0.1:{server.server_port}/"))
