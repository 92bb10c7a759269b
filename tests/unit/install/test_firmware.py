"""The firmware's boot entries: which old ones are removed, and what is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from k3os.install import firmware
from k3os.system.disks import Device
from k3os.system.run import CommandError

OWN, OTHER, GONE = (f"{digit * 8}-1111-2222-3333-444444444444" for digit in "abc")
# efibootmgr 18 prints the path after a tab; older ones only with -v
LISTING = f"""\
BootCurrent: 0001
Timeout: 0 seconds
BootOrder: 0001,0000,0002,0003,0004
Boot0000* UiApp\tFvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21-7614-4503-836e)
Boot0001* UEFI QEMU DVD-ROM \tPciRoot(0x0)/Pci(0x1f,0x2)/Sata(2,65535,0)
Boot0002* k3OS\tHD(2,GPT,{OWN.upper()},0x1000,0x20000)/File(\\EFI\\BOOT\\BOOTX64.EFI)
Boot0003* k3OS\tHD(2,GPT,{OTHER},0x1000,0x20000)/File(\\EFI\\BOOT\\BOOTX64.EFI)
Boot000A* k3OS\tHD(2,GPT,{GONE},0x1000,0x20000)/File(\\EFI\\BOOT\\BOOTX64.EFI)
Boot0004* debian\tHD(1,GPT,{GONE},0x800,0x100000)/File(\\EFI\\debian\\shimx64.efi)
"""
PARTITIONS = (
    Device("vda2", 1 << 26, "vda", number=2),
    Device("nvme0n1p2", 1 << 26, "nvme0n1", number=2),
)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run, on a machine that was booted with UEFI."""
    found: list[list[str]] = []

    def run(command: list[str]) -> bytes:
        found.append(command)
        if command == ["efibootmgr"]:
            return LISTING.encode()
        if command[0] == "lsblk":
            return (f"{OWN}\n" if len(command) > 3 else f"\n{OWN}\n{OTHER}\n").encode()
        return b""

    (tmp_path / "BootOrder-8be4df61").touch()
    monkeypatch.setattr(firmware, "VARIABLES", str(tmp_path))
    monkeypatch.setattr(firmware, "run", run)
    return found


def test_only_our_own_entries_without_a_partition_are_stale() -> None:
    assert firmware.stale(LISTING, {OWN, OTHER}) == ["000A"]
    assert firmware.stale(LISTING, {OTHER}) == ["0002", "000A"]
    assert firmware.stale("", set()) == []


def test_the_first_disk_is_the_first_in_the_list_and_old_entries_go(
    calls: list[list[str]],
) -> None:
    (line,) = firmware.add_entries(PARTITIONS, "amd64")
    assert "has k3OS in the first place" in line
    written = [call for call in calls if len(call) > 1 and call[0] == "efibootmgr"]
    assert [call[3] for call in written if "--delete-bootnum" in call] == ["0002", "000A"]
    created = [call for call in written if "--create" in call]
    assert [call[call.index("--disk") + 1] for call in created] == ["/dev/nvme0n1", "/dev/vda"]
    assert all(call[-1] == "\\EFI\\BOOT\\BOOTX64.EFI" for call in created)


def test_a_firmware_that_refuses_is_no_failure(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str]) -> bytes:
        raise CommandError(command, 5, b"No space left on device")

    monkeypatch.setattr(firmware, "run", run)
    (line,) = firmware.add_entries(PARTITIONS, "arm64")
    assert "left as it is" in line
    assert "No space left" in line


def test_a_machine_with_a_bios_is_asked_for_nothing(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware, "VARIABLES", "/nonexistent")
    assert firmware.add_entries(PARTITIONS, "amd64") == []
    assert calls == []
