"""Finding what we boot from: a disk (K3OS_STATE), a CD or stick (K3OS), or the initrd itself.
For an overlay installation it is given: the root of the other system.

GRUB names the file system that it read itself (MEDIUM_UUID on the command line), and no other is
booted. Without that (a menu of an older release, a network boot) the label decides, and the file
system must contain the marker, a generation's manifest; with two candidates we never guess. Slow
devices are waited for, with messages that say what for. A faulty device only rules out itself.
"""

import os
import re
import time
from collections.abc import Callable

from k3os.boot import timeline
from k3os.errors import UserError
from k3os.generation.layout import ISO_LABEL, MEDIUM_UUID, STATE_LABEL, SYSTEM
from k3os.system import kernelmodules, mounts
from k3os.system.blockdev import LVM_MEMBER, RAID_MEMBER, FileSystem, block_devices, probe
from k3os.system.console import Say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.system.volumes import Volumes

LABELS = {"disk": STATE_LABEL, "iso": ISO_LABEL}
NAMES = {
    "disk": f"a disk labelled {STATE_LABEL}",
    "iso": f"a CD or USB stick labelled {ISO_LABEL}",
    "netboot": "the system in the initrd",
}
# kinds of media in order of preference; a kind that is not listed is not used at all
KINDS = ("disk", "iso")
KINDS_OF_MODE = {"disk": ("disk",), "live": ("iso", "disk"), "install": ("iso",)}
MARKER = f"{SYSTEM}/current/manifest.json"
# where the network boot initrd carries the ISO's contents (k3os.image.netboot)
CARRIED = "/medium"
CARRIED_WHOLE = "/medium-complete"  # unpacked last
OWN_KERNEL = f"{SYSTEM}/kernel/{{}}"
MOUNTED_AT = "/run/k3os/medium"
WAIT_SECONDS = 30
# how long a fallback mode waits in case a disk is merely slow
FALLBACK_SECONDS = 10
FIRST_ANNOUNCEMENT = 3  # a CD drive takes that long; not worth a message
ANNOUNCE_EVERY = 5
POLL_SECONDS = 0.1
_UUID_OF_ISO = re.compile(r"[0-9]{4}(-[0-9]{2}){6}|[0-9A-F]{4}-[0-9A-F]{4}")
# devices appear behind drivers that need drivers: PCI, a controller on it, a disk
MOST_ROUNDS = 5
FROM_THE_NETWORK = (
    "\nbooted over the network (PXE)? then the initrd must be k3os-initrd-netboot-<architecture>, "
    "which carries the system"
)
# modules without a modalias; those of file systems are loaded by the kernel on mount
ALWAYS = ["loop"]


class Medium:
    """A mounted boot medium: its kind, its file system, where it is mounted.

    kind: "disk", "iso", "netboot", or "overlay": the root of another system.

    generation: the link below /k3os/system that selects what boots, "current" or "previous".
    """

    __slots__ = ("kind", "file_system", "path", "generation")

    def __init__(
        self, kind: str, file_system: FileSystem, path: str, generation: str = "current"
    ) -> None:
        self.kind = kind
        self.file_system = file_system
        self.path = path
        self.generation = generation


class Search:
    """What was seen so far, and the devices whose drivers were loaded.

    uuid: of the one file system that GRUB read, whatever its label; "": the label decides.
    """

    def __init__(self, uuid: str = "", say: Say = lambda _: None) -> None:
        self.uuid = uuid
        self._say = say
        self.seen: dict[str, str] = {}
        # file systems with a k3OS label, for a person who must choose
        self.labelled: dict[str, FileSystem] = {}
        self._loaded: set[str] = set()
        self._left_out: set[str] = set()
        self._volumes: Volumes | None = None

    def load_drivers(self) -> None:
        """Load modules for devices that appeared since the last call, and for those behind them."""
        for _ in range(MOST_ROUNDS):
            aliases = kernelmodules.device_aliases() - self._loaded
            names = sorted(aliases) if self._loaded else [*ALWAYS, *sorted(aliases)]
            self._loaded |= aliases
            if names:
                with timeline.step("load drivers"):
                    kernelmodules.load(names)
            if not aliases:
                break

    def look(self, kinds: tuple[str, ...] = KINDS, *, own_kernel: bool = False) -> Medium | None:
        """Probe all devices; the first of kinds is preferred. Raises UserError for two candidates.

        own_kernel: an installed disk counts only if it has the running kernel; otherwise the ISO's
        kernel merely sees a disk that was not booted.
        """
        candidates = self._probe_all()
        medium = None
        if "disk" not in kinds[:1]:
            medium = self._choose(candidates, kinds, own_kernel)
        members = [each for each in candidates if each.kind in (LVM_MEMBER, RAID_MEMBER)]
        if medium is None and members and "disk" in kinds:
            self._show_volumes(members)
            candidates = self._probe_all()
        return medium or self._choose(candidates, kinds, own_kernel)

    def tidy(self) -> None:
        """Stop what was started only to look inside."""
        if self._volumes is not None:
            self._volumes.tidy()

    def _choose(
        self, candidates: list[FileSystem], kinds: tuple[str, ...], own_kernel: bool
    ) -> Medium | None:
        for kind in kinds:
            if kind == "netboot":
                return carried_medium()
            needed = OWN_KERNEL.format(os.uname().release)
            markers = (MARKER, needed) if own_kernel and kind == "disk" else (MARKER,)
            named = [each for each in candidates if self._is_named(kind, each)]
            if len(named) > 1:
                from functools import partial

                from k3os.boot import twins

                named = twins.distinct(named)
            if len(named) > 1:
                look = partial(self._mounted, markers=markers)
                named = twins.right_one(named, look, self.uuid)
            for file_system in named:
                if self._accept(file_system, markers):
                    return Medium(kind, file_system, MOUNTED_AT)
        return None

    def _show_volumes(self, members: list[FileSystem]) -> None:
        if self._volumes is None:
            from k3os.system.volumes import Volumes

            self._volumes = Volumes(self._say)
        with timeline.step("RAID and LVM"):
            try:
                self._volumes.show(members, lambda each: self._is_named("disk", each))
            except UserError:
                raise
            except Exception as error:
                self._leave_out("RAID", "RAID and LVM", repr(error))
        self.seen |= self._volumes.problems

    def _probe_all(self) -> list[FileSystem]:
        return [fs for name in block_devices() if (fs := self._probe(name)) is not None]

    def _is_named(self, kind: str, file_system: FileSystem) -> bool:
        if self.uuid and kind == kind_of(self.uuid):
            return file_system.uuid == self.uuid
        return file_system.label == LABELS[kind]

    def _probe(self, name: str) -> FileSystem | None:
        try:
            file_system = probe(f"/dev/{name}")
        except OSError as error:
            self.seen[name] = f"/dev/{name} ({error.strerror})"
            return None
        except Exception as error:  # whatever its header triggers, it is not what we boot from
            self._leave_out(name, f"/dev/{name}", repr(error))
            return None
        self.seen[name] = str(file_system)
        self.labelled.pop(name, None)
        if file_system.label in LABELS.values():
            self.labelled[name] = file_system
        return file_system

    def _leave_out(self, name: str, what: str, reason: str) -> None:
        self.seen[name] = f"{what}: {reason}"
        if name not in self._left_out:
            self._left_out.add(name)
            self._say(f"{what} is left out: {reason}")

    def _mounted(self, file_system: FileSystem, markers: tuple[str, ...]) -> str | None:
        """Where it is mounted after a look, None if it is not a medium."""
        return MOUNTED_AT if self._accept(file_system, markers) else None

    def _accept(self, file_system: FileSystem, markers: tuple[str, ...]) -> bool:
        """Whether it is a medium; if so, it stays mounted."""
        os.makedirs(MOUNTED_AT, exist_ok=True)
        name = file_system.device.rpartition("/")[2]
        try:
            mounts.mount(file_system.device, MOUNTED_AT, file_system.kind, mounts.MS_RDONLY)
        except OSError as error:
            self.seen[name] = f"{file_system}: {error.strerror}"
            return False
        missing = [path for path in markers if not os.path.exists(f"{MOUNTED_AT}/{path}")]
        if not missing:
            return True
        mounts.unmount(MOUNTED_AT)
        self.seen[name] = f"{file_system} without {missing[0]}"
        return False


def kind_of(uuid: str) -> str:
    """The kind of medium with such a UUID: an ISO's is a date, a FAT's has eight digits."""
    return "iso" if _UUID_OF_ISO.fullmatch(uuid) else "disk"


def kinds_of(mode: str) -> tuple[str, ...]:
    """The kinds of media that a mode boots from ("" for no mode), in order of preference.

    An initrd that carries the system replaces the ISO: a CD, maybe of another version, is ignored.
    """
    kinds = KINDS_OF_MODE.get(mode, KINDS)
    if not os.path.exists(f"{CARRIED}/{MARKER}"):
        return kinds
    return tuple("netboot" if kind == "iso" else kind for kind in kinds)


def carried_medium() -> Medium:
    """The system in the initrd, visible at the usual mount point; it is not copied.

    Raises UserError if the kernel could not unpack all of it.
    """
    if not os.path.exists(CARRIED_WHOLE):
        raise UserError(
            "the initrd was not unpacked to its end: the machine has too little memory for it, or "
            "the download of it was cut off",
            "`dmesg` says more; docs/how-to/network-boot.md#memory",
        )
    os.makedirs(MOUNTED_AT, exist_ok=True)
    mounts.bind_read_only(CARRIED, MOUNTED_AT)
    return Medium("netboot", FileSystem("the initrd", "network boot", ""), MOUNTED_AT)


def foreign_root(path: str) -> Medium:
    """The root of the system whose kernel runs, mounted at path, with a /k3os in it."""
    device, kind = path, ""
    for source, target, found in mounts.mounted():
        if target == path:
            device, kind = source, found
    return Medium("overlay", FileSystem(device, kind, ""), path)


def find(
    say: Say,
    *,
    kinds: tuple[str, ...] = KINDS,
    patience: float = 0,
    timeout: float = WAIT_SECONDS,
    uuid: str = "",
    monotonic: Callable[[], float] = time.monotonic,
) -> Medium:
    """Wait for a medium (seconds), loading drivers as devices appear.

    kinds: in order of preference. patience: seconds in which only the first of them is accepted.
    uuid: that of the medium that is wanted. Raises UserError that lists every device seen and its
    contents.
    """
    search = Search(uuid, say)
    start = monotonic()
    end, patient_until = start + timeout, start + min(patience, timeout)
    announced = start + FIRST_ANNOUNCEMENT
    names = [name_of(kind, uuid) for kind in kinds]
    own_kernel = kinds[0] == "iso" or "netboot" in kinds
    while True:
        search.load_drivers()
        now = monotonic()
        accepted = kinds[:1] if now < patient_until else kinds
        if medium := search.look(accepted, own_kernel=own_kernel):
            search.tidy()
            return medium
        if now >= end:
            search.tidy()
            raise UserError(
                f"no k3OS boot medium was found in {timeout:.0f} s: "
                + (f"neither {' nor '.join(names)}" if len(names) > 1 else f"no {names[0][2:]}"),
                describe(search.seen)
                + describe_others(search, kinds)
                + (FROM_THE_NETWORK if "iso" in kinds and not uuid else ""),
            )
        if now >= announced:
            wanted = names[0] if now < patient_until else " or ".join(names)
            left = (patient_until if now < patient_until else end) - now
            say(
                f"waiting {left:.0f} s more for {wanted}; "
                f"seen: {', '.join(search.seen.values()) or 'no disk'}"
            )
            announced = now + ANNOUNCE_EVERY
        time.sleep(POLL_SECONDS)


def name_of(kind: str, uuid: str) -> str:
    """What is being looked for, in words for a person."""
    if not uuid or kind != kind_of(uuid):
        return NAMES[kind]
    what = "a disk" if kind == "disk" else "a CD or USB stick"
    return f"{what} with the UUID {uuid}"


def describe_others(search: Search, kinds: tuple[str, ...]) -> str:
    """The k3OS media that are present, but not the one that GRUB named."""
    if not search.uuid or kind_of(search.uuid) not in kinds or not search.labelled:
        return ""
    listed = "; ".join(f"{each}, UUID {each.uuid}" for each in search.labelled.values())
    return (
        f"\nGRUB read the file system with the UUID {search.uuid}, which is not there. To boot "
        f"another k3OS press `e` in the menu and write its UUID in {MEDIUM_UUID}=: {listed}"
    )


def describe(seen: dict[str, str]) -> str:
    """The remedy: what was seen, in plain words."""
    if not seen:
        return (
            "the kernel sees no disk at all: check the cables and the controller's mode in the "
            "firmware (AHCI rather than RAID), and `dmesg` for its driver"
        )
    return "seen: " + "; ".join(sorted(seen.values()))
