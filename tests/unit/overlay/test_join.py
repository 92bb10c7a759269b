"""What the consoles and `k3os status` say about a node that its cluster refuses."""

from pathlib import Path

import pytest

from k3os.node import status, status_text
from k3os.system.run import run

SCRIPT = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/k3os/join"
# v1.22.3; the newest says the same
REJECTED = (
    'time="2026-11-26T09:00:00Z" level=info msg="Waiting to retrieve agent configuration; server '
    "is not ready: Node password rejected, duplicate hostname or contents of "
    "'/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique "
    'node name with the --with-node-id flag"'
)
WAITING = 'level=error msg="failed to get CA certs: dial tcp 127.0.0.1:6444: connection refused"'
STARTED = "Started k3s.service - k3s: Kubernetes."
COMMAND = "kubectl -n kube-system delete secret node1.node-password.k3s"


def follow(root: Path, journal: list[str]) -> tuple[list[str], bool]:
    """The lines on the consoles, and whether the node is still refused."""
    programs = root / "bin"
    programs.mkdir()
    (root / "journal").write_text("".join(f"{line}\n" for line in journal))
    (programs / "journalctl").write_text(f'#!/bin/sh\ncat "{root}/journal"\n')
    (programs / "say").write_text(f'#!/bin/sh\necho "$*" >>"{root}/console"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    (root / "joins").write_text("node1\n")
    (root / "refused").write_text("of an earlier start\n")
    text = SCRIPT.read_text()
    for old, new in [("/usr/lib/k3os/say", programs / "say"), ("/run/k3os", root)]:
        assert old in text
        text = text.replace(old, str(new))
    run(["sh", "-c", text], env={"PATH": f"{programs}:/usr/bin:/bin"}, timeout=20)
    console = root / "console"
    said = console.read_text().splitlines() if console.exists() else []
    return said, (root / "refused").exists()


def test_a_refusal_is_said_once_with_what_to_type_on_the_server(tmp_path: Path) -> None:
    said, stands = follow(tmp_path, [WAITING, REJECTED, REJECTED])
    assert (len(said), stands) == (1, True)
    assert said[0].endswith(COMMAND)
    assert (tmp_path / "refused").read_text() == "node1\n"


@pytest.mark.parametrize("journal", [[], [WAITING], [WAITING, STARTED]])
def test_a_node_that_waits_or_is_taken_hears_nothing(tmp_path: Path, journal: list[str]) -> None:
    assert follow(tmp_path, journal) == ([], False)


def test_a_node_that_is_taken_after_all_is_not_refused_any_more(tmp_path: Path) -> None:
    said, stands = follow(tmp_path, [REJECTED, STARTED, REJECTED])
    assert (len(said), stands) == (1, False)


def test_status_says_the_same_and_counts_it_as_a_failure(tmp_path: Path) -> None:
    (tmp_path / "run/k3os").mkdir(parents=True)
    (tmp_path / "run/k3os/refused").write_text("node1\n")
    found = status.collect(str(tmp_path))
    assert any(line.endswith(COMMAND) for line in status_text.lines(found))
    assert any(COMMAND in str(line) for line in status_text.failures(found))
    (tmp_path / "run/k3os/refused").unlink()
    found = status.collect(str(tmp_path))
    assert not any(
        "refuse" in str(line) for line in [*status_text.lines(found), *status_text.failures(found)]
    )
