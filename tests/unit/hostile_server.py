"""A TCP server on the loopback interface that never stops sending."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

BLOCK = b"x" * 65536


class Hostile:
    """port; sent: bytes that clients accepted, in all connections."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.sent = 0
        self.stop = threading.Event()

    def serve(
        self,
        listener: socket.socket,
        talk: Callable[[], Iterable[bytes]],
        pause: float,
        listens_first: bool,
    ) -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if self.stop.is_set():
                    return
                connection.settimeout(0.2)
                try:
                    if listens_first:
                        connection.recv(65536)
                    self._send(connection, talk(), pause)
                except OSError:
                    continue  # the client hung up

    def _send(self, connection: socket.socket, pieces: Iterable[bytes], pause: float) -> None:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                try:
                    count = connection.send(rest)
                except TimeoutError:
                    if self.stop.is_set():
                        return
                    continue
                self.sent += count
                rest = rest[count:]
            if self.stop.wait(pause):
                return


@contextmanager
def hostile(
    head: bytes, again: bytes, *, pause: float = 0.0, listens_first: bool = True
) -> Iterator[Hostile]:
    """Send head, then `again` forever, with a pause in seconds after each.

    listens_first: read a request before answering, as in HTTP; in FTP the server talks first.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Hostile(listener)

        def talk() -> Iterable[bytes]:
            return itertools.chain([head], itertools.repeat(again))

        thread = threading.Thread(
            target=server.serve, args=(listener, talk, pause, listens_first), daemon=True
        )
        thread.start()
        try:
            yield server
        finally:
            server.stop.set()
            socket.create_connection(("127.0.0.1", server.port)).close()
            thread.join()
