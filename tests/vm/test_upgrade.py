"""Upgrades on an installed disk: the new version comes up and stays, or the old one comes back.

One disk lives through all of it. The releases are this build's own with one part changed, signed
by a key of the test and served by a web server.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.cli.main import main
from k3os.image.signing import sign
from k3os.system.run import CommandError
from k3os.upgrade.release import ARTIFACTS
from k3os.vm.spec import Disk, VMSpec
from tests.vm.node import BOOT, LOGIN, over_ssh, serve, stop

MANIFEST = "k3os-manifest-amd64.json"
TRIAL_SECONDS = 45
HEALTHY = "k3OS: the new version is healthy: it stays"
BACK = r"k3OS: generations/\d+ did not come up, back to generations/\d+: "
REBOOT = 240


class Releases:
    """Release directories below one that a web server shows; url: as the node sees it."""

    def __init__(self, built: Path, directory: Path, url: str, key: Path) -> None:
        self.built = built
        self.directory = directory
        self.url = url
        self.key = key

    def make(self, version: str, **changed: bytes) -> str:
        """A release; changed: artifact (without the architecture) to its content. Its address."""
        target = self.directory / version
        target.mkdir()
        manifest = json.loads((self.built / MANIFEST).read_text())
        manifest["sha256"], manifest["size"] = {}, {}
        manifest["k3os"] = version
        for (component, name), artifact in ARTIFACTS.items():
            artifact = artifact.format(arch="amd64")
            path = target / artifact
            if name.partition(".")[0] in changed:
                path.write_bytes(changed[name.partition(".")[0]])
            else:
                shutil.copy(self.built / artifact, path)
            place = f"{component}/{manifest[component]}/{name}"
            manifest["sha256"][place] = hashlib.sha256(path.read_bytes()).hexdigest()
            manifest["size"][place] = path.stat().st_size
        data = json.dumps(manifest).encode()
        (target / MANIFEST).write_bytes(data)
        (target / f"{MANIFEST}.sig").write_bytes(sign(data, self.key))
        return f"{self.url}/{version}"


@pytest.fixture(scope="module")
def releases(images, key, tmp_path_factory) -> Iterator[Releases]:
    directory = tmp_path_factory.mktemp("releases")
    with serve(directory) as url:
        yield Releases(images.iso.parent, directory, url, key)


@pytest.fixture(scope="module")
def node(boot, images, key, tmp_path_factory) -> Iterator:
    directory = tmp_path_factory.mktemp("upgrade")
    config, path = directory / "config.yaml", directory / "disk.img"
    public = key.with_suffix(".pub").read_text()
    config.write_text(
        f"hostname: upgraded\nssh_authorized_keys:\n- {public}"
        f"k3os: {{upgrade: {{timeout: {TRIAL_SECONDS}, check: [test ! -e /var/unhealthy]}}}}\n"
    )
    command = ["image", "--iso", str(images.iso), "--config", str(config), "--size", "2G"]
    assert main([*command, "--format", "raw", "-o", str(path)]) == 0
    with boot("upgrade", VMSpec(disks=(Disk(path),), cpus=1)) as vm:
        vm.expect(f"upgraded {LOGIN}", 2 * BOOT)
        over_ssh(vm, key, f"echo '{public.strip()}' > release.pub")
        over_ssh(vm, key, "echo kept | sudo tee /var/kept")
        yield vm
        stop(vm, key)


def upgrade(vm, key: Path, arguments: str) -> str:
    return over_ssh(vm, key, f"sudo k3os upgrade --verify-key release.pub {arguments} 2>&1")


def reboot(vm, key: Path) -> None:
    """Apart from the upgrade: its connection would hang when the network goes first."""
    over_ssh(vm, key, "sudo systemd-run -q --on-active=1 systemctl --no-block reboot")


def wait_until_reached(vm, key: Path) -> None:
    """Past the login prompt, until ssh answers."""
    vm.expect(LOGIN, BOOT)
    end = time.monotonic() + BOOT
    while True:
        try:
            over_ssh(vm, key, "true")
        except CommandError:
            if time.monotonic() >= end:
                raise
            time.sleep(2)
        else:
            return


def current(vm, key: Path) -> str:
    """Versions of the current generation, and what is left of the last trial."""
    text = over_ssh(vm, key, "cat /k3os/system/current/manifest.json")
    return str(json.loads(text)["k3os"])


def padded(path: Path) -> bytes:
    """The same image with other bytes behind its end."""
    return path.read_bytes() + b"another version".ljust(4096, b"\0")


def test_a_new_version_comes_up_and_stays(node, key, releases):
    good = releases.make("0.2.0", rootfs=padded(releases.built / "k3os-rootfs-amd64.squashfs"))
    before = over_ssh(node, key, "cat /sys/block/vda/stat").split()[6]
    said = upgrade(node, key, good)
    after = over_ssh(node, key, "cat /sys/block/vda/stat").split()[6]
    assert "k3os    0.1.0 -> 0.2.0" in said
    size = (releases.directory / "0.2.0" / "k3os-rootfs-amd64.squashfs").stat().st_size
    ratio = (int(after) - int(before)) * 512 / size
    print(f"bytes written: {ratio:.3f} of the new files' size")
    assert ratio < 1.05
    reboot(node, key)
    node.expect(HEALTHY, REBOOT)
    assert current(node, key) == "0.2.0"
    assert "0.2.0" in over_ssh(node, key, "cat /sys/block/loop*/loop/backing_file")
    assert over_ssh(node, key, "cat /var/kept") == "kept"
    assert "nothing to do" in upgrade(node, key, good)


def test_an_unsigned_release_is_refused(node, key, releases):
    bad = releases.make("0.2.1", rootfs=b"nothing")
    (releases.directory / "0.2.1" / f"{MANIFEST}.sig").unlink()
    assert "is not signed" in upgrade(node, key, f"{bad} || true")
    assert current(node, key) == "0.2.0"


def test_a_root_file_system_that_is_none_goes_back_and_says_so(node, key, releases):
    bad = releases.make("0.3.0", rootfs=b"this is no squashfs".ljust(8192))
    upgrade(node, key, bad)
    reboot(node, key)
    node.expect(BACK, 2 * REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.2.0"
    status = over_ssh(node, key, "sudo k3os status || true")
    assert "rollback" in status
    assert "0.3.0" in status


def test_a_kernel_that_panics_goes_back_after_three_attempts(node, key, releases):
    bad = releases.make("0.4.0", initrd=b"this is no initrd".ljust(8192))
    upgrade(node, key, bad)
    reboot(node, key)
    for _ in range(3):
        node.expect("Kernel panic", REBOOT)
    node.expect(BACK, REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.2.0"


def test_an_initrd_that_is_missing_goes_back(node, key, releases):
    bad = releases.make("0.5.0", initrd=padded(releases.built / "k3os-initrd-amd64"))
    upgrade(node, key, bad)
    writable = "sudo mount -o remount,bind,rw /k3os/system"
    over_ssh(node, key, f"{writable} && sudo rm /k3os/system/current/kernel/initrd && sync")
    reboot(node, key)
    node.expect(BACK, 2 * REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.2.0"


def test_a_version_that_is_not_healthy_in_time_goes_back(node, key, releases):
    bad = releases.make("0.6.0", k3s=b'#!/bin/sh\n[ "$1" = --version ] || exit 1\n')
    upgrade(node, key, bad)
    reboot(node, key)
    node.expect("this version is not healthy, the previous one comes back: k3s", REBOOT)
    node.expect(BACK, REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.2.0"
    assert "k3s" in over_ssh(node, key, "sudo k3os status | grep -A1 rollback")
    assert over_ssh(node, key, "cat /var/kept") == "kept"


def test_one_goes_back_by_hand(node, key):
    over_ssh(node, key, "sudo k3os upgrade --rollback")
    reboot(node, key)
    node.expect("early boot", REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.6.0"
