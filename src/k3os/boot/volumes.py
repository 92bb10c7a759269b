"""RAID arrays and logical volumes that hold a K3OS_STATE: shown before one is looked for.

It is imported only where a device carries a member of one. Arrays and volumes without the
label are taken down again: whoever installs to their disks must find them free.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from k3os.boot import lvm
from k3os.system import devicemapper, raid
from k3os.system.blockdev import LVM_MEMBER, RAID_MEMBER, FileSystem, holders, probe

# how long a missing disk of an array is waited for before it is started without it; a disk that
# comes later is stale, and only a person with mdadm can add it again
DEGRADED_SECONDS = 20


class Volumes:
    """What was shown and tried so far. problems: device or volume to why it is not shown."""

    def __init__(
        self, say: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.problems: dict[str, str] = {}
        self._say = say
        self._monotonic = monotonic
        self._first_seen: dict[bytes, float] = {}
        self._done: set[str] = set()

    def show(self, members: list[FileSystem], wanted: Callable[[FileSystem], bool]) -> None:
        """Start what is complete among the members and carries what is wanted."""
        free = [each for each in members if not holders(each.device)]
        physical = [each.device for each in free if each.kind == LVM_MEMBER]
        arrays: dict[bytes, list[raid.Member]] = {}
        for each in free:
            if each.kind == RAID_MEMBER:
                with self._noted(each.device):
                    _sort(each.device, arrays)
        for identity, found in arrays.items():
            started = self._first_seen.setdefault(identity, self._monotonic())
            degraded = self._monotonic() - started >= DEGRADED_SECONDS
            if found[0].device in self._done or (len(found) < found[0].active and not degraded):
                continue
            with self._noted(found[0].device):
                physical += self._start_array(found, wanted)
        groups: dict[str, dict[str, str]] = {}
        for device in physical:
            with self._noted(device):
                name, text = lvm.read_physical(device)
                groups.setdefault(text, {})[name] = device
        devices = {name: path for group in groups.values() for name, path in group.items()}
        # a volume that was missing for a while has an old opinion
        for text in sorted(filter(None, groups), key=lvm.age, reverse=True):
            with self._noted("LVM"):
                self._show_volumes(text, devices, wanted)

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        """What is wrong with one device must not hide the others."""
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.problems[name] = f"{name}: {error}"

    def _start_array(
        self, members: list[raid.Member], wanted: Callable[[FileSystem], bool]
    ) -> list[str]:
        """The array's path when it is a physical volume of LVM."""
        self._done |= {member.device for member in members}
        path = raid.start(members)
        if len(members) < members[0].active:
            self._say(
                f"{path} runs without {members[0].active - len(members)} of its "
                f"{members[0].active} disks, on {', '.join(each.device for each in members)} alone"
            )
        found = probe(path)
        if found.kind == LVM_MEMBER:
            return [path]
        if not wanted(found):
            raid.stop(path)
        return []

    def _show_volumes(
        self, text: str, devices: dict[str, str], wanted: Callable[[FileSystem], bool]
    ) -> None:
        for volume in lvm.volumes(text):
            if volume.name in self._done:
                continue
            if volume.problem:
                self.problems[volume.name] = f"{volume.name}: {volume.problem}"
                continue
            try:
                targets = volume.targets(devices)
            except KeyError:
                self.problems[volume.name] = f"{volume.name}: a physical volume of it is missing"
                continue
            self._done.add(volume.name)
            self.problems.pop(volume.name, None)
            if not wanted(probe(devicemapper.create(volume.name, volume.uuid, targets))):
                devicemapper.remove(volume.name)


def _sort(device: str, arrays: dict[bytes, list[raid.Member]]) -> None:
    member = raid.read_member(device)
    if member is None:
        raise ValueError("RAID metadata 0.90 is not supported, only 1.x")
    arrays.setdefault(member.array, []).append(member)
