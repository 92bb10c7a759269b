"""An overlay installation, k3OS on top of another system, and the way back to that system.

Unpacking the tarball (overlay/foreign) replaced only /sbin/init of the other system; its own init
is still there under its real name. Nothing here deletes anything.
"""

from __future__ import annotations

import os
import posixpath

from k3os.errors import UserError
from k3os.system import links
from k3os.system.files import atomic_symlink

INIT = "/sbin/init"
FIRST_LINE = b"#!/k3os/system/bin/busybox sh\n"
KEPT = "/sbin/init.before-k3os"  # a copy made by a careful person
INITS = (
    KEPT,
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/lib/sysvinit/init",
    "/sbin/openrc-init",
    "/sbin/runit-init",
    "/bin/busybox",  # Alpine
)


def resolve(root: str, path: str) -> str:
    """Where path leads in the system below root, following links as that system would.

    Returns the path in that system, without links. Raises UserError for a loop of links.
    """
    try:
        return links.resolve(root, path)
    except OSError as error:
        raise UserError("its links lead in a circle", where=path) from error


def is_ours(root: str) -> bool:
    """Whether the system below root starts k3OS."""
    try:
        with open(root + resolve(root, INIT), "rb") as file:
            return file.readline() == FIRST_LINE
    except OSError:
        return False


def own_init(root: str, asked: str = "") -> str:
    """The other system's init: asked, or else found. Raises UserError."""
    for path in (asked,) if asked else INITS:
        target = root + resolve(root, path)
        if os.path.isfile(target) and os.access(target, os.X_OK):
            return path
    raise UserError(
        f"{asked} is not a program of the other system" if asked else "it has no init that we know",
        "name it: k3os overlay remove --init /path/of/its/init",
    )


def give_back(root: str, asked: str = "") -> str:
    """Restore /sbin/init of the system below root; returns what it leads to.

    root must be mounted writable. Raises UserError if it does not start k3OS.
    """
    if not is_ours(root):
        raise UserError(
            f"{INIT} of this machine's other system does not start k3OS", "nothing was changed"
        )
    init = own_init(root, asked)
    # of /sbin/init, only the directory's links are followed: the name itself is replaced
    place = resolve(root, posixpath.dirname(INIT))
    if init == KEPT:
        os.rename(f"{root}{place}/{posixpath.basename(KEPT)}", f"{root}{place}/init")
        os.sync()
    else:
        atomic_symlink(init, f"{root}{place}/init", sync=True)
    return init
