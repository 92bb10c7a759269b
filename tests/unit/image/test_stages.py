"""The pure parts of the stages: package lists, module choice, user, units, manifest, SBOM."""

import hashlib
import io
import json
from pathlib import Path

import pytest

from k3os.image.kernel import boot_modules, parse_dependencies
from k3os.image.manifest import add_generation
from k3os.image.packages import Package, parse_listing, parse_status
from k3os.image.rootfs import WANTS, add_user, choose_units
from k3os.image.sbom import sbom
from k3os.image.settings import from_environment
from k3os.image.tree import Tree

STATUS = """\
Package: bash
Status: install ok installed
Version: 5.2.37-2+b10
Source: bash (5.2.37-2)

Package: perl-base
Status: install ok installed
Version: 5.40

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def test_the_package_list_has_what_is_in_the_image_only() -> None:
    assert parse_status(STATUS) == [Package("bash", "5.2.37-2+b10", "bash")]


def test_kernel_packages_are_chosen_by_name() -> None:
    listing = "cpio 2.15 \nlinux-image-6.12-amd64 6.12-1 linux-signed-amd64\nlinux-base 4.12 \n"
    assert parse_listing(listing, "linux-image-.*") == [
        Package("linux-image-6.12-amd64", "6.12-1", "linux-signed-amd64")
    ]


def test_the_initrd_carries_boot_drivers_with_all_they_depend_on_and_no_others() -> None:
    text = (
        "kernel/drivers/nvme/host/nvme.ko: kernel/drivers/nvme/host/nvme-core.ko\n"
        "kernel/drivers/nvme/host/nvme-core.ko:\n"
        "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko\n"
        "kernel/lib/crc16.ko:\n"
        "kernel/drivers/net/e1000.ko:\n"
        "kernel/drivers/block/drbd/drbd.ko:\n"
        "kernel/drivers/block/rbd.ko: kernel/net/ceph/libceph.ko\n"
        "kernel/net/ceph/libceph.ko:\n"
        "kernel/drivers/xen/xen-scsiback.ko: kernel/drivers/target/target_core_mod.ko\n"
        "kernel/drivers/target/target_core_mod.ko:\n"
        "kernel/drivers/nvme/target/nvmet.ko: kernel/fs/configfs/configfs.ko\n"
        "kernel/fs/configfs/configfs.ko:\n"
        "kernel/drivers/md/raid1.ko: kernel/drivers/md/md-mod.ko\n"
        "kernel/drivers/md/md-mod.ko:\n"
        "kernel/drivers/md/dm-thin-pool.ko: kernel/drivers/md/dm-mod.ko\n"
    )
    assert boot_modules(parse_dependencies(text)) == {
        "kernel/drivers/nvme/host/nvme.ko",
        "kernel/drivers/nvme/host/nvme-core.ko",
        "kernel/fs/ext4/ext4.ko",
        "kernel/lib/crc16.ko",
        "kernel/drivers/md/raid1.ko",
        "kernel/drivers/md/md-mod.ko",
    }


def test_rancher_is_the_only_login_and_root_is_locked() -> None:
    tree = Tree()
    tree.file("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n")
    tree.file("etc/group", b"root:x:0:\nsudo:x:27:\nsystemd-journal:x:999:\n")
    tree.file("etc/gshadow", b"root:*::\nsudo:*::\nsystemd-journal:!*::\n", 0o640, 0, 42)
    tree.file(
        "etc/shadow", b"root::20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n", 0o640, 0, 42
    )
    add_user(tree)
    shadow = dict(line.split(":")[:2] for line in tree.read("etc/shadow").decode().splitlines())
    assert shadow == {"root": "!*", "daemon": "!*", "rancher": "*"}
    assert tree.entries["etc/shadow"].mode == 0o640
    # both files list members; messages suggest journalctl without sudo
    assert tree.read("etc/group").decode().splitlines() == [
        *("root:x:0:", "sudo:x:27:rancher", "systemd-journal:x:999:rancher", "rancher:x:1000:"),
    ]
    assert tree.read("etc/gshadow").decode().splitlines() == [
        *("root:*::", "sudo:*::rancher", "systemd-journal:!*::rancher", "rancher:!::"),
    ]
    assert "rancher:x:1000:1000:" in tree.read("etc/passwd").decode()


def test_exactly_the_wanted_units_are_enabled() -> None:
    tree = Tree()
    for unit in ("fstrim.timer", "e2scrub_all.timer"):
        tree.link(f"etc/systemd/system/timers.target.wants/{unit}", "/x")
    tree.file("usr/lib/systemd/system/e2scrub_all.timer", b"")
    tree.file("usr/lib/systemd/system/k3s.service", b"")
    tree.file("usr/lib/tmpfiles.d/systemd-nologin.conf", b"")
    choose_units(tree)
    assert "etc/systemd/system/timers.target.wants/e2scrub_all.timer" not in tree
    assert "usr/lib/systemd/system/e2scrub_all.timer" not in tree
    assert "usr/lib/systemd/system/k3s.service" in tree
    for target, units in WANTS.items():
        for unit in units:
            link = tree.entries[f"etc/systemd/system/{target}.wants/{unit}"]
            assert link.target == f"/usr/lib/systemd/system/{unit}"


def test_a_generation_names_its_parts_by_links_and_checksums(tmp_path: Path) -> None:
    for name in ("rootfs.squashfs", "k3s"):
        (tmp_path / name).write_text(name)
    tree = Tree()
    tree.file("boot/menu", b"menu")
    add_generation(
        tree,
        number=1,
        arch="amd64",
        kernel=None,
        k3os=("0.1.0", tmp_path / "rootfs.squashfs"),
        k3s=("v1+k3s1", tmp_path / "k3s"),
        epoch=5,
        medium=["boot/menu"],
    )
    system = "k3os/system"
    manifest = json.loads(tree.read(f"{system}/current/manifest.json"))
    assert manifest["kernel"] is None
    assert (manifest["k3os"], manifest["k3s"]) == ("0.1.0", "v1+k3s1")
    assert tree.read(f"{system}/current/k3s/k3s") == b"k3s"
    assert tree.entries[f"{system}/k3s/v1+k3s1/k3s"].mode == 0o755
    assert manifest["medium"] == {"boot/menu": hashlib.sha256(b"menu").hexdigest()}
    assert set(manifest["sha256"]) == {"k3os/0.1.0/rootfs.squashfs", "k3s/v1+k3s1/k3s"}


def test_the_sbom_describes_every_package_once_and_is_reproducible() -> None:
    settings = from_environment({"SOURCE_DATE_EPOCH": "0"})
    packages = [Package("bash", "5.2~a+1", "bash"), Package("libc6", "2.41", "glibc")]
    given = (settings, packages, ("v1.33.1+k3s1", "00" * 32), [("kopf", "1.45.2", "11" * 32)])
    document = sbom(*given)
    assert document == sbom(*given)
    entries = document["packages"]
    assert isinstance(entries, list)
    identifiers = [entry["SPDXID"] for entry in entries]
    assert len(set(identifiers)) == len(identifiers) == 5
    assert document["creationInfo"]["created"] == "1970-01-01T00:00:00Z"  # type: ignore[index]
    urls = [entry["externalRefs"][0]["referenceLocator"] for entry in entries]
    assert "pkg:deb/debian/bash@5.2~a%2B1?arch=amd64&distro=trixie" in urls
    assert "pkg:pypi/kopf@1.45.2" in urls
    json.dump(document, io.StringIO())


@pytest.mark.parametrize("mirror", ["", "http://m.example/debian", "/etc/apt/sources.list"])
def test_the_sbom_says_where_the_suites_of_fixes_are_missing(mirror: str) -> None:
    document = sbom(from_environment({"MIRROR": mirror}), [], None)
    assert ("without its" in json.dumps(document)) == mirror.startswith("http")
