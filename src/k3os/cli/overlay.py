"""`k3os overlay remove`: give the machine back to the system that k3OS was installed on."""

import os

from k3os.cli import options
from k3os.errors import UserError
from k3os.paths import BASE

HELP = """\
usage: k3os overlay remove [--init PATH]

For a k3OS on top of another system (docs/how-to/arm.md): from the next boot on, the other
system starts again, with its files as they are. /k3os stays; `rm -rf /k3os` in that system
deletes it, together with the data of k3OS.

  --init PATH  the other system's init, if it is not found
"""


def main(argv: list[str]) -> int:
    """Exit code 0; 2 for wrong usage. Raises UserError."""
    words, given = options.read(HELP, argv)
    options.count(HELP, words, 1, 1)
    from k3os.install import overlay
    from k3os.system import mounts

    if not overlay.is_ours(BASE):
        raise UserError("this k3OS is not on top of another system", "`k3os status` shows the mode")
    if os.geteuid() != 0:
        raise UserError("only root may do that", "write `sudo k3os overlay remove`")
    mounts.private_namespace()
    mounts.make_writable(BASE)
    found = overlay.give_back(BASE, given.get("--init", ""))
    os.sync()
    print(f"the next boot starts {found}, the other system's init; `sudo reboot` does it now")
    return 0
