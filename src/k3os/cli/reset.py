"""`k3os reset`: the factory reset of an installed system, at its next boot.

It only creates the marker that the boot looks for; until the reboot it can be cancelled.
"""

import os

from k3os.cli import options
from k3os.errors import UserError
from k3os.paths import OWN_SYSTEM

HELP = """\
usage: k3os reset [--yes | --cancel]

At the next boot everything in /var, /home and /opt is deleted. The installed system and its
/k3os/system/config.yaml stay.

  --yes     do not ask
  --cancel  cancel it, before the reboot
"""
MARKER = f"{OWN_SYSTEM}/factory-reset"


def main(argv: list[str]) -> int:
    """Exit code 0; 1 when the answer is no. Raises UserError."""
    words, given = options.read(HELP, argv)
    options.count(HELP, words, 0, 0)
    options.alone(HELP, given, ("--yes", "--cancel"))
    from k3os.node.installed import check_installed
    from k3os.system import mounts
    from k3os.system.files import atomic_write

    check_installed()
    if os.geteuid() != 0:
        raise UserError("only root may reset this system", "write `sudo k3os reset`")
    cancel = "--cancel" in given
    if not given and not confirmed():
        print("nothing was changed")
        return 1
    try:
        with mounts.writable(OWN_SYSTEM):
            if not cancel:
                atomic_write(MARKER, b"", sync=True)
            elif os.path.exists(MARKER):
                os.unlink(MARKER)
    except OSError as error:
        raise UserError(f"{MARKER}: {error.strerror}", "nothing was changed") from error
    print(
        "nothing will be deleted" if cancel else "the next boot resets; `sudo reboot` does it now"
    )
    return 0


def confirmed() -> bool:
    print("At the next boot everything in /var, /home and /opt of this node is deleted.")
    try:
        return input("Type yes to go on: ").strip() == "yes"
    except EOFError:
        print()
        return False
