"""The kernel's memory settings in the early boot, and the script that reports a lack of memory."""

import subprocess
from pathlib import Path

import pytest

from k3os.boot.memory import HUGE_PAGES, RESERVE, WORKING_SET, reserve, tune

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "overlay/rootfs/usr/lib/k3os/memory"
SETTINGS = {HUGE_PAGES: "always", WORKING_SET: "0", RESERVE: "45056"}


def put(root: Path, path: str, text: str) -> None:
    (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
    (root / path[1:]).write_text(text)


def kernel(root: Path, mib: int, cmdline: str = "quiet") -> dict[str, str]:
    """The settings after tune() on a machine with this much memory."""
    put(root, "/proc/cmdline", cmdline)
    put(root, "/proc/meminfo", f"MemTotal: {mib * 1024} kB\n")
    for path, text in SETTINGS.items():
        put(root, path, text)
    tune(str(root))
    return {path: (root / path[1:]).read_text() for path in SETTINGS}


def test_a_small_node_has_a_small_reserve(tmp_path: Path) -> None:
    found = kernel(tmp_path, 2000)
    assert found == {HUGE_PAGES: "madvise", WORKING_SET: "1000", RESERVE: "5724"}


def test_a_large_node_keeps_the_kernels_own(tmp_path: Path) -> None:
    assert kernel(tmp_path, 4096)[RESERVE] == SETTINGS[RESERVE]


def test_the_command_line_wins(tmp_path: Path) -> None:
    assert kernel(tmp_path, 2000, "quiet transparent_hugepage=always")[HUGE_PAGES] == "always"


def test_a_kernel_without_them_boots_too(tmp_path: Path) -> None:
    put(tmp_path, "/proc/cmdline", "quiet")
    tune(str(tmp_path))
    assert not (tmp_path / "sys").exists()


@pytest.mark.parametrize(
    ("mib", "kept"),
    # the table in a comment of mm/page_alloc.c; ours ends at 1 MiB and at 64 MiB
    [(16, 1024), (128, 1448), (512, 2896), (1024, 4096), (16384, 16384), (2**20, 65536)],
)
def test_the_reserve_is_the_kernels_own_of_a_machine_without_huge_pages(
    mib: int, kept: int
) -> None:
    assert reserve(mib * 1024) == kept


class Looked:
    """A node on which the script runs repeatedly."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"K3OS_ROOT": str(root), "PATH": f"{root}/bin:/usr/bin:/bin"}
        put(root, "/bin/dmesg", '#!/bin/sh\ncat "$K3OS_ROOT/kernel-log"\n')
        put(root, "/usr/lib/k3os/say", '#!/bin/sh\necho "$*" >>"$K3OS_ROOT/console"\n')
        for program in ("bin/dmesg", "usr/lib/k3os/say"):
            (root / program).chmod(0o755)
        (root / "run/k3os").mkdir(parents=True)
        self.set(mib=2000)

    def set(self, *, mib: int = 0, stalled: float = 0.0, kills: int = 0, log: str = "") -> None:
        if mib:
            put(self.root, "/proc/meminfo", f"MemTotal:  {mib * 1024} kB\nMemFree: 1 kB\n")
        some = "some avg10=99.00 avg60=99.00 avg300=99.00 total=1\n"
        full = f"full avg10=0.00 avg60={stalled:.2f} avg300=0.00 total=1\n"
        put(self.root, "/proc/pressure/memory", some + full)
        put(self.root, "/proc/vmstat", f"nr_free_pages 9\noom_kill {kills}\nother 3\n")
        put(self.root, "/kernel-log", log)

    def look(self, args: str = "server") -> tuple[str, str]:
        """Run the script. Returns what it tells `k3os status`, and what it writes to the
        console."""
        console = self.root / "console"
        console.write_text("")
        environment = {**self.environment, "K3S_ARGS": args}
        subprocess.run(["sh", str(SCRIPT)], env=environment, check=True)
        return (self.root / "run/k3os/memory-short").read_text(), console.read_text()


@pytest.fixture
def looked(tmp_path: Path) -> Looked:
    return Looked(tmp_path)


KILL = "[  12.3] Out of memory: Killed process 7 (containerd) total-vm:1kB, UID:0\n"
OWN_LIMIT = "[  12.4] Memory cgroup out of memory: Killed process 8 (hog) total-vm:1kB, UID:0\n"


def test_nothing_is_said_where_memory_is_enough(looked: Looked) -> None:
    assert looked.look() == ("", "")


def test_a_server_on_a_machine_for_an_agent(looked: Looked) -> None:
    looked.set(mib=443)
    told, console = looked.look("server --disable=traefik")
    assert told.startswith("443 MiB are less than k3s as a server needs")
    assert console.startswith("k3OS: memory is short: 443 MiB are less than k3s as a server")
    assert looked.look("server") == (told, ""), "it is said once"
    assert looked.look("agent --x") == ("", "")


def test_an_installer_needs_no_more_than_there_is(looked: Looked) -> None:
    looked.set(mib=443)
    (looked.root / "run/systemd/system").mkdir(parents=True)
    (looked.root / "run/systemd/system/k3s.service").symlink_to("/dev/null")
    assert looked.look() == ("", "")


def test_an_agent_on_a_machine_for_nothing(looked: Looked) -> None:
    looked.set(mib=200)
    assert looked.look("agent")[0].startswith("200 MiB are less than k3s as an agent needs")


def test_a_machine_that_only_waits_for_memory(looked: Looked) -> None:
    looked.set(stalled=20.01)
    told, console = looked.look()
    assert told == "more than 20 % of a minute everything waited for it\n"
    assert told.strip() in console
    looked.set(stalled=40)
    assert looked.look() == (told, "")
    looked.set(stalled=19.99)
    assert looked.look() == ("", "")
    looked.set(stalled=30)
    assert looked.look() == (told, console), "and again when it comes again"


def test_a_program_that_the_kernel_ended(looked: Looked) -> None:
    looked.set(kills=1, log="[ 1.0] a line\n" + KILL)
    told, console = looked.look()
    assert told == "the kernel ended a program to get memory, last 7 (containerd)\n"
    assert told.strip() in console
    looked.set(kills=1, log="")
    assert looked.look() == (told, ""), "remembered when the kernel's log has gone on"
    looked.set(kills=2, log=KILL.replace("7 (containerd)", "9 (a b)"))
    assert "last 9 (a b)\n" in looked.look()[0]


def test_a_pod_at_its_own_limit_is_no_shortage(looked: Looked) -> None:
    looked.set(kills=1, log=OWN_LIMIT)
    assert looked.look() == ("", "")


def test_a_kernel_without_pressure_information(looked: Looked) -> None:
    (looked.root / "proc/pressure/memory").unlink()
    assert looked.look() == ("", "")
