"""Reading one small file by FTP: `get`.

ftplib with what every request of ours has: a size limit, a time limit, errors in words, tries.
Passive mode only. Addresses: RFC 1738, section 3.2.
"""

from __future__ import annotations

from k3os.system.http import TIMEOUT, TRIES, shown
from k3os.system.http_failure import HttpError, explain
from k3os.system.numbers import whole
from k3os.system.retry import retry


def get(
    url: str,
    *,
    limit: int = 1 << 20,
    timeout: float = TIMEOUT,
    tries: int = TRIES,
    pause: float = 1.0,
) -> bytes:
    """The file at ftp://[user[:password]@]host[:port]/path, at most limit bytes or an error.

    Without a user it is anonymous. The path is relative to the login's directory. Raises
    HttpError, whose status is FTP's reply code.
    """
    return retry(lambda: _get(url, limit, timeout), tries, pause)


def _get(url: str, limit: int, timeout: float) -> bytes:
    import ftplib
    from urllib.parse import unquote, urlsplit

    address = shown(url)
    body = bytearray()

    def arrived(block: bytes) -> None:
        body.extend(block)
        if len(body) > limit:
            raise HttpError(f"is larger than {limit} bytes", "is the address right?", address)

    try:
        parts = urlsplit(url)
        path = unquote(parts.path.partition(";")[0]).removeprefix("/")
        if not parts.hostname or not path:
            raise HttpError("names no file on a server", "write ftp://host/path", address)
        with ftplib.FTP(timeout=timeout) as session:
            session.connect(parts.hostname, parts.port or ftplib.FTP_PORT)
            session.login(unquote(parts.username or "anonymous"), unquote(parts.password or ""))
            session.retrbinary(f"RETR {path}", arrived)
    except ftplib.Error as error:
        raise _explain_reply(address, error) from error
    except EOFError as error:
        raise HttpError(
            "the server broke the connection off", "try again", address, transient=True
        ) from error
    except (OSError, ValueError) as error:
        raise explain(address, error, timeout) from error
    return bytes(body)


def _explain_reply(address: str, error: Exception) -> HttpError:
    """A reply of the server (RFC 959, section 4.2): 4yz may change by itself, 5yz does not."""
    words = str(error).strip()
    status = whole(words[:3]) or 0
    hints = {
        530: ("the server refuses the login", "put user:password@ before the host name"),
        550: ("there is no such file, or no access to it", "check the path"),
    }
    message, hint = hints.get(status, ("the server does not give the file", "check the address"))
    return HttpError(
        f"{message} ({words})", hint, address, status=status, transient=400 <= status < 500
    )
