"""The boot loader's fields and the menu; booting is tested in VMs."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
import yaml

from k3os.config.check import check_text
from k3os.config.value import Problem
from k3os.errors import UserError
from k3os.generation import grub
from k3os.image.loaders import BIOS_CONFIG
from k3os.install import bios_loader

ISO_MENU = Path(__file__).parents[3] / "overlay/iso/boot/grub/grub.cfg"


def test_the_boot_sector_loads_the_core_and_leaves_the_partition_table() -> None:
    sector = bios_loader.boot_sector(bytes(range(256)) * 2, 2048)
    assert len(sector) == 440
    assert struct.unpack_from("<Q", sector, 0x5C) == (2048,)
    assert sector[0x64] == 0xFF
    assert sector[0x66:0x68] == b"\x90\x90"
    assert sector[:0x5C] == bytes(range(0x5C))


def test_the_core_knows_where_its_rest_lies() -> None:
    core = bios_loader.located_core(b"x" * 1300, 2048)
    assert len(core) == 3 * 512
    assert struct.unpack_from("<QHH", core, 500) == (2049, 2, 0x820)


def test_embedding_changes_nothing_but_its_places(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xee" * (4 << 20))
    (tmp_path / "boot.img").write_bytes(b"b" * 512)
    (tmp_path / "core.img").write_bytes(b"c" * 1000)
    bios_loader.embed(str(disk), str(tmp_path), 1 << 20, 1 << 20)
    data = disk.read_bytes()
    assert data[440 : 1 << 20] == b"\xee" * ((1 << 20) - 440)
    assert data[1 << 20 :][:500] == b"c" * 500
    assert data[(1 << 20) + 1024 :] == b"\xee" * ((3 << 20) - 1024)


def test_a_core_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "boot.img").write_bytes(b"b" * 512)
    (tmp_path / "core.img").write_bytes(b"c" * 1025)
    with pytest.raises(UserError):
        bios_loader.embed(str(tmp_path / "disk"), str(tmp_path), 512, 1024)
    assert not (tmp_path / "disk").exists()


@pytest.mark.parametrize(
    ("tty", "expected"),
    [
        ("", ("console=tty0 console=ttyS0,115200", "0")),
        ("ttyS1", ("console=tty0 console=ttyS1,115200", "1")),
        ("/dev/ttyS0,9600n8", ("console=tty0 console=ttyS0,9600n8", "0")),
        ("tty1", ("console=tty1", "")),
        ("hvc0", ("console=tty0 console=hvc0,115200", "")),
    ],
)
def test_the_console_is_the_one_asked_for(tty: str, expected: tuple[str, str]) -> None:
    assert grub.consoles(tty) == expected
    assert errors(tty) == []


def errors(tty: str) -> list[Problem]:
    text = yaml.safe_dump({"k3os": {"install": {"tty": tty}}})
    return [each for each in check_text(text.encode(), "config.yaml")[1] if each.is_error]


@pytest.mark.parametrize(
    "tty",
    ['ttyS0"', "ttyS0 init=/bin/sh", 'tty1"; echo', "ttyS0\nreboot", "$(x)", "ttyS0;reboot", "²"],
)
def test_what_is_no_console_never_comes_to_a_line_that_grub_runs(tty: str) -> None:
    assert errors(tty)
    with pytest.raises(UserError, match="is not a console"):
        grub.menu(tty)


def test_the_menu_points_to_links_that_an_upgrade_changes() -> None:
    menu = grub.menu("ttyS1,9600n8")
    assert "serial --unit=1 --speed=9600;" in menu
    words = "$console quiet panic=10 cryptomgr.notests"
    assert f"linux /k3os/system/current/kernel/vmlinuz {words} $trial\n" in menu
    assert f"vmlinuz {words} k3os.generation=previous $back" in menu
    assert menu.index("k3OS Current") < menu.index("k3OS Previous") < menu.index("Rescue (current)")
    # one key press in the menu must not delete everything
    assert menu.index("submenu") < menu.index("k3os.factory_reset")


def test_a_kernel_that_panics_restarts_the_machine_but_where_a_person_looks() -> None:
    for text in (grub.menu(), grub.menu(debug=True), grub.takeover_menu("", UUID, "grub.before")):
        for line in re.findall(r"linux /k3os/system/[^\n]*", text):
            assert (" panic=10" in line) is (" rescue" not in line), line


def test_no_boot_of_a_menu_waits_for_the_kernels_own_tests() -> None:
    """crypto/testmgr.c: Debian's kernel runs these tests before anything else starts."""
    menus = (grub.menu(), grub.takeover_menu("", UUID, "grub.before"), ISO_MENU.read_text())
    for text in menus:
        lines = [line for line in re.findall(r"linux [^\n]*", text) if " rescue" not in line]
        assert lines
        assert all(" cryptomgr.notests" in line for line in lines), lines


def test_the_menu_has_its_entries_in_order_and_those_of_previous_only_where_there_is_one() -> None:
    menu = grub.menu()
    titles = re.findall(r'(?:menuentry|submenu) "([^"]+)"', menu)
    assert titles == [
        *("k3OS Current", "k3OS Previous", "Rescue (current)", "Rescue (previous)"),
        *("Factory reset", "Delete everything in /var, /home and /opt"),
    ]
    assert "set default=0\nset timeout=5\n" in menu
    rest, count = re.subn(r"if \[ -e /k3os/system/previous/[^\n]*\n.*?\nfi\n", "", menu, flags=re.S)
    assert count == 2
    assert "revious" not in rest.partition("\n")[2].replace(grub.TRIAL, "")


def test_an_entry_boots_kernel_and_system_of_one_generation_the_rescue_shell_too() -> None:
    menu = grub.menu()
    found = re.findall(r"linux (\S+)/vmlinuz([^\n]*)\n\s+initrd (\S+)", menu)
    assert len(found) == 5
    for kernel, words, initrd in found:
        generation = "previous" if " k3os.generation=previous" in words else "current"
        assert kernel == f"/k3os/system/{generation}/kernel"
        assert initrd == f"{kernel}/initrd"


class PowerCutError(Exception):
    """The power is cut."""


def embedded(disk: Path, core: bytes) -> None:
    (disk.parent / "boot.img").write_bytes(b"b" * 512)
    (disk.parent / "core.img").write_bytes(core)
    bios_loader.embed(str(disk), str(disk.parent), 1 << 20, 1 << 20)


def booted(disk: Path, size: int) -> bytes:
    """What a BIOS would boot, without the block list at the end of its first sector."""
    data = disk.read_bytes()
    place = 512 * struct.unpack_from("<Q", data, bios_loader.KERNEL_SECTOR)[0]
    assert struct.unpack_from("<Q", data, place + 500)[0] == place // 512 + 1
    assert 1 << 20 <= place <= (2 << 20) - size
    return data[place : place + 500] + data[place + 512 : place + size]


def test_a_power_cut_leaves_the_old_boot_loader_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4 << 20))
    cores = {letter: letter.encode() * 200_000 for letter in "abcd"}
    embedded(disk, cores["a"])

    def cut(*_: object) -> bytes:
        raise PowerCutError

    for old, new in ("ab", "bc", "cd"):
        with monkeypatch.context() as patch:
            # all of GRUB's core is on the disk, but nothing points to it yet
            patch.setattr(bios_loader, "boot_sector", cut)
            with pytest.raises(PowerCutError):
                embedded(disk, cores[new])
        assert set(booted(disk, 200_000)) == {ord(old)}
        embedded(disk, cores[new])
        assert set(booted(disk, 200_000)) == {ord(new)}


def test_a_core_of_more_than_half_the_room_takes_all_of_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4 << 20))
    for letter in (b"a", b"b"):
        embedded(disk, letter * 600_000)
        assert set(booted(disk, 600_000)) == set(letter)


UUID, OTHER = "0a0b0c0d-0000-4000-8000-000000000001", "0a0b0c0d-0000-4000-8000-000000000002"


def named(menu: str, uuid: str) -> tuple[int, int]:
    """How many entries boot our kernel, and how many of those name the file system exactly once."""
    lines = [line for line in menu.splitlines() if "/kernel/vmlinuz" in line and "linux " in line]
    word = f"k3os.medium_uuid={uuid}"
    return len(lines), sum(line.split().count(word) == 1 for line in lines)


def test_every_entry_of_an_installed_disk_names_its_file_system() -> None:
    menu = grub.with_uuid(grub.menu("ttyS0"), UUID)
    assert named(menu, UUID) == (5, 5)
    assert menu.replace(f" k3os.medium_uuid={UUID}", "") == grub.menu("ttyS0")
    assert named(grub.menu(uuid=UUID), UUID) == (5, 5)


def test_a_menu_is_named_once_and_anew_when_its_file_system_is_another() -> None:
    once = grub.with_uuid(grub.menu(), UUID)
    assert grub.with_uuid(once, UUID) == once
    assert grub.with_uuid(once, OTHER) == grub.with_uuid(grub.menu(), OTHER)
    assert grub.with_uuid(once, "") == once


# as written by the previous release and edited by somebody
OLDER = """\
set timeout=1
menuentry "k3OS Current" --id current {
    linux /k3os/system/current/kernel/vmlinuz $console quiet $trial my.word="a b"
\tinitrd /k3os/system/current/kernel/initrd
}
if [ -e /k3os/system/previous/kernel/vmlinuz ]; then
    menuentry "Previous" {
        linux  /k3os/system/previous/kernel/vmlinuz  k3os.generation=previous@
        initrd /k3os/system/previous/kernel/initrd
    }
fi
# linux /k3os/system/current/kernel/vmlinuz of a comment
menuentry "other" { linux /k3os/system/current/kernel/vmlinuz one line; boot }
menuentry "Debian" {
    linux /boot/vmlinuz-6.1.0 root=/dev/sda1
    linux /k3os/system/current/kernel/vmlinuz-copy x
}
""".replace("@", "  ")


def test_of_a_menu_that_somebody_edited_only_our_own_lines_change() -> None:
    word = f" k3os.medium_uuid={UUID}"
    changed = grub.with_uuid(OLDER, UUID)
    assert f'quiet $trial my.word="a b"{word}\n' in changed
    assert f"k3os.generation=previous{word}\n" in changed
    assert changed.count(word) == 2
    rest = [line.rstrip() for line in changed.replace(word, "").splitlines()]
    assert rest == [line.rstrip() for line in OLDER.splitlines()]


def test_a_bios_looks_on_the_disk_that_it_started_first() -> None:
    """Including its partitions: another disk with this label may be anybody's."""
    first = BIOS_CONFIG.splitlines()[0].split()
    assert first[0] == "search"
    # the comma at the end includes its partitions (GRUB's manual, "search")
    assert "--hint=$root," in first


def test_the_medium_that_the_iso_was_read_from_is_named_by_every_entry() -> None:
    menu = ISO_MENU.read_text()
    entries = [line.split() for line in menu.splitlines() if line.strip().startswith("linux ")]
    assert len(entries) == 3
    assert all("k3os.medium_uuid=$medium" in entry for entry in entries)
    assert menu.index("probe --set=medium --fs-uuid $root\n") < menu.index("menuentry")
