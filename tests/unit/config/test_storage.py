"""k3os.disks and k3os.mounts: what is accepted, and what is said about the rest."""

import pytest

from k3os.config.check import check_data, check_text
from k3os.config.load import Config
from k3os.config.storage import LONGEST_LABEL, REFUSED_AT, REFUSED_BELOW, conflicts, in_conflict
from k3os.config.value import plain

DISK = {"device": "/dev/vdb", "filesystem": "ext4", "label": "data", "mount": "/var/lib/longhorn"}
MOUNT = {"what": "LABEL=x", "where": "/srv/data"}


def text_of(key: str, entry: dict[str, object]) -> bytes:
    """A configuration with one entry, with one field per line from line 4 on."""
    lines = [f"    {name}: {value}" for name, value in entry.items()]
    return "\n".join(["k3os:", f"  {key}:", "  -", *lines, ""]).encode()


def disk(**fields: object) -> bytes:
    entry = {**DISK, **fields}
    return text_of("disks", {name: value for name, value in entry.items() if value is not None})


def mount(**fields: object) -> bytes:
    return text_of("mounts", {**MOUNT, **fields})


RIGHT = [
    disk(),
    disk(filesystem="xfs", label="a" * 12, mount="/srv/x/"),
    disk(filesystem="swap", label="a" * 15, mount=None),
    disk(filesystem="EXT4", label="a" * 16),
    disk(device="/dev/disk/by-id/nvme-Samsung_S4-part1"),
    disk(options="[noatime, discard]"),
    disk(options="noatime,commit=30"),
    text_of("disks", {"device": "/dev/sdb", "type": "xfs", "label": "d", "where": "/srv/d"}),
    mount(),
    mount(what="UUID=0b4f1b1e-11c4-4d6f-a2ef-6a2bd3a40a5b"),
    mount(what="PARTUUID=abc-01", type="btrfs", options="[subvol=x]"),
    mount(what="/dev/disk/by-label/x"),
    mount(what="nas:/export/a"),
    mount(what="nas.example.com:/", type="nfs4", options="[vers=4.2, ro]"),
    mount(what="'[fd00::1]:/export'"),
    mount(what="192.0.2.1:/x", where="/var/lib/rancher/k3s/storage"),
    *(
        mount(where=place)
        for place in (
            *("/var/lib/rancher/k3s", "/var/lib/kubelet", "/var/lib/longhorn", "/var/log"),
            *("/home/data", "/opt", "/mnt/a", "/data", "/var/local/x", "/user", "/bootstrap"),
        )
    ),
    text_of("mounts", {"device": "/dev/vdb1", "mount": "/srv/d", "fstype": "vfat"}),
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right_is_taken_without_a_word(text: bytes) -> None:
    values, problems = check_text(text, "c.yaml")
    assert problems == []
    (value,) = values.values()
    assert isinstance(value.data, list)
    assert len(value.data) == 1


def test_options_become_single_ones_and_what_is_always_so_is_left_out() -> None:
    values, problems = check_text(mount(options="['ro,nofail', noatime, defaults]"), "c.yaml")
    assert problems == []
    (entry,) = plain(values["k3os.mounts"])  # type: ignore[misc]
    assert entry["options"] == ["ro", "noatime"]  # type: ignore[call-overload,index]


PLACES = [
    *((place, place) for place in (*REFUSED_BELOW, *REFUSED_AT)),
    *((f"{place}/x", place) for place in REFUSED_BELOW),
    ("/usr/local/data", "write `/var/local/data`"),
    ("//var//lib/", "/var/lib"),
    ("'/srv/with space'", "character"),
    ("'/srv/100%'", "character"),
]
WRONG = [
    # text, line:column, key, words of the message
    (disk(device="vdb"), "4:13", "device", "`vdb` is not an absolute path; write `/dev/vdb`"),
    (disk(device="/srv/disk"), "4:13", "device", "`/srv/disk` is not a device"),
    (disk(device="/dev/disk/by-label/data"), "4:13", "device", "is not there as long as"),
    (disk(device="/dev/disk/by-uuid/1-2"), "4:13", "device", "is not there as long as"),
    (disk(device="/dev/../srv"), "4:13", "device", "`..` in a path is not allowed"),
    (disk(device=None), "4:5", "", "has no device"),
    (disk(filesystem=None), "4:5", "", "has no filesystem"),
    (disk(label=None), "4:5", "", "has no label"),
    (disk(mount=None), "5:17", "filesystem", "is mounted nowhere"),
    (disk(filesystem="btrfs"), "5:17", "filesystem", "known: ext4, xfs, swap"),
    (disk(filesystem="swap"), "7:12", "mount", "swap is not mounted"),
    *(
        (disk(filesystem=kind, label="a" * (most + 1)), "6:12", "label", f"at most {most} char")
        for kind, most in LONGEST_LABEL.items()
        if kind != "swap"
    ),
    (disk(filesystem="swap", label="a" * 16, mount=None), "6:12", "label", "at most 15 char"),
    (disk(label="my data"), "6:12", "label", "`my data` is not a valid label"),
    (disk(label="-data"), "6:12", "label", "is not a valid label"),
    (disk(label="dätä"), "6:12", "label", "is not a valid label"),
    (disk(label="K3OS_STATE"), "6:12", "label", "k3OS finds disks of its own"),
    (disk(label="cidata"), "6:12", "label", "k3OS finds disks of its own"),
    (disk(options="[noauto]"), "8:15", "options", "is mounted at each boot"),
    (disk(options="[a b]"), "8:15", "options", "`a b` is not an option"),
    (disk(options="[bind]"), "8:15", "options", "a directory cannot be mounted"),
    (disk(options="[{ro: true}]"), "8:15", "options", "must be an option, not a map"),
    (disk(options="[x-systemd.automount]"), "8:15", "options", "is for fstab"),
    (mount(what="data"), "4:11", "what", "neither a device nor a server's path"),
    (mount(what="label=data"), "4:11", "what", "write `LABEL=data`"),
    (mount(what="LABEL="), "4:11", "what", "neither a device"),
    (mount(what="//nas/share"), "4:11", "what", "shares of SMB"),
    (mount(what="/srv/other"), "4:11", "what", "neither a device"),
    (mount(what="nas:export"), "4:11", "what", "neither a device"),
    (mount(what="'LABEL=a b'"), "4:11", "what", "has a character"),
    (
        mount(what="nas:/x", type="ext4"),
        "6:11",
        "type",
        "`type: ext4` is not for what a server exports",
    ),
    (mount(type="nfs"), "4:11", "what", "is not a path on a server"),
    (mount(type="zfs"), "6:11", "type", "`zfs` is unknown"),
    (mount(where="data"), "5:12", "where", "write `/data`"),
    *((mount(where=place), "5:12", "where", words) for place, words in PLACES),
    *((disk(mount=place), "7:12", "mount", words) for place, words in PLACES),
]


@pytest.mark.parametrize(("text", "place", "field", "words"), WRONG)
def test_what_is_wrong_is_left_out_and_said_with_its_place(
    text: bytes, place: str, field: str, words: str
) -> None:
    values, problems = check_text(text, "c.yaml")
    key = "k3os.disks" if b"disks:" in text else "k3os.mounts"
    assert plain(values[key]) == []
    assert all(problem.is_error for problem in problems)
    said = str(problems[0])
    assert said.startswith(f"c.yaml:{place}: {key}[0]{field and f'.{field}'}"), said
    assert words in said


def test_one_wrong_entry_does_not_cost_the_others() -> None:
    text = b"k3os: {mounts: [{what: x, where: /srv/a}, {what: LABEL=b, where: /srv/b}]}\n"
    values, _ = check_text(text, "c.yaml")
    (entry,) = plain(values["k3os.mounts"])  # type: ignore[misc]
    assert entry["where"] == "/srv/b"  # type: ignore[call-overload,index]


BOTH = """\
k3os:
  disks:
  - {device: /dev/vdb, filesystem: ext4, label: a, mount: /srv/a}
  - {device: /dev/vdb, filesystem: swap, label: b}
  - {device: /dev/vdc, filesystem: ext4, label: c, mount: /srv/a}
  mounts:
  - {what: LABEL=x, where: /srv/a}
  - {what: LABEL=y, where: /srv/y}
  - {what: LABEL=y, where: /srv/y/below}
  install:
    device: /dev/vdd
"""


def test_entries_that_contradict_each_other_are_named() -> None:
    said = [str(problem) for problem in check_data(BOTH.encode(), "c.yaml")]
    assert said == [
        "c.yaml:4:14: k3os.disks[1].device: /dev/vdb is that of k3os.disks[0].device already; "
        "remove one",
        "c.yaml:5:59: k3os.disks[2].mount: /srv/a is that of k3os.disks[0].mount already; "
        "remove one",
        "c.yaml:7:28: k3os.mounts[0].where: /srv/a is that of k3os.disks[0].mount already; "
        "remove one",
    ]


def test_the_disk_to_install_to_is_no_disk_to_format() -> None:
    text = BOTH.replace("/dev/vdd", "/dev/vdb")
    assert "is that of k3os.install.device already" in str(check_data(text.encode(), "c.yaml")[0])


def test_what_contradicts_is_known_in_the_merged_configuration_too() -> None:
    values, _ = check_text(BOTH.encode(), "c.yaml")
    left_out = in_conflict(Config(values).values)
    assert len(left_out) == len(conflicts(values)) == 3
    assert [item.place.line for item in left_out] == [4, 5, 7]
