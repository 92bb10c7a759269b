"""`k3os install`, also called `os-config`: says that this version cannot install yet.

The live system's greeting and the ISO's menu lead here, so it must answer in plain words.
"""

from k3os.errors import UserError


def main(argv: list[str]) -> int:
    """Refuse, exit code 1; nothing is touched. Raises UserError."""
    if argv and argv[0] in ("-h", "--help"):
        print("usage: k3os install\n\nInstall to a disk. Not in this version: it only says so.")
        return 0
    raise UserError(
        "this version of k3OS cannot install to a disk yet; nothing was changed",
        "boot live with a config.yaml in the ISO (`make CONFIG=config.yaml`) until it can",
    )
