"""arm64 with UEFI: the ISO, install.sh, a takeover, the Raspberry Pi's SD card.

Not part of `make vm`: `make test-arm` runs it.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from k3os.cli.main import main
from k3os.generation import grubenv, trial
from k3os.system.run import run
from k3os.vm.spec import SERIAL, Disk, VMSpec
from tests.vm.conftest import ROOT, build
from tests.vm.foreign import PROMPT, foreign
from tests.vm.node import LOGIN, ask, over_ssh, serve, stop
from tests.vm.test_install import empty_disk

# the processor is emulated, of another architecture, and the firmware tries the network first
BOOT = 400
MIB, GIB = 1 << 20, 1 << 30
FAT, STATE = 4 * MIB, 68 * MIB
GRUB = (
    "mkfs.vfat -F 32 /dev/vda1 >/dev/null && mkdir -p /boot/efi && mount /dev/vda1 /boot/efi",
    "grub-install --target=arm64-efi --efi-directory=/boot/efi --removable --no-nvram",
    "grub-mkconfig -o /boot/grub/grub.cfg",
)

pytestmark = pytest.mark.extra


@pytest.fixture(scope="module")
def iso() -> Path:
    return build("backports", "arm64") / "k3os-arm64.iso"


@pytest.fixture(scope="module")
def config(key) -> str:
    public = key.with_suffix(".pub").read_text().strip()
    return f"hostname: arm\nssh_authorized_keys: [{public}]\nk3os: {{password: rancher}}\n"


@pytest.fixture(scope="module")
def card(iso, config, tmp_path_factory) -> Path:
    """The image, written to a larger card."""
    directory = tmp_path_factory.mktemp("card")
    path, file = directory / "card.img", directory / "config.yaml"
    file.write_text(config)
    command = ["image", "--board", "rpi", "--iso", str(iso), "--config", str(file), "--size", "1G"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCH", "")  # undoes what the command sets
        assert main([*command, "-o", str(path)]) == 0
    with open(path, "r+b") as disk:
        disk.truncate(4 * GIB)
    return path


def test_the_arm64_iso_boots_live_and_install_sh_installs_it(
    boot_foreign, iso, config, key, tmp_path
):
    disk = empty_disk(tmp_path / "disk")
    (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "install.sh").symlink_to(ROOT / "install.sh")
    spec = VMSpec(cdrom=iso, disks=(disk,), uefi=True, arch="arm64")
    with serve(tmp_path) as url, boot_foreign("arm64-iso", spec) as vm:
        vm.expect("k3OS live", BOOT)
        vm.expect("k3OS: booting live from", BOOT)
        vm.wait_for_shell(BOOT)
        assert ask(vm, "uname -m") == "aarch64"
        assert ask(vm, "sudo k3os status | head -n 1") == "mode       live"
        assert ask(vm, "test -d /sys/firmware/efi && echo uefi") == "uefi"
        ask(vm, f"curl -fsS --retry 20 --retry-all-errors -o i {url}/install.sh", 120)
        ask(vm, f"sudo sh i --config {url}/config.yaml /dev/vda /dev/sr0 >log 2>&1", BOOT)
        assert "loader for UEFI" in ask(vm, "cat log")
    with boot_foreign("arm64-installed", replace(spec, cdrom=None)) as vm:
        vm.expect("k3OS: booting disk from /dev/vda3", BOOT)
        vm.expect(f"arm {LOGIN}", BOOT)
        over_ssh(vm, key, "systemctl is-system-running --wait >/dev/null || true", BOOT)
        assert "power-switch" in over_ssh(vm, key, "udevadm info --export-db | grep power-switch")
        vm.power_button()
        vm.wait_for_end(BOOT)


def test_the_card_boots_where_there_is_uefi_and_grows(boot_foreign, card, key):
    spec = VMSpec(disks=(Disk(card),), uefi=True, arch="arm64", memory=1024)
    with boot_foreign("rpi-uefi", spec) as vm:
        vm.expect("k3OS: booting disk from /dev/vda2", BOOT)
        vm.expect(f"arm {LOGIN}", BOOT)
        over_ssh(vm, key, "systemctl is-system-running --wait >/dev/null || true")
        size = "lsblk -bno SIZE /dev/vda2; df -B1 --output=size /var | tail -n 1"
        assert min(map(int, over_ssh(vm, key, size).split())) > 3.7 * GIB
        assert over_ssh(vm, key, "systemctl --failed --no-legend --plain") == ""
        stop(vm, key)
    table = json.loads(run(["sfdisk", "--json", str(card)]))["partitiontable"]
    assert [part["type"] for part in table["partitions"]] == ["c", "83"]
    # the last one is for the Pi 5, whose SD card this kernel supports
    for name in ("config.txt", "bcm2711-rpi-4-b.dtb", "bcm2712-rpi-5-b.dtb"):
        run(["mtype", "-i", f"{card}@@{FAT}", f"::/{name}"])


def test_a_raspberry_pi_3_boots_the_card_and_counts_the_attempt(boot_foreign, card, tmp_path):
    """Starts after the Pi's own firmware, which QEMU does not have. GRUB writes to the card."""
    (tmp_path / "grubenv").write_bytes(
        grubenv.block({trial.GENERATION: "1", trial.TRIES: "3", trial.SECONDS: "600"})
    )
    command = f"write {tmp_path / 'grubenv'} /{grubenv.PATH}"
    run(["debugfs", "-w", "-R", command, f"{card}?offset={STATE}"])
    files = ("u-boot.bin", "bcm2837-rpi-3-b.dtb")
    run(["mcopy", "-i", f"{card}@@{FAT}", *(f"::/{name}" for name in files), str(tmp_path)])
    kernel, tree = (tmp_path / name for name in files)
    spec = VMSpec(
        kernel=kernel,
        device_tree=tree,
        disks=(Disk(card),),
        arch="arm64",
        board="raspi3b",
        forwards=(),
    )
    with boot_foreign("rpi-3", spec) as vm:
        vm.expect("k3OS: booting disk from /dev/mmcblk0p2", BOOT)
        vm.expect(f"arm {LOGIN}", BOOT)
        vm.send("rancher\n")
        vm.expect("Password:", 60)
        vm.send("rancher\n")
        vm.wait_for_shell(60)
        assert "k3os.trial=600" in ask(vm, "cat /proc/cmdline")
        # the line stays until the boot is confirmed
        assert ask(vm, f"sudo grep -a k3os_tries /.base/{grubenv.PATH}") == "k3os_tries=2"
        assert "Raspberry Pi 3" in ask(vm, "tr -d '\\0' </proc/device-tree/model")


def test_a_running_debian_is_taken_over(boot_foreign, iso, config, key, tmp_path):
    """Debian's own tools put GRUB on its disk; after that, the firmware boots the disk."""
    (tmp_path / "config.yaml").write_text(config)
    files = {
        "root/install.sh": ROOT / "install.sh",
        "root/k3os.iso": iso,
        "root/config.yaml": tmp_path / "config.yaml",
    }
    debian = foreign("arm64", tmp_path, files)
    disks = (Disk(debian.disk),)
    append = f"root={debian.root} console={SERIAL['arm64']},115200 quiet rw"
    spec = VMSpec(disks=disks, uefi=True, arch="arm64", memory=1024)
    own = replace(spec, kernel=debian.kernel, initrd=debian.initrd, append=append)
    with boot_foreign("arm64-debian", own) as vm:
        vm.expect(PROMPT, BOOT)
        for command in GRUB:
            ask(vm, command, BOOT)
        options = "--config /root/config.yaml --takeover --no-format"
        output = ask(vm, f"sh /root/install.sh {options} /dev/vda2 /root/k3os.iso", BOOT)
        assert "the next boot deletes everything on /dev/vda2 that is not k3OS" in output
        vm.send("poweroff\n")
        vm.wait_for_end(90)
    with boot_foreign("arm64-takeover", spec) as vm:
        vm.expect("takeover: deleting the system that was here", BOOT)
        vm.expect("takeover: done, rebooting into k3OS", BOOT)
        vm.expect("k3OS: booting disk from /dev/vda2", BOOT)
        vm.expect(f"arm {LOGIN}", BOOT)
        names = over_ssh(vm, key, "sudo ls -A /.base /.base/boot")
        assert names.split() == "/.base: boot k3os lost+found /.base/boot: grub".split()
        assert "before-k3os" not in over_ssh(vm, key, "ls /.base/boot/grub")
        stop(vm, key)
