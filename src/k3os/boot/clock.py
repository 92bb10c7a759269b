"""Check whether the clock can be right; if not, set it to the latest time known to have passed.

A board without a battery starts in 1970 or 2000, when no certificate is valid yet. Known without a
network: when the image was built (/usr/lib/clock-epoch, systemd(1)), and when this node last wrote
to its journal, which survives a power cut. Later, connman asks time servers; k3os-clock.service
waits for their answer if CLOCK_WRONG exists.
"""

import os
import time

from k3os.paths import CLOCK_WRONG
from k3os.system.console import say

BUILT = "/usr/lib/clock-epoch"
JOURNAL = "/var/log/journal/{}/system.journal"
# systemd sets the clock back if it is further than this after BUILT (CLOCK_VALID_RANGE_USEC_MAX)
RANGE = 15 * 365.25 * 86400
# a battery-backed clock may be a little slow after a quick reboot; that is no reason to wait
SLACK = 600


def check(machine: str) -> None:
    """Correct an impossible clock, report it, and leave CLOCK_WRONG. machine: the machine-id."""
    now = time.time()
    right = corrected(now, changed(BUILT), changed(JOURNAL.format(machine)))
    if right == now:
        return
    time.clock_settime(time.CLOCK_REALTIME, right)
    if abs(right - now) <= SLACK:
        return
    said = shown(now)
    say(f"the clock says {said}, which cannot be right; set to {shown(right)} for now")
    with open(CLOCK_WRONG, "w") as file:
        file.write(f"{said}\n")


def corrected(now: float, built: float, last_known: float) -> float:
    """now if it can be right, else the latest time known to have passed. built: 0 if unknown."""
    if not built:
        return now
    latest = built + RANGE
    # a journal from the far future was itself written under a wrong clock
    earliest = last_known if built < last_known <= latest else built
    return now if earliest <= now <= latest else earliest


def changed(path: str) -> float:
    """When a file was last written; 0 if unknown, which must not stop a boot."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def shown(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
