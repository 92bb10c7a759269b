"""Reading one small file by FTP: `get`, which is curl(1) with what every request of ours has:
limits of time and size, errors in words, retries.

curl knows how FTP servers behave, and their proxies (ftp_proxy); a separate process also confines
the memory that a server's endless greeting would take. The address may hold a password, so it goes
to standard input. Exit codes: curl(1), EXIT CODES; addresses: RFC 1738, section 3.2.
"""

from __future__ import annotations

import os

from k3os.system.deadline import Deadline
from k3os.system.http import DEADLINE, SLOWEST, TIMEOUT, TRIES, shown
from k3os.system.http_failure import HttpError
from k3os.system.numbers import whole
from k3os.system.retry import retry
from k3os.system.run import CommandError, run

# curl's exit code: what it means, what to do, whether another try may help
MEANINGS = {
    3: ("is not a valid address", "", False),
    5: ("the proxy's name cannot be resolved", "check ftp_proxy", True),
    6: ("the name cannot be resolved", "check network and DNS", True),
    7: ("cannot be reached", "is the server running?", True),
    28: ("the server stalls", "try again, or another server", True),
    52: ("the server closed the connection", "try again", True),
    56: ("the server closed the connection", "try again", True),
    67: ("the server refuses the login", "put user:password@ before the host name", False),
    78: ("there is no such file, or no access to it", "check the path", False),
}
OTHER = ("the server does not give the file", "check the address", False)
TOO_LARGE = 63


def get(
    url: str,
    *,
    limit: int = 1 << 20,
    timeout: float = TIMEOUT,
    tries: int = TRIES,
    pause: float = 1.0,
    deadline: float = DEADLINE,
) -> bytes:
    """The file at ftp://[user[:password]@]host[:port]/path, at most limit bytes or an error.

    Without a user it is anonymous. The path is relative to the login's directory. Raises
    HttpError, whose status is FTP's reply code. timeout: seconds (almost) without a byte;
    deadline: seconds for everything, including retries.
    """
    end = Deadline(deadline)
    return retry(lambda: _get(url, limit, timeout, end), tries, pause, until=end.until)


def _get(url: str, limit: int, timeout: float, end: Deadline) -> bytes:
    from urllib.parse import urlsplit

    address = shown(url)
    end.check(address)
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.path.strip("/") and parts.port != 0
    except ValueError as error:
        raise HttpError(f"is not a valid address: {error}", where=address) from None
    if not named or any(not letter.isprintable() for letter in url):
        raise HttpError("names no file on a server", "write ftp://host/path", address)
    left = end.left()
    options = [
        *("--silent", "--show-error", "--globoff", "--proto", "=ftp", "--ftp-method", "nocwd"),
        *("--connect-timeout", f"{timeout:.3f}", "--max-time", f"{left:.3f}"),
        *("--speed-limit", str(SLOWEST), "--speed-time", f"{max(timeout, 1):.0f}"),
        *("--max-filesize", str(limit)),
    ]
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    body = os.memfd_create("ftp")
    try:
        # also the kernel's limit: curl before 8.4 only compares the announced size
        run(
            ["prlimit", f"--fsize={limit + 1}", "curl", "--disable", *options, "--config", "-"],
            stdin=f'url = "{quoted}"\n'.encode(),
            log=body,
            errors_apart=True,
            timeout=left + 5,
        )
        if os.fstat(body).st_size > limit:
            raise _too_large(address, limit)
        return os.pread(body, limit, 0)
    except CommandError as error:
        end.check(address)
        if error.returncode == TOO_LARGE or os.fstat(body).st_size > limit:
            raise _too_large(address, limit) from None
        raise _explain(address, error) from error
    finally:
        os.close(body)


def _too_large(address: str, limit: int) -> HttpError:
    return HttpError(f"is larger than {limit} bytes", "is the address right?", address)


def _explain(address: str, error: CommandError) -> HttpError:
    """curl ends its message with the server's reply code (RFC 959, 4.2): 4yz is temporary, 5yz is
    not."""
    if error.returncode == 127:
        return HttpError("curl is not installed", "it is what reads FTP", address)
    words = error.output.decode(errors="replace").strip().partition(") ")[2][:200]
    numbers = [whole(word) or 0 for word in words.replace(":", " ").split() if len(word) == 3]
    status = next((number for number in numbers if 400 <= number < 600), 0)
    message, hint, transient = MEANINGS.get(error.returncode, OTHER)
    said = words or error.how
    return HttpError(
        f"{message} ({said})",
        hint,
        address,
        status=status,
        transient=transient or 400 <= status < 500,
    )
