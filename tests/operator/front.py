"""The API server as a pod sees it: https at an address, and not always up.

A relay in front of the emulator, with its own certificate. While it is not up, it behaves like a
starting k3s: it refuses connections, hangs up, or says that it is not ready.
"""

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.api_server import certificate

UP, HANGS_UP, NOT_READY = "up", "hangs up", "not ready"
ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n"
    b"Connection: close\r\n\r\napiserver not ready\n"
)


class Front:
    """state: what it does with a connection. asked: number of connections so far."""

    def __init__(self, directory: Path, host: str, behind: int) -> None:
        self.host, self.behind = host, behind
        self.state, self.asked = UP, 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.bind((host, 0))
        self.port = self._socket.getsockname()[1]
        addresses = "IP:127.0.0.1,IP:::1"
        certificate(directory, "server", "/CN=k3s", addresses)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(directory / "server.crt", directory / "server.key")

    def open(self) -> None:
        """Accept connections, which were refused until now."""
        self._socket.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as client:
                if self.state != UP:
                    client.recv(1 << 16)
                    client.sendall(ANSWER if self.state == NOT_READY else b"")
                    return
                with socket.create_connection(("127.0.0.1", self.behind)) as server:
                    _relay(client, server)
        except OSError:
            plain.close()


def _relay(client: ssl.SSLSocket, server: socket.socket) -> None:
    while True:
        ready = [client] if client.pending() else select.select([client, server], [], [])[0]
        for source, target in ((client, server), (server, client)):
            if source in ready:
                data = source.recv(1 << 16)
                if not data:
                    return
                target.sendall(data)


@contextmanager
def fronted(directory: Path, host: str, behind: int) -> Iterator[Front]:
    front = Front(directory, host, behind)
    try:
        yield front
    finally:
        front.close()
