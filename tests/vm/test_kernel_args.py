"""k3os.kernel_args on an installed disk: GRUB passes them, a change is on trial, an unhealthy one
is undone and not tried again, and they are removed the same way when the key is.

One disk goes through all of it. Works with any kernel: the tests count huge pages, and
k3os.upgrade.check rejects the argument `unlucky`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.paths import LOCAL_CONFIG
from k3os.vm.spec import Disk, VMSpec
from tests.vm.installed import make_image
from tests.vm.node import BOOT, LOGIN, over_ssh, stop
from tests.vm.test_upgrade import (
    BACK,
    HEALTHY,
    MENU,
    REBOOT,
    TRIAL_SECONDS,
    reboot,
    wait_until_reached,
)

CHECK = "! grep -qw unlucky /proc/cmdline"
ASK = "`sudo reboot`"
# the last has characters that are special in GRUB's menu
KEPT = ("hugepages=8", "audit=0", "odd.one=64M$0x1#2")
# makes the menu like that of a release without kernel_args
OLD_MENU = (
    "sudo mount -o remount,bind,rw /.base && "
    rf"sudo sed -i -e 's/ \$k3os_args//' -e '/set k3os_args=/,/^ *fi$/d' {MENU} && "
    f"sudo sync -f {MENU} && sudo mount -o remount,bind,ro /.base"
)


@pytest.fixture(scope="module")
def node(boot, images, key, tmp_path_factory) -> Iterator:
    directory = tmp_path_factory.mktemp("kernel-args")
    public = key.with_suffix(".pub").read_text()
    config = (
        f"hostname: told\nssh_authorized_keys:\n- {public}"
        f"k3os:\n  kernel_args: [hugepages=4]\n"
        f"  upgrade: {{timeout: {TRIAL_SECONDS}, check: ['{CHECK}']}}\n"
    )
    path = make_image(images.iso, directory, config)
    with boot("kernel-args", VMSpec(disks=(Disk(path),), cpus=1)) as vm:
        vm.expect(f"told {LOGIN}", 2 * BOOT)
        over_ssh(vm, key, "echo kept | sudo tee /var/kept")
        yield vm
        stop(vm, key)


def want(vm, key: Path, *arguments: str) -> str:
    """Configure these arguments, and return what `k3os config` says."""
    text = f"k3os: {{kernel_args: [{', '.join(arguments)}]}}"
    put = f"echo '{text}' | sudo tee {LOCAL_CONFIG} >/dev/null"
    return over_ssh(vm, key, f"{put}; sudo k3os config 2>&1 || true")


def words(vm, key: Path) -> list[str]:
    return over_ssh(vm, key, "cat /proc/cmdline").split()


def huge_pages(vm, key: Path) -> str:
    return over_ssh(vm, key, "cat /proc/sys/vm/nr_hugepages")


def status(vm, key: Path) -> str:
    return over_ssh(vm, key, "sudo k3os status || true")


def test_a_new_installation_has_them_from_its_first_boot(node, key):
    assert words(node, key).count("hugepages=4") == 1
    assert "k3os.args_of=1" in words(node, key)
    assert huge_pages(node, key) == "4"
    assert "arguments  hugepages=4" in status(node, key)
    assert "k3os_trial" not in over_ssh(node, key, "sudo cat /.base/boot/grub/grubenv || true")


def test_a_change_is_on_trial_at_the_next_boot_and_stays(node, key):
    over_ssh(node, key, OLD_MENU)
    assert over_ssh(node, key, f"grep -c k3os_args {MENU} || true") == "0"
    files = over_ssh(node, key, "cd /k3os/system && find kernel k3os k3s -type f | sort")
    assert f"reboot for k3os.kernel_args: {ASK}" in want(node, key, *KEPT)
    assert huge_pages(node, key) == "4"
    assert f"after the next boot: {' '.join(KEPT)}: {ASK}" in status(node, key)
    # nothing is done twice
    assert f"reboot for k3os.kernel_args: {ASK}" in want(node, key, *KEPT)
    assert over_ssh(node, key, "ls /k3os/system/generations").split() == ["1", "2"]
    assert over_ssh(node, key, "cd /k3os/system && find kernel k3os k3s -type f | sort") == files
    reboot(node, key)
    node.expect(HEALTHY, REBOOT)
    found = " ".join(words(node, key))
    assert re.search(rf"\bk3os\.trial={TRIAL_SECONDS}\b", found)
    assert f"{' '.join(KEPT)} k3os.args_of=2" in found
    assert huge_pages(node, key) == "8"
    assert over_ssh(node, key, "cat /var/kept") == "kept"
    assert "after the next boot" not in status(node, key)


@pytest.mark.long
def test_what_is_not_healthy_goes_and_is_not_tried_again(node, key):
    want(node, key, "hugepages=8", "unlucky")
    reboot(node, key)
    # the check is repeated until the trial times out
    node.expect("this version is not healthy, the previous one comes back", 2 * REBOOT)
    node.expect(BACK, REBOOT)
    wait_until_reached(node, key)
    over_ssh(node, key, "until systemctl is-active k3os-config >/dev/null; do sleep 1; done")
    assert "unlucky" not in words(node, key)
    assert huge_pages(node, key) == "8"
    said = status(node, key)
    assert "with the kernel's arguments hugepages=8 unlucky" in said
    assert re.search("FAILED .*k3os.kernel_args: .*they are not tried again since", said)
    before = over_ssh(node, key, "readlink /k3os/system/current")
    assert "not tried again" in want(node, key, "hugepages=8", "unlucky")
    assert over_ssh(node, key, "readlink /k3os/system/current") == before
    assert "k3os_trial" not in over_ssh(node, key, "sudo cat /.base/boot/grub/grubenv")


@pytest.mark.long
def test_one_goes_back_by_hand_and_that_stays(node, key):
    want(node, key, *KEPT)
    want(node, key, "hugepages=6")
    reboot(node, key)
    node.expect(HEALTHY, REBOOT)
    over_ssh(node, key, "sudo k3os upgrade --rollback")
    reboot(node, key)
    node.expect("early boot", REBOOT)
    wait_until_reached(node, key)
    assert huge_pages(node, key) == "8"
    over_ssh(node, key, "until systemctl is-active k3os-config >/dev/null; do sleep 1; done")
    assert "`k3os upgrade --rollback` went back from them" in status(node, key)


@pytest.mark.long
def test_without_any_they_go_as_they_came(node, key):
    want(node, key)
    assert f"none of k3os.kernel_args: {ASK}" in status(node, key)
    reboot(node, key)
    node.expect(HEALTHY, REBOOT)
    assert not [each for each in words(node, key) if each.startswith(("hugepages", "k3os.args"))]
    assert huge_pages(node, key) == "0"
