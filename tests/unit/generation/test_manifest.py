"""One module reads and writes manifests: it can read what it writes, and names the artifacts."""

import json

from k3os.generation.manifest import (
    FILES,
    as_bytes,
    as_installed,
    new_record,
    parse_manifest,
    with_component,
)
from k3os.generation.release import ARTIFACTS

OLD, NEW = "0" * 64, "1" * 64


def test_each_file_of_a_component_has_an_artifact():
    assert {(name, file) for name, files in FILES.items() for file in files} == set(ARTIFACTS)


def test_a_record_that_was_written_is_read():
    record = new_record("amd64", 7, {"k3os": "0.1", "k3s": "v1"})
    record = with_component(record, "k3os", "0.1", {"k3os/0.1/rootfs.squashfs": (OLD, 5)})
    record = with_component(record, "k3s", "v1", {"k3s/v1/k3s": (OLD, 6)})
    found = parse_manifest(as_bytes(record), "here")
    assert (found.arch, found.created) == ("amd64", 7)
    assert found.versions == {"k3os": "0.1", "k3s": "v1"}
    assert [(file.name, file.size) for file in found.files] == [("rootfs.squashfs", 5), ("k3s", 6)]


def test_another_version_of_a_component_leaves_nothing_of_the_old_one():
    record = {**new_record("amd64", 7, {"k3s": "v1"}), "more": 1}
    record = with_component(record, "k3s", "v1", {"k3s/v1/k3s": (OLD, 6)})
    record = with_component(record, "k3os", "0.1", {"k3os/0.1/rootfs.squashfs": (OLD, 5)})
    changed = with_component(record, "k3s", "v2", {"k3s/v2/k3s": (NEW, 8)})
    assert changed["k3s"] == "v2"
    assert changed["sha256"] == {"k3os/0.1/rootfs.squashfs": OLD, "k3s/v2/k3s": NEW}
    assert changed["size"] == {"k3os/0.1/rootfs.squashfs": 5, "k3s/v2/k3s": 8}
    assert changed["more"] == 1


def test_what_of_a_medium_is_not_installed_is_not_in_the_record_either():
    loader = "boot/grub/k3os/efi.img"
    record = {"k3os": "0.1", "medium": {loader: NEW, "x": OLD}, "first_stage": {"sbin/init": OLD}}
    kept = as_installed(record)
    assert kept == {"k3os": "0.1", "loaders": {"efi.img": NEW, "sbin/init": OLD}}
    assert json.loads(as_bytes(kept)) == kept
