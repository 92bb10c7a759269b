"""Which files of Debian's kernel and firmware packages go into the image, in both package
layouts."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.image.kernel import (
    asked_firmware,
    copy_firmware,
    kernel_config,
    kernel_image,
    kernel_version,
    wanted_firmware,
)
from k3os.image.tree import Tree


def tree(*names: str) -> Tree:
    made = Tree()
    for name in names:
        made.file(name, name.encode())
    return made


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("boot/vmlinuz-6.12.48+deb13-amd64", "6.12.48+deb13-amd64"),
        ("usr/lib/modules/7.3.4+deb13-arm64/vmlinuz", "7.3.4+deb13-arm64"),
    ],
)
def test_the_kernel_is_found_where_either_packaging_puts_it(path: str, version: str) -> None:
    made = tree(path, f"usr/lib/modules/{version}/kernel/fs/ext4/ext4.ko.xz", "boot/config-6")
    assert (kernel_image(made), kernel_version(made)) == (path, version)


@pytest.mark.parametrize("paths", [(), ("boot/vmlinuz-6", "usr/lib/modules/7/vmlinuz")])
def test_none_or_two_kernels_are_an_error(paths: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=f"holds {len(paths)} kernels, not one"):
        kernel_version(tree(*paths))


@pytest.mark.parametrize("path", ["boot/config-6.12", "usr/lib/modules/6.12/config"])
def test_the_configuration_is_found_where_either_packaging_puts_it(path: str) -> None:
    tree = Tree()
    tree.file(path, b"CONFIG_CGROUPS=y\n")
    assert kernel_config(tree, "6.12") == b"CONFIG_CGROUPS=y\n"


def test_a_kernel_without_its_configuration_is_an_error() -> None:
    tree = Tree()
    tree.file("boot/config-6.11", b"")
    with pytest.raises(UserError, match=r"no configuration of 6\.12"):
        kernel_config(tree, "6.12")


def test_firmware_is_what_drivers_ask_for_with_all_that_links_lead_to() -> None:
    packages = tree(
        *(f"usr/lib/firmware/{name}" for name in ("bnx2/a.fw", "bnx2/b.fw", "real/x-1.bin", "c")),
        "usr/share/doc/firmware-bnx2/copyright",
    )
    packages.link("usr/lib/firmware/card/x.bin", "../card/y.bin")
    packages.link("usr/lib/firmware/card/y.bin", "../real/x-1.bin")
    packages.link("usr/lib/firmware/card/gone.bin", "../real/none.bin")
    asked = ["bnx2/a.fw", "card/x*.bin", "card/gone.bin", "not/packaged.fw"]
    assert wanted_firmware(packages, asked) == {
        f"usr/lib/firmware/{name}"
        for name in ("bnx2/a.fw", "card/x.bin", "card/y.bin", "real/x-1.bin", "card/gone.bin")
    }


def test_of_wifi_only_what_is_small_is_taken() -> None:
    names = [
        *("brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.txt", "brcm/brcmfmac43456-sdio.bin"),
        *("ath9k_htc/htc_9271-1.4.0.fw", "carl9170-1.fw"),
        *("brcm/brcmfmac43455-sdio.pine64,pinebook-pro.txt", "brcm/brcmfmac4356-pcie.bin"),
        "iwlwifi-9000-pu-b0-jf-b0-46.ucode",
    ]
    found = wanted_firmware(tree(*(f"usr/lib/firmware/{name}" for name in names)), [])
    assert found == {f"usr/lib/firmware/{name}" for name in names[:4]}


def test_the_radio_channels_get_the_name_that_the_kernel_asks_for(tmp_path: Path) -> None:
    packages = tree(
        *(f"usr/lib/firmware/regulatory.db{name}" for name in ("-debian", "-upstream")),
        *(f"usr/lib/firmware/regulatory.db.p7s{name}" for name in ("-debian", "-upstream")),
        "usr/share/doc/wireless-regdb/copyright",
        "usr/share/doc/libc6/copyright",
    )
    copy_firmware(packages, set(), tmp_path)
    found = {
        str(path.relative_to(tmp_path)): path.read_text()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert found == {
        "regulatory.db": "usr/lib/firmware/regulatory.db-debian",
        "regulatory.db.p7s": "usr/lib/firmware/regulatory.db.p7s-debian",
        "licences/wireless-regdb.txt": "usr/share/doc/wireless-regdb/copyright",
    }


def module(*firmware: str) -> bytes:
    """An object file with only a .modinfo section (elf(5))."""
    info = b"license=GPL\0" + b"".join(b"firmware=" + name.encode() + b"\0" for name in firmware)
    names = b"\0.modinfo\0.shstrtab\0"
    header = b"\x7fELF\2\1\1" + bytes(9)
    offset = 64 + len(info) + len(names)
    header += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, offset, 0, 64, 0, 0, 64, 3, 2)
    sections = bytes(64)
    for name, kind, start, size in ((1, 1, 64, len(info)), (10, 3, 64 + len(info), len(names))):
        sections += struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, start, size, 0, 0, 1, 0)
    return header + info + names + sections


def test_drivers_for_wifi_are_asked_only_when_it_is_wanted(tmp_path: Path) -> None:
    files = {
        "kernel/drivers/net/ethernet/bnx2.ko": module("bnx2/a.fw", "bnx2/b*.fw"),
        "kernel/drivers/net/wireless/intel/iwlwifi.ko": module("iwlwifi-1.ucode"),
        "kernel/fs/ext4.ko": module(),
        "modules.builtin.modinfo": b"r8169.license=GPL\0r8169.firmware=rtl_nic/x.fw\0",
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    wired = ["bnx2/a.fw", "bnx2/b*.fw", "rtl_nic/x.fw"]
    assert asked_firmware(tmp_path, wireless=False) == wired
    assert asked_firmware(tmp_path, wireless=True) == sorted([*wired, "iwlwifi-1.ucode"])
