"""What to log when the API server does not answer, and how long to wait for it.

One line when an outage begins, then reminders at growing intervals, and one line when it is over;
kopf would log each retry of each of its watches, with a traceback at the end.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator

import aiohttp
import httpx2
import kopf
from lightkube import ApiError
from lightkube.core.exceptions import ConfigError

log = logging.getLogger("k3os.operator.api")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
REMIND_SECONDS = 60.0  # until the first reminder; each next one takes twice as long
# not our bugs, so no traceback
TROUBLE = (aiohttp.ClientError, httpx2.HTTPError, ConfigError, kopf.LoginError, OSError)


def words(error: BaseException) -> str:
    """What an error says, never empty."""
    return str(error) or type(error).__name__


def pause(failures: int, first: float = FIRST_PAUSE) -> float:
    """Seconds to wait after this many failures in a row."""
    return float(min(first * 2 ** min(max(failures - 1, 0), 10), LONGEST_PAUSE))


class Pauses:
    """For kopf: the pauses between retries of a request, endless."""

    def __iter__(self) -> Iterator[float]:
        return (pause(failures) for failures in itertools.count(1))


class Outage:
    """failures: in a row."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0
        self._monotonic = monotonic
        self._began = self._next = 0.0
        self._step = REMIND_SECONDS

    def failed(self, error: BaseException) -> None:
        now = self._monotonic()
        if not self.failures:
            self._began = self._next = now
            self._step = REMIND_SECONDS
        self.failures += 1
        if now >= self._next:
            since = f" for {now - self._began:.0f} s" if now > self._began else ""
            what = "refuses us" if isinstance(error, ApiError) else "does not answer"
            log.warning("the API server %s%s: %s", what, since, words(error))
            self._next = now + self._step
            self._step *= 2

    def over(self) -> None:
        if self.failures:
            lasted = self._monotonic() - self._began
            log.info("the API server is back after %.0f s", lasted)
        self.failures = 0


class Quiet(logging.Filter):
    """Drops kopf's messages that are no news. Outage reports outages."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("kopf.") and record.getMessage().startswith("Request attempt"):
            return False
        if record.exc_info and isinstance(record.exc_info[1], TROUBLE):
            record.exc_info = record.exc_text = None
        return True
