"""Activates RAID arrays and logical volumes that hold what this machine boots from, before that is
looked for.

It is only imported if a device carries a member of one. Nothing is started just to see what it is:
the first 4 KiB of a file system are contiguous on a member, and are read there. An array is only
started for a look if no member has its beginning (parity, a disk is missing) or if it holds
physical volumes of LVM; nothing writes to it then, and if it is not wanted it is stopped again: an
installation to these disks must find them free.

The readers are our own (lvm.py, raid.py, blockdev.py), not Debian's lvm2 and mdadm. Those would add
2.6 MB to the initrd of 20.5 MB, 8.3 MB unpacked (lvm, mdadm and 15 libraries, libsystemd and
libgcrypt among them; packed like the initrd), while ours take 30 kB; and one process for each check
that a boot makes every 0.1 s, each scanning every disk. Ours also only show what a disk claims to
be: `vgchange -ay` and `mdadm --assemble --scan` start a stranger's volumes before anyone has looked
into them, which must not happen. Debian's blkid has probers for some 70 formats, in C, as root; the
boot needs five of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from k3os.errors import UserError
from k3os.system import devicemapper, lvm, raid
from k3os.system.blockdev import (
    LVM_MEMBER,
    RAID_MEMBER,
    BadHeader,
    FileSystem,
    holders,
    peek,
    probe,
)
from k3os.system.console import Say

# how long to wait for a missing disk before an array is started without it; a disk that comes
# later is stale, and only a user with mdadm can add it again
DEGRADED_SECONDS = 20

Wanted = Callable[[FileSystem], bool]


class Volumes:
    """What was tried and activated so far. problems: device or volume to why it was not."""

    def __init__(self, say: Say, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.problems: dict[str, str] = {}
        self._say = say
        self._monotonic = monotonic
        self._first_seen: dict[bytes, float] = {}
        self._done: set[str] = set()
        self._shown: dict[str, str] = {}
        self._groups: dict[str, list[lvm.Volume]] = {}
        self._on_arrays: dict[str, list[str]] = {}

    def show(self, members: list[FileSystem], wanted: Wanted) -> None:
        """Start what is complete among the members and carries what is wanted. Raises UserError if
        two of them claim to be the same."""
        free = [each for each in members if not holders(each.device)]
        physical = [each.device for each in free if each.kind == LVM_MEMBER]
        arrays: dict[bytes, list[raid.Member]] = {}
        for each in free:
            if each.kind == RAID_MEMBER:
                with self._noted(each.device):
                    _sort(each.device, arrays)
        for identity, array in arrays.items():
            started = self._first_seen.setdefault(identity, self._monotonic())
            degraded = self._monotonic() - started >= DEGRADED_SECONDS
            if array[0].device in self._done or (len(array) < array[0].active and not degraded):
                continue
            with self._noted(array[0].device):
                if _may_hold(array, wanted):
                    self._start_array(array, wanted)
        self._show_groups(sorted({*physical, *self._on_arrays}), wanted)

    def tidy(self) -> None:
        """Stop arrays that were started for their physical volumes but hold nothing in use."""
        for path in list(self._on_arrays):
            if not holders(path):
                with self._noted(path):
                    raid.stop(path)
                self._done -= set(self._on_arrays.pop(path))

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        """A fault in one device, of any kind, must not hide the others."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            text = str(error) if isinstance(error, (OSError, BadHeader)) else repr(error)
            if name not in self.problems:
                verb = "are" if " and " in name else "is"
                self._say(f"{name} {verb} left out: {text}")
            self.problems[name] = f"{name}: {text}"

    def _start_array(self, members: list[raid.Member], wanted: Wanted) -> None:
        devices = [member.device for member in members]
        self._done |= set(devices)
        path = raid.start(members)
        file_system = probe(path)
        if file_system.kind == LVM_MEMBER:
            self._on_arrays[path] = devices
        elif not wanted(file_system):
            raid.stop(path)
            return
        if len(members) < members[0].active:
            self._say(
                f"{path} runs without {members[0].active - len(members)} of its "
                f"{members[0].active} disks, on {', '.join(devices)} alone"
            )

    def _show_groups(self, physical: list[str], wanted: Wanted) -> None:
        groups: dict[str, list[str]] = {}
        devices: dict[str, str] = {}
        twice: set[str] = set()
        for device in physical:
            with self._noted(device):
                name, text = lvm.read_physical(device)
                if name in devices:
                    twice.add(name)
                    raise BadHeader(f"it is the same physical volume as {devices[name]}")
                devices[name] = device
                groups.setdefault(text, []).append(device)
        # do not guess which of the two is the right one
        devices = {name: path for name, path in devices.items() if name not in twice}
        # a physical volume that was missing for a while has outdated metadata
        for text in sorted(filter(None, groups), key=lvm.age, reverse=True):
            with self._noted(" and ".join(groups[text])):
                self._show_volumes(text, devices, wanted)

    def _show_volumes(self, text: str, devices: dict[str, str], wanted: Wanted) -> None:
        if text not in self._groups:
            self._groups[text] = []  # read only once, even if that fails
            self._groups[text] = lvm.volumes(text)
        for volume in self._groups[text]:
            if volume.problem:
                self.problems[volume.name] = f"{volume.name}: {volume.problem}"
                continue
            try:
                targets, (device, offset) = volume.targets(devices), volume.begin(devices)
            except KeyError:
                self.problems[volume.name] = f"{volume.name}: a physical volume of it is missing"
                continue
            self.problems.pop(volume.name, None)
            if self._shown.get(volume.name) == volume.uuid or not wanted(peek(device, offset)):
                continue
            if volume.name in self._shown:
                raise UserError(
                    f"two volumes called {volume.name} hold what this machine may boot from; the "
                    f"second begins on {device}",
                    "take one of the disks away",
                )
            self._shown[volume.name] = volume.uuid
            if not wanted(probe(devicemapper.create(volume.name, volume.uuid, targets))):
                devicemapper.remove(volume.name)


def _sort(device: str, arrays: dict[bytes, list[raid.Member]]) -> None:
    member = raid.read_member(device)
    if member is None:
        raise BadHeader("RAID metadata 0.90 is not supported, only 1.x")
    arrays.setdefault(member.array, []).append(member)


def _may_hold(members: list[raid.Member], wanted: Wanted) -> bool:
    """Whether an array may hold what is wanted, judging by the start of its members."""
    first = members[0]
    if any(each.is_reshaped for each in members):
        return True
    # the data of a missing disk is in the others' parity, or somewhere on them
    if first.level in raid.SPREAD and len(members) < first.active:
        return True
    begins = [peek(each.device, each.data) for each in members]
    return any(each.kind == LVM_MEMBER or wanted(each) for each in begins)
