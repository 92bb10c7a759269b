"""`k3os local start|stop`: run the user's scripts; what k3os-local.service calls."""

from __future__ import annotations

import sys

from k3os.cli import options

HELP = """\
usage: k3os local start      run /etc/rc.local, then /etc/local.d/*.start
       k3os local stop       run /etc/local.d/*.stop

The boot and the shutdown do this automatically if such files exist.
"""


def main(argv: list[str]) -> int:
    """Exit code 0, 1 when a script failed, 2 for wrong usage."""
    words, _ = options.read(HELP, argv)
    options.count(HELP, words, 1, 1)
    from k3os.phases.local import run_scripts
    from k3os.phases.phase_report import booted_mode

    report = run_scripts(words[0], mode=booted_mode(), say=_complain)
    return 0 if report.is_fine else 1


def _complain(line: str) -> None:
    print(f"k3os: {line}", file=sys.stderr)
