"""One time limit for a whole request: connecting, TLS, headers, redirects, body, retries.

A socket's timeout counts from byte to byte: a server that sends one now and then is never late. So
a thread shuts the connections down when the time is over. A name lookup is not cut short: the C
library gives up after `timeout` and `attempts` of resolv.conf(5).
"""

from __future__ import annotations

import socket
import time

from k3os.system.http_failure import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Timer

    Connect = Callable[..., socket.socket]


class Deadline:
    """A context manager; seconds: for everything, from now on. `until`: on monotonic(3)'s clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.until = time.monotonic() + seconds
        self._connections: list[socket.socket] = []
        self._timer: Timer | None = None

    def __enter__(self) -> Deadline:
        import threading

        self._timer = threading.Timer(self.left(), self._end)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        self._forget()

    def left(self) -> float:
        """Seconds; 0 when the time is over."""
        return max(0.0, self.until - time.monotonic())

    def check(self, address: str) -> None:
        """Raise HttpError when the time is over."""
        if not self.left():
            raise HttpError(
                f"the server is too slow: not over after {self.seconds:g} s",
                "try again, or another server",
                address,
            )

    def connect(
        self, address: tuple[str, int], timeout: float | None = None, *more: object
    ) -> socket.socket:
        """Like socket.create_connection, with the time limit for all addresses together.

        more: the source address, which no caller gives.
        """
        failure: OSError = TimeoutError("timed out")
        host, port = address
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, place in addresses:
            left = self.left()
            if not left:
                break
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(left if timeout is None else min(timeout, left))
                connection.connect(place)
            except OSError as error:
                connection.close()
                failure = error
                continue
            connection.settimeout(timeout)
            return self.watch(connection)
        raise failure

    def watched(self, connect: Connect) -> Connect:
        """The same connect function, with connections that end with the time."""
        return lambda *arguments, **options: self.watch(connect(*arguments, **options))

    def watch(self, connection: socket.socket) -> socket.socket:
        self._forget()  # after a redirect: only one connection is in use at a time
        # our own descriptor: TLS takes the original away from the object
        self._connections.append(connection.dup())
        if not self.left():
            self._end()
        return connection

    def _end(self) -> None:
        for each in list(self._connections):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the server was faster

    def _forget(self) -> None:
        while self._connections:
            self._connections.pop().close()
