"""The interactive installation on a serial console, from the first question to the first boot."""

import hashlib
from dataclasses import replace
from pathlib import Path

from k3os.vm.spec import Disk
from tests.vm.node import BOOT, LOGIN, ask, wait_until_settled

GIB = 1 << 30
PASSWORD = "asked for"


def disk(path: Path) -> Disk:
    with open(path, "wb") as file:
        file.write(b"not to be lost" * 1000)
        file.truncate(2 * GIB)
    return Disk(path, serial=path.stem)


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_person_answers_questions_and_gets_the_system(boot, images, tmp_path):
    other, chosen = disk(tmp_path / "other.img"), disk(tmp_path / "chosen.img")
    before = digest(other.path)
    spec = images.direct()
    spec = replace(spec, disks=(*spec.disks, other, chosen), cpus=1)
    with boot("install-questions", spec) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)

        vm.send("sudo os-config\n")
        vm.expect(r"1\. Install to a disk", 60)
        vm.expect(r"Number \[1\]: ", 30)
        vm.send("\x03")  # Ctrl-C
        vm.expect("interrupted", 30)
        vm.wait_for_shell(30)
        assert ask(vm, "sudo head -c 14 /dev/vdc") == "not to be lost"

        vm.send("sudo k3os install\n")
        answer(vm, r"2\. Configure this running system\s+Number \[1\]: ", "1")
        answer(vm, r"2\. /dev/vdc \(2\.1 GB, chosen\): empty\s+Number \[1\]: ", "2")
        answer(vm, r"a config\.yaml, if you have one: ", "")
        answer(vm, r"2\. A node that joins a cluster\s+Number \[1\]: ", "1")
        answer(vm, r"Token that others join with \[made up\]: ", "the-token")
        answer(vm, r"separated by spaces: ", "")
        answer(vm, r"Password of rancher \[none\]: ", PASSWORD)
        answer(vm, r"Once more: ", PASSWORD)
        answer(vm, r"Host name \[made up\]: ", "no_name")
        answer(vm, r"is not a valid host name.*\s+Host name \[made up\]: ", "asked")
        vm.expect("onto /dev/vdc .*: everything on it is lost", 60)
        answer(vm, "Type yes to go on: ", "yes")
        vm.expect(r"rootfs\.squashfs +\[#+\] 100 %", 120)
        vm.expect("k3OS is installed on /dev/vdc", 120)

        vm.expect("k3OS: booting disk from /dev/vdc3", 120)
        vm.expect(f"asked {LOGIN}", BOOT)
        vm.send("rancher\n")
        vm.expect("Password: ", 30)
        vm.send(f"{PASSWORD}\n")
        vm.wait_for_shell(60)
        assert ask(vm, "uname -n") == "asked"
        assert "token: the-token" in ask(vm, "sudo cat /k3os/system/config.yaml")
        code, output = vm.command("sudo k3os install")
        assert code == 1
        assert "this system is installed already" in output
    log = (vm.log).read_text()
    assert "the-token" not in log.partition("booting disk")[0], "typed, but not shown"
    assert digest(other.path) == before


def answer(vm, question: str, text: str) -> None:
    vm.expect(question, 60)
    vm.send(f"{text}\n")
