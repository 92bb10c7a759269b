"""What firmware can read: file systems by mkfs.vfat, good ones and those that only Linux reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from k3os.install import fat
from k3os.install.formatting import MAKE_EFI
from k3os.install.plan import MIB, layout
from k3os.system.run import run


def make(path: Path, size: int, *options: str) -> str:
    with path.open("wb") as file:
        file.truncate(size)
    run(["mkfs.vfat", *options, str(path)])
    return str(path)


@pytest.mark.parametrize("sector", [512, 4096])
def test_the_partition_that_we_make_is_read_by_firmware(tmp_path: Path, sector: int) -> None:
    (size,) = (part.size for part in layout(sector) if part.name == "efi")
    path = make(tmp_path / "efi", size, *MAKE_EFI[1:], "-S", str(sector))
    assert fat.problem(path, sector) == ""


@pytest.mark.parametrize(
    ("size", "options", "reason"),
    [
        (64 * MIB, ("-F", "32", "-s", "1", "-S", "4096"), "says it is a FAT32, but has 16"),
        (64 * MIB, ("-F", "32"), "its sectors have 512 bytes, those of the disk 4096"),
        (64 * MIB, ("-F", "16", "-S", "4096"), ""),
        (4 * MIB, ("-F", "12", "-S", "4096"), ""),
    ],
)
def test_what_only_linux_reads_is_named(
    tmp_path: Path, size: int, options: tuple[str, ...], reason: str
) -> None:
    found = fat.problem(make(tmp_path / "efi", size, *options), 4096)
    assert reason in found
    assert bool(reason) == bool(found)


@pytest.mark.parametrize("data", [b"", bytes(4096), b"\xff" * 510 + b"\x55\xaa" + bytes(3584)])
def test_what_is_no_fat_is_said(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "efi"
    path.write_bytes(data)
    assert fat.problem(str(path), 512)
