"""The in-memory tree: tar and cpio archives contain what went in, and are reproducible."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.image.tree import CHARACTER, Entry, Tree, read_tar, write_cpio, write_tar
from k3os.system.run import run

NAMES = st.text("abcxyz.-_é", min_size=1, max_size=6).filter(lambda name: name not in (".", ".."))


def tar_bytes(tree: Tree, epoch: int = 7) -> bytes:
    output = io.BytesIO()
    write_tar(tree, output, epoch)
    return output.getvalue()


@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.binary(max_size=40)))
def test_a_tree_survives_tar_and_gives_the_same_bytes_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[str, ...], bytes]
) -> None:
    tree, turned = Tree(), Tree()
    leaves = {
        path: data
        for path, data in files.items()
        if not any(other[: len(path)] == path and other != path for other in files)
    }
    for path, data in leaves.items():
        tree.file("/".join(path), data)
    for path, data in reversed(leaves.items()):
        turned.file("/".join(path), data)
    assert tar_bytes(tree) == tar_bytes(turned)
    archive = tmp_path_factory.mktemp("tar") / "tree.tar"
    archive.write_bytes(tar_bytes(tree))
    again = read_tar(archive)
    assert {"/".join(path): data for path, data in leaves.items()} == {
        path: entry.data() for path, entry in again.entries.items() if entry.kind == "file"
    }


def test_owners_modes_links_devices_and_capabilities_survive(tmp_path: Path) -> None:
    tree = Tree()
    tree.file("usr/bin/ping", b"\x7fELF", 0o755)
    capability = (("SCHILY.xattr.security.capability", "\x01\x00\x00\x02"),)
    tree.add("usr/bin/cap", Entry("file", 0o4755, 3, 4, data=lambda: b"x", xattrs=capability))
    tree.link("bin", "usr/bin")
    tree.add("dev/null", Entry(CHARACTER, 0o666, device=(1, 3)))
    tree.directory("root", 0o700)
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar_bytes(tree))
    again = read_tar(archive).entries
    assert again["usr/bin/cap"] == tree.entries["usr/bin/cap"]
    assert again["bin"].target == "usr/bin"
    assert again["dev/null"].device == (1, 3)
    assert again["root"].mode == 0o700


def test_hard_links_become_equal_files(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo("./first")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("./second")
        link.type, link.linkname = tarfile.LNKTYPE, "./first"
        tar.addfile(link)
    assert read_tar(archive).read("second") == b"abc"


def test_reading_follows_links_through_directories_and_refuses_loops() -> None:
    tree = Tree()
    tree.file("usr/lib/libc.so", b"c")
    tree.link("lib", "usr/lib")
    tree.link("abs", "/lib/libc.so")
    tree.link("usr/up", "../lib")
    assert tree.read("lib/libc.so") == tree.read("abs") == tree.read("usr/up/libc.so") == b"c"
    tree.link("a", "b")
    tree.link("b", "a")
    with pytest.raises(ValueError, match="loop"):
        tree.resolve("a")
    with pytest.raises(KeyError):
        tree.read("nothing")


def test_remove_takes_all_below_and_nothing_beside() -> None:
    tree = Tree()
    for path in ("usr/share/doc/a/b", "usr/share/docs", "etc/rc1.d/x", "etc/rcS.d/x", "etc/rc"):
        tree.file(path, b"")
    tree.remove("usr/share/doc", "etc/rc?.d")
    assert {path for path, entry in tree.entries.items() if entry.kind == "file"} == {
        "usr/share/docs",
        "etc/rc",
    }


def test_cpio_is_what_the_kernel_and_cpio_read(tmp_path: Path) -> None:
    tree = Tree()
    tree.file("init", b"#!/bin/sh\n", 0o755)
    tree.link("bin/sh", "busybox")
    tree.directory("dev")
    output = io.BytesIO()
    write_cpio(tree, output, 1)
    listing = run(["cpio", "-itv", "--quiet"], stdin=output.getvalue()).decode()
    lines = listing.splitlines()
    assert any(line.startswith("-rwxr-xr-x") and line.endswith(" init") for line in lines)
    assert any(line.endswith("bin/sh -> busybox") for line in lines)
    assert any(line.startswith("drwxr-xr-x") and line.endswith(" dev") for line in lines)
