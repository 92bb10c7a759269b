"""A takeover, in directories: what is refused, and in which order the rest happens."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.generation import adding, install_medium, layout
from k3os.generation.layout import MENU
from k3os.generation.takeover_marker import BACKUP, MARKER
from k3os.install import formatting, takeover
from k3os.install.plan import InstallRequest
from k3os.system import disks
from tests.unit.install.test_plan import GB, Machine

OLD_MENU = "# Debian's\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The root of a running Debian."""
    root = tmp_path / "host"
    (root / "boot/grub/i386-pc").mkdir(parents=True)
    (root / MENU).write_text(OLD_MENU)
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/os-release").write_text('NAME="Ubuntu"\nID="ubuntu"\n')
    return root


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path, monkeypatch)
    made.disk("vda", 8 * GB)
    made.partition("vda1", "vda", 1, 8 * GB, "debian")
    made.partition("vda2", "vda", 2, 8 * GB, "other")
    made.mounts.write_text("")
    made.mount("vda1", "/")
    monkeypatch.setattr(formatting, "uuid", lambda device: "1-2-3")
    monkeypatch.setattr(takeover, "ROOM", 0)
    monkeypatch.setattr(takeover, "SECURE_BOOT", str(tmp_path / "SecureBoot"))
    return made


def decide(medium: Path, host: Path, **request: object) -> takeover.Takeover:
    wanted = InstallRequest(device="/dev/vda1", no_format=True)
    return takeover.make_plan(
        replace(wanted, **request),  # type: ignore[arg-type]
        install_medium.read_medium(str(medium)),
        b"hostname: x\n",
        power_off=False,
        root=str(host),
    )


def refused(medium: Path, host: Path, **request: object) -> str:
    before = sorted(host.rglob("*"))
    with pytest.raises(UserError) as caught:
        decide(medium, host, **request)
    assert sorted(host.rglob("*")) == before
    assert (
        (host / MENU).is_dir()
        or not (host / MENU).exists()
        or ((host / MENU).read_text() == OLD_MENU)
    )
    return str(caught.value)


def test_what_is_not_the_root_is_refused(
    machine: Machine,
    medium: Path,
    host: Path,
) -> None:
    assert "/dev/vda2 is not the partition of /, which is /dev/vda1" in refused(
        medium, host, device="/dev/vda2"
    )
    assert "formats nothing" in refused(medium, host, no_format=False)
    assert "needs to know the partition" in refused(medium, host, device="")


def test_a_root_of_another_kind_is_refused(
    machine: Machine,
    medium: Path,
    host: Path,
) -> None:
    machine.mounts.write_text("30 1 0:27 /@ / rw - btrfs /dev/vda1 rw\n")
    assert "is btrfs, not ext4" in refused(medium, host)
    machine.mounts.write_text("")
    machine.disk("dm-0", 8 * GB)
    machine.mount("dm-0", "/")
    assert "LVM or another mapping; only a plain partition" in refused(
        medium, host, device="/dev/dm-0"
    )


def test_a_boot_of_its_own_is_refused_with_the_reason(
    machine: Machine,
    medium: Path,
    host: Path,
) -> None:
    machine.mount("vda2", "/boot")
    assert "/boot is a file system of its own (/dev/vda2)" in refused(medium, host)


def test_a_system_without_grub_2_is_refused(
    machine: Machine,
    medium: Path,
    host: Path,
) -> None:
    (host / "boot/grub/i386-pc").rmdir()
    assert "holds no GRUB 2" in refused(medium, host)
    (host / MENU).unlink()
    assert "there is no /boot/grub/grub.cfg" in refused(medium, host)
    (host / "boot/grub2").mkdir()
    (host / "boot/grub2/grub.cfg").touch()
    assert "its GRUB is at /boot/grub2" in refused(medium, host)


def test_a_link_that_would_lead_elsewhere_is_refused(
    machine: Machine,
    medium: Path,
    host: Path,
    tmp_path: Path,
) -> None:
    (host / "k3os").symlink_to(tmp_path)
    assert "/k3os is a link" in refused(medium, host)


def test_without_room_it_is_refused_with_what_is_needed(
    machine: Machine,
    medium: Path,
    host: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(takeover, "ROOM", 1 << 60)
    assert "are needed beside the running system" in refused(medium, host)


def test_secure_boot_of_another_distribution_is_refused(
    machine: Machine,
    medium: Path,
    host: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "SecureBoot").write_bytes(b"\x06\0\0\0\x01")
    assert "the boot loader of ubuntu would not start Debian's kernel" in refused(medium, host)
    (host / "usr/lib/os-release").write_text("ID=debian\n")
    assert decide(medium, host).device.name == "vda1"


def test_the_menu_is_replaced_last_and_the_old_one_kept(
    machine: Machine,
    medium: Path,
    host: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed: list[str] = []
    real = os.rename

    def rename(old: str, new: str) -> None:
        changed.append(os.path.relpath(new, host))
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    said: list[str] = []
    takeover.take_over(decide(medium, host), said.append)
    assert changed[-3:] == ["k3os/system/current", MARKER, MENU]
    assert (host / BACKUP).read_text() == OLD_MENU
    menu = (host / MENU).read_text()
    assert "k3os.takeover=1-2-3" in menu
    assert "search --no-floppy --set=root --fs-uuid 1-2-3" in menu
    assert (host / "k3os/system/config.yaml").stat().st_mode & 0o777 == 0o600
    marker = json.loads((host / MARKER).read_text())
    assert marker["then"] == "reboot"
    assert "k3os.takeover" not in marker["menu"]
    assert any("the next boot deletes everything" in line for line in said)


def test_an_interruption_before_the_menu_leaves_the_system_bootable(
    machine: Machine,
    medium: Path,
    host: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted at each rename in turn; then it is simply run again."""
    real = os.rename
    for allowed in range(100):
        count = 0

        def rename(old: str, new: str) -> None:
            nonlocal count
            count += 1
            if count > allowed:  # noqa: B023
                raise KeyboardInterrupt
            real(old, new)

        monkeypatch.setattr(os, "rename", rename)
        try:
            takeover.take_over(decide(medium, host), lambda _: None)
            break
        except KeyboardInterrupt:
            assert (host / MENU).read_text() == OLD_MENU
    assert allowed > 5
    assert (host / BACKUP).read_text() == OLD_MENU
    assert "k3os.takeover" in (host / MENU).read_text()


def test_a_second_takeover_keeps_the_first_backup(
    machine: Machine,
    medium: Path,
    host: Path,
) -> None:
    for _ in range(2):
        takeover.take_over(decide(medium, host), lambda _: None)
    assert (host / BACKUP).read_text() == OLD_MENU
    (host / BACKUP).rename(host / MENU)
    takeover.take_over(decide(medium, host), lambda _: None)
    assert (host / BACKUP).read_text() == OLD_MENU


def test_a_full_disk_is_told_with_what_is_left(
    machine: Machine,
    medium: Path,
    host: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adding, "copy_file", full)
    with pytest.raises(UserError, match="No space left") as caught:
        takeover.take_over(decide(medium, host), lambda _: None)
    assert "this system boots as before" in str(caught.value)
    assert (host / MENU).read_text() == OLD_MENU


def test_the_mount_table_of_the_machine_counts_in_a_chroot(machine: Machine) -> None:
    machine.own_mounts.write_text("21 1 0:20 / / rw - tmpfs tmpfs rw\n")
    assert "is mounted at /" in disks.in_use(disks.describe("vda1"))


def test_on_arm64_the_firmware_says_which_console_it_is(
    machine: Machine, medium: Path, host: Path
) -> None:
    manifest = medium / "k3os/system/current/manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "arch": "arm64"}))
    (medium / layout.LOADERS / "core.img").unlink()
    (host / "boot/grub/i386-pc").rename(host / "boot/grub/arm64-efi")
    takeover.take_over(decide(medium, host), lambda _: None)
    first, stays = (host / MENU).read_text(), json.loads((host / MARKER).read_text())["menu"]
    for menu in (first, stays):
        assert 'set console=""' in menu
        assert "serial" not in menu
    assert "k3os.takeover=1-2-3" in first
