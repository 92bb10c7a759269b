"""Memory: compressed swap, what is protected, and what is killed when none is left."""

import dataclasses
import json
import re
import time
from collections.abc import Iterator

import pytest

from k3os.vm.machine import VM
from tests.vm.node import BOOT, K3S, ask, over_ssh, wait_until_settled

MIB = 512
# a pod's program, started like the kubelet does (oom_score_adj of BestEffort); its data cannot be
# compressed, it allocates more and more, and touches all of it again and again
HOG = """\
import os
held = []
while True:
    held.append(bytearray(os.urandom(1 << 20)))
    for each in held:
        each[::4096] = each[1::4096]
"""
# half of sshd's LoginGraceTime; 3 s if nothing else runs
LOGIN_SECONDS = 60


def cgroup(vm: VM, name: str) -> str:
    return ask(vm, f"cat /sys/fs/cgroup/{name}")


@pytest.fixture(scope="module")
def small(boot, images, key) -> Iterator[VM]:
    """A live server with 512 MiB and no configuration about memory."""
    public = key.with_suffix(".pub").read_text().strip()
    config = f"ssh_authorized_keys: ['{public}']\n"
    spec = dataclasses.replace(images.direct(config=config), memory=MIB)
    with boot("memory-small", spec) as vm:
        short = r"memory is short: \d+ MiB are less than k3s as a server needs"
        vm.expect_shell_and(short, K3S, timeout=2 * BOOT)
        wait_until_settled(vm)
        yield vm


def test_swap_is_compressed_memory(small: VM) -> None:
    status = json.loads(ask(small, "sudo k3os status --json"))
    memory = status["memory"]
    assert memory["SwapTotal"] // 1024 in range(600, 800), memory
    assert "/dev/zram0" in ask(small, "cat /proc/swaps")
    assert "[zstd]" in ask(small, "cat /sys/block/zram0/comp_algorithm")
    assert ask(small, "cat /proc/sys/vm/swappiness /proc/sys/vm/page-cluster").split() == [
        "150",
        "0",
    ]


def test_the_kernel_keeps_little_for_itself(small: VM) -> None:
    assert int(ask(small, "cat /proc/sys/vm/min_free_kbytes")) < 4096
    assert "[madvise]" in ask(small, "cat /sys/kernel/mm/transparent_hugepage/enabled")
    assert ask(small, "cat /sys/kernel/mm/lru_gen/min_ttl_ms") == "1000"


def test_k3s_is_not_among_what_is_protected(small: VM) -> None:
    assert int(cgroup(small, "system.slice/memory.min")) > 0
    assert int(cgroup(small, "user.slice/memory.min")) > 0
    assert int(cgroup(small, "k3s.slice/memory.min")) == 0
    shown = ask(small, "systemctl show -p ControlGroup,OOMScoreAdjust k3s.service")
    assert "ControlGroup=/k3s.slice/k3s.service" in shown
    assert "OOMScoreAdjust=-999" in shown


def test_pods_get_no_swap_whatever_the_kubelet_sets(small: VM) -> None:
    run = "sudo systemd-run -q --slice=kubepods-burstable-podx.slice --unit=pod"
    ask(small, f"{run} sleep infinity")
    # as the kubelet does when it updates the slice
    ask(small, "sudo systemctl set-property --runtime kubepods.slice MemoryMax=300M CPUWeight=50")
    assert cgroup(small, "kubepods.slice/memory.swap.max") == "0"
    assert int(cgroup(small, "kubepods.slice/memory.max")) == 300 << 20
    # undo it: the limit would outlive the slice
    ask(small, "sudo systemctl set-property --runtime kubepods.slice MemoryMax=infinity")
    ask(small, "sudo systemctl stop pod kubepods.slice")


def test_a_pod_that_takes_everything_ends_and_a_login_works_meanwhile(small: VM, key) -> None:
    over_ssh(small, key, "true", login=True)  # makes the host keys
    ask(small, f"cat >/tmp/hog.py <<'END'\n{HOG}END")
    before = set(ask(small, "pgrep -x 'sshd|systemd-journal|k3s|connmand|dbus-daemon'").split())
    ask(
        small,
        "sudo systemd-run -q --slice=kubepods-besteffort-podx.slice --unit=hog "
        "-p OOMScoreAdjust=1000 python3 /tmp/hog.py",
    )
    assert cgroup(small, "kubepods.slice/memory.max") == "max", "its own limit would end it"
    slowest = 0.0
    for _ in range(60):
        start = time.monotonic()
        state = over_ssh(small, key, "systemctl is-active hog || true", login=True)
        slowest = max(slowest, time.monotonic() - start)
        if state not in ("active", "activating"):
            break
    assert state == "failed", state
    assert slowest < LOGIN_SECONDS, f"a login took {slowest:.1f} s"
    log = ask(small, "sudo dmesg | grep 'Out of memory: Killed process'")
    assert re.findall(r"Killed process \d+ \((\w+)\)", log) == ["python3"]
    after = set(ask(small, "pgrep -x 'sshd|systemd-journal|k3s|connmand|dbus-daemon'").split())
    assert before <= after, "nothing of the system ended"


def test_console_and_status_say_what_the_kernel_ended(small: VM) -> None:
    small.send("\n")
    ask(small, "sudo systemctl start k3os-memory.service")
    told = ask(small, "sudo k3os status")
    assert re.search(r"SHORT: \d+ MiB are less than k3s as a server needs", told)
    assert re.search(r"SHORT: the kernel ended a program to get memory, last \d+ \(python3\)", told)
    assert "what helps: more memory" in told


def test_a_node_without_room_has_no_operator(small: VM) -> None:
    assert "leave the operator out" in ask(small, "sudo k3os status")
    assert "k3os.io/operator=false" in ask(small, "sudo cat /etc/rancher/k3s/config.yaml")
