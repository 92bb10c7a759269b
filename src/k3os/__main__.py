"""`python -m k3os` is the same as the `k3os` command."""

import sys

from k3os.cli.main import main


def entry() -> None:
    """Entry point of the installed `k3os` command on a workstation."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
