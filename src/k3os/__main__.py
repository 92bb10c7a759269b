"""`python -m k3os` is the same as the `k3os` command."""

import sys

from k3os.cli.main import main


def entry() -> None:
    """What the installed `k3os` command of a workstation calls."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
