"""Installation by kernel parameters, and booting the installed disk with BIOS and UEFI.

The first machine boots the kernel directly, with the ISO; the second one has only the disk.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from k3os.system.run import run
from k3os.vm.spec import Disk, VMSpec
from tests.unit.boot.test_headers import LINES, lvm_disk
from tests.vm.installed import MIB, make_disk
from tests.vm.node import BOOT, IDENTITY, LOGIN, ask, over_ssh, serve, stop, wait_until_settled

INSTALL = "k3os.mode=install k3os.install.silent k3os.install.power_off"
INSTALLED = r"k3OS: k3OS is installed on /dev/"
SECONDS = 300
GIB = 1 << 30
KEPT = ("/var/kept", "/home/kept", "/opt/kept", "/usr/local/kept")
LOST = ("/etc/lost", "/lost", "/root/lost")
FROM_MEDIUM = "/etc/from-medium"
STRANGER = "hostname: stranger\nboot_cmd: ['echo a stranger runs >/dev/console']\n"
# the status of the data sources, once their data is applied
CLOUD = (
    "systemctl is-system-running --wait >/dev/null || true; k3os status | grep k3os.data_sources"
)
# the UUID that GRUB passed, and that of the file system that was booted
NAMED = (
    "grep -o 'k3os.medium_uuid=[^ ]*' /proc/cmdline; "
    "sudo blkid -s UUID -o value $(findmnt -no SOURCE /.base)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory, key) -> Iterator[str]:
    """A web server with config.yaml. Yields its URL, as the guest sees it."""
    directory = tmp_path_factory.mktemp("site")
    public = key.with_suffix(".pub").read_text()
    (directory / "config.yaml").write_text(
        f"hostname: from-the-web\nssh_authorized_keys:\n- {public}k3os:\n  labels: {{a: b}}\n"
        "  data_sources: [auto]\n"
    )
    (directory / "broken.yaml").write_text("hostname: [a\n")
    (directory / "nobody.yaml").write_text("hostname: nobody\n")
    with serve(directory) as url:
        yield url


def empty_disk(path: Path, size: int = 2 * GIB) -> Disk:
    with open(path, "wb") as file:
        file.truncate(size)
    return Disk(path)


def installer(images, append: str, *disks: Disk, memory: int = 2048) -> VMSpec:
    """A machine that boots from the ISO and has disks to install to. One processor, because
    emulating several now and then crashes the kernel."""
    spec = images.direct(f"{INSTALL} {append}")
    return replace(spec, disks=(*spec.disks, *disks), memory=memory, cpus=1)


def cloud_disk(directory: Path, instance: str, text: str, *, readonly: bool) -> Disk:
    """A disk labelled cidata that writes text to a file."""
    path = directory / f"{instance}-{text}.img"
    (directory / "meta-data").write_text(f"instance-id: {instance}\n")
    (directory / "user-data").write_text(
        f"#cloud-config\nwrite_files: [{{path: {FROM_MEDIUM}, content: {text}}}]\n"
    )
    with open(path, "wb") as file:
        file.truncate(4 << 20)
    run(["mkfs.vfat", "-n", "CIDATA", str(path)])
    names = ("meta-data", "user-data")
    run(["mcopy", "-i", str(path), *(str(directory / name) for name in names), "::"])
    return Disk(path, readonly=readonly)


def strangers(images, directory: Path) -> tuple[Disk, ...]:
    """Disks made to look like the machine's own, and one that might stop the boot."""
    make_disk(images.iso, directory / "other.img", directory, size=400 * MIB, config=STRANGER)
    lvm_disk(directory / "broken.img", LINES["sections in sections"])
    return (
        Disk(directory / "other.img"),
        Disk(directory / "broken.img"),
        cloud_disk(directory, "i-2", "stranger", readonly=False),
    )


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture(scope="module")
def installed(boot, images, site, tmp_path_factory) -> Path:
    """A disk with an installation that was done with 512 MiB of memory."""
    path = tmp_path_factory.mktemp("installed") / "disk.img"
    append = f"k3os.install.config_url={site}/config.yaml k3os.token=a-secret init_cmd=true"
    spec = installer(images, append, empty_disk(path), memory=512)
    with boot("install", spec) as vm:
        vm.expect("also installed from the kernel command line: k3os.token", SECONDS)
        vm.expect("not installed from the kernel command line: init_cmd", SECONDS)
        vm.expect("onto /dev/vdb .*: everything on it is lost", SECONDS)
        vm.expect(INSTALLED, SECONDS)
        vm.wait_for_end(90)
    return path


SECURE = r"od -An -tu1 -j4 -N1 /sys/firmware/efi/efivars/SecureBoot-*"
EFIVARS = "sudo mount -t efivarfs efivarfs /sys/firmware/efi/efivars"


def test_bios_and_secure_boot_boot_the_disk_and_between_them_persists_what_is_documented(
    boot, images, installed, key, tmp_path
):
    """In between, a live system with k3os.fallback_mode=install boots the disk instead of
    installing, and ignores the changed contents of the first boot's medium. With Secure Boot there
    are strangers' disks, too; one that looks like ours comes first."""
    medium = cloud_disk(tmp_path, "i-1", "first", readonly=True)
    with boot("installed-bios", VMSpec(disks=(Disk(installed), medium), cpus=1)) as vm:
        vm.expect("k3OS Current", 120)
        vm.expect("k3OS: booting disk from /dev/vda3", BOOT)
        vm.expect(LOGIN, BOOT)
        assert over_ssh(vm, key, "hostname; id -un; ls -d /sys/firmware/efi 2>&1 || true") == (
            "from-the-web\nrancher\nls: cannot access '/sys/firmware/efi': "
            "No such file or directory"
        )
        assert over_ssh(vm, key, "sudo stat -c %a /k3os/system/config.yaml") == "600"
        text = over_ssh(vm, key, "sudo cat /k3os/system/config.yaml")
        assert "token: a-secret" in text
        assert "install" not in text.partition("\n")[2]
        over_ssh(vm, key, f"sudo touch {' '.join(KEPT + LOST)}")
        before = over_ssh(vm, key, IDENTITY)
        over_ssh(vm, key, CLOUD)
        assert over_ssh(vm, key, f"cat {FROM_MEDIUM}") == "first"
        named, uuid = over_ssh(vm, key, NAMED).split()
        assert named == f"k3os.medium_uuid={uuid}"
        stop(vm, key)
    spec = images.direct("k3os.fallback_mode=install k3os.install.silent k3os.password=x")
    medium = cloud_disk(tmp_path, "i-1", "second", readonly=True)
    disks = (*spec.disks, Disk(installed), medium)
    with boot("fallback", replace(spec, disks=disks, cpus=1)) as vm:
        vm.expect("k3OS: booting disk from /dev/vdb3", BOOT)
        vm.expect(LOGIN, BOOT)
        assert over_ssh(vm, key, f"ls {' '.join(KEPT)}").split() == sorted(KEPT)
        over_ssh(vm, key, CLOUD)
        assert over_ssh(vm, key, f"cat {FROM_MEDIUM}") == "first"
        assert "has changed and is not read again" in vm.console.text
        stop(vm, key)
    other, *rest = strangers(images, tmp_path)
    disks = (other, Disk(installed), *rest)
    with boot("installed-secure", VMSpec(disks=disks, secure_boot=True, cpus=1)) as vm:
        vm.expect("k3OS: /dev/vdc is left out: its metadata have", 3 * BOOT)
        vm.expect("k3OS: booting disk from /dev/vdb3", BOOT)
        vm.expect(LOGIN, BOOT)
        assert over_ssh(vm, key, f"{EFIVARS}; {SECURE}") == "1"
        assert "[integrity]" in over_ssh(vm, key, "sudo cat /sys/kernel/security/lockdown")
        assert "not read with `auto`" in over_ssh(vm, key, CLOUD)
        assert "/dev/vdd (vfat 'CIDATA'): a disk that can be written to" in vm.console.text
        assert "a stranger runs" not in vm.console.text
        # what the first boot's medium gave is kept
        assert over_ssh(vm, key, f"cat {FROM_MEDIUM}") == "first"
        assert over_ssh(vm, key, NAMED).split() == [named, uuid]
        over_ssh(vm, key, "test -d /sys/firmware/efi")
        assert over_ssh(vm, key, f"ls {' '.join(KEPT)}").split() == sorted(KEPT)
        assert over_ssh(vm, key, f"ls {' '.join(LOST)} 2>/dev/null || true") == ""
        assert over_ssh(vm, key, IDENTITY) == before
        stop(vm, key)


def test_secure_boot_accepts_the_iso(boot, images):
    with boot("iso-secure", VMSpec(cdrom=images.iso, secure_boot=True, cpus=1)) as vm:
        vm.wait_for_shell(5 * BOOT)
        ask(vm, f"{EFIVARS} || true")
        assert ask(vm, SECURE).strip() == "1"


def test_the_table_and_file_systems_are_as_documented(installed):
    table = run(["sfdisk", "--dump", str(installed)]).decode()
    assert "label: gpt" in table
    for kind in (
        "21686148-6449-6E6F-744E-656564454649",
        "C12A7328-F81F-11D2-BA4B-00C04F79B27A",
        "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    ):
        assert f"type={kind}" in table
    starts = [int(line.split("start=")[1].split(",")[0]) for line in table.splitlines()[-3:]]
    labels = [
        run(["blkid", "-p", "-O", str(start * 512), "-s", "LABEL", "-o", "value", str(installed)])
        for start in starts[1:]
    ]
    assert [label.strip() for label in labels] == [b"K3OS_GRUB", b"K3OS_STATE"]


def test_a_refusal_says_why_stays_up_and_leaves_the_disk_alone(boot, images, site, tmp_path):
    disk = empty_disk(tmp_path / "disk.img", GIB)
    with open(disk.path, "r+b") as file:
        file.write(b"not to be lost" * 1000)
    before = digest(disk.path)
    append = f"k3os.install.config_url={site}/nobody.yaml"
    with boot("refused", installer(images, append, disk)) as vm:
        vm.expect("k3OS: NOT INSTALLED: nobody could log in", SECONDS)
        vm.wait_for_shell(60)
        assert ask(vm, "systemctl is-active k3s || true") == "inactive"
    assert digest(disk.path) == before


def test_what_cannot_be_installed_to_is_refused_and_not_touched(boot, images, site, tmp_path):
    """One live system, several disks: small, read-only, mounted, used as swap, the boot medium."""
    small = empty_disk(tmp_path / "small.img", 100 << 20)
    locked = replace(empty_disk(tmp_path / "locked.img"), readonly=True)
    used = empty_disk(tmp_path / "used.img")
    run(["sfdisk", "-q", str(used.path)], stdin=b"label: gpt\nsize=64MiB\nsize=64MiB\n")
    good = empty_disk(tmp_path / "good.img", GIB)
    spec = images.direct("k3os.mode=live")
    spec = replace(spec, disks=(*spec.disks, small, locked, used, good), cpus=1)
    before = [digest(disk.path) for disk in (small, locked, good)]
    with boot("refused-disks", spec) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        ask(vm, "echo 'k3os: {password: secret}' >/tmp/config.yaml")

        def refused(options: str, reason: str) -> None:
            code, output = vm.command(f"sudo k3os install --silent {options}", 120)
            assert code == 1
            assert reason in output

        fine = "--config /tmp/config.yaml"
        refused(f"{fine} --device /dev/vda", "/dev/vda is the medium this system runs from")
        refused(f"{fine} --device /dev/vdb", "/dev/vdb is too small")
        refused(f"{fine} --device /dev/vdc", "/dev/vdc is read-only")
        refused(f"{fine} --device /dev/vdd1", "give the whole disk, /dev/vdd")
        refused(f"{fine} --device /dev/vdz", "/dev/vdz: No such file or directory")
        refused(f"{fine} --device /dev/null", "/dev/null is not a block device")
        refused(fine, "there are 2 disks, and none was chosen")
        refused(f"{fine} --no-format", "no_format needs a partition")
        refused("--device /dev/vde", "nobody could log in")
        refused(f"--device /dev/vde --config {site}/broken.yaml", "the configuration has 1 error")
        refused(f"--device /dev/vde --config {site}/none.yaml", "404")
        code, output = vm.command(f"sudo k3os install {fine} --device /dev/vde", 120)
        assert code == 1
        assert "there is no terminal to answer questions on, so nothing was done" in output
        vm.console.skip()
        vm.send(f"sudo k3os install {fine} --device /dev/vde\n")
        vm.expect("onto /dev/vde .*: everything on it is lost", 60)
        vm.expect("Type yes to go on: ", 10)
        vm.send("no\n")
        vm.expect("nothing was written", 10)
        vm.wait_for_shell(10)
        ask(vm, "sudo mkswap -q /dev/vdd2 && sudo swapon /dev/vdd2")
        refused(f"{fine} --device /dev/vdd", "/dev/vdd2 is in use as swap")
        ask(vm, "sudo swapoff /dev/vdd2; sudo mke2fs -qF /dev/vdd1; sudo mount /dev/vdd1 /mnt")
        refused(f"{fine} --device /dev/vdd", "/dev/vdd1 is mounted at /mnt")
    assert [digest(disk.path) for disk in (small, locked, good)] == before


@pytest.mark.long
def test_a_second_installation_over_the_first_works(boot, images, installed, key, site, tmp_path):
    copy = tmp_path / "copy.img"
    run(["cp", "--sparse=always", str(installed), str(copy)])
    append = f"k3os.install.config_url={site}/config.yaml hostname=again"
    with boot("install-again", installer(images, append, Disk(copy))) as vm:
        vm.expect("lost: /dev/vdb3 .*K3OS_STATE", SECONDS)
        vm.expect(INSTALLED, SECONDS)
        vm.wait_for_end(90)
    with boot("installed-again", VMSpec(disks=(Disk(copy),), cpus=1)) as vm:
        vm.expect(LOGIN, BOOT)
        assert over_ssh(vm, key, "hostname; ls /var/kept 2>/dev/null || true") == "again"
        stop(vm, key)


@pytest.mark.long
def test_a_power_cut_in_the_middle_leaves_no_half_system_that_boots(boot, images, tmp_path):
    disk = empty_disk(tmp_path / "cut.img")
    with boot("power-cut", installer(images, "k3os.password=x", disk)) as vm:
        vm.expect("k3OS: copying kernel", SECONDS)
    spec = replace(images.direct("k3os.media_timeout=6", medium=False), disks=(disk,), cpus=1)
    with boot("after-power-cut", spec) as vm:
        vm.expect("no k3OS boot medium was found", BOOT)
        vm.expect("K3OS_UNFINISHED", 30)
