"""The files whose checksums are in each medium's manifest."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from k3os.generation.layout import LOADER_FILES
from k3os.image.settings import Settings, from_environment
from k3os.image.stage_outputs import BootOutputs, StageOutputs, iso_tree, overlay_tree, release_tree
from k3os.image.tree import FILE, Tree

# made for one machine, not part of a release
OWN = "k3os/system/config.yaml"


@pytest.fixture
def outputs(tmp_path: Path) -> StageOutputs:
    directories = {}
    for name, files in {
        "kernel": ("version", "vmlinuz", "modules.squashfs", "busybox"),
        "initrd": ("initrd",),
        "loaders": LOADER_FILES["amd64"],
        "rootfs": ("rootfs.squashfs",),
    }.items():
        directories[name] = tmp_path / name
        directories[name].mkdir()
        for file in files:
            (directories[name] / file).write_text(f"{name} {file}".replace(" version", ""))
    archive = tmp_path / "images.tar"
    archive.write_bytes(b"images")
    boot = BootOutputs(directories["kernel"], directories["initrd"], directories["loaders"])
    return StageOutputs(
        tmp_path, directories["rootfs"], directories["kernel"], boot, None, None, (archive,)
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    config = tmp_path / "config.yaml"
    config.write_text("hostname: x\n")
    return from_environment({"SOURCE_DATE_EPOCH": "0", "CONFIG": str(config)})


def described(tree: Tree) -> dict[str, str]:
    manifest = json.loads(tree.read("k3os/system/current/manifest.json"))
    components = {f"k3os/system/{path}": digest for path, digest in manifest["sha256"].items()}
    return {**components, **manifest["medium"]}


@pytest.mark.parametrize("make", [iso_tree, overlay_tree])
def test_every_file_of_a_medium_is_in_the_manifest(
    make: object, settings: Settings, outputs: StageOutputs
) -> None:
    tree = make(settings, outputs)  # type: ignore[operator]
    files = {path for path, entry in tree.walk() if entry.kind == FILE}
    known = described(tree)
    assert files - {*known} - {OWN} == {"k3os/system/generations/1/manifest.json"}
    assert {*known} <= files
    for path, digest in known.items():
        assert sha256(tree.read(path)).hexdigest() == digest
    assert "k3os/system/airgap/images.tar" in known


def test_the_manifest_that_is_published_is_the_isos(
    settings: Settings, outputs: StageOutputs
) -> None:
    path = "k3os/system/generations/1/manifest.json"
    assert release_tree(settings, outputs).read(path) == iso_tree(settings, outputs).read(path)
    assert "boot/grub/k3os/efi.img" in described(iso_tree(settings, outputs))


def test_every_manifest_says_what_the_first_stage_should_be(
    settings: Settings, outputs: StageOutputs
) -> None:
    overlay = overlay_tree(settings, outputs)
    for tree in (overlay, iso_tree(settings, outputs), release_tree(settings, outputs)):
        manifest = json.loads(tree.read("k3os/system/current/manifest.json"))
        assert manifest["first_stage"].keys() == {"sbin/init", "k3os/system/bin/busybox"}
        for path, digest in manifest["first_stage"].items():
            assert sha256(overlay.read(path)).hexdigest() == digest
