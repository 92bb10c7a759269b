"""Asking exactly one server: no proxy, no redirects, a time limit for the connection, and, if a
server wants proof that root asks, a source port below 1024 (ip(7)).

For services of the platform that the machine runs on; k3os.system.http does the rest.
"""

from __future__ import annotations

import socket

from k3os.system.http_failure import HttpError
from k3os.system.http_opener import connections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from k3os.system.deadline import Deadline

LOW_PORTS = range(1023, 599, -1)


class Direct:
    """connect_timeout: seconds; low_port: ask from a port below 1024; connected: called when the
    server has accepted a connection; headers: of its last good answer."""

    def __init__(
        self,
        connect_timeout: float,
        *,
        low_port: bool = False,
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        self.connect_timeout = connect_timeout
        self.low_port = low_port
        self.connected = connected
        self.headers: Any = {}

    def opener(self, deadline: Deadline) -> Any:
        """urllib's, with our connections, which end with the deadline."""
        import urllib.request

        owner = self

        class NoRedirects(urllib.request.HTTPRedirectHandler):
            def redirect_request(
                self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
            ) -> Any:
                fp.close()
                message = f"redirects to {newurl}, where nobody follows it"
                raise HttpError(message, where=req.full_url, status=code)

        class Headers(urllib.request.BaseHandler):
            def http_response(self, req: Any, response: Any) -> Any:
                owner.headers = response.headers
                return response

            https_response = http_response

        no_proxy = urllib.request.ProxyHandler({})
        ours = connections(deadline.watched(self.connect))
        return urllib.request.build_opener(no_proxy, NoRedirects(), Headers(), *ours)

    def connect(
        self, address: tuple[str, int], timeout: float | None = None, *_: object
    ) -> socket.socket:
        """A connected socket that then waits `timeout` for each read. Raises OSError."""
        connection = self._low() if self.low_port else None
        if connection is None:
            connection = socket.create_connection(address, self.connect_timeout)
        else:
            try:
                connection.settimeout(self.connect_timeout)
                connection.connect(address)
            except OSError:
                connection.close()
                raise
        connection.settimeout(timeout)
        self.connected()
        return connection

    def _low(self) -> socket.socket:
        """An IPv4 socket with a free low port. Raises OSError (not root, none free)."""
        for port in LOW_PORTS:
            connection = socket.socket()
            try:
                connection.bind(("", port))
            except OSError as error:
                connection.close()
                if isinstance(error, PermissionError):
                    message = "only root may ask from a port below 1024"
                    raise HttpError(message, "use sudo") from None
                if error.errno != 98:  # EADDRINUSE
                    raise
                continue
            return connection
        raise OSError(98, "no source port below 1024 is free")
