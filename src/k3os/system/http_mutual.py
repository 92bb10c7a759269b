"""HTTPS requests in which both sides show a certificate (RFC 8446, section 4.3.2): no proxy and no
redirect. For the API server of the node's own cluster."""

from __future__ import annotations

from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPSConnection
    from socket import socket
    from typing import TypeVar

    from k3os.system.deadline import Deadline

    Result = TypeVar("Result")

LARGEST = 4 << 20
TIMEOUT = 30.0
DEADLINE = 120.0


class NoAnswer(UserError):
    """Nobody answered, or the connection ended before the answer: a later try may help."""

    exit_code = 75  # EX_TEMPFAIL of sysexits(3)


class Identity:
    """Files in PEM form: whom we trust, and who we are."""

    __slots__ = ("authority", "certificate", "key")

    def __init__(self, authority: str, certificate: str, key: str) -> None:
        self.authority = authority
        self.certificate = certificate
        self.key = key


def request(
    method: str,
    url: str,
    identity: Identity,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    timeout: float = TIMEOUT,
    deadline: float = DEADLINE,
    over: Connection | None = None,
) -> tuple[int, bytes]:
    """The status and the body of the answer. Raises UserError: NoAnswer if there is none.

    timeout: seconds without a byte; deadline: seconds for everything. over: a connection to that
    server; without it, this opens its own.
    """
    if over is not None:
        return over.request(method, url, body, headers, deadline)
    with Connection(url, identity, timeout) as own:
        return own.request(method, url, body, headers, deadline)


class Connection:
    """A context manager for several requests over one connection, which halves the work of two. If
    the server has closed it in the meantime, it reconnects once."""

    def __init__(self, url: str, identity: Identity, timeout: float = TIMEOUT) -> None:
        self.url = url
        self.identity = identity
        self.timeout = timeout
        self._client: HTTPSConnection | None = None
        # a copy of the connection's descriptor, since TLS takes the original away from its object
        self._socket: socket | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, deadline: float = DEADLINE) -> None:
        """Connect first, if nothing should be done for a server that is not there. Raises UserError
        like request."""
        self._explained(self._connect, deadline)

    def request(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        deadline: float = DEADLINE,
    ) -> tuple[int, bytes]:
        """Like the function of this name."""
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path

        def ask(end: Deadline) -> tuple[int, bytes]:
            from http.client import RemoteDisconnected
            from ssl import SSLEOFError

            was_open = self._is_open()
            try:
                return self._ask(end, method, target, body, headers or {})
            except (RemoteDisconnected, ConnectionResetError, BrokenPipeError, SSLEOFError):
                if not was_open or not end.left():
                    raise
            self.close()
            return self._ask(end, method, target, body, headers or {})

        return self._explained(ask, deadline)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        if self._socket is not None:
            self._socket.close()
        self._client = self._socket = None

    def _is_open(self) -> bool:
        """http.client drops the socket if the server does not keep the connection."""
        return self._client is not None and self._client.sock is not None

    def _ask(
        self, end: Deadline, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        if not self._is_open():
            self._connect(end)
        elif self._socket is not None:
            end.watch(self._socket)
        assert self._client is not None
        self._client.request(method, target, body or None, headers)
        answer = self._client.getresponse()
        return answer.status, answer.read(LARGEST)

    def _connect(self, end: Deadline) -> None:
        import http.client
        import ssl
        from urllib.parse import urlsplit

        self.close()
        context = ssl.create_default_context(cafile=self.identity.authority)
        # Python 3.13 insists on RFC 5280, which CAs that old versions of k3s created or that users
        # supplied do not follow; the signature and the name are still checked
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(self.identity.certificate, self.identity.key)
        parts = urlsplit(self.url)
        self._client = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=self.timeout, context=context
        )

        def connect(*given: object) -> socket:
            connection = end.connect(*given)  # type: ignore[arg-type]
            self._socket = connection.dup()
            return connection

        self._client._create_connection = connect  # type: ignore[attr-defined]
        self._client.connect()

    def _explained(self, step: Callable[[Deadline], Result], deadline: float) -> Result:
        """Run step within a time limit, with failures in our words."""
        import http.client
        import ssl
        from urllib.parse import urlsplit

        from k3os.system.deadline import Deadline

        end, place = Deadline(deadline), urlsplit(self.url).netloc
        try:
            with end:
                done = step(end)
            if not end.left():
                raise TimeoutError(f"not over after {deadline:g} s")
            return done
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise UserError(
                f"{place} is not trusted: {error.verify_message}",
                "check this node's clock, and that it belongs to this cluster",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NoAnswer(
                f"{place} does not answer: {reason}", "is k3s running? `journalctl -u k3s`"
            ) from error
