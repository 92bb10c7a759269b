"""Wait for a time server if the clock was wrong at the start.

k3os-clock.service runs this before anything that checks certificates: downloads, k3s. It must not
set the clock (connman does that) and must not fail: a node with a wrong clock still runs.
"""

import os
import time
from collections.abc import Callable

from k3os.boot.clock import shown
from k3os.paths import CLOCK_WRONG
from k3os.system import timeserver
from k3os.system.console import say


def wait_aloud(seconds: float) -> None:
    """Wait, and say on the consoles what for and how it ended."""
    if not timeserver.answered():
        say(f"waiting up to {seconds:.0f} s for a time server, because the clock was wrong")
        if not wait(seconds, timeserver.answered):
            say(
                f"no time server answered in {seconds:.0f} s: the clock ({shown(time.time())}) is "
                "probably wrong, certificates may seem not valid yet; continuing anyway"
            )
            return
    os.unlink(CLOCK_WRONG)
    say(f"a time server answered: it is {shown(time.time())}")


def wait(
    seconds: float,
    answered: Callable[[], bool],
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Ask once a second; returns whether the answer came in time."""
    end = monotonic() + seconds
    while not (known := answered()) and monotonic() < end:
        sleep(1)
    return known


def doubt(path: str = CLOCK_WRONG) -> str:
    """What the clock said at the start if it was wrong and no time server has answered, or ""."""
    try:
        with open(path, errors="replace") as file:
            said = file.read().strip()
    except FileNotFoundError:
        return ""
    return "" if timeserver.answered() else said
