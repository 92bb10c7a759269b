"""Finding what we boot from: an installed disk (K3OS_STATE) or an ISO, CD or stick (K3OS).

A label alone is not believed: the file system must carry the marker, a generation's manifest.
Slow devices are waited for, and the wait says what for.
"""

import os
import time
from collections.abc import Callable

from k3os.boot import timeline
from k3os.errors import UserError
from k3os.system import kernelmodules, mounts
from k3os.system.blockdev import FileSystem, block_devices, probe

STATE_LABEL, ISO_LABEL = "K3OS_STATE", "K3OS"
MARKER = "k3os/system/current/manifest.json"
MOUNTED_AT = "/run/k3os/medium"
WAIT_SECONDS = 30
FIRST_ANNOUNCEMENT = 3  # a CD drive takes that long; nobody needs to be told
ANNOUNCE_EVERY = 5
POLL_SECONDS = 0.1
# what no modalias names; file systems are loaded by the kernel when one is mounted
ALWAYS = ["loop"]


class Medium:
    """A mounted boot medium: kind "disk" or "iso", its file system, where it is mounted."""

    __slots__ = ("kind", "file_system", "path")

    def __init__(self, kind: str, file_system: FileSystem, path: str) -> None:
        self.kind = kind
        self.file_system = file_system
        self.path = path


class Search:
    """What was seen so far, and the devices whose drivers were loaded."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self._loaded: set[str] = set()

    def load_drivers(self) -> None:
        """Load the modules of devices that appeared since the last call."""
        aliases = kernelmodules.device_aliases() - self._loaded
        names = sorted(aliases) if self._loaded else [*ALWAYS, *sorted(aliases)]
        self._loaded |= aliases
        if names:
            with timeline.step("load drivers"):
                kernelmodules.load(names)

    def look(self) -> Medium | None:
        """Probe all devices; an installed disk is preferred."""
        found = [fs for name in block_devices() if (fs := self._probe(name)) is not None]
        for label, kind in ((STATE_LABEL, "disk"), (ISO_LABEL, "iso")):
            for file_system in found:
                if file_system.label == label and (medium := self._accept(kind, file_system)):
                    return medium
        return None

    def _probe(self, name: str) -> FileSystem | None:
        try:
            file_system = probe(f"/dev/{name}")
        except OSError as error:
            self.seen[name] = f"/dev/{name} ({error.strerror})"
            return None
        self.seen[name] = str(file_system)
        return file_system

    def _accept(self, kind: str, file_system: FileSystem) -> Medium | None:
        os.makedirs(MOUNTED_AT, exist_ok=True)
        try:
            mounts.mount(file_system.device, MOUNTED_AT, file_system.kind, mounts.MS_RDONLY)
        except OSError as error:
            self.seen[file_system.device] = f"{file_system}: {error.strerror}"
            return None
        if os.path.exists(os.path.join(MOUNTED_AT, MARKER)):
            return Medium(kind, file_system, MOUNTED_AT)
        mounts.unmount(MOUNTED_AT)
        name = file_system.device.rpartition("/")[2]
        self.seen[name] = f"{file_system} without {MARKER}"
        return None


def find(
    say: Callable[[str], None],
    *,
    timeout: float = WAIT_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
) -> Medium:
    """Wait for a medium (seconds), loading drivers as devices appear.

    Raises UserError that lists every device seen and what it carries.
    """
    search = Search()
    end = monotonic() + timeout
    announced = monotonic() + FIRST_ANNOUNCEMENT
    while True:
        search.load_drivers()
        if medium := search.look():
            return medium
        now = monotonic()
        if now >= end:
            raise UserError(
                f"no k3OS boot medium was found in {timeout:.0f} s: neither a disk labelled "
                f"{STATE_LABEL} nor a CD or USB stick labelled {ISO_LABEL}",
                describe(search.seen),
            )
        if now >= announced:
            say(
                f"waiting {end - now:.0f} s more for a disk labelled {STATE_LABEL} or a CD or USB "
                f"stick labelled {ISO_LABEL}; seen: {', '.join(search.seen.values()) or 'no disk'}"
            )
            announced = now + ANNOUNCE_EVERY
        time.sleep(POLL_SECONDS)


def describe(seen: dict[str, str]) -> str:
    """The remedy: what was seen, in plain words."""
    if not seen:
        return (
            "the kernel sees no disk at all: check the cables and the controller's mode in the "
            "firmware (AHCI rather than RAID), and `dmesg` for its driver"
        )
    return "seen: " + "; ".join(sorted(seen.values()))
