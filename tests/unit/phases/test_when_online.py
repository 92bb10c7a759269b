"""The runtime phase is read and imported while waiting for the network, and applied afterwards."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from k3os.cli.config import main
from k3os.node import configure
from k3os.system.run import CommandError

from .conftest import Machine

UNIT = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/systemd/system/k3os-config.service"
CONFIG = """\
hostname: node1
write_files:
- {path: /etc/x, content: hello}
run_cmd: ["true"]
k3os:
  sysctls: {kernel.printk: 4 4 1 7}
  token: cluster secret
  labels: {region: west}
"""
# prints what is imported after the wait
WATCHED = """
import json, sys
from k3os.node import configure
before = set()
configure._wait_until_online = lambda: before.update(sys.modules)
configure.apply("runtime", (sys.argv[1], "/k3os/system", ""), when_online=True)
late = [name for name in sys.modules if name.startswith("k3os.") and name not in before]
print(json.dumps(late))
"""


@pytest.fixture
def calls(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """(command, whether the phase had written its file before)"""
    machine.put("k3os/system/config.yaml", CONFIG)
    seen: list[tuple[str, bool]] = []

    def run(argv: list[str], **_: object) -> bytes:
        seen.append((" ".join(argv), (machine.root / "etc/x").exists()))
        return b""

    monkeypatch.setattr("k3os.system.run.run", run)
    monkeypatch.setattr("k3os.system.os_release.check_node", lambda: None)
    return seen


def words(root: Path) -> list[str]:
    """The arguments in k3os-config.service's ExecStart, for the tree in root."""
    (line,) = [each for each in UNIT.read_text().splitlines() if each.startswith("ExecStart=")]
    program, command, *rest = line.removeprefix("ExecStart=").split()
    assert (program, command) == ("/usr/sbin/k3os", "config")
    return [*rest, "--root", str(root), "--cmdline", ""]


def test_the_unit_waits_for_the_network_and_a_clock_before_anything_is_applied(
    machine: Machine, calls: list[tuple[str, bool]]
) -> None:
    main(words(machine.root))
    assert calls[0] == ("systemctl start network-online.target k3os-clock.service", False)
    assert machine.text("etc/x") == "hello"


def test_by_hand_nothing_waits(machine: Machine, calls: list[tuple[str, bool]]) -> None:
    main(["--root", str(machine.root), "--cmdline", ""])
    assert not [call for call, _ in calls if "network-online" in call]
    assert machine.text("etc/x") == "hello"


def test_a_wait_that_fails_is_said_and_the_phase_applied(
    machine: Machine,
    calls: list[tuple[str, bool]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(argv: list[str], **_: object) -> bytes:
        raise CommandError(argv, 1, b"Failed to connect to bus")

    monkeypatch.setattr("k3os.system.run.run", broken)
    main(words(machine.root))
    assert "systemctl exited with 1\n  Failed to connect to bus" in capsys.readouterr().err
    assert machine.text("etc/x") == "hello"


def test_what_is_waited_for_is_no_part_of_the_phases_time(
    machine: Machine, calls: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(configure, "_wait_until_online", lambda: now.__setitem__(0, 25.0))
    main(words(machine.root))
    status = json.loads(machine.text("run/k3os/status.json"))
    assert status["phases"]["runtime"]["seconds"] == 0.0


def test_the_applying_imports_next_to_nothing(machine: Machine) -> None:
    machine.put("k3os/system/config.yaml", CONFIG)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(machine.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    late = json.loads(done.stdout.splitlines()[-1])
    assert len(late) <= 2, late
