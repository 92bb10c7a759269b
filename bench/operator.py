"""`python -m bench.operator` (`make bench-operator`): the operator with 1,000 nodes of a stub API.

The operator is the real program in a separate process; the API server and the nodes are those of
tests/operator, in this one. Exit code 1 if a budget is exceeded.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from k3os import names
from tests.operator.agent import LABEL, Machine
from tests.operator.world import URL, World, emulated_world

IMAGE = f"sha256:{'0' * 64}"
FEW, MANY = 10, 1000
MEMORY_MIB, SECONDS = 200.0, 2.0
GROWTH = 1.2  # requests per change of a node, for many nodes compared with few
CHANGED = 10  # nodes to change one after another, to count requests


def main() -> int:
    """Measure both sizes, print the table."""
    few, many = measured(FEW), measured(MANY)
    rows = [
        ("memory, most (MiB)", many["memory"], MEMORY_MIB),
        ("from the spec to the first Job (s)", many["first job"], SECONDS),
        ("requests for one node's change", many["requests"], few["requests"] * GROWTH),
    ]
    print(f"The operator and {MANY} nodes (a stub API server on the same machine):\n")
    print(f"{'':38}{f'{FEW} nodes':>12}{f'{MANY} nodes':>12}{'budget':>10}")
    missed = 0
    for (title, value, budget), key in zip(rows, ("memory", "first job", "requests"), strict=True):
        missed += value > budget
        verdict = "" if value <= budget else "  MISSED"
        print(f"{title:38}{few[key]:12.2f}{value:12.2f}{budget:10.2f}{verdict}")
    print(f"{'until all nodes are known (s)':38}{few['known']:12.2f}{many['known']:12.2f}")
    print(f"{'processor time for one change (ms)':38}{few['cpu']:12.1f}{many['cpu']:12.1f}")
    return 1 if missed else 0


def measured(count: int) -> dict[str, float]:
    """The measurements with that many nodes."""
    with tempfile.TemporaryDirectory() as directory:
        with emulated_world(Path(directory)) as world:
            return _measured(world, count)


def _measured(world: World, count: int) -> dict[str, float]:
    world.agent.boot_seconds = 0.05
    add_nodes(world, count)
    few = {"matchLabels": {LABEL: world.run}}
    world.pool(nodeSelector=few, strategy={"paused": True}, k3os={"version": "v1.1.0", "url": URL})
    began = time.monotonic()
    process = world.start()
    world.until(lambda: world.status().get("nodes") == count, 120)
    known = time.monotonic() - began
    time.sleep(2)  # until kopf's workers for the first listing end
    assert world.emulator is not None
    requests, used = sum(world.emulator.counts.values()), cpu_seconds(process.pid)
    began = time.monotonic()
    world.change("pool", strategy={"paused": False})
    first = _time_of_first_job(world, began)
    world.until(lambda: world.status().get("updated", 0) >= CHANGED, 120)
    asked = sum(world.emulator.counts.values()) - requests
    done = world.status()["updated"]
    return {
        "memory": memory_mib(process.pid),
        "first job": first,
        "requests": asked / done,
        "known": known,
        "cpu": (cpu_seconds(process.pid) - used) / done * 1000,
    }


def _time_of_first_job(world: World, began: float) -> float:
    emulator = world.emulator
    assert emulator is not None

    def made() -> bool:
        return any(key[0] == "jobs" for key in list(emulator.kept))

    _soon(made)
    return time.monotonic() - began


def _soon(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit("no Job came")
        time.sleep(0.002)


def add_nodes(world: World, count: int) -> None:
    """Add them directly to the emulator, without HTTP, as large as a kubelet's."""
    assert world.api is not None
    assert world.emulator is not None
    images = [
        {"names": [f"registry.example/image-{n}@sha256:{n:064}"], "sizeBytes": n} for n in range(50)
    ]
    for number in range(count):
        name = f"{world.run}-{number:04}"
        world.agent.machines[name] = Machine(name)
        notes = {names.K3OS: "v1.0.0", names.K3S: "v1.33.0+k3s1", names.BOOT_ID: "0"}
        notes |= {names.CONFIG_HASH: "", names.TRIAL: "false", names.IMAGE: IMAGE}
        conditions = [
            {"type": kind, "status": "True", "reason": "Simulated", "message": "x" * 40}
            for kind in ("Ready", names.CONDITION, "MemoryPressureNot", "DiskPressureNot")
        ]
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "uid": name,
                "labels": {LABEL: world.run, "kubernetes.io/hostname": name},
                "annotations": notes,
            },
            "spec": {},
            "status": {"conditions": conditions, "images": images},
        }
        world.api.run(world.emulator.keep(("nodes", "", name), body))


def memory_mib(pid: int) -> float:
    """A process' peak memory, VmHWM of proc(5)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no VmHWM")


def cpu_seconds(pid: int) -> float:
    """utime and stime of proc(5), in clock ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    sys.exit(main())
