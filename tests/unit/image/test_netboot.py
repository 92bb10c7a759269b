"""The initrd for network boot: what it contains, and where the kernel finds it."""

import subprocess
from pathlib import Path

import pytest

from k3os.image import netboot
from k3os.image.settings import from_environment
from k3os.image.tree import Tree


@pytest.fixture
def initrd(tmp_path: Path) -> bytes:
    tree = Tree()
    tree.file("k3os/system/config.yaml", b"hostname: a\n", 0o600)
    tree.link("k3os/system/current", "generations/1")
    tree.file("boot/grub/k3os/efi.img", b"fat")
    normal = tmp_path / "normal"
    normal.write_bytes(b"compressed")
    settings = from_environment({"SOURCE_DATE_EPOCH": "0"})
    netboot.build_netboot(settings, tree, normal, tmp_path)
    return (tmp_path / "initrd").read_bytes()


def test_it_begins_with_the_normal_one_and_the_rest_is_where_the_kernel_looks(
    initrd: bytes,
) -> None:
    assert initrd.startswith(b"compressed\0\0" + b"070701")
    assert len(initrd) % 4 == 0


def test_it_carries_the_tree_of_the_iso_and_says_last_that_it_is_whole(
    initrd: bytes, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    first, trailer, second = initrd[12:].partition(b"TRAILER!!!")
    subprocess.run(["cpio", "-idm", "--quiet"], input=first + trailer + bytes(4), cwd=root)
    assert (root / "medium/k3os/system/config.yaml").stat().st_mode & 0o777 == 0o600
    assert (root / "medium/k3os/system/current").readlink() == Path("generations/1")
    assert (root / "medium/boot/grub/k3os/efi.img").read_text() == "fat"
    assert (root / "k3os/system").is_dir()
    assert b"medium-complete" not in first
    assert b"medium-complete" in second
