"""k3OS on top of a Debian 13: an overlay installation, and its removal.

One boot of k3OS, one of the Debian. `make test-arm` does the same on ARM.
"""

from pathlib import Path

import pytest

from k3os.system.run import run
from k3os.vm.machine import VM
from k3os.vm.spec import SERIAL, Disk, VMSpec
from tests.vm.conftest import build_tarball
from tests.vm.foreign import PROMPT, Foreign, foreign
from tests.vm.node import K3S, LOGIN, ask, over_ssh, stop

BOOT = 240
ARCHITECTURES = [
    pytest.param("amd64", marks=pytest.mark.long),
    pytest.param("arm64", marks=pytest.mark.extra),
    pytest.param("arm", marks=pytest.mark.extra),
]
CONFIG = """\
hostname: over-debian
ssh_authorized_keys: [{}]
write_files: [{{path: /home/rancher/kept, content: yes}}]
"""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def arch(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def debian(arch, key, tmp_path_factory) -> Foreign:
    directory = tmp_path_factory.mktemp("foreign")
    config = directory / "config.yaml"
    config.write_text(CONFIG.format(key.with_suffix(".pub").read_text().strip()))
    files = {"k3os/system/config.yaml": config}
    return foreign(arch, directory, files, overlay=build_tarball(arch))


def spec(arch: str, debian: Foreign, words: str) -> VMSpec:
    append = f"root={debian.root} console={SERIAL[arch]},115200 quiet {words}"
    disks = (Disk(debian.disk),)
    return VMSpec(debian.kernel, debian.initrd, append, disks=disks, memory=1024, arch=arch)


def test_the_next_boot_is_k3os_even_where_the_root_is_mounted_read_only(
    boot_foreign, arch, debian, key
):
    with boot_foreign(f"overlay-{arch}", spec(arch, debian, "ro")) as vm:
        vm.expect("k3OS: booting overlay from /dev/vda", BOOT)
        vm.expect(f"over-debian {LOGIN}", BOOT)
        vm.expect(K3S, BOOT)
        look_around(vm, key, arch)
        output = over_ssh(vm, key, "sudo k3os overlay remove")
        assert "the next boot starts /lib/systemd/systemd" in output
        stop(vm, key)


def look_around(vm: VM, key: Path, arch: str) -> None:
    """Check the configuration, the Debian's kernel modules, and what persists."""
    status = over_ssh(vm, key, "sudo k3os status; stat -c %a /k3os/system/config.yaml")
    assert status.startswith("mode       overlay")
    assert "FAILED" not in status
    assert status.endswith("600")
    places = "/.base /var /usr/lib/modules"
    mounts = over_ssh(vm, key, f"for i in {places}; do findmnt -no SOURCE,OPTIONS $i; done")
    base, var, modules = (line.split() for line in mounts.splitlines())
    assert base[0] == "/dev/vda"
    assert base[1].startswith("ro,")
    assert var[0] == "/dev/vda[/k3os/data/var]"
    assert var[1].startswith("rw,")
    assert modules[0] == "/dev/vda[/usr/lib/modules]"
    failed = "sudo modprobe overlay && systemctl --failed --no-legend --plain"
    assert over_ssh(vm, key, failed) == ""
    assert over_ssh(vm, key, "sudo nsenter -t 1 -m cat /etc/os-release").startswith('NAME="k3OS"')
    with pytest.raises(Exception, match="is installed already"):
        over_ssh(vm, key, "sudo k3os install --silent")


def test_the_files_of_the_system_below_were_left_alone_and_ours_persist(debian, tmp_path):
    for name in ("etc", "var", "k3os/data/home"):
        run(["debugfs", "-R", f"rdump /{name} {tmp_path}", str(debian.disk)])
    for name in ("etc", "var"):
        run(["diff", "-r", "--no-dereference", f"{debian.before}/{name}", f"{tmp_path}/{name}"])
    assert (tmp_path / "home/rancher/kept").read_text() == "yes"
    assert b"Type: symlink" in run(["debugfs", "-R", "stat /sbin", str(debian.disk)])


def test_after_the_removal_the_debian_starts_as_before(boot_foreign, arch, debian):
    # an emulated processor takes more than a minute to load Debian's hundred AppArmor profiles
    words = "rw apparmor=0"
    with boot_foreign(f"overlay-removed-{arch}", spec(arch, debian, words)) as vm:
        vm.expect(PROMPT, BOOT)
        assert "Debian" in ask(vm, "cat /etc/os-release; ls -d /k3os")
