"""A proxy on the loopback interface that impersonates github.com and gitlab.com with its own CA.

A node uses it through `https_proxy`. It answers CONNECT and then speaks TLS as the requested site
(RFC 9110, section 9.3.6).
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from k3os.system.run import run
from tests.serving import serving

SITES = ("github.com", "gitlab.com")


class Forge:
    """port: of the proxy; ca: its certificate (PEM); pages: "site/path" -> text; seen: requests."""

    def __init__(self, directory: Path) -> None:
        self.pages: dict[str, str] = {}
        self.seen: list[str] = []
        self.port = 0
        key, certificate = directory / "key.pem", directory / "certificate.pem"
        names = ",".join(f"DNS:{site}" for site in SITES)
        run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"]
            + ["-subj", "/CN=forge.test", "-addext", f"subjectAltName={names}"]
            + ["-keyout", str(key), "-out", str(certificate)]
        )
        self.ca = certificate.read_text()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)


class Handler(BaseHTTPRequestHandler):
    site = ""

    def do_CONNECT(self) -> None:
        forge: Forge = self.server.forge  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.site = self.path.partition(":")[0]
        outer = self.rfile, self.wfile
        with forge.tls.wrap_socket(self.connection, server_side=True) as secured:
            with secured.makefile("rb") as self.rfile, secured.makefile("wb", 0) as self.wfile:
                self.handle_one_request()
        self.rfile, self.wfile = outer
        self.close_connection = True

    def do_GET(self) -> None:
        forge: Forge = self.server.forge  # type: ignore[attr-defined]
        name = self.site + self.path
        forge.seen.append(name)
        page = forge.pages.get(name)
        body = (page or "not here\n").encode()
        self.send_response(200 if page is not None else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet: tests look at `seen`."""


@contextmanager
def forge(directory: Path) -> Iterator[Forge]:
    """Serve until the block is left."""
    found = Forge(directory)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.forge = found  # type: ignore[attr-defined]
    found.port = server.server_port
    with serving(server):
        yield found
