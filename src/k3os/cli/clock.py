"""`k3os clock wait`: wait for a time server where the clock was wrong at the start.

k3os-clock.service calls it before all that checks certificates: downloads, k3s. It must not
set the clock (connman does that) and must not fail: a node with a wrong clock still runs.
"""

import os
import sys
import time
from collections.abc import Callable

from k3os.boot.clock import shown
from k3os.paths import CLOCK_WRONG
from k3os.system import timeserver
from k3os.system.console import say
from k3os.system.numbers import whole

SECONDS = 60
LONGEST = 86400
USAGE = f"""\
usage: k3os clock wait [SECONDS]

Wait until a time server has answered, {SECONDS} seconds at most, if the clock was found wrong at
the start. k3os-clock.service does this before k3s starts; calling it by hand does no harm.
"""


def main(argv: list[str]) -> int:
    if argv and argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    seconds = whole(argv[1], most=LONGEST) if argv[1:] else SECONDS
    if argv[:1] != ["wait"] or len(argv) > 2 or seconds is None:
        print(USAGE, end="", file=sys.stderr)
        return 2
    if os.path.exists(CLOCK_WRONG):
        wait_aloud(float(seconds))
    return 0


def wait_aloud(seconds: float) -> None:
    """Wait, and say on the consoles what for and how it ended."""
    if not timeserver.answered():
        say(f"waiting up to {seconds:.0f} s for a time server, because the clock was wrong")
        if not wait(seconds, timeserver.answered):
            say(
                f"no time server answered in {seconds:.0f} s: the clock ({shown(time.time())}) is "
                "probably wrong, certificates may seem not valid yet; going on all the same"
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
    """Ask once a second; whether the answer came in time."""
    end = monotonic() + seconds
    while not (known := answered()) and monotonic() < end:
        sleep(1)
    return known


def doubt(path: str = CLOCK_WRONG) -> str:
    """What the clock said at the start when that was wrong and no time server answered, or ""."""
    try:
        with open(path, errors="replace") as file:
            said = file.read().strip()
    except FileNotFoundError:
        return ""
    return "" if timeserver.answered() else said
