"""Which mounts depend on the network."""

from pathlib import Path

import pytest

from k3os.system.remote import SESSIONS, hurry_iscsi, remote_mounts

LINES = """\
28 1 0:24 / / rw shared:1 - tmpfs tmpfs rw
30 28 8:1 / /var rw shared:2 - ext4 /dev/sda1 rw
31 28 0:50 / /var/lib/kubelet/pods/u/volumes/nfs/a\\040b rw - nfs4 10.0.0.1:/x\\040y rw
32 28 8:16 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~iscsi/v rw shared:9 - ext4 /dev/sdb rw
33 28 253:0 / /mnt/mapped rw - xfs /dev/mapper/m rw
34 28 43:0 / /mnt/nbd rw - ext4 /dev/nbd0 rw
35 28 0:60 / /mnt/local rw - fuse.sshfs me rw
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(LINES)
    devices = {
        "8:1": "pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1",
        "8:16": "platform/host2/session1/target2:0:0/2:0:0:0/block/sdb",
        "253:0": "virtual/block/dm-0",
        "43:0": "virtual/block/nbd0",
    }
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    for number, place in devices.items():
        directory = tmp_path / "sys/devices" / place
        directory.mkdir(parents=True)
        (directory / "dev").write_text(f"{number}\n")
        (tmp_path / "sys/dev/block" / number).symlink_to(directory)
    slaves = tmp_path / "sys/devices/virtual/block/dm-0/slaves"
    slaves.mkdir()
    (slaves / "sdb").symlink_to(tmp_path / "sys/devices" / devices["8:16"])
    return tmp_path


def test_servers_and_disks_behind_the_network_are_found_the_innermost_first(root: Path) -> None:
    volumes = "/var/lib/kubelet/pods/u/volumes"
    assert [(mount.path, mount.source) for mount in remote_mounts(str(root))] == [
        ("/mnt/nbd", "/dev/nbd0"),
        ("/mnt/mapped", "/dev/mapper/m"),  # on an iSCSI disk
        (f"{volumes}/kubernetes.io~iscsi/v", "/dev/sdb"),
        (f"{volumes}/nfs/a b", "10.0.0.1:/x y"),
    ]


def test_this_machine_has_a_list_that_can_be_read() -> None:
    assert isinstance(remote_mounts(), list)


def test_targets_that_are_gone_are_waited_for_briefly(tmp_path: Path) -> None:
    assert hurry_iscsi(str(tmp_path)) == 0
    sessions = tmp_path / SESSIONS[1:]
    for name in ("session1", "session2"):
        (sessions / name).mkdir(parents=True)
    (sessions / "session1/recovery_tmo").write_text("120")
    (sessions / "session2/recovery_tmo").mkdir()  # writing to it fails
    assert hurry_iscsi(str(tmp_path)) == 2
    assert (sessions / "session1/recovery_tmo").read_text() == "5"
