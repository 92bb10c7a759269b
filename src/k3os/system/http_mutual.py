"""HTTPS requests in which both sides show a certificate (RFC 8446, section 4.3.2): one request, one
answer, no proxy and no redirect. For the API server of the node's own cluster."""

from __future__ import annotations

from k3os.errors import UserError

LARGEST = 4 << 20
DEADLINE = 120.0


class NoAnswer(UserError):
    """Nobody answered, or the connection ended before the answer: later there may be one."""

    exit_code = 75  # EX_TEMPFAIL of sysexits(3)


class Identity:
    """Files in PEM form: who is trusted, and who we are."""

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
    timeout: float = 30,
    deadline: float = DEADLINE,
) -> tuple[int, bytes]:
    """The status and the body of the answer. Raises UserError: NoAnswer when there is none.

    timeout: seconds without a byte; deadline: seconds for all of it.
    """
    import http.client
    import ssl
    from urllib.parse import urlsplit

    from k3os.system.deadline import Deadline

    parts = urlsplit(url)
    end = Deadline(deadline)
    try:
        context = ssl.create_default_context(cafile=identity.authority)
        # Python 3.13 asks for RFC 5280 to the letter, which authorities that old versions of k3s
        # made or people brought do not follow; the signature and the name are checked as ever
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(identity.certificate, identity.key)
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout, context=context
        )
        try:
            connection._create_connection = end.connect  # type: ignore[attr-defined]
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            with end:
                connection.request(method, target, body or None, headers or {})
                answer = connection.getresponse()
                received = answer.read(LARGEST)
            if not end.left():
                raise TimeoutError(f"not over after {deadline:g} s")
            return answer.status, received
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        raise UserError(
            f"{parts.netloc} is not trusted: {error.verify_message}",
            "check this node's clock, and that it belongs to this cluster",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoAnswer(
            f"{parts.netloc} does not answer: {reason}", "is k3s running? `journalctl -u k3s`"
        ) from error
