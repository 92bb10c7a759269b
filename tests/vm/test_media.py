"""Booting the ISO on various machines: BIOS, UEFI, CD, USB stick, little memory; and rebooting."""

import re

import pytest

from k3os.system.blockdev import probe
from k3os.system.run import run
from k3os.vm.spec import Disk, VMSpec
from tests.vm.node import BOOT, MENU_DOWN, RESCUE, ask

MENU_ENTRIES = ("k3OS live", "Install k3OS to disk", "Rescue shell")


@pytest.fixture(scope="module")
def bios(boot, images):
    """Booted from a CD by a BIOS, with 1 GiB of memory."""
    with boot("bios", VMSpec(cdrom=images.iso, memory=1024), patient=True) as vm:
        vm.expect("Booting `k3OS live'", 60)
        vm.wait_for_shell(BOOT)
        yield vm


def test_the_menu_on_the_serial_port_has_live_install_and_rescue(bios):
    menu = bios.console.text.partition("Booting")[0]
    assert [entry for entry in MENU_ENTRIES if entry in menu] == list(MENU_ENTRIES)


def named(vm, images) -> None:
    """Check that GRUB passed the UUID of the medium it read."""
    word = ask(vm, "grep -o 'k3os.medium_uuid=[^ ]*' /proc/cmdline")
    assert word == f"k3os.medium_uuid={probe(str(images.iso)).uuid}"


def test_a_bios_boots_the_cd_with_one_gigabyte_of_memory(bios, images):
    assert int(ask(bios, "grep MemTotal /proc/meminfo").split()[1]) < 1024 * 1024
    assert bios.command("test -d /sys/firmware/efi")[0] == 1
    ask(bios, "until systemctl is-active -q k3s; do sleep 1; done", 60)
    assert ask(bios, "sudo -n dmesg | grep -ci 'out of memory' || true") == "0"
    named(bios, images)


@pytest.mark.long
def test_changes_do_not_survive_a_reboot(bios):
    ask(bios, "sudo -n touch /etc/changed /var/changed /home/rancher/changed /opt/changed")
    machine = ask(bios, "cat /etc/machine-id")
    bios.console.skip()
    bios.send("sudo reboot\n")
    bios.expect("Booting `k3OS live'", 90)
    bios.wait_for_shell(BOOT)
    assert (
        ask(bios, "ls -d /etc/changed /var/changed /home/*/changed /opt/changed; true").count(
            "No such file"
        )
        == 4
    )
    assert ask(bios, "cat /etc/machine-id") != machine


def test_the_rescue_entry_of_the_menu_opens_a_shell(boot, images):
    # a processor without RDRAND: the kernel has no random numbers either when PID 1 starts
    spec = VMSpec(cdrom=images.iso, extra=("-cpu", "qemu64"))
    with boot("menu-rescue", spec, patient=True) as vm:
        vm.expect("Rescue shell", 60)
        vm.expect("executed automatically", 10)
        vm.send(MENU_DOWN + MENU_DOWN + "\n")
        vm.expect("rescue is on the kernel's command line", BOOT)
        vm.expect(RESCUE, 30)


@pytest.mark.long
def test_uefi_boots_the_cd_and_what_it_installs_to_a_disk_with_large_sectors(
    boot, images, tmp_path
):
    """The installed system also becomes the first in the firmware's boot order."""
    disk = Disk(tmp_path / "disk.img", sector=4096)
    with open(disk.path, "wb") as file:
        file.truncate(2 << 30)
    with boot("uefi", VMSpec(cdrom=images.iso, disks=(disk,), uefi=True)) as vm:
        vm.wait_for_shell(2 * BOOT)
        ask(vm, "test -d /sys/firmware/efi")
        named(vm, images)
        ask(vm, "until systemctl is-active -q k3s; do sleep 1; done", 60)
        ask(vm, "echo 'k3os: {password: x}' >/tmp/config.yaml")
        command = "sudo k3os install --silent --no-reboot --config /tmp/config.yaml"
        said = ask(vm, f"{command} --device /dev/vda", 180)
        assert "boot list has k3OS in the first place" in said
        listing = ask(vm, "efibootmgr")
        (number,) = re.findall(r"Boot([0-9A-F]{4})\* k3OS\s", listing)
        assert f"BootOrder: {number}" in listing
        assert "boots with UEFI only: its sectors have 4096 bytes" in said
    with boot("uefi-4096", VMSpec(disks=(disk,), uefi=True)) as vm:
        vm.expect("k3OS: booting disk from /dev/vda3", 2 * BOOT)
        vm.expect("login: ", BOOT)


@pytest.mark.long
def test_the_iso_boots_as_a_disk_with_uefi(boot, images):
    disks = (Disk(images.iso, readonly=True),)
    with boot("stick-uefi", VMSpec(disks=disks, uefi=True)) as vm:
        vm.wait_for_shell(2 * BOOT)
        assert ask(vm, "findmnt -no SOURCE /.base") == "/dev/vda"
        named(vm, images)


def test_the_iso_boots_as_a_disk_and_cloud_data_beside_it_is_read(boot, images, tmp_path):
    """A stick with a partition for userdata after the ISO."""
    stick, part = tmp_path / "stick.img", tmp_path / "cidata.img"
    run(["cp", str(images.iso), str(stick)])
    size = stick.stat().st_size
    with open(stick, "r+b") as file:
        file.truncate((size >> 20) + 8 << 20)
    table = f"start={(size >> 20) + 2}MiB, size=4MiB, type=L\n".encode()
    run(["sfdisk", "-q", "--append", str(stick)], stdin=table)
    (tmp_path / "user-data").write_text("hostname: of-the-stick\n")
    with open(part, "wb") as file:
        file.truncate(4 << 20)
    run(["mkfs.vfat", "-n", "CIDATA", str(part)])
    run(["mcopy", "-i", str(part), str(tmp_path / "user-data"), "::"])
    with open(stick, "r+b") as file:
        file.seek((size >> 20) + 2 << 20)
        file.write(part.read_bytes())
    with boot("stick-bios", VMSpec(disks=(Disk(stick),))) as vm:
        vm.wait_for_shell(2 * BOOT)
        assert ask(vm, "findmnt -no SOURCE /.base") == "/dev/vda"
        named(vm, images)
        probed = ask(vm, "sudo k3os datasource probe nocloud")
        assert "hostname: of-the-stick" in probed


@pytest.mark.long
def test_the_iso_boots_from_a_usb_stick(boot, generic_images):
    stick = Disk(generic_images.iso, interface="usb-storage", readonly=True)
    with boot("usb", VMSpec(disks=(stick,))) as vm:
        vm.wait_for_shell(2 * BOOT)
        device = ask(vm, "findmnt -no SOURCE --target /k3os/system").split("[")[0]
        assert "/usb" in ask(vm, f"readlink -f /sys/class/block/{device.removeprefix('/dev/')}")
