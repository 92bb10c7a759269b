"""The menu of an older installation is changed to name its file system, safely."""

from __future__ import annotations

from pathlib import Path

import pytest

from k3os.generation import grub
from k3os.generation.layout import MENU
from k3os.system import mounts
from k3os.system.blockdev import FileSystem

UUID = "0a0b0c0d-0000-4000-8000-000000000001"


class Disk:
    """A state partition that is mounted at root; flushed: how often its journal was flushed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root / "base"
        self.menu = self.root / MENU
        self.menu.parent.mkdir(parents=True)
        self.menu.write_text(grub.menu("ttyS0"))
        self.mounts = root / "mounts"
        self.mounts.write_text(f"tmpfs / tmpfs rw 0 0\n/dev/dm-1 {self.root} ext4 rw 0 0\n")
        self.said: list[str] = []
        self.flushed: list[str] = []
        self.uuid = UUID
        monkeypatch.setattr(mounts, "TABLE", str(self.mounts))
        monkeypatch.setattr(grub, "probe", self.probe)
        monkeypatch.setattr(grub, "flush_journal", self.flushed.append)

    def probe(self, device: str) -> FileSystem:
        assert device == "/dev/dm-1"
        return FileSystem(device, "ext4", "K3OS_STATE", self.uuid)

    def name_medium(self) -> str:
        grub.name_medium(str(self.root), self.said.append)
        return self.menu.read_text()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path, monkeypatch)


def test_it_is_done_once_and_brought_to_where_grub_reads(disk: Disk) -> None:
    for _ in range(2):
        assert disk.name_medium() == grub.with_uuid(grub.menu("ttyS0"), UUID)
    assert disk.flushed == [str(disk.root)]
    assert len(disk.said) == 1
    assert disk.menu.stat().st_mode & 0o777 == 0o644


def test_a_power_cut_leaves_the_old_menu_or_the_new_one(disk: Disk) -> None:
    """The old menu is never opened for writing."""
    with disk.menu.open() as old:
        disk.name_medium()
        assert old.read() == grub.menu("ttyS0")


def test_a_disk_that_is_full_keeps_its_menu_and_the_trial_goes_on(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(grub, "atomic_write", full)
    assert disk.name_medium() == grub.menu("ttyS0")
    assert disk.said == ["the boot menu still uses the label: [Errno 28] No space left on device"]


def test_where_another_system_starts_k3os_there_is_nothing_to_do(disk: Disk) -> None:
    text = "menuentry 'Debian' {\n  linux /boot/vmlinuz-6.1 root=/dev/vda1 caf\udce9\n}\n"
    disk.menu.write_bytes(text.encode(errors="surrogateescape"))
    before = disk.menu.read_bytes()
    grub.name_medium(str(disk.root), disk.said.append)
    assert disk.menu.read_bytes() == before
    disk.menu.unlink()
    grub.name_medium(str(disk.root), disk.said.append)
    assert (disk.said, disk.flushed) == ([], [])


@pytest.mark.parametrize("uuid", ["", "none"])
def test_without_a_uuid_the_label_goes_on(disk: Disk, uuid: str) -> None:
    disk.uuid = ""
    if uuid == "none":
        disk.mounts.write_text("tmpfs / tmpfs rw 0 0\n")
    assert disk.name_medium() == grub.menu("ttyS0")
