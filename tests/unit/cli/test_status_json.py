"""`k3os status --json` is a format: the same bytes from the same files."""

import json
import os
from pathlib import Path

import pytest

from k3os import __version__
from k3os.cli import status as command
from k3os.cluster.readiness import FILE as READY
from k3os.node import status

EXPECTED = Path(__file__).with_name("status.json")
ACTION = {"key": "hostname", "what": "write /etc/hostname", "from": "/a.yaml:1:1"}
PROBLEM = {"source": "/a.yaml", "line": 2, "column": 3, "key": "k3os.x", "message": "is unknown"}
FILES = {
    "run/k3os/status.json": {
        "version": 1,
        "mode": "disk",
        "phases": {
            "runtime": {
                "when": "2026-01-02T03:04:05Z",
                "seconds": 0.25,
                "actions": [
                    {**ACTION, "result": "done", "reason": ""},
                    {**ACTION, "result": "failed", "reason": "Größe"},
                ],
                "problems": [{**PROBLEM, "hint": "", "level": "warning"}],
            }
        },
    },
    READY[1:]: {"status": "False", "since": "2026-01-02", "reason": "R", "message": "no network"},
    "run/k3os/verify.json": {"when": "2026-01-02", "files": 5, "damaged": {"a": "b"}},
    "k3os/system/rollback.json": {"when": "2026", "failed": {"k3os": "2.0"}, "reason": "it hung"},
    "var/lib/rancher/k3os/fragment-trial.json": {
        "request": "r1",
        "restored": "2026-01-02",
        "reason": "no network",
    },
}
TEXTS = {
    "proc/meminfo": "MemTotal: 453632 kB\nMemAvailable: 102400 kB\nSwapTotal: 0 kB\n",
    "run/k3os/memory-short": "one reason\nanother\n",
    "run/k3os/disk-short": "full\n/var is full: 1 %\n",
    "run/k3os/disk-errors": "vda1: 3\n",
    "run/k3os/refused": "node1\n",
    "run/k3os/k3s-address": "the address is gone\n",
    "run/k3os/k3s-address-taken": "10.0.0.9\n",
    "run/k3os/k3s": "",
    "proc/sys/kernel/random/boot_id": "b1\n",
    "etc/rancher/k3s/config.yaml": "token: abc\nnode-label: [a=b]\n",
    "bin/systemctl": (
        "#!/bin/sh\necho LoadState=loaded; echo ActiveState=activating\n"
        "echo SubState=auto-restart; echo NRestarts=4\n"
    ),
    "bin/journalctl": "#!/bin/sh\necho 'level=fatal msg=EOF'\n",
}


def node(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with something to say in every part."""
    for name, record in FILES.items():
        TEXTS[name] = json.dumps(record)
    for name, text in TEXTS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}/bin:/usr/bin:/bin")
    monkeypatch.setattr(status, "addresses", lambda: ["eth0 10.0.0.5/24"])
    monkeypatch.setattr(status, "doubt", lambda _: "1970-01-01")
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda _: os.statvfs_result((4096, 4096, 25600, 2560, 2560, 0, 0, 0, 0, 255)),
    )


def expected() -> str:
    text = EXPECTED.read_text()
    for name, value in (
        ("HOSTNAME", os.uname().nodename),
        ("KERNEL", os.uname().release),
        ("VERSION", __version__),
    ):
        text = text.replace(f"<{name}>", value)
    return text


def test_every_part_is_there_as_it_ever_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node(tmp_path, monkeypatch)
    monkeypatch.setattr(command, "collect", lambda: status.collect(str(tmp_path)))
    assert command.main(["--json"]) == 1
    assert capsys.readouterr().out == expected()


def test_a_node_on_which_nothing_ran_has_every_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    empty = status.collect(str(tmp_path)).as_dict()
    names = [*json.loads(EXPECTED.read_text())]
    assert [*empty] == [name for name in names if name not in ("version", "mode", "phases")]
    assert empty["k3s"] == empty["disk"] == empty["ready"] == empty["rollback"] == {}
