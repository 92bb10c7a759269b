"""Which device becomes the boot medium, how long the boot waits for one, and what it says."""

import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from k3os.boot import media, twins
from k3os.errors import UserError
from k3os.system import blockdev, kernelmodules, mounts, volumes
from k3os.system.blockdev import FileSystem, identify
from k3os.system.run import run


def test_real_file_systems_are_recognised_by_their_superblocks(tmp_path: Path) -> None:
    ext4, fat = tmp_path / "ext4", tmp_path / "fat"
    for path in (ext4, fat):
        path.write_bytes(b"")
        with path.open("r+b") as file:
            file.truncate(40 << 20)
    run(["mke2fs", "-q", "-t", "ext4", "-L", "K3OS_STATE", str(ext4)])
    run(["mkfs.vfat", "-F", "32", "-n", "K3OS_GRUB", str(fat)])
    (tmp_path / "tree").mkdir()
    iso = tmp_path / "iso"
    run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-V",
            "K3OS",
            "-o",
            str(iso),
            str(tmp_path / "tree"),
        ]
    )
    found = [blockdev.probe(str(path)) for path in (ext4, fat, iso)]
    assert [(fs.kind, fs.label) for fs in found] == [
        ("ext4", "K3OS_STATE"),
        ("vfat", "K3OS_GRUB"),
        ("iso9660", "K3OS"),
    ]


def test_rubbish_and_short_devices_are_nothing_we_know() -> None:
    assert identify(b"", b"") == ("", "")
    assert identify(b"", b"\0BEA01\x01" + bytes(2041)) == ("udf", "")
    assert identify(struct.pack("<512I", *range(512)), b"\xff" * 2048) == ("", "")


class Machine:
    """Devices that appear at given times, with their contents."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.clock = 0.0
        self.devices: dict[str, tuple[float, FileSystem | OSError]] = {}
        self.markers: set[str] = set()
        self.damaged: set[str] = set()
        self.said: list[str] = []
        medium = tmp_path / "medium"
        monkeypatch.setattr(media, "MOUNTED_AT", str(medium))
        monkeypatch.setattr(media, "block_devices", self.names)
        monkeypatch.setattr(media, "probe", self.probe)
        monkeypatch.setattr(kernelmodules, "device_aliases", set)
        monkeypatch.setattr(kernelmodules, "load", lambda names: "")
        monkeypatch.setattr(mounts, "mount", self.mount)
        monkeypatch.setattr(mounts, "unmount", lambda target, flags=0: None)
        monkeypatch.setattr(media.time, "sleep", self.sleep)
        monkeypatch.setattr(
            mounts, "bind_read_only", lambda source, target: self.bound.append(source)
        )
        monkeypatch.setattr(twins, "CMDLINE", str(tmp_path / "cmdline"))
        self.cmdline = tmp_path / "cmdline"
        self.cmdline.write_text("quiet\n")
        self.medium = medium
        self.mounted: list[str] = []
        self.files: dict[str, dict[str, str]] = {}
        self.bound: list[str] = []
        self.carried = tmp_path / "carried"
        monkeypatch.setattr(media, "CARRIED", str(self.carried))
        monkeypatch.setattr(media, "CARRIED_WHOLE", str(tmp_path / "whole"))
        self.marker = medium / media.MARKER

    def names(self) -> list[str]:
        return [name for name, (since, _) in self.devices.items() if since <= self.clock]

    def probe(self, device: str) -> FileSystem:
        carries = self.devices[device.rpartition("/")[2]][1]
        if isinstance(carries, OSError):
            raise carries
        return carries

    def mount(self, source: str, target: str, kind: str = "", flags: int = 0) -> None:
        self.mounted.append(source)
        if source in self.damaged:
            raise OSError(117, "Structure needs cleaning", source)
        shutil.rmtree(self.medium, ignore_errors=True)
        self.medium.mkdir()
        if source in self.markers:
            self.marker.parent.mkdir(parents=True)
            self.marker.touch()
        for name, text in self.files.get(source, {}).items():
            path = self.medium / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/kernel"):
                path.symlink_to(text)
            else:
                path.write_text(text)

    def sleep(self, seconds: float) -> None:
        self.clock += seconds

    def add(
        self,
        name: str,
        kind: str,
        label: str,
        *,
        at: float = 0,
        marker: bool = True,
        uuid: str = "",
    ) -> None:
        device = f"/dev/{name}"
        self.devices[name] = (at, FileSystem(device, kind, label, uuid))
        if marker:
            self.markers.add(device)

    def carry(self, *, whole: bool = True) -> None:
        """Use the initrd for network boot."""
        (self.carried / media.MARKER).parent.mkdir(parents=True)
        (self.carried / media.MARKER).touch()
        if whole:
            (self.carried.parent / "whole").touch()

    def find(self, timeout: float = 30, **options: Any) -> media.Medium:
        return media.find(
            self.said.append, timeout=timeout, monotonic=lambda: self.clock, **options
        )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def test_an_installed_disk_is_preferred_to_the_stick(machine: Machine) -> None:
    machine.add("sda", "iso9660", "K3OS")
    machine.add("sdb2", "ext4", "K3OS_STATE")
    found = machine.find()
    assert (found.kind, found.file_system.device) == ("disk", "/dev/sdb2")


def test_a_live_boot_prefers_the_stick_to_the_installed_disk(machine: Machine) -> None:
    machine.add("sda2", "ext4", "K3OS_STATE")
    machine.add("sdb", "iso9660", "K3OS", at=4)
    assert machine.find(kinds=("iso", "disk")).kind == "iso"


def test_an_installation_never_boots_from_the_installed_disk(machine: Machine) -> None:
    machine.add("sda2", "ext4", "K3OS_STATE")
    with pytest.raises(UserError) as caught:
        machine.find(5, kinds=("iso",))
    assert "no CD or USB stick labelled K3OS" in caught.value.message


def test_a_fallback_waits_for_a_disk_that_is_slower_than_the_stick(machine: Machine) -> None:
    machine.add("sdb", "iso9660", "K3OS")
    machine.add("sda2", "ext4", "K3OS_STATE", at=8)
    assert machine.find(patience=10).kind == "disk"


def test_a_fallback_goes_on_with_the_stick_when_no_disk_came(machine: Machine) -> None:
    machine.add("sdb", "iso9660", "K3OS")
    assert machine.find(patience=10).kind == "iso"
    assert 10 <= machine.clock < 11
    assert "more for a disk labelled K3OS_STATE; seen:" in machine.said[0]


def test_a_label_without_the_marker_is_not_believed(machine: Machine) -> None:
    machine.add("sda1", "ext4", "K3OS_STATE", marker=False)
    machine.add("sr0", "iso9660", "K3OS")
    assert machine.find().file_system.device == "/dev/sr0"


def test_a_slow_device_is_waited_for_with_a_countdown(machine: Machine) -> None:
    machine.add("sr0", "iso9660", "K3OS", at=12)
    machine.devices["sda"] = (0, OSError(123, "No medium found"))
    assert machine.find().file_system.device == "/dev/sr0"
    assert len(machine.said) == 2
    assert "waiting 27 s more for a disk labelled K3OS_STATE" in machine.said[0]
    assert "/dev/sda (No medium found)" in machine.said[0]


def test_without_a_medium_the_error_lists_what_was_seen(machine: Machine) -> None:
    machine.add("vda1", "ext4", "data")
    with pytest.raises(UserError) as caught:
        machine.find(5)
    assert "in 5 s" in caught.value.message
    assert "/dev/vda1 (ext4 'data')" in caught.value.hint


def test_a_file_system_that_cannot_be_mounted_is_listed_once_and_says_why(
    machine: Machine,
) -> None:
    machine.add("sda1", "ext4", "K3OS_STATE")
    machine.damaged.add("/dev/sda1")
    with pytest.raises(UserError) as caught:
        machine.find(5)
    assert caught.value.hint.count("/dev/sda1") == 1
    assert "Structure needs cleaning" in caught.value.hint


def test_without_any_disk_the_hint_speaks_of_cables_and_controllers(machine: Machine) -> None:
    with pytest.raises(UserError) as caught:
        machine.find(1)
    assert "no disk at all" in caught.value.hint


def test_without_a_medium_the_initrd_for_network_boot_is_named(machine: Machine) -> None:
    with pytest.raises(UserError) as caught:
        machine.find(1)
    assert "the initrd must be k3os-initrd-netboot-" in caught.value.hint
    with pytest.raises(UserError) as caught:
        machine.find(1, kinds=("disk",))
    assert "netboot" not in caught.value.hint


@pytest.mark.parametrize("mode", ["live", "install"])
def test_what_the_initrd_carries_is_booted_at_once_and_no_disk_looked_at(
    machine: Machine, mode: str
) -> None:
    machine.carry()
    machine.add("sda2", "ext4", "K3OS_STATE")
    machine.add("sr0", "iso9660", "K3OS")
    found = machine.find(kinds=media.kinds_of(mode))
    assert found.kind == "netboot"
    assert machine.bound == [str(machine.carried)]
    assert (machine.clock, machine.said) == (0, [])


def test_an_installed_disk_with_the_running_kernel_is_preferred_to_the_initrd(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.carry()
    machine.add("sda2", "ext4", "K3OS_STATE", at=8)
    monkeypatch.setattr(media, "OWN_KERNEL", media.MARKER)
    assert machine.find(kinds=media.kinds_of(""), patience=10).kind == "disk"


def test_an_installed_disk_of_another_kernel_is_not_booted_by_the_initrds(
    machine: Machine,
) -> None:
    machine.carry()
    machine.add("sda2", "ext4", "K3OS_STATE")
    assert machine.find(kinds=media.kinds_of(""), patience=10).kind == "netboot"
    assert 10 <= machine.clock < 11


def test_the_mode_disk_boots_a_disk_whatever_the_initrd_carries(machine: Machine) -> None:
    machine.carry()
    with pytest.raises(UserError, match="no disk labelled K3OS_STATE"):
        machine.find(1, kinds=media.kinds_of("disk"))


def test_an_initrd_that_did_not_fit_into_memory_says_so(machine: Machine) -> None:
    machine.carry(whole=False)
    with pytest.raises(UserError, match="too little memory"):
        machine.find(kinds=media.kinds_of("live"))


def test_a_takeover_is_found_by_its_uuid_and_nothing_else_is_taken(machine: Machine) -> None:
    machine.add("sda1", "ext4", "K3OS_STATE")
    machine.add("sdb1", "ext4", "debian-root", at=5)
    machine.devices["sdb1"][1].uuid = "1-2-3"  # type: ignore[union-attr]
    found = machine.find(kinds=("disk",), uuid="1-2-3")
    assert (found.kind, found.file_system.device) == ("disk", "/dev/sdb1")
    with pytest.raises(UserError, match="no disk with the UUID 4-5-6"):
        machine.find(5, kinds=("disk",), uuid="4-5-6")


@pytest.fixture
def shown(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A RAID that appears as md0 when its member is read; returns the calls."""
    calls: list[str] = []

    def show(self: object, members: list[FileSystem], wanted: object) -> None:
        calls.append(" ".join(member.device for member in members))
        machine.add("md0", "ext4", "K3OS_STATE")

    monkeypatch.setattr(volumes.Volumes, "show", show)
    machine.add("sda1", "linux_raid_member", "", marker=False)
    machine.add("sr0", "iso9660", "K3OS")
    return calls


def test_arrays_are_looked_into_before_a_stick_is_taken(machine: Machine, shown: list[str]) -> None:
    assert machine.find().file_system.device == "/dev/md0"
    assert shown == ["/dev/sda1"]


@pytest.mark.parametrize("kinds", [("iso",), ("iso", "disk")])
def test_arrays_are_left_alone_when_a_stick_is_what_boots(
    machine: Machine, shown: list[str], kinds: tuple[str, ...]
) -> None:
    assert machine.find(kinds=kinds).file_system.device == "/dev/sr0"
    assert shown == []
