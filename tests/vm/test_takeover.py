"""Installing from another Linux: install.sh in a running Debian 13, first onto its other disks,
then as a takeover.

The Debian boots once, with direct kernel boot; after that, each disk boots through the firmware.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from k3os.system.run import run
from k3os.vm.machine import VM
from k3os.vm.spec import Disk, VMSpec
from tests.vm import debian
from tests.vm.node import BOOT, LOGIN, ask, over_ssh, serve, stop
from tests.vm.test_install import empty_disk

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
SECONDS = 400
# an MBR table, with the usual gap before the first partition
PARTITION = "printf 'label: dos\\n2048,,L\\n' | sfdisk -q --lock /dev/{0} && udevadm settle"
MIRROR = (
    "mdadm --create /dev/md7 --level 1 --raid-devices 2 --run --assume-clean /dev/vdc1 /dev/vdd1"
)
VOLUME = "vgcreate -q my-group /dev/vde1 && lvcreate -qy -l 100%FREE -n root my-group"
MAKE = "mkfs.ext4 -q -L K3OS_STATE {0}"
STATE = "cat /proc/mounts; losetup -a; ls -A /var/tmp"


@pytest.fixture(scope="module")
def site(tmp_path_factory, images, key) -> Iterator[str]:
    """A web server with install.sh, the ISO, and config.yaml."""
    directory = tmp_path_factory.mktemp("site")
    public = key.with_suffix(".pub").read_text()
    (directory / "config.yaml").write_text(f"hostname: taken\nssh_authorized_keys:\n- {public}")
    (directory / "install.sh").symlink_to(ROOT / "install.sh")
    (directory / "k3os.iso").symlink_to(images.iso)
    with serve(directory) as url:
        yield url


@pytest.fixture(scope="module")
def disks(boot, site, images, tmp_path_factory) -> list[Path]:
    """The Debian's own disk, a formatted one, two for RAID 1, one for LVM."""
    directory = tmp_path_factory.mktemp("disks")
    system = debian.debian(directory / "debian.log")
    own = directory / "own.img"
    run(["cp", "--sparse=always", str(system.disk), str(own)])
    others = [empty_disk(directory / name) for name in ("formatted", "first", "second", "lvm")]
    spec = VMSpec(
        kernel=system.kernel, initrd=system.initrd, append=system.append, memory=1024, cpus=1
    )
    with boot("debian", replace(spec, disks=(Disk(own), *others))) as vm:
        vm.expect(debian.PROMPT, BOOT)
        prepare(vm, site)
        refuse(vm)
        before = ask(vm, STATE)
        install = f"/root/install.sh --config {site}/config.yaml"
        with open(images.iso, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        output = ask(vm, f"{install} --tty ttyS0 /dev/vdb {site}/k3os.iso#sha256={found}", SECONDS)
        assert "k3OS is installed on /dev/vdb" in output
        assert "fetching" in output
        assert ask(vm, STATE) == before
        for disk in ("vdc", "vdd", "vde"):
            ask(vm, PARTITION.format(disk))
        for command, device in ((MIRROR, "/dev/md7"), (VOLUME, "/dev/my-group/root")):
            ask(vm, f"{command} && {MAKE.format(device)}", 120)
            output = ask(vm, f"{install} --no-format {device} /root/k3os.iso", SECONDS)
            assert "k3OS is installed on /dev/" in output
        assert "boot loader for BIOS: /dev/vde" in output
        take_over(vm)
        assert ask(vm, STATE) == before
        vm.send("poweroff\n")
        vm.wait_for_end(90)
    return [own, *(disk.path for disk in others)]


def prepare(vm: VM, site: str) -> None:
    """Install Debian's GRUB with Debian's tools, and leave traps for the deletion of files."""
    ask(vm, "grub-install --target=i386-pc /dev/vda && update-grub", 120)
    ask(vm, "systemctl start systemd-networkd-wait-online")
    for name in ("install.sh", "config.yaml", "k3os.iso"):
        ask(vm, f"curl -fsS -o /root/{name} {site}/{name}", 120)
    ask(vm, "chmod +x /root/install.sh; chmod 600 /root/config.yaml")
    ask(vm, "touch /etc/locked && chattr +i /etc/locked && ln -s /k3os /link")


def refuse(vm: VM) -> None:
    before = ask(vm, "md5sum /boot/grub/grub.cfg; ls /; e2label /dev/vda2")

    def refused(arguments: str, reason: str) -> None:
        code, output = vm.command(f"/root/install.sh {arguments}", 120)
        assert code != 0
        assert reason in output

    iso, fine = "/root/k3os.iso", "--config /root/config.yaml"
    refused(f"{fine} /dev/vda {iso}", "/dev/vda2 is mounted at /")
    refused(f"--takeover --no-format /dev/vda2 {iso}", "nobody could log in")
    assert ask(vm, "md5sum /boot/grub/grub.cfg; ls /; e2label /dev/vda2") == before


def take_over(vm: VM) -> None:
    options = "--config /root/config.yaml --takeover --no-format"
    output = ask(vm, f"/root/install.sh {options} /dev/vda2 /root/k3os.iso", SECONDS)
    assert "the next boot deletes everything on /dev/vda2 that is not k3OS" in output
    assert ask(vm, "stat -c %a /k3os/system/config.yaml") == "600"
    assert ask(vm, "e2label /dev/vda2") == debian.LABEL
    assert "Debian" in ask(vm, "cat /boot/grub/grub.cfg.before-k3os")


def test_a_takeover_is_finished_by_the_next_boot_even_after_a_power_cut(boot, disks, key):
    with boot("taken-over", VMSpec(disks=(Disk(disks[0]),), cpus=1)) as vm:
        vm.expect("k3OS: delete the system that was here, and start", BOOT)
        vm.expect("k3OS: takeover: deleting the system that was here", BOOT)
        vm.reset()
        vm.expect("k3OS: takeover: deleting the system that was here", BOOT)
        vm.expect("k3OS: takeover: done, rebooting into k3OS", BOOT)
        vm.expect("k3OS Current", BOOT)
        vm.expect("k3OS: booting disk from /dev/vda2 .*K3OS_STATE", BOOT)
        vm.expect(LOGIN, BOOT)
        assert over_ssh(vm, key, "hostname") == "taken"
        assert over_ssh(vm, key, "sudo ls -A /.base").split() == ["boot", "k3os", "lost+found"]
        assert over_ssh(vm, key, "ls -A /.base/boot; ls -A /.base/k3os").split() == [
            *("grub", "data", "system")
        ]
        assert "before-k3os" not in over_ssh(vm, key, "ls /.base/boot/grub")
        assert "takeover" not in over_ssh(vm, key, "ls /.base/k3os/system; cat /proc/cmdline")
        over_ssh(vm, key, "grep ' k3os.medium_uuid=........-' /proc/cmdline")
        stop(vm, key)


def test_install_sh_formats_a_disk(disks):
    table = run(["sfdisk", "--json", str(disks[1])])
    start = json.loads(table)["partitiontable"]["partitions"][2]["start"] * 512
    label = ["blkid", "-p", "-O", str(start), "-s", "LABEL", "-o", "value", str(disks[1])]
    assert run(label) == b"K3OS_STATE\n"
    read = ["debugfs", "-R", "cat /k3os/system/config.yaml", f"{disks[1]}?offset={start}"]
    assert b"hostname: taken" in run(read)


@pytest.mark.parametrize(("name", "number"), [("md0", 3), ("dm-0", 4)])
def test_raid_and_lvm_boot_what_install_sh_put_there(boot, disks, key, name, number):
    """Half of the RAID 1 boots alone, after a while; LVM at once. GRUB passes the UUID."""
    with boot(f"from-{name}", VMSpec(disks=(Disk(disks[number]),), cpus=1)) as vm:
        vm.expect(f"k3OS: booting disk from /dev/{name} .*K3OS_STATE", BOOT)
        vm.expect(LOGIN, BOOT)
        assert over_ssh(vm, key, "hostname") == "taken"
        over_ssh(vm, key, "grep ' k3os.medium_uuid=........-' /proc/cmdline")
        stop(vm, key)
