"""k3os.disks and k3os.mounts: what is formatted, mounted and used as swap before k3s starts.

The boot phase writes units for what is known by then (mount_units.py), and systemd mounts them
while the network comes up. The runtime phase, when udev has named the disks and cloud data is
available, formats empty disks (empty_disks.py), mounts what is left, and reports what is missing.
Before systemd there would be no names, and checking a large file system would delay everything.

Nothing is written below a mount point until it is mounted (Node.awaited): the data would be hidden,
or fill the wrong disk. A changed configuration takes effect at the next boot: what is mounted may
be in use.
"""

from __future__ import annotations

import os

from k3os.config.key import BOOT, RUNTIME
from k3os.config.storage import in_conflict, is_below, is_network, option_texts
from k3os.config.storage_keys import DISKS, MOUNTS
from k3os.config.value import field_text, numbered
from k3os.errors import UserError
from k3os.phases.actions import DONE, LATER, UNCHANGED, Action, WriteFile
from k3os.phases.changed import since_boot
from k3os.phases.empty_disks import Patience, Wanted, read_record, settle
from k3os.phases.k3s import data_directory
from k3os.phases.mount_units import (
    K3S_DROP_IN,
    TRIM_DROP_IN,
    Mount,
    device_of,
    files_of,
    holds_data,
    k3s_text,
    trim_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.config.value import Value
    from k3os.phases.node import Node

MOUNTINFO, SWAPS = "/proc/self/mountinfo", "/proc/swaps"
NOT_HERE = "not on this machine"
NO_DISK = "its disk cannot be used"
START_K3S = "sudo systemctl start k3s"
# enough for a check of the file system
MOUNT_SECONDS = 900
LOG_LINES = 20


def plan(config: Config, node: Node) -> list[Action]:
    if node.mode == "install":  # an empty disk may be the one to install to
        return []
    changed = since_boot(config, node) if node.phase == RUNTIME else []
    uses, mounts = _wanted(config, node, changed)
    actions = [action for mount in mounts if mount.what for action in files_of(mount)]
    data = data_directory(config)
    # entries that were removed stay until the next boot, and so does k3s' dependency on them
    if mounts and not {DISKS, MOUNTS}.intersection(changed):
        key, place = mounts[0].key, mounts[0].place
        actions.append(WriteFile(key, place, K3S_DROP_IN, k3s_text(mounts, data).encode()))
        ours = [mount.where for mount in mounts if mount.key.startswith(DISKS)]
        if ours:
            actions.append(WriteFile(key, place, TRIM_DROP_IN, trim_text(ours).encode()))
    if node.phase == BOOT:
        node.awaited = [mount.where for mount in mounts]
        return actions
    actions = [*uses, *actions]
    if mounts:
        actions.append(MountAll(mounts, list(actions)))
        actions += [Mounted(mount, holds_data(mount.where, data)) for mount in mounts]
    return actions


def _wanted(config: Config, node: Node, changed: list[str]) -> tuple[list[Action], list[Mount]]:
    """An action for each disk to find, and the mounts. changed: keys to leave out."""
    left_out = in_conflict(config.values)
    record, patience = read_record(node), Patience()
    uses: list[Action] = []
    mounts: list[Mount] = []
    for key in (DISKS, MOUNTS):
        for number, item in numbered(config.get(key) if key not in changed else None):
            if item in left_out:
                continue
            name = f"{key}[{number}]"
            mount = _mount_of(name, item, record)
            if key == DISKS:
                uses.append(UseDisk(name, item, mount, patience))
            mounts += [mount] if mount is not None else []
    return uses, mounts


def _mount_of(name: str, item: Value, record: dict[str, dict[str, object]]) -> Mount | None:
    """The mount of an entry, None for swap. A disk whose file system is not known yet has no
    `what`."""
    entry = item.data
    assert isinstance(entry, dict)
    options = option_texts(entry)
    if name.startswith(MOUNTS):
        what, where = field_text(entry, "what"), field_text(entry, "where")
        kind, network = field_text(entry, "type"), is_network(entry)
        if network and not what.startswith("/dev/") and "=" not in what:
            kind = kind or "nfs"
        return Mount(
            name, item.place, device_of(what), where, kind, options, is_network=network, named=what
        )
    kind, label, where = (field_text(entry, each) for each in ("filesystem", "label", "mount"))
    if kind == "swap":
        return None
    found = record.get(label, {})
    uuid = str(found.get("uuid") or "") if found.get("made") is True else ""
    what = device_of(f"UUID={uuid}") if uuid else ""
    return Mount(name, item.place, what, where, kind, options, named=label)


class UseDisk(Action):
    """Finds or formats the disk of an entry; then writes its units, or turns it on as swap."""

    __slots__ = ("mount", "options", "patience", "wanted")

    def __init__(self, key: str, item: Value, mount: Mount | None, patience: Patience) -> None:
        super().__init__(key, item.place)
        entry = item.data
        assert isinstance(entry, dict)
        self.wanted = Wanted(*(field_text(entry, n) for n in ("device", "filesystem", "label")))
        self.mount = mount
        self.options = option_texts(entry)
        self.patience = patience

    def describe(self) -> str:
        return f"use {self.wanted.device} as {self.wanted}"

    def perform(self, node: Node) -> str:
        from k3os.system.run import CommandError

        if not node.is_real:
            self.note = NOT_HERE
            return LATER
        if self._is_in_use(node):
            return UNCHANGED
        if self.mount is not None:
            self.mount.what = ""
        try:
            uuid, is_new = settle(self.wanted, node, self.patience)
            what = device_of(f"UUID={uuid}")
            result = DONE if is_new else UNCHANGED
            self.note = f"it was empty, and is formatted: UUID {uuid}" if is_new else ""
            if self.mount is None:
                return DONE if self._swap_on(what) or is_new else UNCHANGED
        except CommandError as error:
            raise UserError(str(error)) from error
        self.mount.what = what
        written = [action.perform(node) for action in files_of(self.mount)]
        return DONE if DONE in written else result

    def _is_in_use(self, node: Node) -> bool:
        """Whether the recorded file system or swap is already in use."""
        from k3os.system.disks import swaps

        known = read_record(node).get(self.wanted.label, {})
        if known.get("made") is not True:
            return False
        device = os.path.realpath(f"/dev/disk/by-uuid/{known.get('uuid')}")
        if self.mount is None:
            return device in swaps(node.path(SWAPS))
        return mounted(node).get(self.mount.where) == device

    def _swap_on(self, device: str) -> bool:
        """Turn it on; whether it was off before."""
        from k3os.system.disks import swaps
        from k3os.system.run import run

        if os.path.realpath(device) in swaps():
            return False
        options = ["--options", ",".join(self.options)] if self.options else []
        run(["swapon", *options, device], timeout=60)
        return True


def mounted(node: Node) -> dict[str, str]:
    """Mount point -> topmost source."""
    from k3os.system.disks import mounts

    return {each.target: each.source for each in mounts(node.path(MOUNTINFO))}


class MountAll(Action):
    """Starts the units of what is not mounted yet, all at once. Mounted reports failures. after:
    the actions that wrote units."""

    __slots__ = ("after", "mounts")

    def __init__(self, mounts: list[Mount], after: list[Action]) -> None:
        super().__init__(mounts[0].key.partition("[")[0], mounts[0].place)
        self.mounts = mounts
        self.after = after

    def describe(self) -> str:
        return f"mount {', '.join(mount.where for mount in self.mounts)}"

    def perform(self, node: Node) -> str:
        from k3os.system.run import CommandError, run

        if not node.is_real:
            self.note = NOT_HERE
            return LATER
        there = mounted(node)
        missing = [mount for mount in self.mounts if mount.what and mount.where not in there]
        written = any(action.result == DONE for action in self.after)
        try:
            if written:
                run(["systemctl", "daemon-reload"], timeout=60)
            if missing:
                command = ["systemctl", "start", *(mount.unit for mount in missing)]
                run(command, timeout=MOUNT_SECONDS, check=False)
        except CommandError as error:
            raise UserError(str(error)) from error
        return DONE if missing or written else UNCHANGED


class Mounted(Action):
    """Whether something is mounted where it should be. of_k3s: whether k3s waits for it."""

    __slots__ = ("mount", "of_k3s")

    def __init__(self, mount: Mount, of_k3s: bool) -> None:
        super().__init__(mount.key, mount.place)
        self.mount = mount
        self.of_k3s = of_k3s

    def describe(self) -> str:
        return f"look whether {self.mount.named} is mounted at {self.mount.where}"

    def perform(self, node: Node) -> str:
        if not node.is_real:
            self.note = NOT_HERE
            return LATER
        if self.mount.where in mounted(node):
            return UNCHANGED
        node.awaited = [*node.awaited, self.mount.where]
        if not self.mount.what and not self.of_k3s:
            self.note = NO_DISK
            return LATER
        why, again = why_not(self.mount) if self.mount.what else NO_DISK, "sudo k3os config"
        if self.of_k3s:
            why, again = f"{why}; k3s does not start without it", f"{again}; {START_K3S}"
        raise UserError(why, f"`{again}` tries again")


def why_not(mount: Mount) -> str:
    """Why something is not mounted, in words."""
    if mount.what.startswith("/dev/") and not os.path.exists(mount.what):
        return f"{mount.named} is not there"
    if mount.checker and _has_failed(mount.checker):
        return f"its file system needs a person: `sudo fsck -y {mount.what}`"
    return _last_words(mount.unit) or f"see `systemctl status {mount.unit}`"


def _has_failed(unit: str) -> bool:
    from k3os.system.run import CommandError
    from k3os.system.units import properties

    try:
        return properties(unit, "ActiveState").get("ActiveState") == "failed"
    except CommandError:
        return False


def _last_words(unit: str) -> str:
    """The last line of mount(8)'s output; "" for none."""
    from k3os.system.run import CommandError, run

    command = ["journalctl", "-b", "-q", "-o", "cat", "--no-pager", "-n", str(LOG_LINES)]
    try:
        output = run([*command, "-u", unit], timeout=10).decode(errors="replace")
    except CommandError:
        return ""
    said = [line for line in output.splitlines() if line.startswith("mount")]
    return said[-1].strip().rstrip(".") if said else ""


def place_of(path: str, awaited: list[str]) -> str:
    """The place that path is or is below; "" for none of them."""
    return next((place for place in awaited if is_below(path, place)), "")
