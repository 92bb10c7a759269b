"""`k3os clock wait`: wait for a time server where the clock was wrong (k3os.node.clock)."""

import os
import sys

from k3os.node.clock import wait_aloud
from k3os.paths import CLOCK_WRONG
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
