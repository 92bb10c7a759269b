"""systemd units for mounts: their names and texts (systemd.mount(5), systemd.unit(5)); and drop-ins
for k3s, which does not start without the mounts that hold its data.

Every mount is `nofail`: neither the boot nor k3s waits for a missing one longer than for its
device. Those of disks are started with local-fs.target, network mounts once the network is up; k3s
starts after all of them.
"""

from __future__ import annotations

from k3os.config.value import Place
from k3os.paths import RUN_UNITS
from k3os.phases.actions import Action, Link, WriteFile

DEVICE_SECONDS = 10
NETWORK_SECONDS = 20
TAGS = {
    "UUID": "by-uuid",
    "LABEL": "by-label",
    "PARTUUID": "by-partuuid",
    "PARTLABEL": "by-partlabel",
}
# file systems that are checked before they are mounted; "": an unknown one
CHECKED = ("", "ext2", "ext3", "ext4", "vfat", "exfat")
# characters besides letters and digits that udev keeps in names of /dev/disk (libblkid, encode.c)
_PLAIN = "#+-.:=@_"
# length of a UUID with dashes; a FAT's is shorter
_LONG_UUID = 36


class Mount:
    """A wanted mount. key, place: in the configuration; what: a device's path or a server's export;
    where: the mount point; kind: the file system, "" for any; named: what, as the user wrote
    it."""

    __slots__ = ("is_network", "key", "kind", "named", "options", "place", "what", "where")

    def __init__(
        self,
        key: str,
        place: Place,
        what: str,
        where: str,
        kind: str = "",
        options: list[str] | None = None,
        *,
        is_network: bool = False,
        named: str = "",
    ) -> None:
        self.key = key
        self.place = place
        self.what = what
        self.where = where
        self.kind = kind
        self.options = options or []
        self.is_network = is_network
        self.named = named or what

    @property
    def unit(self) -> str:
        return f"{escaped(self.where)}.mount"

    @property
    def checker(self) -> str:
        """The unit that checks the file system, "" for none."""
        is_device = self.what.startswith("/dev/")
        return f"systemd-fsck@{escaped(self.what)}.service" if is_device and self._checked else ""

    @property
    def _checked(self) -> bool:
        return self.kind in CHECKED and not self.is_network


def escaped(path: str) -> str:
    """A path as part of a unit's name, as by systemd-escape(1) --path."""
    text = "/".join(part for part in path.split("/") if part)
    if not text:
        return "-"
    found = []
    for index, byte in enumerate(text.encode(errors="surrogateescape")):
        sign = chr(byte)
        is_plain = sign.isascii() and (sign.isalnum() or sign in ":_" or (sign == "." and index))
        found.append("-" if sign == "/" else sign if is_plain else f"\\x{byte:02x}")
    return "".join(found)


def device_of(what: str) -> str:
    """The device path for one of TAGS; anything else stays unchanged."""
    tag, equals, text = what.partition("=")
    if not equals or tag not in TAGS:
        return what
    if tag == "PARTUUID" or (tag == "UUID" and len(text) == _LONG_UUID):
        text = text.lower()
    name = "".join(
        sign if sign.isalnum() or sign in _PLAIN or not sign.isascii() else f"\\x{ord(sign):02x}"
        for sign in text
    )
    return f"/dev/disk/{TAGS[tag]}/{name}"


def text_of(mount: Mount) -> str:
    """The unit's file."""
    lines = [
        f"# {mount.key}",
        "[Unit]",
        f"Description={mount.named} at {mount.where}",
        "Before=k3s.service",
    ]
    if not mount.is_network:
        # pods use it to the end: systemd-shutdown(8) unmounts it when they are gone
        lines.append("DefaultDependencies=no")
    if mount.checker:
        lines += [f"Requires={mount.checker}", f"After={mount.checker}"]
    needs = ["_netdev"] if mount.is_network and "_netdev" not in mount.options else []
    options = ",".join([*mount.options, *needs, "nofail"])
    lines += ["[Mount]", f"What={mount.what}", f"Where={mount.where}", f"Options={options}"]
    lines += [f"Type={mount.kind}"] if mount.kind else []
    lines += [f"TimeoutSec={NETWORK_SECONDS}"] if mount.is_network else []
    return "\n".join(lines) + "\n"


def files_of(mount: Mount) -> list[Action]:
    """Files that define the unit, start it at boot, and limit the wait for a missing device."""
    key, place = mount.key, mount.place
    target = "multi-user" if mount.is_network else "local-fs"
    actions: list[Action] = [
        WriteFile(key, place, f"{RUN_UNITS}/{mount.unit}", text_of(mount).encode()),
        Link(key, place, f"{RUN_UNITS}/{target}.target.wants/{mount.unit}", f"../{mount.unit}"),
    ]
    if mount.what.startswith("/dev/"):
        drop_in = f"{RUN_UNITS}/{escaped(mount.what)}.device.d/50-k3os.conf"
        text = f"[Unit]\nJobRunningTimeoutSec={DEVICE_SECONDS}s\n"
        actions.append(WriteFile(key, place, drop_in, text.encode()))
    return actions


K3S_DROP_IN = f"{RUN_UNITS}/k3s.service.d/20-mounts.conf"
TRIM_DROP_IN = f"{RUN_UNITS}/fstrim.service.d/20-mounts.conf"


def holds_data(where: str, data: str) -> bool:
    """Whether k3s, without this mount, would start from scratch, or fill another disk. data: the
    directory of its data."""
    one, other = f"{where.rstrip('/')}/", f"{data.rstrip('/')}/"
    return one.startswith(other) or other.startswith(one)


def k3s_text(mounts: list[Mount], data: str) -> str:
    """The drop-in of k3s.service: start after the mounts, and only if those of its data exist."""
    lines = ["[Unit]", f"After={' '.join(mount.unit for mount in mounts)}"]
    needed = [mount.where for mount in mounts if holds_data(mount.where, data)]
    return "\n".join([*lines, *(f"AssertPathIsMountPoint={place}" for place in needed), ""])


def trim_text(places: list[str]) -> str:
    """The drop-in of fstrim.service, which by itself trims only /var. A failure does not affect
    the others."""
    command = "ExecStart=-/usr/sbin/fstrim --verbose --quiet-unsupported"
    return "\n".join(["[Service]", *(f"{command} {place}" for place in places), ""])
