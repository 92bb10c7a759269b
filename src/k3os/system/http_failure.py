"""Why a request failed, in words a user can act on.

Turns the exceptions of urllib, http.client, ssl and socket into one `HttpError`, which says whether
trying again may help. It must not import any of these before there is a failure.
"""

from __future__ import annotations

from k3os.errors import UserError
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# statuses that a later try may change (RFC 9110, section 15)
TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))
LONGEST_REASON = 100


class HttpError(UserError):
    """A request that failed. status: the server's answer, 0 if there was none.

    transient: trying again later may help. wait: seconds the server asked for (Retry-After).
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        where: str = "",
        *,
        status: int = 0,
        transient: bool = False,
        wait: float = 0.0,
    ) -> None:
        super().__init__(message, hint, where)
        self.status = status
        self.transient = transient
        self.wait = wait


class ChecksumError(UserError):
    """The bytes are not the expected ones."""


def stalled(address: str, timeout: float) -> HttpError:
    return HttpError(
        f"the server stalls: (almost) nothing came for {timeout:g} s",
        "try again, or another mirror",
        address,
        transient=True,
    )


def explain(address: str, error: Exception, timeout: float) -> HttpError:
    """An exception of urllib, http.client, ssl or socket in our words."""
    import http.client
    import socket
    import ssl
    import urllib.error

    if isinstance(error, urllib.error.HTTPError):
        return _explain_status(address, error)
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, ssl.SSLCertVerificationError):
        return HttpError(
            f"the server's TLS certificate is not trusted: {error.verify_message}",
            "check this machine's clock and its CA certificates",
            address,
        )
    if isinstance(error, TimeoutError):
        return stalled(address, timeout)
    if isinstance(error, socket.gaierror):
        message, hint = f"the name cannot be resolved: {error.strerror}", "check network and DNS"
    elif isinstance(error, ConnectionRefusedError):
        message, hint = "the connection was refused", "is the server running?"
    elif isinstance(error, http.client.IncompleteRead):
        message, hint = "the connection ended in the middle", "try again"
    elif isinstance(error, (http.client.HTTPException, ConnectionError)):
        message, hint = f"the server closed the connection ({type(error).__name__})", "try again"
    elif isinstance(error, ValueError):
        return HttpError(f"is not a valid address: {error}", where=address)
    else:
        message, hint = f"cannot be reached: {error}", "check network and proxy settings"
    return HttpError(message, hint, address, transient=True)


def header(headers: Any, name: str) -> str:
    """A response header as text, "" if missing; str() since non-ASCII ones are not a str."""
    return str(headers.get(name) or "")


def _explain_status(address: str, error: Any) -> HttpError:
    status: int = error.code
    error.close()
    wait = header(error.headers, "Retry-After") if error.headers else ""
    hints = {
        401: ("the server requires a login (401)", "put user:password@ before the host name"),
        403: ("the server refuses access (403)", "is the address public? does a proxy filter it?"),
        404: ("there is nothing at this address (404)", "check version and address"),
        407: ("the proxy requires a login (407)", "set https_proxy=http://user:password@host:port"),
        410: ("there is nothing any more at this address (410)", "check version and address"),
    }
    if 300 <= status < 400:
        message, hint = "redirects without end", "check the address"
    else:
        reason = str(error.reason)[:LONGEST_REASON]
        message, hint = hints.get(status, (f"the server answers {status} {reason}", ""))
    return HttpError(
        message,
        hint or ("try again later" if status in TRANSIENT else "check the address"),
        address,
        status=status,
        transient=status in TRANSIENT,
        wait=float(whole(wait) or 0),
    )
