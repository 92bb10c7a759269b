"""`k3os confirm`: the end of a trial (k3os.node.boot_health); k3os-confirm.service calls it."""

from __future__ import annotations

import os

from k3os.cli import options
from k3os.errors import UserError
from k3os.node import boot_health
from k3os.paths import ON_TRIAL

HELP = """\
usage: k3os confirm

In a boot that is a trial: wait until it is healthy and keep what is new, or take that back and
restart the machine. The system calls it.
"""


def main(argv: list[str]) -> int:
    """Exit code 0: healthy, or nothing is on trial; 1: not healthy, and the machine restarts."""
    options.count(HELP, options.read(HELP, argv)[0], 0, 0)
    if os.geteuid() != 0:
        raise UserError("only root may do that", "the system calls it by itself")
    if not os.path.exists(ON_TRIAL):
        print("nothing is on trial")
        return 0
    return 0 if boot_health.conclude() else 1
