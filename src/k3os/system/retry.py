"""Retrying what the network may have made fail, with growing pauses.

Only an `HttpError` that says it is transient is retried; nothing else is decided here.
"""

from __future__ import annotations

from k3os.system.http_failure import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias, TypeVar

    Result = TypeVar("Result")
    Report: TypeAlias = Callable[[HttpError], None]

LONGEST_PAUSE = 30.0


def silently(_: HttpError) -> None:
    """The report function for callers that say nothing until all tries are over."""


def retry(
    attempt: Callable[[], Result],
    tries: int,
    pause: float,
    position: Callable[[], int] = lambda: 0,
    report: Report = silently,
    until: float = float("inf"),
) -> Result:
    """Call attempt until it works; a try that made good progress does not count.

    tries: attempts without progress; pause: seconds before the second one. position: bytes that
    have arrived. report: called with each failure that is followed by another try. until: no try
    starts after this time, on the clock of monotonic(3).
    """
    import time

    failures = 0
    while True:
        before = position()
        try:
            return attempt()
        except HttpError as error:
            failures = 1 if position() - before >= 1 << 20 else failures + 1
            if not error.transient or failures >= tries:
                raise
            wait = min(max(error.wait, pause * 2 ** min(failures - 1, 9)), LONGEST_PAUSE)
            if time.monotonic() + wait >= until:
                raise
            report(error)
            time.sleep(wait)
