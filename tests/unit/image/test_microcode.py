"""The archive that the kernel finds microcode in, read as the kernel reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from k3os.image import microcode
from k3os.image.tree import Tree

AMD, INTEL = "usr/lib/firmware/amd-ucode", "usr/lib/firmware/intel-ucode"
IN_ARCHIVE = "kernel/x86/microcode"


def packages(*paths: str) -> Tree:
    tree = Tree()
    for path in paths:
        tree.file(path, f"<{path.rpartition('/')[2]}>".encode())
    return tree


def unpacked(data: bytes, directory: Path) -> dict[str, str]:
    """The files that cpio(1) finds in it."""
    subprocess.run(["cpio", "-idm", "--quiet"], input=data, cwd=directory, check=True)
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_each_maker_s_files_are_one_file_in_the_order_of_their_names(tmp_path: Path) -> None:
    found = microcode.archive(
        packages(
            f"{INTEL}/06-8f-08",
            f"{INTEL}/06-4f-01",
            f"{AMD}/microcode_amd_fam17h.bin",
            f"{AMD}/microcode_amd.bin",
        ),
        0,
    )
    assert unpacked(found, tmp_path) == {
        f"{IN_ARCHIVE}/AuthenticAMD.bin": "<microcode_amd.bin><microcode_amd_fam17h.bin>",
        f"{IN_ARCHIVE}/GenuineIntel.bin": "<06-4f-01><06-8f-08>",
    }


def test_what_is_no_microcode_stays_out(tmp_path: Path) -> None:
    tree = packages(
        f"{AMD}/microcode_amd.bin",
        f"{AMD}/microcode_amd.bin.asc",
        f"{AMD}/README",
        "usr/lib/firmware/amd/amd_sev_fam17h_model0xh.sbin",
    )
    tree.link(f"{AMD}/microcode_amd_other.bin", "microcode_amd.bin")
    assert unpacked(microcode.archive(tree, 0), tmp_path) == {
        f"{IN_ARCHIVE}/AuthenticAMD.bin": "<microcode_amd.bin>"
    }


def test_without_microcode_nothing_is_in_front_of_the_initrd() -> None:
    assert microcode.archive(packages("usr/lib/firmware/bnx2/a.fw"), 0) == b""


@pytest.mark.parametrize("size", range(5))
def test_it_is_not_compressed_and_what_follows_is_aligned(size: int) -> None:
    tree = Tree()
    tree.file(f"{AMD}/microcode_amd.bin", b"x" * size)
    found = microcode.archive(tree, 1)
    assert found.startswith(b"070701")
    assert len(found) % 4 == 0
    assert found == microcode.archive(tree, 1)
