"""AppArmor profiles that write_files puts into /etc/apparmor.d: load them into the kernel.

For a pod with a Localhost profile, k3s only checks that it is loaded, so this happens before k3s
starts. Files that a profile includes are below /etc/apparmor.d and /usr/share/apparmor
(apparmor.d(5)).
"""

from __future__ import annotations

import os

from k3os.paths import PROFILES
from k3os.phases.actions import DONE, LATER, UNCHANGED, Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Place
    from k3os.phases.node import Node

ENABLED = "/sys/module/apparmor/parameters/enabled"
# profiles loaded in this boot: a file for each, with the digest of its sources
LOADED = "/run/k3os/apparmor"


class LoadProfile(Action):
    """Loads a profile, or replaces the one with its name, also for processes already confined."""

    __slots__ = ("path",)

    def __init__(self, key: str, place: Place, path: str) -> None:
        super().__init__(key, place)
        self.path = path

    @property
    def thing(self) -> str:
        return f"profile {self.path}"

    def describe(self) -> str:
        return f"load the AppArmor profile {self.path}"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.system.files import atomic_write
        from k3os.system.run import CommandError, run

        if not node.read(ENABLED).startswith("Y"):
            raise UserError(
                "this kernel runs without AppArmor",
                "take apparmor=0, or a list in lsm= that lacks it, off its command line",
            )
        record = f"{node.path(LOADED)}/{self.path.removeprefix(PROFILES)}"
        digest = digest_of(node)
        if _content(record) == digest:
            return UNCHANGED
        if not node.is_real:
            self.note = "not on this machine"
            return LATER
        try:
            run(["apparmor_parser", "--replace", "--", self.path], timeout=60)
        except CommandError as error:
            lines = error.output.decode(errors="replace").strip().splitlines()
            raise UserError(lines[-1] if lines else str(error)) from None
        os.makedirs(node.path(LOADED), exist_ok=True)
        atomic_write(record, digest)
        return DONE


def digest_of(node: Node) -> bytes:
    """The digest of all files below PROFILES, since one may include another."""
    import zlib

    digest = 0
    for directory, below, names in os.walk(node.path(PROFILES)):
        below.sort()
        for name in sorted(names):
            path = f"{directory}/{name}"
            digest = zlib.crc32(_content(path), zlib.crc32(path.encode(), digest))
    return b"%08x\n" % digest


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:  # also for a dangling link
        return b""
