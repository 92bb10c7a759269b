"""A disk image made without root: boots with BIOS and UEFI, grows, and has two generations."""

from pathlib import Path

import pytest

from k3os.system.run import run
from k3os.vm.spec import Disk, VMSpec
from tests.vm.installed import make_image
from tests.vm.node import BOOT, IDENTITY, LOGIN, MENU_DOWN, over_ssh, stop

GIB = 1 << 30
# a second generation with k3OS and k3s in other directories, but the same contents
UPGRADE = """set -e
cd /k3os/system; mount -o remount,bind,rw .
cp -al k3os/0.* k3os/9.9.9; cp -al k3s/v* k3s/v9.9.9; cp -a generations/1 generations/2
ln -sfn ../../k3os/9.9.9 generations/2/k3os; ln -sfn ../../k3s/v9.9.9 generations/2/k3s
ln -s generations/1 previous; ln -sfn generations/2 current; sync; mount -o remount,bind,ro .
"""
LOOPS = "cat /sys/block/loop*/loop/backing_file"


@pytest.fixture(scope="module")
def image(images, key, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("image")
    public = key.with_suffix(".pub").read_text()
    config = f"hostname: from-an-image\nssh_authorized_keys:\n- {public}"
    path = make_image(images.iso, directory, config, size="1G", kind="qcow2")
    run(["qemu-img", "resize", "-q", str(path), "3G"])
    return path


def test_the_image_boots_grows_and_keeps_a_previous_generation(boot, image, key):
    disk = Disk(image, format="qcow2")
    with boot("image-bios", VMSpec(disks=(disk,)), patient=True) as vm:
        vm.expect("executed automatically", 120)
        assert "Rescue (current)" in vm.console.text
        assert "Factory reset" in vm.console.text
        assert "revious" not in vm.console.text
        vm.expect("k3OS: booting disk from /dev/vda3", BOOT)
        vm.expect(f"from-an-image {LOGIN}", BOOT)
        assert over_ssh(vm, key, "sudo stat -c '%a %U' /k3os/system/config.yaml") == "600 root"
        over_ssh(vm, key, "systemctl is-system-running --wait >/dev/null || true")
        size = "lsblk -bno SIZE /dev/vda3; df -B1 --output=size /var | tail -n 1"
        assert min(map(int, over_ssh(vm, key, size).split())) > 2.8 * GIB
        assert over_ssh(vm, key, "systemctl --failed --no-legend --plain") == ""
        assert len(over_ssh(vm, key, IDENTITY).splitlines()[0]) == 32
        over_ssh(vm, key, f"sudo sh -c '{UPGRADE}'")
        stop(vm, key)
    with boot("image-uefi", VMSpec(disks=(disk,), uefi=True), patient=True) as vm:
        vm.expect("k3OS Previous", 120)
        vm.expect(r"Rescue \(previous\)[\s\S]*executed automatically", 30)
        vm.send(f"{MENU_DOWN}\n")
        vm.expect("k3OS: booting disk from /dev/vda3", 2 * BOOT)
        vm.expect(LOGIN, BOOT)
        assert "system/previous/kernel/vmlinuz" in over_ssh(vm, key, "cat /proc/cmdline")
        loops = over_ssh(vm, key, LOOPS)
        assert "/k3os/0." in loops
        assert "9.9.9" not in loops
        over_ssh(vm, key, "test -d /sys/firmware/efi")
        stop(vm, key)
