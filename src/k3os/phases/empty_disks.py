"""k3os.disks: format an empty disk, once; never touch one that contains anything.

RECORD (JSON, label -> {filesystem, uuid, device, made}) stores which file system each label got.
It is written before mkfs starts, and `made` afterwards. After a power cut, an unfinished mkfs has
left no signature (mke2fs and mkswap write theirs last, after an fsync) or one of XFS that is marked
as unfinished: on that same disk it is started again. A complete file system is used, never
recreated.

A label that has a file system is not formatted a second time, whatever disk has its name now: names
such as /dev/vdb change, and an empty disk may belong to somebody else (Ceph uses empty ones).

mke2fs(8), mkfs.xfs(8), mkswap(8).
"""

from __future__ import annotations

import os
import time

from k3os.errors import UserError
from k3os.paths import STATE
from k3os.phases.mount_units import DEVICE_SECONDS
from k3os.system.files import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from k3os.phases.node import Node
    from k3os.system.disk_content import Signature
    from k3os.system.disks import Device

RECORD = f"{STATE}/disks.json"
POLL_SECONDS = 0.1
SETTLE_SECONDS = 20
# discarding all of an empty disk takes long and gains nothing; fstrim does it over time
MAKE = {
    "ext4": "mke2fs -q -F -t ext4 -m 1 -E nodiscard -L {label} -U {uuid}",
    "xfs": "mkfs.xfs -q -f -K -L {label} -m uuid={uuid}",
    "swap": "mkswap -q -f -L {label} -U {uuid}",
}
ELSEWHERE = "`lsblk -o NAME,SIZE,SERIAL,FSTYPE,LABEL,UUID` shows which disks there are"


class Wanted:
    """An entry of k3os.disks: the device as written there, its file system and label."""

    __slots__ = ("device", "kind", "label")

    def __init__(self, device: str, kind: str, label: str) -> None:
        self.device = device
        self.kind = kind
        self.label = label

    def __str__(self) -> str:
        return f"{self.kind} {self.label!r}"


class Seen:
    """What was found. device: the name's target, "" if missing; in_use: why it must not be written
    to; marks: signatures on it; is_blank; is_unfinished: an XFS whose mkfs did not finish;
    identity: the same for the same disk; others: signatures with this label, or the recorded UUID,
    on other devices; size: bytes."""

    __slots__ = (
        *("device", "identity", "in_use", "is_blank", "is_unfinished", "marks", "others", "size"),
    )

    def __init__(
        self,
        device: str = "",
        marks: list[Signature] | None = None,
        others: list[Signature] | None = None,
        *,
        in_use: str = "",
        is_blank: bool = False,
        is_unfinished: bool = False,
        identity: str = "",
        size: int = 0,
    ) -> None:
        self.device = device
        self.marks = marks or []
        self.others = others or []
        self.in_use = in_use
        self.is_blank = is_blank
        self.is_unfinished = is_unfinished
        self.identity = identity
        self.size = size


def decide(wanted: Wanted, record: dict[str, Any], seen: Seen) -> str:
    """The UUID of the file system to use; "" to create one; the record's, if `made` is False, to
    create that one again. Pure. Raises UserError with the reason if none of these is possible."""
    uuid, is_made = str(record.get("uuid") or ""), record.get("made") is True
    marks = [*seen.marks, *seen.others]
    if uuid and is_made and any(mark.uuid == uuid for mark in marks):
        return uuid
    if _is_half_made(wanted, record, seen):
        return uuid
    if len(seen.marks) == 1 and _is_it(wanted, seen.marks[0]) and not seen.is_unfinished:
        return seen.marks[0].uuid
    is_empty = bool(seen.device) and not seen.marks and seen.is_blank
    carriers = [mark for mark in seen.others if mark.label == wanted.label]
    if len(carriers) == 1 and _is_it(wanted, carriers[0]) and not is_empty:
        return carriers[0].uuid
    if carriers:
        listed = " and ".join(f"{mark.device} ({mark.kind})" for mark in carriers)
        hint = "give this one another label, or write that device"
        raise UserError(f"the label {wanted.label} is that of {listed}", hint)
    if is_made:
        # an empty disk in its place may be somebody else's, and a full one must not look like ours
        hint = "bring its disk back; to format another one instead, give the entry another label"
        raise UserError(f"{wanted}, which was made before (UUID {uuid}), is on no disk", hint)
    if not seen.device:
        raise UserError(f"{wanted.device} is not there", ELSEWHERE)
    _check_empty(wanted, seen)
    return ""


def _is_it(wanted: Wanted, mark: Signature) -> bool:
    return (mark.kind, mark.label) == (wanted.kind, wanted.label) and bool(mark.uuid)


def _is_half_made(wanted: Wanted, record: dict[str, Any], seen: Seen) -> bool:
    """Whether a power cut interrupted our own mkfs on that disk."""
    begun = record.get("made") is False and record.get("filesystem") == wanted.kind
    same = bool(seen.device) and record.get("device") == seen.identity and not seen.in_use
    ours = [(wanted.kind, record.get("uuid"))] if seen.is_unfinished else []
    return begun and same and [(mark.kind, mark.uuid) for mark in seen.marks] == ours


def _check_empty(wanted: Wanted, seen: Seen) -> None:
    from k3os.system.disk_content import emptying

    if seen.in_use:
        raise UserError(seen.in_use, "write the name of a disk that nobody uses")
    held = ", ".join(map(str, seen.marks)) if seen.marks else "data of no format that is known"
    held = f"{held}, unfinished" if seen.is_unfinished else held
    if seen.marks or not seen.is_blank:
        message = f"{seen.device} is left as it is: it holds {held}, not {wanted}"
        hint = f"if nothing of it is needed: `{emptying(seen.device, seen.size)}`"
        if len(seen.marks) == 1 and seen.marks[0].kind == wanted.kind and seen.marks[0].label:
            hint = f"write `label: {seen.marks[0].label}` to use it; {hint}"
        raise UserError(message, hint)


def identity(device: Device) -> str:
    """Distinguishes a disk from another one that has its name after a reboot."""
    return f"{device.serial or device.model} {device.number} {device.size}"


def look(wanted: Wanted, record: dict[str, Any], patience: Patience) -> Seen:
    """What is there once the device, or the recorded file system, has appeared, or time is up.
    Raises UserError, OSError."""
    from k3os.system import disk_content, disks

    uuid = str(record.get("uuid") or "")
    while not os.path.exists(wanted.device) and not patience.is_over():
        if uuid and os.path.exists(f"/dev/disk/by-uuid/{uuid}"):
            break
        time.sleep(POLL_SECONDS)
    path = ""
    seen = Seen()
    if os.path.exists(wanted.device):
        device = disks.look_up(wanted.device)
        path = device.path
        marks = disk_content.signatures(path)
        seen = Seen(
            path,
            marks,
            in_use=disks.in_use(device),
            is_blank=not marks and disk_content.is_blank(path),
            is_unfinished=disk_content.is_unfinished(path),
            identity=identity(device),
            size=device.size,
        )
    if not any(mark.uuid == uuid for mark in seen.marks if uuid):
        found = disk_content.carriers("LABEL", wanted.label)
        found += disk_content.carriers("UUID", uuid) if uuid else []
        seen.others = list({each.device: each for each in found if each.device != path}.values())
    return seen


def settle(wanted: Wanted, node: Node, patience: Patience) -> tuple[str, bool]:
    """The UUID of an entry's file system, and whether it has just been created. Raises UserError,
    CommandError, OSError."""
    record = read_record(node).get(wanted.label, {})
    seen = look(wanted, record, patience)
    uuid = decide(wanted, record, seen)
    known = {"filesystem": wanted.kind, "uuid": uuid, "device": seen.identity, "made": True}
    is_half = bool(uuid) and uuid == record.get("uuid") and record.get("made") is False
    if uuid and not is_half:
        if record.get("uuid") != uuid or record.get("made") is not True:
            _remember(node, wanted.label, known)
        return uuid, False
    if not uuid:
        known["uuid"] = uuid = text_of("/proc/sys/kernel/random/uuid")
    _remember(node, wanted.label, {**known, "made": False})
    make(wanted, seen.device, uuid)
    _remember(node, wanted.label, known)
    _let_udev_look(seen.device)
    return uuid, True


def _let_udev_look(device: str) -> None:
    """udev may have read it before mkfs had finished. Raises CommandError."""
    from k3os.system.run import CommandError, run

    try:
        command = ["udevadm", "trigger", "--action=change", "--settle", device]
        run(command, timeout=SETTLE_SECONDS, check=False)
    except CommandError as error:
        if error.returncode != 127:  # there is no udev
            raise


def make(wanted: Wanted, device: str, uuid: str) -> None:
    """Format a device; everything is on the disk when this returns. Raises CommandError, UserError,
    OSError."""
    from k3os.system.disk_content import signatures
    from k3os.system.run import run

    words = [word.format(label=wanted.label, uuid=uuid) for word in MAKE[wanted.kind].split()]
    run([*words, device])
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    found = signatures(device)
    if len(found) != 1 or not _is_it(wanted, found[0]) or found[0].uuid != uuid:
        listed = ", ".join(map(str, found)) or "nothing"
        raise UserError(f"{device} was formatted as {wanted}, and holds {listed}", "is it sound?")


def read_record(node: Node) -> dict[str, dict[str, Any]]:
    """label -> its record; {} if it cannot be read."""
    from k3os.system.files import read_object

    found = read_object(node.path(RECORD))
    return {label: entry for label, entry in found.items() if isinstance(entry, dict)}


def _remember(node: Node, label: str, entry: dict[str, Any]) -> None:
    import json

    from k3os.system.files import atomic_write

    data = json.dumps({**read_record(node), label: entry}, indent=1).encode() + b"\n"
    os.makedirs(os.path.dirname(node.path(RECORD)), exist_ok=True)
    atomic_write(node.path(RECORD), data, mode=0o600, sync=True)


class Patience:
    """The time for devices to appear: shared by all, from the first one that is missing."""

    __slots__ = ("_end",)

    def __init__(self) -> None:
        self._end = 0.0

    def is_over(self) -> bool:
        self._end = self._end or time.monotonic() + DEVICE_SECONDS
        return time.monotonic() >= self._end
