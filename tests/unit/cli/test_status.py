"""What `k3os status` says of k3s, from what systemctl(1) says."""

import json
from pathlib import Path

import pytest

from k3os.cli.status import collect, failures, lines
from k3os.cluster.readiness import FILE as READY

FETCHES = "`journalctl -u k3os-k3s-fetch`"


def about_k3s(
    root: Path, monkeypatch: pytest.MonkeyPatch, unit: str, state: str, *, there: bool = False
) -> tuple[list[str], list[str]]:
    """The line about k3s and the failures. unit: the one that is asked for, as the stub tests.
    there: whether the node has k3s."""
    if there:
        (root / "run/k3os").mkdir(parents=True)
        (root / "run/k3os/k3s").write_text("")
    active, sub, restarts = state.split()
    program = root / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n[ "$1 $3" = "show {unit}.service" ] || exit 1\n'
        f"printf 'NRestarts={restarts}\\nActiveState={active}\\nSubState={sub}\\n'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    status = collect(str(root))
    return [line for line in lines(status) if line.startswith("k3s ")], failures(status)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("active running 0", "is running"),
        ("active running 7", "is running"),
        ("activating start 0", "is not running (activating, start): `journalctl -u k3s`"),
        ("inactive dead 0", "is not running (inactive, dead): `journalctl -u k3s`"),
    ],
)
def test_k3s_that_runs_or_starts_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, said: str
) -> None:
    assert about_k3s(tmp_path, monkeypatch, "k3s", state, there=True) == (
        [f"k3s        {said}"],
        [],
    )


def test_k3s_that_ends_again_and_again_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = about_k3s(tmp_path, monkeypatch, "k3s", "activating auto-restart 4", there=True)
    said = "is not running (activating, auto-restart, restarts: 4): `journalctl -u k3s`"
    assert found == ([f"k3s        {said}"], [f"k3s: {said}"])


@pytest.mark.parametrize("restarts", [0, 3])
def test_where_there_is_no_k3s_its_download_is_what_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: int
) -> None:
    state = f"activating start {restarts}"
    said, failed = about_k3s(tmp_path, monkeypatch, "k3os-k3s-fetch", state)
    assert said[0].startswith("k3s        is not there, the node fetches it (activating, start")
    assert said[0].endswith(FETCHES)
    assert bool(failed) == bool(restarts)


def test_without_systemd_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert about_k3s(tmp_path, monkeypatch, "of-another-name", "a b 1") == ([], [])


def about_memory(root: Path, short: str = "") -> list[str]:
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(
        "MemTotal: 453632 kB\nMemAvailable: 102400 kB\nSwapTotal: 680960 kB\nSwapFree: 473088 kB\n"
    )
    (root / "run/k3os").mkdir(parents=True)
    (root / "run/k3os/memory-short").write_text(short)
    status = collect(str(root))
    assert failures(status) == []
    text = lines(status)
    start = next(i for i, line in enumerate(text) if line.startswith("memory "))
    end = next(i for i in range(start + 1, len(text)) if not text[i].startswith(" "))
    return text[start:end]


def test_memory_is_one_line(tmp_path: Path) -> None:
    assert about_memory(tmp_path) == [
        "memory     443 MiB, 100 MiB available; swap 665 MiB, 203 MiB used"
    ]


def test_memory_that_is_short_says_why_and_what_helps(tmp_path: Path) -> None:
    said = about_memory(tmp_path, "one reason\nanother\n")
    assert said[1:3] == ["           SHORT: one reason", "           SHORT: another"]
    assert said[3].startswith("           what helps: more memory; an agent")
    assert len(said) == 4


@pytest.mark.parametrize(
    ("unit", "status", "wanted"),
    [
        ("active running 0", "False", ["node       is not Ready since 2026-11-26: no network"]),
        ("active running 0", "True", []),
        ("activating start 0", "False", []),  # of the k3s before it
    ],
)
def test_a_node_that_is_not_ready_says_since_when_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, status: str, wanted: list[str]
) -> None:
    about_k3s(tmp_path, monkeypatch, "k3s", unit, there=True)
    said = {"status": status, "since": "2026-11-26", "message": "no network"}
    (tmp_path / READY.lstrip("/")).write_text(json.dumps(said))
    found = lines(collect(str(tmp_path)))
    assert [line for line in found if line.startswith("node ")] == wanted


def test_what_k3s_got_is_shown_without_what_may_be_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "etc/rancher/k3s"
    (directory / "config.yaml.d").mkdir(parents=True)
    (directory / "config.yaml").write_text("token: abc\nnode-label: [a=b]\n")
    (directory / "config.yaml.d/zz-k3os.yaml").write_text("node-label+: [c=d]\nserver: https://x\n")
    monkeypatch.setenv("PATH", "/nowhere")
    status = collect(str(tmp_path))
    text = "\n".join(lines(status))
    assert "           node-label: a=b, c=d\n           server: https://x\n" in text
    assert "abc" not in text
    assert status["k3s_given"] == {
        "node-label": ["a=b", "c=d"],
        "server": ["https://x"],
        "token": [],
    }
