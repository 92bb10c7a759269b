"""An empty disk is formatted once; disks with data are not touched, even after a power cut."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from k3os.errors import UserError
from k3os.phases import empty_disks
from k3os.phases.empty_disks import RECORD, Patience, Seen, Wanted, decide, read_record, settle
from k3os.phases.node import Node
from k3os.system import disk_content
from k3os.system.disk_content import Signature
from k3os.system.run import CommandError, run

MIB = 1 << 20
OURS, OTHER = "0b4f1b1e-11c4-4d6f-a2ef-6a2bd3a40a5b", "7d4f1b1e-11c4-4d6f-a2ef-6a2bd3a40a5c"
DATA = Wanted("/dev/vdb", "ext4", "data")
FAST = Wanted("/dev/vdb", "xfs", "fast")
ID = "serial 0 1000"


def mark(kind: str, label: str = "", uuid: str = "", device: str = "/dev/vdb") -> Signature:
    return Signature(device, kind, label, uuid)


def at(*marks: Signature, **what: Any) -> Seen:
    """The contents of /dev/vdb."""
    facts = {"identity": ID, "size": 5 * MIB, "is_blank": not marks, **what}
    return Seen("/dev/vdb", list(marks), facts.pop("others", None), **facts)


def record(wanted: Wanted, *, made: bool, device: str = ID) -> dict[str, Any]:
    return {"filesystem": wanted.kind, "uuid": OURS, "device": device, "made": made}


VDC = "/dev/vdc"
DECISIONS = [
    # what is configured, recorded and found; the UUID that is used, "" for a new one
    (DATA, {}, at(), ""),
    (DATA, {}, at(mark("ext4", "data", OTHER)), OTHER),
    (DATA, record(DATA, made=True), at(mark("ext4", "data", OURS)), OURS),
    # relabelled by somebody; renamed by the kernel; reformatted by hand
    (DATA, record(DATA, made=True), at(mark("ext4", "mine", OURS)), OURS),
    (DATA, record(DATA, made=True), at(mark("ntfs"), others=[mark("ext4", "data", OURS)]), OURS),
    (DATA, record(DATA, made=True), at(others=[mark("ext4", "data", OURS, VDC)]), OURS),
    (DATA, record(DATA, made=True), Seen(others=[mark("ext4", "data", OURS, VDC)]), OURS),
    (DATA, record(DATA, made=True), at(mark("ext4", "data", OTHER)), OTHER),
    # a name that changed, before anything was recorded
    (DATA, {}, Seen(others=[mark("ext4", "data", OTHER, VDC)]), OTHER),
    (DATA, {}, at(mark("gpt"), others=[mark("ext4", "data", OTHER, VDC)]), OTHER),
    # in use by us
    (DATA, {}, at(mark("ext4", "data", OTHER), in_use="/dev/vdb is mounted at /srv"), OTHER),
]


@pytest.mark.parametrize(("wanted", "known", "seen", "uuid"), DECISIONS)
def test_what_is_used(wanted: Wanted, known: dict[str, Any], seen: Seen, uuid: str) -> None:
    assert decide(wanted, known, seen) == uuid


POWER_CUTS = [
    # how far mkfs was at the power cut; the record's UUID: it is formatted again
    ("before the record", DATA, {}, at(), ""),
    ("before mkfs", DATA, record(DATA, made=False), at(), OURS),
    ("without a mark", DATA, record(DATA, made=False), at(is_blank=False), OURS),
    ("without a mark, XFS", FAST, record(FAST, made=False), at(is_blank=False), OURS),
    (
        "an unfinished XFS",
        FAST,
        record(FAST, made=False),
        at(mark("xfs", "fast", OURS), is_unfinished=True),
        OURS,
    ),
    ("complete", DATA, record(DATA, made=False), at(mark("ext4", "data", OURS)), OURS),
    ("complete, XFS", FAST, record(FAST, made=False), at(mark("xfs", "fast", OURS)), OURS),
    ("recorded", DATA, record(DATA, made=True), at(mark("ext4", "data", OURS)), OURS),
]


@pytest.mark.parametrize(("when", "wanted", "known", "seen", "uuid"), POWER_CUTS)
def test_a_power_cut_is_made_good(
    when: str, wanted: Wanted, known: dict[str, Any], seen: Seen, uuid: str
) -> None:
    assert decide(wanted, known, seen) == uuid


HALF = record(DATA, made=False)
REFUSALS = [
    (DATA, {}, Seen(), "/dev/vdb is not there; `lsblk"),
    (
        DATA,
        {},
        at(mark("ext4", "old", OTHER)),
        "holds ext4 'old', not ext4 'data'; write `label: old`",
    ),
    (DATA, {}, at(mark("ext4", "", OTHER)), "it holds ext4, not ext4 'data'; if nothing of it"),
    (DATA, {}, at(mark("xfs", "data", OTHER)), "it holds xfs 'data', not ext4 'data'"),
    (DATA, {}, at(mark("gpt"), mark("PMBR")), "it holds gpt, PMBR"),
    (DATA, {}, at(mark("dos")), "it holds dos"),
    (DATA, {}, at(mark("linux_raid_member")), "it holds linux_raid_member"),
    (DATA, {}, at(mark("LVM2_member")), "`sudo wipefs -a /dev/vdb; "),
    (DATA, {}, at(mark("crypto_LUKS")), "it holds crypto_LUKS"),
    (DATA, {}, at(mark("zfs_member")), "it holds zfs_member"),
    (DATA, {}, at(mark("ext4", "data", OTHER), mark("gpt")), "it holds ext4 'data', gpt"),
    (DATA, {}, at(is_blank=False), "it holds data of no format that is known"),
    (DATA, {}, at(in_use="/dev/vdb is in use as swap"), "/dev/vdb is in use as swap"),
    (FAST, {}, at(mark("xfs", "fast", OTHER), is_unfinished=True), "xfs 'fast', unfinished"),
    # labels that others have
    (
        DATA,
        {},
        at(others=[mark("ext4", "data", OTHER, VDC)]),
        "the label data is that of /dev/vdc (ext4)",
    ),
    (DATA, {}, Seen(others=[mark("vfat", "data", "1-2", VDC)]), "is that of /dev/vdc (vfat)"),
    (
        DATA,
        {},
        Seen(others=[mark("ext4", "data", OTHER, VDC), mark("ext4", "data", OURS, "/dev/vdd")]),
        "/dev/vdc (ext4) and /dev/vdd (ext4)",
    ),
    # another disk has the name now, or the disk was wiped: it is not formatted a second time
    *(
        (DATA, record(DATA, made=True), seen, f"which was made before (UUID {OURS}), is on no disk")
        for seen in (at(), at(is_blank=False), at(mark("gpt")), Seen(), at(in_use="as swap"))
    ),
    # looks like our half-formatted disk, but is not: another disk, somebody's data, in use
    (DATA, record(DATA, made=False, device="other 0 9"), at(is_blank=False), "no format that is"),
    (DATA, HALF, at(mark("ntfs")), "it holds ntfs"),
    (DATA, HALF, at(mark("ext4", "old", OTHER)), "it holds ext4 'old'"),
    (DATA, HALF, at(is_blank=False, in_use="/dev/vdb is in use"), "/dev/vdb is in use"),
    (FAST, HALF, at(is_blank=False), "no format that is known"),  # another kind was asked for
    (DATA, HALF, Seen(), "/dev/vdb is not there"),
]


@pytest.mark.parametrize(("wanted", "known", "seen", "words"), REFUSALS)
def test_what_is_left_as_it_is_and_why(
    wanted: Wanted, known: dict[str, Any], seen: Seen, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        decide(wanted, known, seen)
    assert words in str(caught.value)


@pytest.mark.parametrize("known", [{"uuid": 7}, {"made": "yes"}, {"uuid": [], "made": True}])
def test_a_record_that_somebody_broke_is_none(known: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        decide(DATA, known, at(mark("gpt")))


def has_loops() -> bool:
    return os.geteuid() == 0 and os.path.exists("/dev/loop-control")


needs_loops = pytest.mark.skipif(not has_loops(), reason="only root makes loop devices")


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Callable[[int], str]]:
    made: list[str] = []

    def attach(size: int) -> str:
        path = tmp_path / f"disk{len(made)}"
        with open(path, "wb") as file:
            file.truncate(size)
        made.append(run(["losetup", "--find", "--show", str(path)]).decode().strip())
        return made[-1]

    try:
        yield attach
    finally:
        for device in made:
            run(["losetup", "--detach", device], check=False)


class Now(Patience):
    def is_over(self) -> bool:
        return True


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(str(tmp_path / "root"))


KINDS = [
    *(("ext4", 16 * MIB), ("swap", 16 * MIB)),
    pytest.param(
        *("xfs", 320 * MIB),
        marks=pytest.mark.skipif(not shutil.which("mkfs.xfs"), reason="no xfsprogs"),
    ),
]


@needs_loops
@pytest.mark.parametrize(("kind", "size"), KINDS)
def test_a_real_disk_is_formatted_once(
    loop: Callable[[int], str], node: Node, kind: str, size: int
) -> None:
    wanted = Wanted(loop(size), kind, f"test-{kind}")
    uuid, is_new = settle(wanted, node, Now())
    assert is_new
    (found,) = disk_content.signatures(wanted.device)
    assert (found.kind, found.label, found.uuid) == (kind, wanted.label, uuid)
    assert not disk_content.is_unfinished(wanted.device)
    assert read_record(node)[wanted.label]["made"] is True
    assert settle(wanted, node, Now()) == (uuid, False)
    os.unlink(node.path(RECORD))  # a factory reset
    assert settle(wanted, node, Now()) == (uuid, False)
    assert read_record(node)[wanted.label]["uuid"] == uuid


@needs_loops
@pytest.mark.parametrize(("kind", "size"), KINDS)
@pytest.mark.parametrize("cut", ["before", "after", "half"])
def test_a_real_mkfs_that_a_power_cut_ended_is_made_good(
    loop: Callable[[int], str],
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    size: int,
    cut: str,
) -> None:
    """half: mkfs has written all over the disk, but not its signature yet."""
    wanted = Wanted(loop(size), kind, f"test-{kind}")
    make = empty_disks.make

    def cut_short(wanted: Wanted, device: str, uuid: str) -> None:
        if cut == "half":
            with open(device, "r+b") as file:
                file.seek(64 * 1024)
                file.write(b"inode table" * 1000)
        if cut == "after":
            make(wanted, device, uuid)
        raise KeyboardInterrupt

    monkeypatch.setattr(empty_disks, "make", cut_short)
    with pytest.raises(KeyboardInterrupt):
        settle(wanted, node, Now())
    begun = read_record(node)[wanted.label]
    assert begun["made"] is False
    monkeypatch.setattr(empty_disks, "make", make)
    uuid, _ = settle(wanted, node, Now())
    assert uuid == begun["uuid"]
    (found,) = disk_content.signatures(wanted.device)
    assert (found.kind, found.label, found.uuid) == (kind, wanted.label, uuid)
    assert read_record(node)[wanted.label]["made"] is True


FOREIGN = {
    "another file system": lambda path: run(["mke2fs", "-q", "-F", "-L", "theirs", path]),
    "a partition table": lambda path: run(
        ["sfdisk", "-q", path], stdin=b"label: gpt\n", check=False
    ),
    "data without a mark": lambda path: write(path, 4096, b"secret"),
    "data at its end": lambda path: write(path, 16 * MIB - 4096, b"secret"),
    "swap": lambda path: run(["mkswap", "-q", path]),
}


def write(path: str, place: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(data)


@needs_loops
@pytest.mark.parametrize("what", FOREIGN)
def test_what_a_real_disk_holds_stays_to_the_last_byte(
    loop: Callable[[int], str], node: Node, what: str
) -> None:
    wanted = Wanted(loop(16 * MIB), "ext4", "test-data")
    FOREIGN[what](wanted.device)
    before = Path(wanted.device).read_bytes()
    with pytest.raises(UserError) as caught:
        settle(wanted, node, Now())
    assert Path(wanted.device).read_bytes() == before
    assert read_record(node) == {}
    # the command in the message wipes it
    hint = caught.value.hint.partition("`sudo")[2]
    run(["/bin/sh", "-ec", f"sudo{hint.rpartition('`')[0]}".replace("sudo ", "")])
    assert settle(wanted, node, Now())[1]


@needs_loops
def test_a_real_disk_that_is_in_use_is_left_alone(loop: Callable[[int], str], node: Node) -> None:
    wanted = Wanted(loop(16 * MIB), "ext4", "test-data")
    descriptor = os.open(wanted.device, os.O_RDWR | os.O_EXCL)
    try:
        with pytest.raises(UserError, match="is in use"):
            settle(wanted, node, Now())
    finally:
        os.close(descriptor)


@needs_loops
def test_a_disk_that_is_too_small_is_said_in_the_words_of_mkfs(
    loop: Callable[[int], str], node: Node
) -> None:
    wanted = Wanted(loop(4096), "ext4", "test-data")
    with pytest.raises((CommandError, UserError)):
        settle(wanted, node, Now())


def test_patience_is_one_for_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    patience = Patience()
    now[0] = 200.0  # starts with the first missing disk
    assert not patience.is_over()
    now[0] = 209.9
    assert not patience.is_over()
    now[0] = 210.0
    assert patience.is_over()


def test_the_record_is_for_root_and_keeps_what_others_have(node: Node) -> None:
    empty_disks._remember(node, "a", {"uuid": OURS})
    empty_disks._remember(node, "b", {"uuid": OTHER})
    assert read_record(node) == {"a": {"uuid": OURS}, "b": {"uuid": OTHER}}
    assert os.stat(node.path(RECORD)).st_mode & 0o777 == 0o600
