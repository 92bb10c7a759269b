"""`k3os grow`: give the state partition the rest of a disk that became larger.

k3os-grow.service calls it in boots where there is space to gain.
"""

from k3os.cli import options
from k3os.errors import UserError
from k3os.paths import BASE

HELP = "usage: k3os grow\n\nGrow the state partition and its file system to the disk's size.\n"


def main(argv: list[str]) -> int:
    """Exit code 0 also when there is nothing to gain. Raises UserError."""
    options.count(HELP, options.read(HELP, argv)[0], 0, 0)
    from k3os.boot import grow
    from k3os.node.installed import state_device
    from k3os.system import mounts
    from k3os.system.run import CommandError

    device = state_device()
    gained = grow.gain(device)
    if gained < grow.WORTHWHILE:
        print(f"k3OS: {device} has the size of its disk")
        return 0
    try:
        with mounts.writable(BASE):  # resize2fs needs a writable mount point
            grow.grow(device)
    except CommandError as error:
        raise UserError(
            f"{device} could not be grown: {error}", "it keeps working at its present size"
        ) from error
    print(f"k3OS: {device} grew by {gained >> 20} MiB")
    return 0
