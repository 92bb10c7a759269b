"""`k3os init`: PID 1 of the initrd."""

import os

from k3os.errors import UserError


def main(argv: list[str]) -> int:
    """Boot. Refuses unless it is PID 1, since it would mount over a running system."""
    if os.getpid() != 1:
        raise UserError("init is started by the kernel in the initrd, not by hand")
    from k3os.boot.init import main as boot

    boot()
