"""The only HTTP client: `get` for small bodies, `download` for files.

Each request is limited in time (k3os.system.deadline), size (`limit`) and memory: headers have the
limits of http.client, 100 lines of 64 KiB; a file's body goes to the disk in blocks. It must not
decide what to do about a failure: each one is an `HttpError` that names the address and a remedy,
or a `ChecksumError`, which is never a network problem. Ranges and validators follow RFC 9110,
sections 13 and 14.

It uses urllib, which honours http_proxy, https_proxy and no_proxy (urllib.request(3)), takes 40 ms
to import, and is only imported to fetch something. Not curl(1), which the node has and which does
FTP (k3os.system.ftp): it cannot check that a partial file belongs to the current one (If-Range),
nor ask a metadata service the way it requires (k3os.system.http_direct), and we would have to guess
the reason of a failure from its messages.
"""

from __future__ import annotations

import os

from k3os.errors import UserError
from k3os.system.deadline import Deadline
from k3os.system.http_failure import ChecksumError, HttpError, explain, header, stalled
from k3os.system.numbers import whole
from k3os.system.retry import retry, silently

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPResponse
    from io import FileIO
    from typing import TypeAlias

    from k3os.system.http_direct import Direct
    from k3os.system.retry import Report

    Progress: TypeAlias = Callable[[int, "int | None"], None]

TIMEOUT = 30.0
TRIES = 4
SLOWEST = 512  # bytes per second; less than that for TIMEOUT seconds is a stall, too
BLOCK = 1 << 18
# seconds for everything, including retries: for a small body, for a file
DEADLINE = 300.0
DOWNLOAD_DEADLINE = 6 * 3600.0


def get(
    url: str,
    *,
    limit: int = 1 << 20,
    headers: dict[str, str] | None = None,
    timeout: float = TIMEOUT,
    tries: int = TRIES,
    pause: float = 1.0,
    deadline: float = DEADLINE,
    method: str = "GET",
    direct: Direct | None = None,
) -> bytes:
    """Return the body at url, at most limit bytes or an error. Raises HttpError.

    timeout: seconds without a byte; deadline: seconds for everything, including retries.
    direct: how to ask without a proxy and without following redirects.
    """

    def attempt() -> bytes:
        body: list[bytes] = []
        with _open(url, headers or {}, timeout, end, method, direct) as response:
            total = _length(response)
            _check_limit(url, total or 0, limit)
            _copy(url, response, body.append, timeout, end, _limited(url, limit, 0))
        data = b"".join(body)
        _check_complete(url, len(data), total)
        return data

    with Deadline(deadline) as end:
        return retry(attempt, tries, pause, until=end.until)


def download(
    url: str,
    path: str,
    *,
    limit: int,
    sha256: str | None = None,
    mode: int = 0o644,
    timeout: float = TIMEOUT,
    deadline: float = DOWNLOAD_DEADLINE,
    tries: int = TRIES,
    pause: float = 1.0,
    progress: Progress | None = None,
    report: Report = silently,
) -> str:
    """Fetch url into path, which appears only when complete; returns its SHA-256 (hex).

    What arrived is kept in <path>.part: the next try only asks for the rest. With sha256, even the
    partial file of an earlier process is used, since the checksum would reveal a wrong one.
    timeout: seconds without a byte (or with a trickle) that count as a stall; deadline: seconds
    for everything, including retries. limit: maximum size in bytes.
    tries:   attempts in a row without progress; pause: seconds before the second one.
    report:  called with each failure that is followed by another try.
    Raises HttpError (the partial file stays), ChecksumError (it is removed), UserError.
    """
    partial = f"{path}.part"
    with _open_partial(url, partial) as file, Deadline(deadline) as end:
        inherited = file.seek(0, os.SEEK_END) if sha256 else file.truncate(0)
        transfer = _Transfer(
            url, partial, file, limit, timeout, end, progress, trusted=sha256 is not None
        )

        def receive() -> None:
            retry(transfer.attempt, tries, pause, transfer.position, report, end.until)

        try:
            receive()
        except HttpError:
            if transfer.position() == 0:
                os.unlink(partial)
            raise
        digest = _file_sha256(file)
        if sha256 and digest != sha256.lower() and inherited:
            # perhaps only the part from last time was wrong
            file.truncate(0)
            receive()
            digest = _file_sha256(file)
        if sha256 and digest != sha256.lower():
            os.unlink(partial)
            raise ChecksumError(
                f"wrong checksum: expected sha256 {sha256.lower()}, got {digest}",
                "the file was changed on its way or at its source; do not use it",
                shown(url),
            )
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
        os.rename(partial, path)
    return digest


def shown(url: str) -> str:
    """The address without a password, safe for messages and logs."""
    return _split_credentials(url)[0]


class _Transfer:
    """One download over several attempts; file holds what has arrived so far."""

    def __init__(
        self,
        url: str,
        path: str,
        file: FileIO,
        limit: int,
        timeout: float,
        end: Deadline,
        progress: Progress | None,
        *,
        trusted: bool,
    ) -> None:
        self.url = url
        self.path = path
        self.file = file
        self.limit = limit
        self.timeout = timeout
        self.end = end
        self.progress = progress
        self.trusted = trusted
        self.validator = ""

    def position(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def attempt(self) -> None:
        offset = self.position()
        if offset and not (self.trusted or self.validator):
            offset = self._restart()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and self.validator:
            headers["If-Range"] = self.validator
        try:
            response = _open(self.url, headers, self.timeout, self.end)
        except HttpError as error:
            if error.status == 416 and offset:
                # nothing after what we have: a complete or a different file; what follows decides
                if self.trusted and not self.validator:
                    self.trusted = False
                    return
                self._restart()
                error.transient = True
            raise
        with response:
            if response.status != 206 and offset:
                offset = self._restart()  # the server sends all of it
            elif offset and not _starts_at(response, offset):
                self._restart()
                raise HttpError(
                    "the server sent another part than the one asked for",
                    "try again",
                    shown(self.url),
                    transient=True,
                )
            self.validator = _validator(response)
            length = _length(response)
            total = None if length is None else offset + length
            _check_limit(self.url, total or 0, self.limit)
            self._receive(response, offset, total)
        _check_complete(self.url, self.position(), total)

    def _restart(self) -> int:
        self.file.seek(0)
        return self.file.truncate(0)

    def _receive(self, response: HTTPResponse, offset: int, total: int | None) -> None:
        limited = _limited(self.url, self.limit, offset)

        def arrived(count: int) -> None:
            limited(count)
            if self.progress is not None:
                self.progress(offset + count, total)

        _copy(self.url, response, self._write, self.timeout, self.end, arrived)

    def _write(self, block: bytes) -> None:
        try:
            rest = memoryview(block)
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written: {error.strerror}",
                "make room and try again; what has arrived is kept",
                shown(self.url),
            ) from error


def _open_partial(url: str, partial: str) -> FileIO:
    """The partial file, locked: two processes must not write to it."""
    import fcntl

    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UserError(
            f"{partial} cannot be written: {error.strerror}", where=shown(url)
        ) from error
    # unbuffered: what is written counts as arrived, and a full disk is noticed at once
    file = os.fdopen(descriptor, "r+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(partial).st_ino != os.fstat(file.fileno()).st_ino:
            raise BlockingIOError
    except (BlockingIOError, FileNotFoundError):
        file.close()
        raise UserError(
            "another process is downloading this file", "wait for it, then try again", shown(url)
        ) from None
    return file


def _file_sha256(file: FileIO) -> str:
    import hashlib

    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _open(
    url: str,
    headers: dict[str, str],
    timeout: float,
    end: Deadline,
    method: str = "GET",
    direct: Direct | None = None,
) -> HTTPResponse:
    import http.client
    import urllib.request

    from k3os.system.http_opener import opener

    address, credentials = _split_credentials(url)
    if not address.lower().startswith(("http://", "https://")):
        raise HttpError("is not an http or https address", where=address)
    try:
        request = urllib.request.Request(address, method=method)
        request.add_header("User-Agent", "k3os")
        request.add_header("Accept-Encoding", "identity")
        for name, value in headers.items():
            request.add_header(name, value)
        if credentials:  # not forwarded to the target of a redirect
            request.add_unredirected_header("Authorization", credentials)
        chosen = opener(end.connect) if direct is None else direct.opener(end)
        response: HTTPResponse = chosen.open(request, timeout=timeout)
    except (OSError, http.client.HTTPException, ValueError) as error:
        failure = explain(address, error, timeout)  # also closes a response
        end.check(address)
        raise failure from error
    return response


def _split_credentials(url: str) -> tuple[str, str]:
    """(address without user and password, the Authorization header's value or "")."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if not separator or "@" not in authority:
        return url, ""
    import base64
    from urllib.parse import unquote_to_bytes

    user, _, host = authority.rpartition("@")
    token = base64.b64encode(unquote_to_bytes(user)).decode()
    return f"{scheme}://{host}{slash}{path}", f"Basic {token}"


def _length(response: HTTPResponse) -> int | None:
    text = header(response.headers, "Content-Length")
    return whole(text)


def _validator(response: HTTPResponse) -> str:
    """What distinguishes this file from a later version (RFC 9110, 8.8 and 13.1.5), "" for nothing.

    A date only counts if the file was old enough not to change again within the same second.
    """
    from email.utils import parsedate_to_datetime

    etag: str = header(response.headers, "ETag")
    if etag:
        return "" if etag.startswith("W/") else etag
    changed: str = header(response.headers, "Last-Modified")
    try:
        asked = parsedate_to_datetime(header(response.headers, "Date"))
        return changed if (asked - parsedate_to_datetime(changed)).total_seconds() >= 1 else ""
    except (TypeError, ValueError):
        return ""


def _starts_at(response: HTTPResponse, offset: int) -> bool:
    return header(response.headers, "Content-Range").startswith(f"bytes {offset}-")


def _limited(url: str, limit: int, offset: int) -> Callable[[int], None]:
    return lambda count: _check_limit(url, offset + count, limit)


def _check_limit(url: str, size: int, limit: int) -> None:
    if size > limit:
        raise HttpError(f"is larger than {limit} bytes", "is the address right?", shown(url))


def _check_complete(url: str, size: int, total: int | None) -> None:
    if total is not None and size < total:
        raise HttpError(
            f"the connection ended after {size} of {total} bytes",
            "try again",
            shown(url),
            transient=True,
        )


def _copy(
    url: str,
    response: HTTPResponse,
    write: Callable[[bytes], object],
    timeout: float,
    end: Deadline,
    arrived: Callable[[int], None],
) -> None:
    """Read response to its end; a trickle below SLOWEST counts as a stall."""
    import http.client
    from time import monotonic

    count = window = 0
    since = monotonic()
    while True:
        try:
            block = response.read1(BLOCK)
        except (OSError, http.client.HTTPException) as error:
            end.check(shown(url))
            raise explain(shown(url), error, timeout) from error
        if not block:
            end.check(shown(url))  # we may have ended it
            return
        count += len(block)
        window += len(block)
        arrived(count)
        write(block)
        if monotonic() - since > timeout:
            if window < SLOWEST * timeout:
                raise stalled(shown(url), timeout)
            since, window = monotonic(), 0
