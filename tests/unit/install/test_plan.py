"""What an installation refuses and accepts: decided from sysfs, before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.generation.install_medium import InstallMedium
from k3os.install import plan
from k3os.install.plan import InstallRequest
from k3os.system import blockdev, disks
from k3os.system.blockdev import FileSystem

GB = 10**9
SOURCE = InstallMedium("/.base", b"{}", {}, {"k3os": "1", "kernel": "6", "k3s": "v1"}, 100 * 10**6)


class Machine:
    """A fake sysfs, mount table, and contents of devices."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.block = root / "block"
        self.block.mkdir()
        self.carries: dict[str, FileSystem] = {}
        self.mounts = root / "mountinfo"
        self.mounts.write_text("21 1 0:20 / / rw - tmpfs tmpfs rw\n")
        self.swaps = root / "swaps"
        self.swaps.write_text("Filename Type Size Used Priority\n")
        monkeypatch.setattr(disks, "SYS", str(self.block))
        monkeypatch.setattr(blockdev, "SYS_BLOCK", str(self.block))
        self.own_mounts = root / "own-mountinfo"
        self.own_mounts.write_text("21 1 0:20 / / rw - tmpfs tmpfs rw\n")
        monkeypatch.setattr(disks, "MOUNTS", str(self.mounts))
        monkeypatch.setattr(disks, "OWN_MOUNTS", str(self.own_mounts))
        monkeypatch.setattr(disks, "claimed", lambda device: device.name in self.claimed)
        self.claimed: set[str] = set()
        monkeypatch.setattr(disks, "SWAPS", str(self.swaps))
        monkeypatch.setattr(disks, "probe", self.probe)
        monkeypatch.setattr(disks, "look_up", lambda path: disks.describe(path.split("/")[-1]))

    def probe(self, path: str) -> FileSystem:
        return self.carries.get(path, FileSystem(path, "", ""))

    def disk(self, name: str, size: int, **files: str) -> None:
        self._device(self.root / "devices" / name, name, size, files)

    def partition(self, name: str, disk: str, number: int, size: int, label: str = "") -> None:
        path = self.root / "devices" / disk / name
        self._device(path, name, size, {"partition": str(number), "start": "2048"})
        if label:
            self.carries[f"/dev/{name}"] = FileSystem(f"/dev/{name}", "ext4", label)

    def _device(self, path: Path, name: str, size: int, files: dict[str, str]) -> None:
        path.mkdir(parents=True)
        (self.block / name).symlink_to(path)
        number = f"8:{len(list(self.block.iterdir()))}"
        for file, text in {"size": str(size // 512), "dev": number, "ro": "0", **files}.items():
            (path / file).write_text(f"{text}\n")

    def mount(self, name: str, target: str) -> None:
        number = (self.block / name / "dev").read_text().strip()
        with self.mounts.open("a") as file:
            file.write(f"30 21 {number} / {target} rw - ext4 /dev/{name} rw\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def decide(**request: object) -> plan.Plan:
    return plan.make_plan(InstallRequest(**request), SOURCE, b"", "")  # type: ignore[arg-type]


def refused(**request: object) -> str:
    with pytest.raises(UserError) as caught:
        decide(**request)
    return str(caught.value)


def test_the_only_disk_is_taken_and_named(machine: Machine) -> None:
    machine.disk("vda", 8 * GB)
    decided = decide()
    assert decided.disk is not None
    assert decided.disk.path == "/dev/vda"
    assert "onto /dev/vda (8.0 GB): everything on it is lost" in decided.lines()


def test_what_is_lost_is_shown(machine: Machine) -> None:
    machine.disk("vda", 8 * GB)
    machine.partition("vda1", "vda", 1, GB, "photos")
    assert "  lost: /dev/vda1 (ext4 'photos')" in decide().lines()


def test_of_several_disks_none_is_taken_unasked(machine: Machine) -> None:
    machine.disk("sda", 8 * GB)
    machine.disk("nvme0n1", 500 * GB)
    assert "there are 2 disks, and none was chosen" in refused()
    assert decide(device="/dev/sda").disk == disks.describe("sda")


def test_the_medium_is_never_the_target_and_the_other_disk_is_the_only_one(
    machine: Machine,
) -> None:
    machine.disk("sda", 8 * GB)
    machine.mount("sda", "/.base")
    machine.disk("sdb", 8 * GB)
    assert decide().disk == disks.describe("sdb")
    assert "/dev/sda is the medium this system runs from" in refused(device="/dev/sda")


def test_a_disk_whose_partition_is_the_medium_is_refused(machine: Machine) -> None:
    machine.disk("sda", 8 * GB)
    machine.partition("sda1", "sda", 1, 4 * GB)
    machine.mount("sda1", "/.base")
    assert "/dev/sda1 is the medium this system runs from" in refused(device="/dev/sda")


def test_beside_a_stick_an_empty_and_an_installed_disk_can_be_chosen_but_never_the_stick(
    machine: Machine,
) -> None:
    """An ISO on a stick is a file system on the whole disk, and has a partition table, too."""
    machine.disk("sda", 16 * GB)
    machine.carries["/dev/sda"] = FileSystem("/dev/sda", "iso9660", "K3OS")
    for number in (1, 2, 3):
        machine.partition(f"sda{number}", "sda", number, GB)
    machine.mount("sda", "/.base")
    machine.disk("vda", 8 * GB)
    machine.disk("nvme0n1", 8 * GB)
    machine.partition("nvme0n1p3", "nvme0n1", 3, 4 * GB, "K3OS_STATE")
    both = [disks.describe("nvme0n1"), disks.describe("vda")]
    assert plan.usable(SOURCE) == both
    assert plan.usable(SOURCE, keep_installed=True) == both[1:]
    # the other one may be the data of the installed system: only a person takes it
    assert "no disk is chosen beside an installed system" in refused(keep_installed=True)
    assert decide(device="/dev/vda", keep_installed=True).disk == both[1]
    assert "is the medium this system runs from" in refused(device="/dev/sda")
    assert "/dev/sda2 is a partition" in refused(device="/dev/sda2")


def test_a_mounted_disk_is_refused(machine: Machine) -> None:
    machine.disk("sda", 8 * GB)
    machine.partition("sda2", "sda", 2, 4 * GB)
    machine.mount("sda2", "/mnt")
    assert "/dev/sda2 is mounted at /mnt" in refused(device="/dev/sda")


def test_a_disk_in_use_by_raid_lvm_or_as_swap_is_refused(machine: Machine) -> None:
    for name in ("sda", "sdb", "sdc"):
        machine.disk(name, 8 * GB)
        machine.partition(f"{name}1", name, 1, 4 * GB)
    (machine.block / "sda1" / "holders" / "md0").mkdir(parents=True)
    (machine.block / "sdb" / "holders" / "dm-0").mkdir(parents=True)
    with machine.swaps.open("a") as file:
        file.write("/dev/sdc1 partition 1 0 -2\n")
    assert "in use by a RAID (/dev/md0)" in refused(device="/dev/sda")
    assert "in use by LVM or another mapping (/dev/dm-0)" in refused(device="/dev/sdb")
    assert "/dev/sdc1 is in use as swap" in refused(device="/dev/sdc")


def test_a_disk_that_the_kernel_lends_to_somebody_else_is_refused(machine: Machine) -> None:
    machine.disk("sda", 8 * GB)
    machine.claimed.add("sda")
    assert "/dev/sda is in use; `lsblk /dev/sda` may say by what" in refused(device="/dev/sda")


def test_a_mounted_btrfs_is_known_by_its_source(machine: Machine) -> None:
    machine.disk("sda", 8 * GB)
    machine.partition("sda1", "sda", 1, 8 * GB)
    machine.mounts.write_text("30 21 0:27 /@ /srv rw - btrfs /dev/sda1 rw\n")
    assert "/dev/sda1 is mounted at /srv" in refused(device="/dev/sda")


def test_the_loaders_of_an_array_go_to_each_of_its_disks(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "booted_with_efi", lambda: False)
    for name in ("sda", "sdb"):
        machine.disk(name, 8 * GB)
        machine.partition(f"{name}1", name, 1, 4 * GB, "K3OS_STATE")
        (machine.block / f"{name}1" / "holders" / "md0").mkdir(parents=True)
    machine.disk("md0", 4 * GB)
    machine.carries["/dev/md0"] = FileSystem("/dev/md0", "ext4", "K3OS_STATE")
    for name in ("sda1", "sdb1"):
        (machine.block / "md0" / "slaves" / name).mkdir(parents=True)
    monkeypatch.setattr(
        plan, "bios_place", lambda disk: plan.BiosPlace(f"/dev/{disk}", 512, 1 << 20)
    )
    decided = decide(no_format=True)
    assert decided.state == disks.describe("md0")
    assert [place.disk for place in decided.bios] == ["/dev/sda", "/dev/sdb"]


def test_a_disk_with_large_sectors_wants_uefi_and_more_room(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.disk("vda", 8 * GB)
    (machine.block / "vda/queue").mkdir()
    (machine.block / "vda/queue/logical_block_size").write_text("4096\n")
    monkeypatch.setattr(plan, "booted_with_efi", lambda: False)
    assert "has sectors of 4096 bytes, from which no BIOS boots" in refused()
    assert plan.usable(SOURCE) == []
    monkeypatch.setattr(plan, "booted_with_efi", lambda: True)
    assert "  it boots with UEFI only: its sectors have 4096 bytes" in decide().lines()
    assert plan.needed(SOURCE, 4096) - plan.needed(SOURCE) == 196 * plan.MIB


def test_a_small_disk_is_refused_with_what_is_needed(machine: Machine) -> None:
    machine.disk("sda", 400 * 10**6)
    assert "/dev/sda is too small: it has 400 MB, 540 MB are needed" in refused(device="/dev/sda")


def test_a_read_only_disk_is_refused(machine: Machine) -> None:
    machine.disk("sda", 8 * GB, ro="1")
    assert "/dev/sda is read-only" in refused(device="/dev/sda")


def test_a_partition_is_no_disk(machine: Machine) -> None:
    machine.disk("nvme0n1", 8 * GB)
    machine.partition("nvme0n1p1", "nvme0n1", 1, 8 * GB)
    assert "give the whole disk, /dev/nvme0n1" in refused(device="/dev/nvme0n1p1")


def test_a_fallback_never_formats_an_installed_disk(machine: Machine) -> None:
    machine.disk("sda", 8 * GB)
    machine.partition("sda3", "sda", 3, 4 * GB, "K3OS_STATE")
    assert "a fallback never formats an installed system" in refused(
        device="/dev/sda", keep_installed=True
    )
    assert decide(device="/dev/sda").disk is not None
    for kind in ("linux_raid_member", "LVM2_member"):
        machine.carries["/dev/sda3"] = FileSystem("/dev/sda3", kind, "")
        assert "may hold an installed system" in refused(device="/dev/sda", keep_installed=True)
        assert "may hold an installed system" in refused(keep_installed=True)
        assert decide(device="/dev/sda").disk is not None


def test_without_a_disk_the_reasons_are_listed(machine: Machine) -> None:
    machine.disk("sr0", GB)
    machine.disk("sda", GB // 10)
    message = refused()
    assert "there is no disk to install to" in message
    assert "too small" in message


def test_no_format_needs_the_label(machine: Machine) -> None:
    machine.disk("sda", 8 * GB)
    machine.partition("sda1", "sda", 1, 4 * GB, "data")
    assert "no_format needs a partition with an ext4" in refused(no_format=True)


def test_of_two_labelled_partitions_none_is_guessed(machine: Machine) -> None:
    for disk in ("sda", "sdb"):
        machine.disk(disk, 8 * GB)
        machine.partition(f"{disk}1", disk, 1, 7 * GB, "K3OS_STATE")
    said = refused(no_format=True)
    assert "/dev/sda1 and /dev/sdb1 are labelled K3OS_STATE" in said
    assert "place for a boot loader" in refused(no_format=True, device="/dev/sdb1")


def test_no_format_takes_the_labelled_partition_where_a_loader_can_be(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "booted_with_efi", lambda: False)
    machine.disk("sda", 8 * GB)
    machine.partition("sda1", "sda", 1, 4 * GB, "K3OS_STATE")
    monkeypatch.setattr(plan, "bios_place", lambda disk: None)
    assert "no place for a boot loader" in refused(no_format=True)
    place = plan.BiosPlace("/dev/sda", 512, 1 << 20)
    monkeypatch.setattr(plan, "bios_place", lambda disk: place)
    decided = decide(no_format=True)
    assert decided.disk is None
    assert decided.state == disks.describe("sda1")
    assert decided.bios == (place,)
    assert "UEFI needs a FAT32 partition" in refused(no_format=True, force_efi=True)


def test_where_no_machine_has_a_bios_no_place_for_its_loader_counts(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "booted_with_efi", lambda: False)
    monkeypatch.setattr(plan, "bios_place", lambda disk: plan.BiosPlace(f"/dev/{disk}", 512, GB))
    machine.disk("sda", 8 * GB)
    machine.partition("sda1", "sda", 1, 4 * GB, "K3OS_STATE")
    with pytest.raises(UserError, match="UEFI needs a FAT32 partition"):
        plan.make_plan(InstallRequest(no_format=True), replace(SOURCE, arch="arm64"), b"", "")
    machine.partition("sda2", "sda", 2, GB)
    machine.carries["/dev/sda2"] = FileSystem("/dev/sda2", "vfat", "K3OS_GRUB")
    monkeypatch.setattr(plan.fat, "problem", lambda path, sector: "it is odd")
    with pytest.raises(UserError, match="no UEFI reads /dev/sda2: it is odd"):
        plan.make_plan(InstallRequest(no_format=True), replace(SOURCE, arch="arm64"), b"", "")
    monkeypatch.setattr(plan.fat, "problem", lambda path, sector: "")
    decided = plan.make_plan(InstallRequest(no_format=True), replace(SOURCE, arch="arm64"), b"", "")
    assert decided.efi == (disks.describe("sda2"),)
    assert decided.bios == ()
