"""Upgrades on an installed disk: the new version comes up and stays, or the old one comes back.

One disk goes through all of it. The releases are this build's own with one part changed, signed
with a test key and served by a web server.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.system.run import CommandError
from k3os.vm.spec import Disk, VMSpec
from tests.vm.installed import make_image
from tests.vm.node import BOOT, LOGIN, PATIENCE, over_ssh, stop
from tests.vm.releases import MANIFEST, Releases, padded

# far more than a boot takes next to two others, even on a slow machine
TRIAL_SECONDS = 75 * PATIENCE
WHEN_READY = "until sudo kubectl get nodes 2>&-; do sleep 1; done"
BROKEN = b"""#!/bin/sh
[ "$1" != --version ] || exec echo k3s version v1.33.1+k3s1
exit 1
"""
HANGS = b"""#!/bin/sh
[ "$1" != --version ] || exec echo k3s version v1.33.1+k3s1
[ "$1" = server ] || exit 1
if [ ! -e /var/hung-once ]; then
    touch /var/hung-once
    sync
    kill -s STOP -- -1  # all but PID 1 and this one: the guard, too, which feeds the watchdog
else
    until pkill -STOP -f 'k3os confirm'; do sleep 1; done
fi
kill -SEGV 1  # systemd freezes
exec sleep infinity
"""
# Shortens the trial where a test waits for an unhealthy boot to time out: enough for everything
# that starts after k3s, even on a slow machine, and well below the guard's own limit
SHORTER = "[ ! -e /var/shorter ] || [ ! -e /run/k3os/trial ] || echo 45 >/run/k3os/trial"
# an earlier test shows that there are three attempts, and that they are counted
LAST_ATTEMPT = """
from k3os.system import mounts
from k3os.generation import grubenv, trial
with mounts.writable("/.base"):
    grubenv.write("/.base", {trial.TRIES: "1"})
"""
MENU = "/.base/boot/grub/grub.cfg"
OLDER_MENU = (
    "sudo mount -o remount,bind,rw /.base && "
    f"sudo sed -i 's/ k3os.medium_uuid=[^ ]*//' {MENU} && sudo sync -f {MENU} && "
    "sudo mount -o remount,bind,ro /.base"
)
HEALTHY = "k3OS: the new version is healthy: it stays"
BACK = r"k3OS: generations/\d+ did not come up, back to generations/\d+: "
REBOOT = 240


@pytest.fixture(scope="module")
def node(boot, images, releases, key, tmp_path_factory) -> Iterator:
    directory = tmp_path_factory.mktemp("upgrade")
    public = key.with_suffix(".pub").read_text()
    config = (
        f"hostname: upgraded\nssh_authorized_keys:\n- {public}"
        f"boot_cmd: ['{SHORTER}']\n"
        f"k3os: {{upgrade: {{timeout: {TRIAL_SECONDS}, check: [test ! -e /var/unhealthy]}}}}\n"
    )
    path = make_image(images.iso, directory, config)
    extra = ("-device", "i6300esb")  # a watchdog, as in servers
    changed = padded(releases.built / "k3os-rootfs-amd64.squashfs")
    disks = (Disk(path), Disk(releases.make_iso("0.2.0", rootfs=changed), readonly=True))
    with boot("upgrade", VMSpec(disks=disks, cpus=1, extra=extra)) as vm:
        vm.expect(f"upgraded {LOGIN}", 2 * BOOT)
        over_ssh(vm, key, f"echo '{public.strip()}' > release.pub")
        over_ssh(vm, key, "echo kept | sudo tee /var/kept")
        yield vm
        stop(vm, key)


def upgrade(vm, key: Path, arguments: str, *, watched: bool = False) -> str:
    """Upgrade and return the output; watched: with lines of peak memory, VmHWM of
    proc_pid_status(5).

    Allows downgrades: the tests that upgrade only k3s leave a newer one than the releases have.
    """
    command = f"sudo k3os upgrade --verify-key release.pub --allow-downgrade {arguments} 2>&1"
    if watched:
        look = "for pid in $(pgrep -f 'python3 .*k3os upgrade'); do"
        look += " grep -s VmHWM /proc/$pid/status; done"
        command += f' & while [ -n "$(jobs -r)" ]; do {look}; sleep 0.3; done; wait $!'
    return over_ssh(vm, key, command)


def put_k3s(releases: Releases, name: str, data: bytes) -> str:
    """Publish a k3s on the web server. Returns its URL with its checksum."""
    path = releases.directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return f"{releases.url}/{name}#sha256={hashlib.sha256(data).hexdigest()}"


def reboot(vm, key: Path) -> None:
    """Reboot from a timer: this connection would hang if the network went down first.

    Returns when the next boot has started: k3s may start after the login prompt, and a test that
    waits for its message would match the one of the previous boot.
    """
    soon = "sudo systemd-run -q --on-active=1 --timer-property=AccuracySec=100ms"
    over_ssh(vm, key, f"{soon} systemctl --no-block reboot")
    vm.expect("GNU GRUB", REBOOT)


def panic(vm, *, times: int) -> None:
    """Wait for kernel panics. The machine reboots by itself after 10 s; wait for that only once."""
    for number in range(times):
        vm.expect("Kernel panic", REBOOT)
        if number:
            vm.reset()


def wait_until_reached(vm, key: Path) -> None:
    """Wait for the login prompt, then until ssh answers."""
    vm.expect(LOGIN, BOOT)
    end = time.monotonic() + BOOT
    while True:
        try:
            over_ssh(vm, key, "true")
        except CommandError:
            if time.monotonic() >= end:
                raise
            time.sleep(2)
        else:
            return


def current(vm, key: Path) -> str:
    """The k3OS version of the current generation."""
    text = over_ssh(vm, key, "cat /k3os/system/current/manifest.json")
    return str(json.loads(text)["k3os"])


def test_a_new_version_of_an_iso_comes_up_and_stays(node, key, releases):
    assert over_ssh(node, key, "cat /proc/sys/kernel/panic") == "10"  # from GRUB's menu
    over_ssh(node, key, OLDER_MENU)
    before = over_ssh(node, key, "cat /sys/block/vda/stat").split()[6]
    started = time.monotonic()
    said = upgrade(node, key, "/dev/vdb", watched=True)
    seconds = time.monotonic() - started
    after = over_ssh(node, key, "cat /sys/block/vda/stat").split()[6]
    assert "k3os    0.1.0 -> 0.2.0" in said
    assert "the boot menu names this disk's file system now" in said
    # undo that: an older release would not have done it, and the new one must at its first boot
    over_ssh(node, key, OLDER_MENU)
    size = (releases.directory / "0.2.0" / "k3os-rootfs-amd64.squashfs").stat().st_size
    ratio = (int(after) - int(before)) * 512 / size
    memory = max(int(line.split()[1]) for line in said.splitlines() if line.startswith("VmHWM:"))
    print(f"bytes written: {ratio:.3f} of the new files' size; {seconds:.1f} s; {memory >> 10} MiB")
    assert ratio < 1.05
    assert memory < 64 << 10
    assert seconds < 240  # 30 when no other machine runs
    reboot(node, key)
    node.expect("k3OS: the boot menu names this disk's file system now", REBOOT)
    node.expect(HEALTHY, REBOOT)
    assert current(node, key) == "0.2.0"
    assert over_ssh(node, key, "grep -c k3os.medium_uuid /proc/cmdline || true") == "0"
    assert over_ssh(node, key, f"grep -c k3os.medium_uuid {MENU}") == "5"
    assert "0.2.0" in over_ssh(node, key, "cat /sys/block/loop*/loop/backing_file")
    assert over_ssh(node, key, "cat /var/kept") == "kept"
    assert "nothing to do" in upgrade(node, key, f"{releases.url}/0.2.0")


def test_one_goes_back_by_hand(node, key):
    over_ssh(node, key, "sudo k3os upgrade --rollback")
    reboot(node, key)
    node.expect("early boot", REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.1.0"


def test_damage_is_found_on_demand(node, key):
    rotten = "/k3os/system/previous/k3os/rootfs.squashfs"
    flip = f"printf x | sudo dd of={rotten} bs=1 seek=1000 conv=notrunc,fsync status=none"
    assert "DAMAGED" not in over_ssh(node, key, "sudo k3os status --verify")
    over_ssh(node, key, f"sudo mount -o remount,bind,rw /k3os/system && {flip}")
    said = over_ssh(node, key, "sudo k3os status --verify || echo exit $?")
    assert said.endswith("exit 1")
    assert "DAMAGED  k3os/0.2.0/rootfs.squashfs: its SHA-256 is" in said
    assert "damaged" in over_ssh(node, key, "sudo k3os status || true")


def test_k3s_alone_needs_no_reboot_and_pods_go_on(node, key, releases):
    new = (releases.built / "k3os-k3s-amd64").read_bytes().replace(b"v1.33.1+k3s1", b"v1.34.2+k3s1")
    source = put_k3s(releases, "k3s", new)
    # a pod's processes are in the unit's own control group, like containerd's
    group = "/sys/fs/cgroup/k3s.slice/k3s.service/cgroup.procs"
    start = f"sudo sh -c 'echo $$ > {group}; exec setsid sleep 900' </dev/null >/dev/null 2>&1 &"
    over_ssh(node, key, f"{start} sleep 2")
    pod = over_ssh(node, key, "pgrep -f '^sleep 900'")
    booted = over_ssh(node, key, "cat /proc/sys/kernel/random/boot_id")
    said = upgrade(node, key, f"--k3s {source}")
    assert "k3s v1.34.2+k3s1 is ready" in said
    assert "v1.34.2+k3s1" in over_ssh(node, key, "sudo kubectl get nodes")
    assert over_ssh(node, key, "cat /proc/sys/kernel/random/boot_id") == booted
    assert over_ssh(node, key, "pgrep -f '^sleep 900'") == pod
    assert "k3os_trial" not in over_ssh(node, key, "sudo cat /.base/boot/grub/grubenv")


def test_after_the_trial_pid_1_has_the_watchdog(node, key):
    """It keeps trying while the guard has it."""
    held = "sudo ls -l /proc/1/fd | grep -q /dev/watchdog"
    over_ssh(node, key, f"until {held}; do sleep 1; done")
    state = "cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout"
    assert over_ssh(node, key, state).split() == ["active", "120"]


def test_a_k3s_that_does_not_become_ready_makes_way_for_the_one_before(node, key, releases):
    source = put_k3s(releases, "broken/k3s", BROKEN.replace(b"v1.33.1", b"v1.34.3"))
    # shorter than the other trials on this disk, because this one runs into the timeout
    directory, text = "/var/lib/rancher/k3os/config.d", "k3os: {upgrade: {timeout: 30}}"
    sooner = f"{directory}/sooner.yaml"
    over_ssh(node, key, f"sudo mkdir -p {directory} && echo '{text}' | sudo tee {sooner}")
    said = upgrade(node, key, f"--k3s {source} || true")
    assert "k3s v1.34.3+k3s1 did not become ready, v1.34.2+k3s1 runs again" in said
    over_ssh(node, key, f"sudo rm {sooner}")
    assert "v1.34.2+k3s1" in over_ssh(node, key, WHEN_READY)


def test_an_unsigned_release_is_refused(node, key, releases):
    bad = releases.make("0.2.1", rootfs=b"nothing")
    (releases.directory / "0.2.1" / f"{MANIFEST}.sig").unlink()
    assert "is not signed" in upgrade(node, key, f"{bad} || true")
    assert current(node, key) == "0.1.0"


def test_a_root_file_system_that_is_none_goes_back_and_says_so(node, key, releases):
    bad = releases.make("0.3.0", rootfs=b"this is no squashfs".ljust(8192))
    upgrade(node, key, bad)
    reboot(node, key)
    node.expect(BACK, 2 * REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.1.0"
    status = over_ssh(node, key, "k3os status || true")
    assert "rollback" in status
    assert "0.3.0" in status


@pytest.mark.long
def test_a_kernel_that_panics_goes_back_after_three_attempts(node, key, releases):
    bad = releases.make("0.4.0", initrd=b"this is no initrd".ljust(8192))
    upgrade(node, key, bad)
    reboot(node, key)
    panic(node, times=3)
    node.expect(BACK, REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.1.0"


@pytest.mark.long
def test_an_initrd_that_is_missing_goes_back(node, key, releases):
    bad = releases.make("0.5.0", initrd=padded(releases.built / "k3os-initrd-amd64"))
    upgrade(node, key, bad)
    writable = "sudo mount -o remount,bind,rw /k3os/system"
    over_ssh(node, key, f"{writable} && sudo rm /k3os/system/current/kernel/initrd && sync")
    over_ssh(node, key, f"sudo python3 -c '{LAST_ATTEMPT}'")
    reboot(node, key)
    node.expect("Kernel panic", REBOOT)
    node.reset()
    node.expect(BACK, REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.1.0"


@pytest.mark.long
def test_a_version_that_hangs_is_ended_by_the_watchdog_and_by_the_guard(node, key, releases):
    """At the first attempt only the hardware watchdog still works; at the second the guard does,
    and records the failure, so that there is no third one."""
    bad = releases.make("0.7.0", k3s=HANGS)
    upgrade(node, key, bad)
    reboot(node, key)
    node.expect("k3OS: starting k3s", REBOOT)
    node.expect("early boot", REBOOT)
    node.expect("k3OS: the boot of a new version or configuration failed: it hung", REBOOT)
    node.expect(BACK, REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.1.0"
    assert "it hung" in over_ssh(node, key, "sudo k3os status | grep -A1 rollback")


@pytest.mark.long
def test_a_version_that_is_not_healthy_in_time_goes_back(node, key, releases):
    bad = releases.make("0.6.0", k3s=BROKEN)
    over_ssh(node, key, "sudo touch /var/shorter")
    upgrade(node, key, bad)
    reboot(node, key)
    node.expect("this version is not healthy, the previous one comes back: k3s", REBOOT)
    node.expect(BACK, REBOOT)
    wait_until_reached(node, key)
    assert current(node, key) == "0.1.0"
    assert "k3s" in over_ssh(node, key, "sudo k3os status | grep -A1 rollback")
    assert over_ssh(node, key, "cat /var/kept") == "kept"
