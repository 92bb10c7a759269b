"""k3os.disks and k3os.mounts: what a node can carry out, for single entries and for all together.

A partly wrong entry is left out: a file system mounted with other options, or elsewhere, is worse
than a missing one. Labels: mke2fs(8), mkfs.xfs(8), mkswap(8); mounts: mount(8); units:
systemd.mount(5).
"""

from __future__ import annotations

from k3os.config.scalars import one_line
from k3os.config.storage_keys import DISKS, MOUNTS
from k3os.config.value import Problem, Value, Wrong, field_text, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k3os.config.key import Key
    from k3os.config.kinds import Check
    from k3os.config.value import Node

    Entry = dict[str, Value]

INSTALL_DEVICE = "k3os.install.device"
LONGEST_LABEL = {"ext4": 16, "xfs": 12, "swap": 15}
# labels of disks that the boot and data sources use (k3os.boot.media, datasource.media)
OUR_LABELS = ("k3os", "cidata", "config-2")
# names that an empty disk does not have
BY_CONTENT = ("/dev/disk/by-label/", "/dev/disk/by-uuid/")
TAGS = ("UUID", "LABEL", "PARTUUID", "PARTLABEL")
NETWORK_TYPES = ("nfs", "nfs4")

READ_ONLY = "all is the image's, and read-only"
NEW_AT_BOOT = "all is new at each boot"
# nothing can be mounted at these places and below them: place -> why
REFUSED_BELOW = {
    "/usr": READ_ONLY,
    **dict.fromkeys(("/bin", "/sbin", "/lib", "/lib64", "/boot"), READ_ONLY),
    **dict.fromkeys(("/proc", "/sys", "/dev"), "all is the kernel's"),
    **dict.fromkeys(("/run", "/var/run", "/var/lock"), NEW_AT_BOOT),
    "/etc": f"{NEW_AT_BOOT}, and the system reads it before",
    **dict.fromkeys(("/k3os", "/.base", "/var/lib/rancher/k3os"), "all is k3OS' own"),
    **dict.fromkeys(("/var/lib/connman", "/var/lib/systemd"), "the system has files open by then"),
}
# nothing can be mounted at these places themselves: their contents would be hidden
REFUSED_AT = (
    *("/", "/home", "/home/rancher", "/root", "/tmp", "/var", "/var/lib", "/var/lib/rancher"),
    "/var/local",
)
# options that are always set
GIVEN = ("defaults", "auto", "nofail")
# options that conflict with mounting at boot
NOT_OPTIONS = {
    "noauto": "what is here is mounted at each boot",
    "remount": "nothing is mounted there yet that could be remounted",
    **dict.fromkeys(("bind", "rbind", "move"), "a directory cannot be mounted here, only a device"),
    "loop": "a file cannot be mounted here, only a device",
}
_NO_PLACE = "write a directory for it alone, e.g. `/var/lib/longhorn`"
_NO_PART = ("\\", '"', "'", "%", "*", "?")


def options(check: Check, key: Key, node: Node, path: str) -> Value:
    """Options as a list or separated by commas; a wrong one makes all of them wrong."""
    items = node.items if node.kind == "list" else [node]
    found = []
    for item in items:
        if item.is_unset():
            continue
        for word in one_line(item, "an option").split(","):
            if word.strip() and word.strip() not in GIVEN:
                found.append(Value(_option(word.strip(), item), item.place))
    return Value(list(found), node.place)


def _option(word: str, item: Node) -> str:
    name = word.partition("=")[0]
    if any(character.isspace() for character in word) or any(each in word for each in _NO_PART):
        raise Wrong(item.place, f"`{word}` is not an option", "write each as an item of a list")
    if name in NOT_OPTIONS:
        raise Wrong(item.place, f"`{word}` has no meaning: {NOT_OPTIONS[name]}", "leave it out")
    if name.startswith("x-systemd."):
        raise Wrong(item.place, f"`{name}` is for fstab, which is not used here", "leave it out")
    return word


def disks(check: Check, value: Value, path: str) -> Value:
    return _each(check, value, path, _disk)


def mounts(check: Check, value: Value, path: str) -> Value:
    return _each(check, value, path, _mount)


def _each(check: Check, value: Value, path: str, of_entry: Callable[[Entry], None]) -> Value:
    kept = []
    for number, item in numbered(value):
        assert isinstance(item.data, dict)
        try:
            of_entry(item.data)
            kept.append(item)
        except _WrongField as wrong:
            check.error(f"{path}[{number}].{wrong.field}", wrong)
    return Value(kept, value.place)


class _WrongField(Wrong):
    """An error in a field of an entry."""

    def __init__(self, entry: Entry, field: str, message: str, hint: str = "") -> None:
        super().__init__(entry[field].place, message, hint)
        self.field = field


def _disk(entry: Entry) -> None:
    device, kind, label = (field_text(entry, name) for name in ("device", "filesystem", "label"))
    if not device.startswith("/dev/"):
        hint = "`ls -l /dev/disk/by-id` on the node shows the names"
        raise _WrongField(entry, "device", f"`{device}` is not a device", hint)
    if device.startswith(BY_CONTENT):
        message = f"`{device}` is not there as long as the disk is empty"
        hint = "write a name in /dev/disk/by-id or by-path, or e.g. /dev/vdb"
        raise _WrongField(entry, "device", message, hint)
    _check_label(entry, label, kind)
    if kind == "swap" and "mount" in entry:
        raise _WrongField(entry, "mount", "swap is not mounted", "remove it")
    if kind != "swap":
        if "mount" not in entry:
            message, hint = "is mounted nowhere", "write `mount: /var/lib/…` beside it"
            raise _WrongField(entry, "filesystem", message, hint)
        _check_place(entry, "mount")


def _check_label(entry: Entry, label: str, kind: str) -> None:
    plain = label.replace("-", "").replace("_", "").replace(".", "")
    if not (label.isascii() and plain.isalnum() and label[0].isalnum()):
        hint = "write letters, digits, `-`, `_` and `.`"
        raise _WrongField(entry, "label", f"`{label}` is not a valid label", hint)
    most = LONGEST_LABEL[kind]
    if len(label) > most:
        message = f"`{label}` is too long for {kind}"
        raise _WrongField(entry, "label", message, f"write at most {most} characters")
    if label.lower().startswith(OUR_LABELS):
        message = f"`{label}` is a label by which k3OS finds disks of its own"
        raise _WrongField(entry, "label", message, "take another one, e.g. `data`")


def _mount(entry: Entry) -> None:
    what, kind = field_text(entry, "what"), field_text(entry, "type")
    is_server = _is_server(what)
    if any(each.isspace() for each in what) or any(each in what for each in _NO_PART):
        raise _WrongField(entry, "what", f"`{what}` has a character that is in no name of these")
    if not is_server:
        _check_device(entry, what)
    if is_server and kind and kind not in NETWORK_TYPES:
        message = f"`type: {kind}` is not for what a server exports"
        raise _WrongField(entry, "type", message, "remove it, or write `type: nfs`")
    if not is_server and kind in NETWORK_TYPES:
        message = f"`{what}` is not a path on a server"
        raise _WrongField(entry, "what", message, "write `server:/path`")
    _check_place(entry, "where")


def _check_device(entry: Entry, what: str) -> None:
    tag, is_tag, rest = what.partition("=")
    if is_tag and tag in TAGS and rest and "/" not in rest:
        return
    if is_tag and tag.upper() in TAGS and rest:
        message, hint = f"`{what}` is none of {', '.join(TAGS)}", f"write `{tag.upper()}={rest}`"
        raise _WrongField(entry, "what", message, hint)
    if what.startswith("//"):
        hint = "let a CSI driver mount it for the pods that need it"
        raise _WrongField(entry, "what", "shares of SMB cannot be mounted here", hint)
    if what.startswith("/dev/") and ".." not in what.split("/"):
        return
    message = f"`{what}` is neither a device nor a server's path"
    hint = "write `UUID=…`, `LABEL=…`, `/dev/…` or `server:/path`"
    raise _WrongField(entry, "what", message, hint)


def _is_server(what: str) -> bool:
    """`host:/path`, with an IPv6 address in brackets (nfs(5))."""
    host, colon, path = what.rpartition(":/")
    plain = host.strip("[]").replace(":", "") if host.startswith("[") else host
    plain = plain.replace("-", "").replace(".", "").replace("_", "")
    return bool(colon) and plain.isalnum() and plain.isascii() and not path.startswith("/")


def is_network(entry: Entry) -> bool:
    """Whether an entry of k3os.mounts needs the network."""
    return _is_server(field_text(entry, "what")) or "_netdev" in option_texts(entry)


def option_texts(entry: Entry) -> list[str]:
    data = entry["options"].data if "options" in entry else []
    return [str(item.data) for item in data] if isinstance(data, list) else []


def _check_place(entry: Entry, field: str) -> None:
    where = field_text(entry, field)
    if where.startswith("/usr/local/"):
        hint = f"write `/var/local/{where.removeprefix('/usr/local/')}`, which /usr/local leads to"
        raise _WrongField(entry, field, f"nothing can be mounted at {where}", hint)
    for place, why in REFUSED_BELOW.items():
        if is_below(where, place):
            of_place = "" if where == place else f"below {place} "
            message = f"nothing can be mounted at {where}: {of_place}{why}"
            raise _WrongField(entry, field, message, _NO_PLACE)
    if where in REFUSED_AT:
        message = f"a mount at {where} would hide what k3OS has there"
        raise _WrongField(entry, field, message, _NO_PLACE)
    if any(each.isspace() for each in where) or any(each in where for each in _NO_PART):
        raise _WrongField(entry, field, f"`{where}` has a character that no mount here may have")


def is_below(path: str, place: str) -> bool:
    """Whether a path is a place or below it."""
    return path == place or path.startswith(f"{place.rstrip('/')}/")


def conflicts(values: dict[str, Value]) -> list[Problem]:
    """Entries that use a device or place that another entry, of any source, uses already: the later
    one is left out."""
    return [problem for problem, _ in _conflicts(values)]


def in_conflict(values: dict[str, Value]) -> list[Value]:
    """The entries that conflicts() reports."""
    return [item for _, item in _conflicts(values)]


def _conflicts(values: dict[str, Value]) -> Iterator[tuple[Problem, Value]]:
    install = values.get(INSTALL_DEVICE)
    devices = {str(install.data): INSTALL_DEVICE} if install is not None else {}
    places: dict[str, str] = {}
    for path, field in ((DISKS, "mount"), (MOUNTS, "where")):
        for number, item in numbered(values.get(path)):
            assert isinstance(item.data, dict)
            name = f"{path}[{number}]"
            for part, taken in ((field, places), ("device", devices)):
                text = field_text(item.data, part)
                if text and text in taken:
                    message, hint = f"{text} is that of {taken[text]} already", "remove one"
                    place = item.data[part].place
                    yield Problem(place, f"{name}.{part}", message, hint), item
                    break
            else:
                if field in item.data:
                    places[field_text(item.data, field)] = f"{name}.{field}"
                if "device" in item.data:
                    devices[field_text(item.data, "device")] = f"{name}.device"
