"""System extensions on an installed disk: made from a Debian package and a unit, tried, kept by an
upgrade, removed when a trial fails, and never able to stop a boot.

One disk goes through all of it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.image.extension import make
from k3os.image.extension_request import ExtensionRequest
from k3os.image.progress import Progress
from k3os.image.settings import from_environment
from k3os.system.digest import file_sha256
from k3os.vm.spec import Disk, VMSpec
from tests.vm.installed import make_image
from tests.vm.node import BOOT, LOGIN, over_ssh, stop
from tests.vm.releases import padded
from tests.vm.test_upgrade import (
    BACK,
    HEALTHY,
    REBOOT,
    TRIAL_SECONDS,
    reboot,
    upgrade,
    wait_until_reached,
)

pytestmark = pytest.mark.long

# a small package with a program, without units or libraries that the image lacks
PACKAGE, PROGRAM = "tree", "tree --version"
UNIT = """\
[Unit]
Description=Greets
[Service]
Type=oneshot
RemainAfterExit=yes
User=greeter
ExecStart=/opt/greeter/greet
[Install]
WantedBy=multi-user.target
"""
FILES = {
    "usr/lib/systemd/system/greeter.service": UNIT,
    "usr/lib/sysusers.d/greeter.conf": "u greeter - Greeter\n",
    "opt/greeter/greet": "#!/bin/sh\necho greeted from $(cat /etc/greeter.conf) by $(id -un)\n",
    "etc/greeter.conf": "the extension\n",
}
DAMAGE = (
    "sudo mount -o remount,bind,rw /.base && "
    "sudo dd if=/dev/zero of=/.base/k3os/system/current/extensions/{name}.raw bs=64k count=1 "
    "conv=notrunc,fsync 2>&1 && sudo mount -o remount,bind,ro /.base"
)


@pytest.fixture(scope="module")
def extensions(releases, tmp_path_factory) -> dict[str, str]:
    """Extension name -> what is added to a node: URL with checksum."""
    files = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        path = files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name.startswith("opt") else 0o644)
    wanted = {**os.environ, "ARTIFACTS": str(releases.directory), "SIGN_KEY": ""}
    settings = from_environment(wanted)
    requests = (
        ExtensionRequest("greeter", (PACKAGE,), files, ("greeter.service",), "1.0"),
        ExtensionRequest("other", (), _only(tmp_path_factory, "usr/bin/other")),
    )
    found = {}
    for request in requests:
        with Progress(releases.directory / "extension.log") as progress:
            path, *_ = make(request, settings, progress)
        before = file_sha256(path)
        with Progress(releases.directory / "extension.log") as progress:
            make(request, settings, progress)
        assert file_sha256(path) == before, "the same inputs give the same bytes"
        found[request.name] = f"{releases.url}/{path.name} --sha256 {before}"
    return found


def _only(tmp_path_factory, name: str) -> Path:
    files = tmp_path_factory.mktemp("other")
    (files / name).parent.mkdir(parents=True)
    (files / name).write_text("#!/bin/sh\n")
    return files


@pytest.fixture(scope="module")
def node(boot, images, key, tmp_path_factory) -> Iterator:
    directory = tmp_path_factory.mktemp("extensions")
    public = key.with_suffix(".pub").read_text()
    config = (
        f"hostname: extended\nssh_authorized_keys:\n- {public}"
        f"k3os: {{upgrade: {{timeout: {TRIAL_SECONDS}}}}}\n"
    )
    path = make_image(images.iso, directory, config)
    with boot("extensions", VMSpec(disks=(Disk(path),), cpus=1)) as vm:
        vm.expect(f"extended {LOGIN}", 2 * BOOT)
        over_ssh(vm, key, f"echo '{public.strip()}' > release.pub")
        yield vm
        stop(vm, key)


def said(vm, key: Path) -> str:
    return over_ssh(vm, key, "sudo k3os extension list; sudo k3os status || true")


def check_that_it_works(vm, key: Path) -> None:
    assert "tree v" in over_ssh(vm, key, PROGRAM)
    assert over_ssh(vm, key, "systemctl is-active greeter") == "active"
    log = over_ssh(vm, key, "journalctl -b -o cat -u greeter")
    assert "greeted from the extension by greeter" in log
    assert "greeter 1.0: active" in said(vm, key)
    assert over_ssh(vm, key, "ls /usr/lib/modules").split() == [over_ssh(vm, key, "uname -r")]
    assert over_ssh(vm, key, "touch /usr/x 2>&1 || true").endswith("Read-only file system")


def test_a_program_and_a_unit_are_there_after_the_next_boot(node, key, extensions):
    assert over_ssh(node, key, "cat /run/k3os/extensions.json 2>&1 || true").endswith("directory")
    assert "on trial" in over_ssh(node, key, f"sudo k3os extension add {extensions['greeter']}")
    assert "greeter 1.0 after the next boot" in said(node, key)
    reboot(node, key)
    node.expect(HEALTHY, REBOOT)
    check_that_it_works(node, key)
    verified = over_ssh(node, key, "sudo k3os status --verify", 300)
    assert "fine     extensions/greeter." in verified


def test_an_upgrade_takes_it_along(node, key, releases):
    changed = padded(releases.built / "k3os-rootfs-amd64.squashfs")
    upgrade(node, key, releases.make("0.2.0", rootfs=changed))
    reboot(node, key)
    node.expect(HEALTHY, REBOOT)
    check_that_it_works(node, key)


def test_one_that_cannot_be_shown_goes_with_its_trial(node, key, extensions):
    over_ssh(node, key, f"sudo k3os extension add {extensions['other']}")
    over_ssh(node, key, DAMAGE.format(name="other"))
    reboot(node, key)
    node.expect("the extension other: it is left out: it cannot be mounted", REBOOT)
    node.expect("this version is not healthy, the previous one comes back", REBOOT)
    node.expect(BACK, REBOOT)
    wait_until_reached(node, key)
    assert "with the extensions greeter 1.0, other" in said(node, key)
    check_that_it_works(node, key)


def test_damage_never_keeps_a_node_from_booting(node, key):
    over_ssh(node, key, DAMAGE.format(name="greeter"))
    reboot(node, key)
    node.expect("the extension greeter: it is left out: it cannot be mounted", REBOOT)
    wait_until_reached(node, key)
    found = said(node, key)
    assert "greeter 1.0: it is left out: it cannot be mounted, perhaps it is damaged" in found
    assert "FAILED extension: greeter: it is left out" in found
    over_ssh(node, key, "sudo k3os extension remove greeter")
    reboot(node, key)
    node.expect(HEALTHY, REBOOT)
    assert "extension" not in over_ssh(node, key, "sudo k3os extension list; mount")
