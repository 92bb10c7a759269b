"""ISOs remastered by the command and by hand: they boot and install like the original."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.cli.main import main
from k3os.system.run import run
from k3os.vm.spec import Disk, VMSpec
from tests.vm.conftest import ROOT, STUB
from tests.vm.installed import MIB, make_disk
from tests.vm.node import BOOT, ask
from tests.vm.test_install import INSTALLED, SECONDS, SECURE, digest, empty_disk

NOBODY = 65534
VALUE = "a b,c;$d{e}#*|&"
PAGE = (ROOT / "docs/how-to/remaster.md").read_text()
EDITOR = """#!/bin/sh
for file in "$@"; do
    case $file in
    */grub.cfg) sed -i 's/quiet k3os.mode=live/& k3os.environment.EDITED=yes/' "$file" ;;
    */config.yaml) echo 'hostname: by-hand' >"$file" ;;
    esac
done
"""


def test_a_remastered_iso_boots_with_secure_boot_and_has_what_was_asked_for(boot, images, tmp_path):
    config, k3s, iso = tmp_path / "config.yaml", tmp_path / "k3s", tmp_path / "new.iso"
    config.write_text("hostname: remastered\n")
    k3s.write_text(STUB.read_text().replace("v1.33.1+k3s1", "v1.99.9+k3s9"))
    k3s.chmod(0o755)
    command = ["remaster", str(images.iso), str(iso), "--config", str(config), "--k3s", str(k3s)]
    assert main([*command, "--cmdline", f'k3os.environment.WORDS="{VALUE}"']) == 0
    with boot("remastered", VMSpec(disks=(Disk(iso),), secure_boot=True, cpus=1)) as vm:
        vm.wait_for_shell(3 * BOOT)
        assert ask(vm, SECURE).strip() == "1"
        assert ask(vm, "uname -n") == "remastered"
        dumped = json.loads(ask(vm, "sudo k3os config --dump-json --show-secrets 2>/dev/null"))
        assert dumped["k3os"]["environment"]["WORDS"] == VALUE
        assert "v1.99.9+k3s9" in ask(vm, "k3s --version")
        ask(vm, "until systemctl is-active -q k3s; do sleep 1; done", 90)


@pytest.mark.long
def test_a_usb_stick_installs_over_an_older_k3os_and_is_not_touched_itself(
    boot, images, generic_images, tmp_path
):
    """The firmware boots the stick, and its menu entry installs without questions."""
    iso, disk = tmp_path / "stick.img", tmp_path / "disk.img"
    words = "k3os.mode=install k3os.install.silent k3os.install.power_off k3os.password=x"
    assert main(["remaster", str(generic_images.iso), str(iso), "--cmdline", words]) == 0
    make_disk(images.iso, disk, tmp_path, size=2048 * MIB, config="hostname: older\n")
    before = digest(iso)
    stick = Disk(iso, interface="usb-storage")
    with boot("stick-install", VMSpec(disks=(stick, Disk(disk)), cpus=1), patient=True) as vm:
        vm.expect("Booting `Install k3OS to disk'", 120)
        vm.expect("k3OS: booting install from /dev/sd", 2 * BOOT)
        vm.expect("onto /dev/vda .*: everything on it is lost", SECONDS)
        vm.expect("lost: /dev/vda1 .*K3OS_STATE", 10)
        vm.expect(f"{INSTALLED}vda", SECONDS)
        vm.wait_for_end(90)
    assert digest(iso) == before
    with boot("stick-forgotten", VMSpec(disks=(Disk(disk), stick), cpus=1)) as vm:
        vm.expect("k3OS: booting disk from /dev/vda3", 2 * BOOT)
    assert digest(iso) == before


@pytest.fixture(scope="module")
def by_hand(images) -> Iterator[Path]:
    """The ISO after the documented steps, done by a user who is not root."""
    steps = re.search(r"```sh\n([^`]*grub-mkrescue [^`]*)```", PAGE)[1]
    directory = Path(tempfile.mkdtemp(prefix="k3os-by-hand."))
    try:
        shutil.copyfile(images.iso, directory / images.iso.name)
        editor = directory / "editor"
        editor.write_text(EDITOR)
        editor.chmod(0o755)
        command = ["sh", "-euc", steps]
        if os.getuid() == 0:
            os.chown(directory, NOBODY, NOBODY)
            command = [
                *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
                *command,
            ]
        run(command, cwd=str(directory), env={"EDITOR": str(editor), "HOME": str(directory)})
        yield directory / re.search(r"-o (\S+\.iso)", steps)[1]
    finally:
        shutil.rmtree(directory)


@pytest.mark.long
def test_an_iso_remastered_by_hand_boots_with_a_bios_beside_an_empty_disk(boot, by_hand, tmp_path):
    empty = empty_disk(tmp_path / "empty.img", MIB)
    with boot("by-hand-bios", VMSpec(disks=(Disk(by_hand), empty), cpus=1)) as vm:
        # from here on, the system is the original's
        vm.expect("k3OS: booting live from /dev/vda ", 2 * BOOT)
    assert digest(empty.path) == hashlib.sha256(bytes(MIB)).hexdigest()


@pytest.mark.long
def test_an_iso_remastered_by_hand_boots_with_uefi_beside_an_installed_disk(
    boot, images, by_hand, tmp_path
):
    other = tmp_path / "other.img"
    make_disk(images.iso, other, tmp_path, size=400 * MIB, config="hostname: other\n")
    before = digest(other)
    spec = VMSpec(disks=(Disk(by_hand), Disk(other)), uefi=True, cpus=1)
    with boot("by-hand-uefi", spec) as vm:
        vm.wait_for_shell(2 * BOOT)
        assert ask(vm, "findmnt -no SOURCE /.base") == "/dev/vda"
        assert ask(vm, "uname -n") == "by-hand"
        assert "k3os.environment.EDITED=yes" in ask(vm, "cat /proc/cmdline")
    assert digest(other) == before
