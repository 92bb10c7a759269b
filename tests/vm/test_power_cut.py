"""Power cuts at random moments of an upgrade and the reboot into it: the old or the new version
boots, with its configuration and data, and a later upgrade succeeds.

One disk goes through all of them: TORTURE=N cuts (`make torture N=50`), one by default. The seed is
printed, and TORTURE_SEED repeats it. The cache modes take turns. A cut is SIGKILL for QEMU: it
loses what the guest's kernel had not written, and with cache=none what QEMU had not written.
"""

import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from k3os.vm.console import ConsoleError
from k3os.vm.spec import Disk, VMSpec
from tests.vm.installed import make_image
from tests.vm.node import BOOT, LOGIN, over_ssh
from tests.vm.releases import padded

CACHES = ("none", "writethrough", "unsafe")
pytestmark = pytest.mark.long

CUTS = int(os.environ.get("TORTURE") or 1)
SEED = int(os.environ.get("TORTURE_SEED") or time.time())
VERSIONS = ("0.2.0", "0.3.0", "0.4.0", "0.5.0")
# an upgrade takes about 15 s; the reboot, until the new version is confirmed, about 30
LONGEST = 50.0
# console messages, in this order, and the stage that each of them starts
MOMENTS = (
    (r"writing k3os/", "while the new files are written"),
    (r"the new generation is the current one now", "after the switch"),
    (r"reboot: Restarting system", "in the boot loader and kernel"),
    (r"k3OS: version .*: early boot", "in the early boot of the new version"),
    (LOGIN, "before the new version is confirmed"),
    (r"k3OS: the new version is healthy", "after it was confirmed"),
)
DATA = "/var/lib/rancher/data"
WATCHED = "/k3os/system/config.yaml " + DATA


@pytest.fixture(scope="module")
def disk(images, key, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("torture")
    public = key.with_suffix(".pub").read_text()
    config = (
        f"hostname: tortured\nssh_authorized_keys:\n- {public}"
        f"write_files:\n- {{path: /var/lib/rancher/k3os/release-keys, content: '{public}'}}\n"
        "k3os: {upgrade: {timeout: 120}}\n"
    )
    return make_image(images.iso, directory, config)


def test_a_power_cut_at_any_moment_leaves_the_old_or_the_new_version(boot, disk, releases, key):
    for version in VERSIONS:
        squashfs = releases.built / "k3os-rootfs-amd64.squashfs"
        releases.make(version, rootfs=padded(squashfs, version))
    chance = random.Random(SEED)
    tally: Counter[str] = Counter()
    print(f"seed {SEED}, {CUTS} cuts")
    known, moment, allowed, step = "", "", {"0.1.0"}, 0
    for number in range(CUTS + 1):
        cache = CACHES[(SEED + number) % len(CACHES)]
        with boot("torture", VMSpec(disks=(Disk(disk, cache=cache),))) as vm:
            vm.expect(f"tortured {LOGIN}", 2 * BOOT)
            found = running(vm, key)
            assert found in allowed, f"cut {number} (seed {SEED}): {found} boots, not {allowed}"
            if number:
                new = VERSIONS[step % len(VERSIONS)]
                tally[f"{moment}: {'new' if found == new else 'old'}"] += 1
                assert sums(vm, key) == known, f"cut {number} (seed {SEED})"
            else:
                over_ssh(vm, key, f"head -c 300000 /dev/urandom | sudo tee {DATA} >&-; sync")
                known = sums(vm, key)
            # a later upgrade completes; the one after it is cut
            over_ssh(vm, key, "while test -e /run/k3os/trial; do sleep 1; done")
            step += 1
            later = VERSIONS[step % len(VERSIONS)]
            said = upgrade(vm, key, f"{releases.url}/{later} --no-reboot")
            assert "the new versions run after" in said or "nothing to do" in said
            if number == CUTS:
                break
            step += 1
            new = VERSIONS[step % len(VERSIONS)]
            allowed = {found, later, new}
            moment = cut(vm, key, f"{releases.url}/{new}", chance.uniform(0, LONGEST))
            print(f"{number + 1}. cache={cache}: {moment}", flush=True)
    print(f"{CUTS} of {CUTS} power cuts survived (seed {SEED}):")
    for text, count in sorted(tally.items()):
        print(f"{count:4}  {text}")


def upgrade(vm, key: Path, arguments: str) -> str:
    return over_ssh(vm, key, f"sudo k3os upgrade --allow-downgrade {arguments} 2>&1")


def running(vm, key: Path) -> str:
    generation = over_ssh(vm, key, "cat /k3os/system/$(cat /run/k3os/generation)/manifest.json")
    return str(json.loads(generation)["k3os"])


def sums(vm, key: Path) -> str:
    return over_ssh(vm, key, f"sudo sha256sum {WATCHED}")


def cut(vm, key: Path, url: str, seconds: float) -> str:
    """Upgrade, reboot, and cut the power after this many seconds. Returns what was going on."""
    command = f"k3os upgrade --allow-downgrade {url} --reboot 2>&1 | cat >/dev/ttyS0"
    over_ssh(vm, key, f"sudo systemd-run -q sh -c '{command}'")
    end, moment = time.monotonic() + seconds, "before anything is written"
    for pattern, following in MOMENTS:
        try:
            vm.expect(pattern, max(0.0, end - time.monotonic()))
        except ConsoleError:
            break
        moment = following
    vm.cut_power()
    return moment
