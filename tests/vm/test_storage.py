"""k3os.disks and k3os.mounts: empty disks are formatted once and mounted before k3s; disks with
data stay as they are; missing disks are reported and do not block the boot.
"""

import dataclasses
import json

import pytest

from k3os.system.run import run
from k3os.vm.spec import Disk
from tests.vm.installed import MIB, make_disk
from tests.vm.node import BOOT, LOGIN, over_ssh, stop

pytestmark = pytest.mark.long

CONFIG = """\
hostname: storage
ssh_authorized_keys:
- {key}
k3os:
  disks:
  - {{device: /dev/disk/by-id/virtio-EXT, filesystem: ext4, label: ext, mount: /var/lib/longhorn}}
  - {{device: /dev/vdc, filesystem: xfs, label: fast, mount: /var/lib/rancher/k3s}}
  - {{device: /dev/vdd, filesystem: ext4, label: mine, mount: /srv/mine}}
  - {{device: /dev/disk/by-id/virtio-SWAP, filesystem: swap, label: more}}
  mounts:
  - {{what: LABEL=theirs, where: /srv/theirs, options: [ro, noatime]}}
  - {{what: LABEL=absent, where: /srv/absent}}
  - {{what: '10.0.2.2:/absent', where: /srv/nas}}
"""
SIZE = 700 * MIB
PLACES = "/var/lib/longhorn /var/lib/rancher/k3s"


def blank(path, size, **more):
    with open(path, "wb") as file:
        file.truncate(size)
    return Disk(path, **more)


@pytest.fixture(scope="module")
def spec(images, key, tmp_path_factory):
    directory = tmp_path_factory.mktemp("storage")
    text = CONFIG.format(key=key.with_suffix(".pub").read_text().strip())
    make_disk(images.iso, directory / "disk.img", directory, size=SIZE, config=text)
    theirs = blank(directory / "theirs.img", 32 * MIB)
    (directory / "root").mkdir()
    (directory / "root/precious").write_text("precious\n")
    label = ("-L", "theirs", "-d", str(directory / "root"))
    run(["mke2fs", "-q", "-F", "-t", "ext4", *label, str(theirs.path)])
    disks = (
        Disk(directory / "disk.img"),
        blank(directory / "ext.img", 64 * MIB, serial="EXT"),
        blank(directory / "fast.img", 400 * MIB),
        theirs,
        blank(directory / "swap.img", 64 * MIB, serial="SWAP"),
    )
    return dataclasses.replace(images.direct(medium=False), disks=disks)


def failures(vm, key):
    text = over_ssh(vm, key, "sudo k3os status --json || true")
    actions = json.loads(text)["phases"]["runtime"]["actions"]
    return {each["key"]: each for each in actions if each["result"] == "failed"}


@pytest.fixture(scope="module")
def node(boot, spec, key):
    """The first boot."""
    with boot("storage", spec) as vm:
        vm.expect(LOGIN, 2 * BOOT)
        over_ssh(vm, key, "systemctl is-system-running --wait || true", timeout=240)
        yield vm


def test_an_empty_disk_is_formatted_and_mounted_before_k3s(node, key):
    found = over_ssh(node, key, f"for p in {PLACES}; do findmnt -no FSTYPE,LABEL $p; done")
    assert [line.split() for line in found.splitlines()] == [["ext4", "ext"], ["xfs", "fast"]]
    over_ssh(node, key, "until systemctl is-active -q k3s; do sleep 1; done")
    at = [
        int(over_ssh(node, key, f"systemctl show -P {name}"))
        for name in (
            "ActiveEnterTimestampMonotonic var-lib-rancher-k3s.mount",
            "ExecMainStartTimestampMonotonic k3s",
        )
    ]
    assert at == sorted(at)
    for program in ("mkfs.xfs", "xfs_repair", "xfs_growfs", "xfs_io", "xfs_db"):
        assert "xfs" in over_ssh(node, key, f"sudo {program} -V")


def test_an_empty_disk_becomes_swap_after_that_in_memory(node, key):
    table = over_ssh(node, key, "swapon --show=NAME,PRIO --noheadings").splitlines()
    priorities = {line.split()[0]: int(line.split()[1]) for line in table}
    assert priorities["/dev/vde"] < priorities["/dev/zram0"]


def test_what_holds_something_stays_and_is_named(node, key):
    found = failures(node, key)["k3os.disks[2]"]
    assert found["from"].startswith("/k3os/system/config.yaml:8:")
    assert "/dev/vdd is left as it is: it holds ext4 'theirs', not ext4 'mine'" in found["reason"]
    assert "sudo wipefs -a /dev/vdd" in found["reason"]
    assert over_ssh(node, key, "cat /srv/theirs/precious") == "precious"
    options = over_ssh(node, key, "findmnt -no OPTIONS /srv/theirs").split(",")
    assert {"ro", "noatime"} <= set(options)


def test_what_is_missing_is_said_and_holds_nothing_up(node, key):
    found = failures(node, key)
    assert set(found) == {"k3os.disks[2]", "k3os.mounts[1]", "k3os.mounts[2]"}
    assert "LABEL=absent is not there" in found["k3os.mounts[1]"]["reason"]
    said = over_ssh(node, key, "sudo journalctl -b -q -o cat -u k3os-config")
    assert "k3os.mounts[1]: look whether LABEL=absent is mounted" in said
    assert over_ssh(node, key, "systemctl is-active k3s") == "active"


def test_a_disk_that_comes_later_is_mounted_by_applying_the_configuration_again(node, key):
    over_ssh(node, key, "sudo e2label /dev/vdd absent && sudo udevadm trigger --settle /dev/vdd")
    over_ssh(node, key, "sudo k3os config || true", timeout=180)
    assert over_ssh(node, key, "cat /srv/absent/precious") == "precious"
    over_ssh(node, key, "sudo e2label /dev/vdd theirs")


def test_after_a_reboot_all_is_there_and_nothing_was_formatted_again(node, boot, spec, key):
    over_ssh(node, key, "for p in " + PLACES + "; do echo mine | sudo tee $p/kept; done")
    uuids = over_ssh(node, key, "lsblk -no UUID /dev/vdb /dev/vdc")
    stop(node, key)
    with boot("storage-again", spec) as vm:
        vm.expect(LOGIN, 2 * BOOT)
        wait = f"until cat {PLACES.replace(' ', '/kept ')}/kept; do sleep 1; done"
        assert over_ssh(vm, key, f"sudo sh -c '{wait}' 2>/dev/null") == "mine\nmine"
        assert over_ssh(vm, key, "lsblk -no UUID /dev/vdb /dev/vdc") == uuids
        # systemd mounts it, before the runtime phase
        at = [
            int(over_ssh(vm, key, f"systemctl show -P ActiveEnterTimestampMonotonic {unit}"))
            for unit in ("var-lib-longhorn.mount", "k3os-config.service")
        ]
        assert at == sorted(at)


def test_k3s_does_not_start_on_an_empty_directory_when_its_disk_is_gone(boot, spec, key):
    disks = tuple(disk for disk in spec.disks if disk.path.name != "fast.img")
    with boot("storage-gone", dataclasses.replace(spec, disks=disks)) as vm:
        vm.expect(LOGIN, 2 * BOOT)
        over_ssh(vm, key, "systemctl is-system-running --wait || true", timeout=240)
        found = failures(vm, key)
        # the next disk is /dev/vdc now
        assert "xfs 'fast', which was made before" in found["k3os.disks[1]"]["reason"]
        assert over_ssh(vm, key, "systemctl is-active k3s || true") == "inactive"
        assert over_ssh(vm, key, "sudo ls /var/lib/rancher/k3s/server 2>/dev/null || true") == ""


def test_a_power_cut_while_a_disk_is_being_formatted_is_made_good(boot, images, key, tmp_path):
    text = CONFIG.format(key=key.with_suffix(".pub").read_text().strip())
    make_disk(images.iso, tmp_path / "disk.img", tmp_path, size=SIZE, config=text)
    fast = blank(tmp_path / "fast.img", 400 * MIB, cache="writethrough")
    ext = blank(tmp_path / "ext.img", 64 * MIB, serial="EXT", cache="writethrough")
    system = Disk(tmp_path / "disk.img", cache="writethrough")
    spec = dataclasses.replace(images.direct(medium=False), disks=(system, ext, fast))
    with boot("storage-cut", spec) as vm:
        vm.expect(LOGIN, 2 * BOOT)
        begun = "until sudo grep -q fast /var/lib/rancher/k3os/disks.json; do :; done"
        over_ssh(vm, key, f"{begun} 2>/dev/null", timeout=180)
        vm.cut_power()
    with boot("storage-cut-after", spec) as vm:
        vm.expect(LOGIN, 3 * BOOT)
        wait = f"for p in {PLACES}; do until findmnt $p; do sleep 1; done; done"
        over_ssh(vm, key, wait, timeout=240)
