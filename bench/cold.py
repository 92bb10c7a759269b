"""Cold starts of programs: `k3os config --dump`, cloud-init, and a bare Python.

All run on this machine, each in its own system's root tree with that tree's Python (both are
Debian's, of the same suite), as a new process each time, with a warm page cache. A small Python
program in the tree measures the times, so that entering the tree is not counted.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from bench import scenario
from bench.table import Row, Samples
from k3os.system.run import run

RUNS = 15
PASS = ("/usr/bin/python3", "-c", "pass")
DUMP = ("/usr/sbin/k3os", "config", "--dump")
SCHEMA = ("/usr/bin/cloud-init", "schema", "--config-file", "/tmp/user-data")
QUERY = (
    *("/usr/bin/cloud-init", "query", "--instance-data", "/tmp/instance-data.json"),
    *("--user-data", "/tmp/user-data", "--vendor-data", "/tmp/user-data", "userdata"),
)
# what `cloud-init query` reads on a machine; it needs the file, but the contents hardly matter
INSTANCE_DATA = {"v1": {"instance_id": "bench-1"}, "userdata": scenario.USER_DATA}

_TIMER = """\
import json, os, sys, time
commands, runs = json.loads(sys.argv[1])
null = os.open("/tmp/output", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
times = [[] for _ in commands]
for turn in range(runs + 1):  # the first one only warms the page cache
    for command, results in zip(commands, times):
        start = time.perf_counter()
        actions = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
        pid = os.posix_spawn(command[0], command, {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C"},
                             file_actions=actions)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if turn:
            results.append(time.perf_counter() - start)
        if status:
            sys.exit(f"{command} exited with {status}: " + open("/tmp/output").read()[-2000:])
print(json.dumps(times))
"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def measure(tree: Path, commands: list[tuple[str, ...]], runs: int = RUNS) -> list[Samples]:
    """The wall times of commands inside tree, run in turn. Raises CommandError.

    Uses a mount namespace with tree as its root and its own /proc; without root, also a user
    namespace.
    """
    namespace = ["unshare", "--mount", "--pid", "--fork", f"--root={tree}", "--mount-proc=/proc"]
    if os.getuid() != 0:
        namespace[1:1] = ["--map-auto", "--map-root-user"]
    timer = ["/usr/bin/python3", "-IS", "-c", _TIMER, json.dumps([commands, runs])]
    output = run([*namespace, *timer], timeout=600)
    return [Samples(tuple(times), "ms") for times in json.loads(output)]


def cold_rows(ours: Path, theirs: Path) -> list[Row]:
    """The comparison of the cold starts. Raises CommandError when one of the programs fails."""
    _write(ours / "k3os/system/config.yaml", scenario.CONFIG_YAML)
    _write(theirs / "tmp/user-data", scenario.USER_DATA)
    _write(theirs / "tmp/instance-data.json", json.dumps(INSTANCE_DATA))
    bare, dump = measure(ours, [PASS, DUMP])
    query, schema = measure(theirs, [QUERY, SCHEMA])
    name = "k3os config --dump, cold"
    return [
        Row(name, dump, bare, "python3 -c pass", at_most=2.5),
        # the faster of the two is the one to beat
        Row(name, dump, query, "cloud-init query", at_most=0.2),
        Row(name, dump, schema, "cloud-init schema"),
    ]


def unpack_ours(rootfs: Path, output: Path, log: int) -> None:
    """Unpack our root (the artifact k3os-rootfs-*.tar.gz) into output/tree."""
    run(["tar", "-xzf", str(rootfs), "-C", str(output)], log=log)
    (squashfs,) = {path.resolve() for path in output.rglob("rootfs.squashfs")}
    run(["unsquashfs", "-quiet", "-no-progress", "-d", f"{output}/tree", str(squashfs)], log=log)
    for directory in ("proc", "tmp", "dev"):
        (output / "tree" / directory).mkdir(exist_ok=True)
