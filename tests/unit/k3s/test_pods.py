"""Which pods run, which of their processes are told to end, and in which order."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from k3os.k3s.pods import Pod, due, first_processes, kill, running

UID = "3f0a1b2c-1111-2222-3333-444455556666"
STATIC = "0123456789abcdef0123456789abcdef"


class Machine:
    """A node's control groups and processes as directories."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def process(self, pid: int, name: str, parent: int, group: str) -> None:
        place = self.root / "proc" / str(pid)
        place.mkdir(parents=True)
        (place / "comm").write_text(f"{name}\n")
        (place / "stat").write_text(f"{pid} ({name} (x)) S {parent} 1 1 0\n")
        directory = self.root / "sys/fs/cgroup" / group
        directory.mkdir(parents=True, exist_ok=True)
        with open(directory / "cgroup.procs", "a") as file:
            file.write(f"{pid}\n")

    def log(self, name: str) -> None:
        (self.root / "var/log/pods" / name).mkdir(parents=True)

    def running(self) -> list[Pod]:
        return running(str(self.root))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


SLICE = f"pod{UID.replace('-', '_')}.slice"
BURSTABLE = "kubepods.slice/kubepods-burstable.slice"
PLACES = {
    "cgroupfs": f"kubepods/besteffort/pod{UID}/c1",
    "systemd": f"{BURSTABLE}/kubepods-burstable-{SLICE}/cri-containerd-c1.scope",
    "below a root of its own": f"pods.slice/pods-kubepods.slice/pods-kubepods-{SLICE}/c",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_pod_is_found_and_has_the_name_of_its_logs(machine: Machine, place: str) -> None:
    machine.process(10, "web", 5, PLACES[place])
    machine.log(f"shop_web-0_{UID}")
    assert [(pod.uid, pod.name) for pod in machine.running()] == [(UID, "shop/web-0")]


def test_a_static_pod_is_one_too(machine: Machine) -> None:
    machine.process(10, "web", 5, f"kubepods/besteffort/pod{STATIC}/c1")
    assert [pod.name for pod in machine.running()] == [STATIC]


def test_a_pod_of_which_only_the_sandbox_is_left_has_ended(machine: Machine) -> None:
    machine.process(10, "pause", 5, f"kubepods/besteffort/pod{UID}/sandbox")
    assert not machine.running()


def test_other_groups_are_no_pods(machine: Machine) -> None:
    machine.process(10, "sshd", 1, "system.slice/ssh.service")
    machine.process(11, "podman", 1, "machine.slice/libpod-0123456789abcdef.scope")
    assert not machine.running()


def test_each_container_is_told_through_its_first_process(machine: Machine) -> None:
    group = f"kubepods/besteffort/pod{UID}"
    machine.process(5, "containerd-shim", 1, "system.slice/k3s.service")
    machine.process(6, "pause", 5, f"{group}/sandbox")
    machine.process(10, "nginx", 5, f"{group}/one")
    machine.process(11, "nginx", 10, f"{group}/one")
    machine.process(20, "side", 5, f"{group}/two")
    (pod,) = machine.running()
    assert sorted(first_processes(pod, str(machine.root))) == [10, 20]


def test_a_group_that_is_gone_needs_no_killing(tmp_path: Path) -> None:
    kill(Pod(UID, "a/b", str(tmp_path / "none")))


def pods(*names: str) -> list[Pod]:
    return [Pod(name, name, "") for name in names]


def names(found: tuple[list[Pod], list[Pod]]) -> tuple[list[str], list[str]]:
    return [pod.name for pod in found[0]], [pod.name for pod in found[1]]


@pytest.mark.parametrize(
    ("left", "elapsed", "told", "over"),
    [
        (["web", "dns"], 0, ["web"], []),
        (["web", "dns"], 19, ["web"], []),
        (["dns"], 1, ["dns"], []),  # the others have ended, so there is no need to wait
        (["web", "dns"], 20, ["dns"], ["web"]),
        (["dns"], 29, ["dns"], []),
        (["web", "dns"], 30, [], ["web", "dns"]),
    ],
)
def test_critical_pods_are_told_when_the_others_have_ended_or_used_up_their_time(
    left: list[str], elapsed: float, told: list[str], over: list[str]
) -> None:
    found = due(pods(*left), frozenset({"dns"}), elapsed, grace=30, last=10)
    assert names(found) == (told, over)


def test_without_any_time_all_are_killed_at_once() -> None:
    assert names(due(pods("web", "dns"), frozenset({"dns"}), 0, 0, 0)) == ([], ["web", "dns"])


def test_a_real_process_is_told_with_sigterm(tmp_path: Path) -> None:
    from k3os.k3s.pods import terminate

    group = tmp_path / f"pod{UID}"
    group.mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        (group / "cgroup.procs").write_text(f"{process.pid}\n")
        terminate(Pod(UID, "a/b", str(group)))
        assert process.wait(10) == -signal.SIGTERM
    assert not os.path.exists(f"/proc/{process.pid}")
