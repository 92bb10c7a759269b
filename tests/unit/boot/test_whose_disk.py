"""Which disk is booted when several look alike: the one that GRUB read, or none."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from k3os.boot import init, media
from k3os.errors import UserError
from k3os.generation import layout
from k3os.system import blockdev
from k3os.system.blockdev import FileSystem
from k3os.system.run import run
from tests.unit.boot.test_media import Machine
from tests.unit.boot.test_media import machine as machine

OURS, THEIRS = "0a0b0c0d-0000-4000-8000-000000000001", "0a0b0c0d-0000-4000-8000-000000000002"
ISO, OTHER_ISO = "2026-11-26-10-20-30-40", "2026-11-27-10-20-30-40"
KERNEL = "k3os/system/current/kernel"


def find(machine: Machine, uuid: str, mode: str = "", **options: Any) -> str:
    """The device that PID 1 uses when GRUB passed this UUID."""
    kinds, wanted = init.wanted_media(mode, init.medium_uuid({layout.MEDIUM_UUID: uuid}))
    return machine.find(5, kinds=kinds, uuid=wanted, **options).file_system.device


def two_disks(machine: Machine, ours: str = OURS, theirs: str = THEIRS) -> None:
    machine.add("sda3", "ext4", "K3OS_STATE", uuid=theirs)
    machine.add("sdb3", "ext4", "K3OS_STATE", uuid=ours)


def test_the_disk_that_grub_read_is_booted_and_no_other_is_even_mounted(machine: Machine) -> None:
    two_disks(machine)
    assert find(machine, OURS) == "/dev/sdb3"
    assert machine.mounted == ["/dev/sdb3"]


@pytest.mark.parametrize("mode", ["", "disk", "live", "shell"])
def test_a_stick_is_not_what_the_disks_grub_booted(machine: Machine, mode: str) -> None:
    machine.add("sda", "iso9660", "K3OS", uuid=ISO)
    machine.add("sdb3", "ext4", "K3OS_STATE", uuid=OURS, at=3)
    assert find(machine, OURS, mode) == "/dev/sdb3"


@pytest.mark.parametrize("mode", ["live", "install"])
def test_of_two_sticks_the_one_that_grub_read_is_booted(machine: Machine, mode: str) -> None:
    machine.add("sda", "iso9660", "K3OS", uuid=OTHER_ISO)
    machine.add("sr0", "iso9660", "K3OS", uuid=ISO, at=3)
    machine.add("sdb3", "ext4", "K3OS_STATE", uuid=OURS)
    assert find(machine, ISO, mode) == "/dev/sr0"
    assert machine.mounted == ["/dev/sr0"]


def test_a_stick_without_a_mode_still_prefers_the_installed_disk(machine: Machine) -> None:
    """As k3os.fallback_mode=install asks for."""
    machine.add("sda", "iso9660", "K3OS", uuid=ISO)
    machine.add("sdb3", "ext4", "K3OS_STATE", uuid=OURS)
    assert find(machine, ISO) == "/dev/sdb3"


def test_a_disk_that_is_not_there_is_waited_for_and_named_and_so_is_what_is_there(
    machine: Machine,
) -> None:
    machine.add("sda3", "ext4", "K3OS_STATE", uuid=THEIRS)
    machine.add("sr0", "iso9660", "K3OS", uuid=ISO)
    machine.add("sdb1", "ext4", "data", uuid=OURS.replace("1", "3"))
    with pytest.raises(UserError) as caught:
        find(machine, OURS)
    assert caught.value.message == (
        f"no k3OS boot medium was found in 5 s: no disk with the UUID {OURS}"
    )
    assert f"/dev/sda3 (ext4 'K3OS_STATE'), UUID {THEIRS}" in caught.value.hint
    assert f"/dev/sr0 (iso9660 'K3OS'), UUID {ISO}" in caught.value.hint
    assert "k3os.medium_uuid=" in caught.value.hint
    assert "initrd-netboot" not in caught.value.hint
    assert f"more for a disk with the UUID {OURS}" in machine.said[0]
    assert machine.mounted == []


@pytest.mark.parametrize("uuid", ["", OURS])
def test_two_that_cannot_be_told_apart_are_an_error_that_names_both(
    machine: Machine, uuid: str
) -> None:
    two_disks(machine, theirs=THEIRS if not uuid else OURS)
    with pytest.raises(UserError) as caught:
        find(machine, uuid)
    assert "/dev/sda3" in caught.value.message
    assert "/dev/sdb3" in caught.value.message
    assert "away" in caught.value.hint
    if uuid:
        assert "same UUID" in caught.value.message
    else:
        assert f"k3os.medium_uuid={OURS} for /dev/sdb3" in caught.value.hint


def test_a_disk_whose_driver_comes_with_another_device_is_seen_before_one_is_taken(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus driver reveals a controller, whose driver reveals the disk; the other disk is there
    first."""
    two_disks(machine)
    late = machine.devices.pop("sda3")
    brings = {"bus": "controller", "controller": "disk"}
    aliases = {"bus"}

    def load(names: list[str]) -> str:
        aliases.update(brings[name] for name in names if name in brings)
        if "disk" in aliases:
            machine.devices["sda3"] = late
        return ""

    monkeypatch.setattr(media.kernelmodules, "device_aliases", lambda: set(aliases))
    monkeypatch.setattr(media.kernelmodules, "load", load)
    with pytest.raises(UserError, match=r"/dev/sd.3.*/dev/sd.3"):
        find(machine, "")


def test_devices_that_never_stop_appearing_do_not_stop_the_boot(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add("sdb3", "ext4", "K3OS_STATE", uuid=OURS)
    numbers = itertools.count()
    monkeypatch.setattr(media.kernelmodules, "device_aliases", lambda: {f"usb:{next(numbers)}"})
    assert find(machine, OURS) == "/dev/sdb3"


def test_a_label_without_a_system_is_no_second_one(machine: Machine) -> None:
    machine.add("sda1", "ext4", "K3OS_STATE", marker=False, uuid=THEIRS)
    machine.add("sdb3", "ext4", "K3OS_STATE", uuid=OURS)
    assert find(machine, "") == "/dev/sdb3"


def test_without_a_uuid_the_disk_whose_kernel_runs_is_the_right_one(machine: Machine) -> None:
    """With the menu of an older release, at the first boot of this one."""
    two_disks(machine)
    machine.files["/dev/sda3"] = {KERNEL: "../../kernel/5.10.0-older"}
    machine.files["/dev/sdb3"] = {KERNEL: f"../../kernel/{os.uname().release}~2"}
    assert find(machine, "") == "/dev/sdb3"


def test_of_two_with_this_kernel_the_one_whose_grub_counts_the_trial_is_the_right_one(
    machine: Machine,
) -> None:
    two_disks(machine)
    block = "# GRUB Environment Block\nk3os_trial=2\nk3os_tries=2\n"
    machine.files["/dev/sdb3"] = {"boot/grub/grubenv": block.ljust(1024, "#")}
    with pytest.raises(UserError):
        find(machine, "")  # a leftover environment block means nothing
    machine.cmdline.write_text("quiet k3os.trial=600 panic=10\n")
    assert find(machine, "") == "/dev/sdb3"


def test_an_iso_on_a_stick_and_on_its_partition_is_one(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "devices/sda/sda1").mkdir(parents=True)
    (tmp_path / "devices/sda/sda1/partition").write_text("1\n")
    (tmp_path / "block").mkdir()
    (tmp_path / "block/sda").symlink_to(tmp_path / "devices/sda")
    (tmp_path / "block/sda1").symlink_to(tmp_path / "devices/sda/sda1")
    monkeypatch.setattr(blockdev, "SYS_BLOCK", str(tmp_path / "block"))
    for name in ("sda", "sda1"):
        machine.add(name, "iso9660", "K3OS", uuid=ISO)
    assert find(machine, ISO, "live") == "/dev/sda"
    assert find(machine, "", "live") == "/dev/sda"


@pytest.mark.parametrize(
    ("wwid", "is_one"), [("naa.5000c500a1b2c3d4", True), ("eui.0000000000000000", False)]
)
def test_a_disk_with_two_paths_to_it_is_one(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wwid: str, is_one: bool
) -> None:
    for name in ("sda", "sdb"):
        for part in ("", f"/{name}3"):
            (tmp_path / f"devices/{name}{part}").mkdir(parents=True)
        (tmp_path / f"devices/{name}/{name}3/partition").write_text("3\n")
        (tmp_path / f"devices/{name}/wwid").write_text(f"{wwid}\n")
        (tmp_path / "block").mkdir(exist_ok=True)
        (tmp_path / f"block/{name}").symlink_to(tmp_path / f"devices/{name}")
        (tmp_path / f"block/{name}3").symlink_to(tmp_path / f"devices/{name}/{name}3")
    monkeypatch.setattr("k3os.boot.twins.SYS_BLOCK", str(tmp_path / "block"))
    monkeypatch.setattr(blockdev, "SYS_BLOCK", str(tmp_path / "block"))
    two_disks(machine, OURS, OURS)
    if is_one:
        assert find(machine, OURS) == "/dev/sda3"
    else:
        with pytest.raises(UserError, match="same UUID"):
            find(machine, OURS)


@pytest.mark.parametrize("error", [RecursionError("deep"), OverflowError("large"), MemoryError()])
def test_whatever_a_header_makes_us_do_costs_its_device_alone_and_is_said_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    machine.add("sda", "", "", marker=False)
    machine.add("sdb3", "ext4", "K3OS_STATE", uuid=OURS, at=2)

    def probe(device: str) -> FileSystem:
        if device == "/dev/sda":
            raise error
        return machine.probe(device)

    monkeypatch.setattr(media, "probe", probe)
    assert find(machine, OURS) == "/dev/sdb3"
    assert [line for line in machine.said if "left out" in line] == [
        f"/dev/sda is left out: {error!r}"
    ]


@pytest.mark.parametrize("text", ["x" * 37, "a b", "a\x1b[31m", "²"])
def test_what_is_no_uuid_on_the_command_line_is_reported_and_passed_over(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(init, "say", said.append)
    assert init.medium_uuid({layout.MEDIUM_UUID: text}) == ""
    assert "is not a UUID; the label decides" in said[0]
    assert init.medium_uuid({layout.MEDIUM_UUID: ""}) == ""
    assert init.medium_uuid({layout.MEDIUM_UUID: OURS, "k3os.takeover": THEIRS}) == THEIRS


def test_uuids_are_written_as_grub_and_blkid_write_them(tmp_path: Path) -> None:
    for name, command in {
        "ext4": ["mke2fs", "-q", "-t", "ext4"],
        "fat32": ["mkfs.vfat", "-F", "32", "-i", "0a1b2c3d"],
        "fat16": ["mkfs.vfat", "-F", "16", "-i", "0a1b2c3d"],
    }.items():
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(40 << 20)
        run([*command, str(path)])
    (tmp_path / "tree").mkdir()
    iso = ["xorriso", "-as", "mkisofs", "-quiet", "-V", "K3OS", "-o", str(tmp_path / "iso")]
    run([*iso, "--modification-date=2026112610203040", str(tmp_path / "tree")])
    for name in ("ext4", "fat32", "fat16", "iso"):
        path = str(tmp_path / name)
        uuid = run(["blkid", "-p", "-s", "UUID", "-o", "value", path]).decode().strip()
        assert blockdev.probe(path).uuid == uuid
        assert media.kind_of(uuid) == ("disk" if name == "ext4" else "iso")
    assert blockdev.probe(str(tmp_path / "iso")).uuid == ISO
