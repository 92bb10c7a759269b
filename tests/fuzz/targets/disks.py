"""Disks: what a boot looks at on each one, also on those that are somebody else's."""

from __future__ import annotations

import json
from contextlib import ExitStack
from unittest.mock import patch

from tests.fuzz.target import target
from tests.fuzz.targets import scratch

VOLUME = 32768
SIZE = 1 << 20


def _disk(data: bytes) -> str:
    """The input's beginning, middle and end where a disk has headers, the rest zeros."""
    path = scratch.file(data[:8192], "disk")
    with open(path, "r+b") as file:
        file.truncate(SIZE)
        file.seek(VOLUME)
        file.write(data[8192:10240])
        file.seek(SIZE - 8192)
        file.write(data[10240:18432])
    return path


@target("file-system")
def file_system(data: bytes) -> object:
    from k3os.boot.grow import has_gpt, has_simple_mbr
    from k3os.install.fat import problem
    from k3os.system.blockdev import probe

    path = _disk(data)
    has_gpt(path)
    has_simple_mbr(path)
    problem(path, 512)
    return str(probe(path))


@target("superblock", raises=(ValueError,))
def superblock(data: bytes) -> object:
    from k3os.boot.grow import file_system_size

    return file_system_size(scratch.file(bytes(1024) + data, "ext4"))


def _volumes(path: str, kind: str) -> object:
    """All that the initrd does with a member, without a kernel that would obey."""
    from k3os.system import volumes
    from k3os.system.blockdev import FileSystem

    with ExitStack() as stack:
        for name, result in (("raid.start", "/dev/md0"), ("devicemapper.create", "/dev/dm-0")):
            stack.enter_context(patch(f"k3os.system.volumes.{name}", lambda *_, r=result: r))
        for name in ("raid.stop", "devicemapper.remove"):
            stack.enter_context(patch(f"k3os.system.volumes.{name}", lambda *_: None))
        found = FileSystem("/dev/dm-0", "ext4", "K3OS_STATE")
        stack.enter_context(patch("k3os.system.volumes.probe", lambda _: found))
        tried = volumes.Volumes(lambda _: None, lambda: 0.0)
        tried.show([FileSystem(path, kind, "")], lambda _: False)
    return tried.problems


@target("lvm", words='seqno = { } [ ] "striped" stripes segment1 extent_size = 8192 VISIBLE')
def lvm(data: bytes) -> object:
    """A label, a header and an area of metadata, as they lie on a disk."""
    from k3os.system.blockdev import LVM_MEMBER

    return _volumes(scratch.file(data.ljust(16384, b"\0"), "lvm"), LVM_MEMBER)


@target("lvm-text", raises=(ValueError, KeyError, TypeError), words='{ } [ ] = , " # pv0 stripes')
def lvm_text(data: bytes) -> object:
    """The text of a volume group alone, which the changes get farther into."""
    from k3os.system import lvm

    text = data.decode(errors="replace")
    return lvm.age(text), lvm.volumes(text)


@target("raid")
def raid(data: bytes) -> object:
    from k3os.system.blockdev import RAID_MEMBER

    return _volumes(_disk(data), RAID_MEMBER)


@target(
    "partition-table", words='"partitiontable" "partitions" "start" "size" "type" "label" "gpt"'
)
def partition_table(data: bytes) -> object:
    """What sfdisk(8) says of a disk."""
    from k3os.install import plan

    with patch.object(plan, "run", lambda *_, **__: data):
        return plan.bios_place("sda")


@target("takeover-marker")
def takeover_marker(data: bytes) -> object:
    """It decides what is deleted: what is no marker deletes nothing."""
    from k3os.boot import takeover
    from k3os.errors import UserError
    from k3os.generation import takeover_marker

    scratch.file(data, f"takeover/{takeover_marker.MARKER}")
    with ExitStack() as stack:
        for name in ("delete_others", "set_label", "sync_directory", "atomic_write"):
            stack.enter_context(patch.object(takeover, name, lambda *_, **__: 0))
        stack.enter_context(patch("os.sync", lambda: None))
        try:
            return takeover.carry_out(str(scratch.directory() / "takeover"), lambda _: None)
        except UserError as error:
            return str(error)


@target("records")
def records(data: bytes) -> object:
    """What k3OS itself left on a disk, after a power cut, a bad block or a person."""
    from k3os import paths
    from k3os.cluster import config_trial, result
    from k3os.cluster.node_status import NodeStatus
    from k3os.phases.apply import succeeded
    from k3os.phases.network_plan import PLAN, former_plan
    from k3os.phases.node import Node
    from k3os.phases.ours import HERE
    from k3os.phases.phase_report import STATUS, booted_mode, problems_of

    root = scratch.directory() / "records"
    for name in (
        paths.FRAGMENT_TRIAL,
        result.RESULT,
        STATUS,
        HERE,
        PLAN,
    ):
        scratch.file(data, f"records{name}")
    status = NodeStatus(versions={"running": {"k3s": "v1"}})
    return json.dumps(
        [
            config_trial.is_on_trial(str(root)),
            config_trial.taken_back(str(root)),
            result.completed(result.read(str(root) + result.RESULT), status, "boot"),
            booted_mode(str(root)),
            problems_of(str(root) + STATUS, "boot"),
            sorted(succeeded(str(root) + STATUS, "boot")),
            sorted(Node(str(root)).ours.entries()),
            former_plan(Node(str(root))),
        ],
        default=str,
    )
