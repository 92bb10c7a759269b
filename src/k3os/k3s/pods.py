"""The pods running on this node, seen without k3s: by their control groups.

It asks neither the kubelet nor containerd, which may already be gone. Formats: the names of the
kubelet's control groups (kubepods, cgroup v2, both drivers) and of its log directories
(/var/log/pods/<namespace>_<name>_<uid>). They do not show which pods are critical.
"""

from __future__ import annotations

import os
import re

from k3os.system.numbers import whole

CGROUPS, LOGS, PROC = "/sys/fs/cgroup", "/var/log/pods", "/proc"
POD = re.compile(r"(?:^|-)pod([0-9a-f][0-9a-f_-]{7,})(?:\.slice)?$")
UNITS_WITHOUT = (".service", ".scope", ".mount", ".socket", ".swap")
# a pod's sandbox; it holds the network and ends with the last container
PAUSE = "pause"
SHIM = "containerd-shim"  # containerd-shim-runc-v2, as far as the kernel keeps the name


class Pod:
    """uid; name: "namespace/name", or the uid if it has no logs; path: of its control group."""

    __slots__ = ("name", "path", "uid")

    def __init__(self, uid: str, name: str, path: str) -> None:
        self.uid = uid
        self.name = name
        self.path = path

    @property
    def is_system(self) -> bool:
        """Whether it belongs to the cluster itself: the best guess at what is critical."""
        return self.name.startswith("kube-system/")


def running(root: str = "") -> list[Pod]:
    """The pods with a process other than their sandbox's, by name."""
    names = _names(root + LOGS)
    found = []
    for uid, path in _groups(root + CGROUPS).items():
        if any(_command(root, pid) != PAUSE for pid in _processes(path)):
            found.append(Pod(uid, names.get(uid, uid), path))
    return sorted(found, key=lambda pod: pod.name)


def _groups(top: str) -> dict[str, str]:
    """uid -> control group of every pod that has one, wherever the kubelet's root is."""
    found: dict[str, str] = {}
    for directory, names, _ in os.walk(top):
        for name in names:
            match = POD.search(name)
            if match and "kubepods" in f"{directory}/{name}":
                found[match[1].replace("_", "-")] = f"{directory}/{name}"
        # this runs several times a second: do not descend into pods, nor into units without pods
        names[:] = [
            name for name in names if not POD.search(name) and not name.endswith(UNITS_WITHOUT)
        ]
    return found


def _names(logs: str) -> dict[str, str]:
    """uid -> namespace/name."""
    try:
        parts = [name.split("_") for name in os.listdir(logs)]
    except FileNotFoundError:
        return {}
    return {each[2]: f"{each[0]}/{each[1]}" for each in parts if len(each) == 3}


def _processes(path: str) -> list[int]:
    """All processes in a control group and those below it."""
    found: list[int] = []
    for directory, _, _ in os.walk(path):
        try:
            with open(f"{directory}/cgroup.procs", errors="replace") as file:
                found += [int(line) for line in file]
        except OSError:
            continue  # it ended while we looked
    return found


def _command(root: str, pid: int) -> str:
    try:
        with open(f"{root}{PROC}/{pid}/comm", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return PAUSE  # it is gone


def _parent(root: str, pid: int) -> int:
    try:
        with open(f"{root}{PROC}/{pid}/stat", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def first_processes(pod: Pod, root: str = "") -> list[int]:
    """The process of each container that gets the signal: its parent is not in the pod."""
    every = _processes(pod.path)
    return [
        pid for pid in every if _parent(root, pid) not in every and _command(root, pid) != PAUSE
    ]


def terminate(pod: Pod) -> None:
    """SIGTERM, like the kubelet."""
    import signal

    for pid in first_processes(pod):
        _signal(pid, signal.SIGTERM)


def kill(pod: Pod) -> None:
    """End everything in it at once, including its sandbox."""
    try:
        with open(f"{pod.path}/cgroup.kill", "w") as file:
            file.write("1")
    except FileNotFoundError:
        return  # it is gone


def kill_runtime() -> int:
    """End what containerd left running, which nothing else would stop; returns the number.

    containerd's shims outlive it on purpose, and sandboxes wait in their groups.
    """
    import signal

    for uid, path in _groups(CGROUPS).items():
        kill(Pod(uid, uid, path))
    shims = [number for name in os.listdir(PROC) if (number := whole(name)) is not None]
    shims = [pid for pid in shims if _command("", pid) == SHIM]
    for pid in shims:
        _signal(pid, signal.SIGKILL)
    return len(shims)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def due(
    pods: list[Pod], critical: frozenset[str], elapsed: float, grace: float, last: float
) -> tuple[list[Pod], list[Pod]]:
    """Of pods that still run: those that should have been told to end, those whose time is up.

    elapsed: seconds since the shutdown began; last: the part of grace for critical pods, which
    are told once the others have ended or used up their time.
    """
    others = [pod for pod in pods if pod.uid not in critical]
    if elapsed >= grace:
        return [], pods
    if elapsed >= grace - last:
        return [pod for pod in pods if pod.uid in critical], others
    return others or pods, []
