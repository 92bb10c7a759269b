"""A metadata service over HTTP: what all of them have in common.

It asks only one address, without a proxy, and limits each answer to 1 MiB and all together to MOST
bytes: a list of keys may name any number of them.
"""

from __future__ import annotations

from time import monotonic

from k3os.datasource.found import LARGEST, NotThere, attempt
from k3os.datasource.query import NOT_THERE_SECONDS, Query
from k3os.errors import UserError
from k3os.system.http import get
from k3os.system.http_direct import Direct
from k3os.system.http_failure import TRANSIENT, HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINK_LOCAL = "http://169.254.169.254"
ANSWER_SECONDS = 20.0
MOST = 4 * LARGEST
RETRY_SECONDS = 0.5  # after "no route" or "refused"
# a service that is still starting or overloaded answers 5xx or 429
PAUSES = (0.5, 1.0, 2.0, 4.0)


class Service:
    """base: the platform's documented address; headers: of each request."""

    def __init__(
        self,
        query: Query,
        base: str = LINK_LOCAL,
        headers: dict[str, str] | None = None,
        *,
        low_port: bool = False,
    ) -> None:
        self.query = query
        self.base = base
        self.headers = headers or {}
        self.taken = 0
        query.address = base
        self.url = query.addresses.get(base, base)
        self.direct = Direct(NOT_THERE_SECONDS, low_port=low_port, connected=query.answered.set)

    def identify(self, path: str) -> bytes:
        """The first request, which other platforms' services refuse. Raises NotThere."""
        try:
            return self.get(path)
        except HttpError as error:
            if 300 <= error.status < 500 and error.status not in TRANSIENT:
                reason = f"answers as another platform: {error.message}"
                raise NotThere(reason, where=self.base, status=error.status) from None
            raise

    def optional(self, path: str) -> bytes:
        """An answer, b"" if the path does not exist."""
        try:
            return self.get(path)
        except HttpError as error:
            if error.status == 404:
                return b""
            raise

    def userdata(self, path: str, problems: list[str]) -> bytes:
        """The userdata, if any; a failure to get it becomes one of problems."""
        return attempt(lambda: self.optional(path), b"", problems, "the userdata")

    def get(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> bytes:
        """An answer. Raises NotThere if nothing answers at the address, else HttpError."""
        if self.base in self.query.silent:
            raise NotThere("did not answer before", where=self.base)
        pauses = list(PAUSES)
        while True:
            started = monotonic()
            try:
                answer = get(
                    self.url + path,
                    limit=LARGEST,
                    headers={**self.headers, **(headers or {})},
                    timeout=timeout,
                    deadline=3 * timeout,
                    tries=1,
                    method=method,
                    direct=self.direct,
                )
                self.taken += len(answer)
                if self.taken > MOST:
                    raise HttpError(f"has given more than {MOST} bytes in all", where=self.base)
                return answer
            except HttpError as error:
                seconds = monotonic() - started
                if not self.query.answered.is_set():
                    # the route, or the service itself, may still be coming up
                    if monotonic() + RETRY_SECONDS < self.query.until:
                        self.query.over.wait(RETRY_SECONDS)
                        continue
                    self.query.silent.add(self.base)
                    raise self._absent(error, seconds) from None
                if not error.transient or seconds > timeout * 0.9 or not pauses:
                    raise
                if self.query.over.wait(max(pauses.pop(0), error.wait)):
                    raise

    def _absent(self, error: HttpError, seconds: float) -> NotThere:
        if seconds >= NOT_THERE_SECONDS * 0.9:
            return NotThere(f"no answer in {NOT_THERE_SECONDS:.0f} s", where=self.base)
        return NotThere(error.message, where=self.base)

    def text(self, path: str) -> str:
        """An optional answer as a text."""
        return self.optional(path).decode(errors="replace").strip()


def json_map(data: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object. Raises UserError."""
    from k3os.system.json_text import an_object

    try:
        return an_object(data)
    except ValueError as error:
        raise UserError(f"is not the JSON it should be: {error}", where=where) from None


def texts(value: object) -> list[object]:
    """A list unchanged, a text as a list of one; for anything else []."""
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, list) else []
