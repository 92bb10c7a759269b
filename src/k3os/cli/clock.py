"""`k3os clock wait`: wait for a time server where the clock was wrong (k3os.node.clock)."""

import os

from k3os.cli import options
from k3os.node.clock import wait_aloud
from k3os.paths import CLOCK_WRONG
from k3os.system.numbers import whole

SECONDS = 60
LONGEST = 86400
HELP = f"""\
usage: k3os clock wait [SECONDS]

Wait until a time server has answered, {SECONDS} seconds at most, if the clock was found wrong at
the start. k3os-clock.service does this before k3s starts; calling it by hand does no harm.
"""


def main(argv: list[str]) -> int:
    words, _ = options.read(HELP, argv)
    options.count(HELP, words, 1, 2)
    seconds = whole(words[1], most=LONGEST) if words[1:] else SECONDS
    if seconds is None:
        raise options.wrong(HELP, f"{words[1]!r} is not a number of seconds up to {LONGEST}")
    if os.path.exists(CLOCK_WRONG):
        wait_aloud(float(seconds))
    return 0
