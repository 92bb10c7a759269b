"""`k3os shutdown`: what happens to pods when the machine goes down (k3os.node.shutdown)."""

from __future__ import annotations

from k3os.cli import options
from k3os.node import shutdown

HELP = """\
usage: k3os shutdown watch|finish|tidy

The system calls it. `watch` shows on the consoles which pods a shutdown waits for; `finish` ends
the pods that are left when k3s has stopped; `tidy`, after the boot, deletes ended pods of
Deployments, which have been replaced.
"""


def main(argv: list[str]) -> int:
    """Exit code 0, 2 for wrong usage."""
    words, _ = options.read(HELP, argv)
    options.count(HELP, words, 1, 1)
    if words == ["tidy"]:
        return shutdown.tidy()
    from k3os.phases.shutdown import CRITICAL, DEFAULTS, GRACE, SETTINGS
    from k3os.system.files import read_object

    known = {"grace": DEFAULTS[GRACE], "critical": DEFAULTS[CRITICAL], **read_object(SETTINGS)}
    if words == ["watch"]:
        shutdown.watch(known)
    else:
        shutdown.finish(known)
    return 0
