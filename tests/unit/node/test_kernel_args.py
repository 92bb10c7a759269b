"""`k3os status` about kernel arguments: active ones, those that need a boot, removed ones."""

import json
from pathlib import Path

import pytest

from k3os.cluster.node_status import NodeStatus
from k3os.node.status import kernel_args, rollback
from k3os.node.status_text import lines


def generation(system: Path, number: int, *arguments: str) -> None:
    directory = system / f"generations/{number}"
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text(json.dumps({"kernel_args": list(arguments)}))


def told(system: Path, running: str) -> list[str]:
    status = NodeStatus(
        versions={"running": {}},
        kernel_args=kernel_args(str(system), running),
        rollback=rollback(str(system)),
    )
    found = "\n".join(lines(status))
    return [each for each in found.splitlines() if "argument" in each or "next boot" in each]


@pytest.mark.parametrize(
    ("running", "current", "said"),
    [
        ((), (), []),
        (("nosmt", "audit=1"), ("nosmt", "audit=1"), ["arguments  nosmt audit=1"]),
        ((), ("nosmt",), ["arguments  after the next boot: nosmt: `sudo reboot`"]),
        (
            ("nosmt",),
            (),
            [
                "arguments  nosmt",
                "           after the next boot: none of k3os.kernel_args: `sudo reboot`",
            ],
        ),
    ],
)
def test_what_runs_and_what_waits_is_said(
    tmp_path: Path, running: tuple[str, ...], current: tuple[str, ...], said: list[str]
) -> None:
    generation(tmp_path, 1, *running)
    generation(tmp_path, 2, *current)
    (tmp_path / "current").symlink_to("generations/2")
    assert told(tmp_path, "generations/1") == said


def test_arguments_that_went_with_their_trial_are_named(tmp_path: Path) -> None:
    generation(tmp_path, 1)
    (tmp_path / "current").symlink_to("generations/1")
    record = {"when": "2026", "failed": {}, "reason": "it hung", "kernel_args": ["nosmt", "a=1"]}
    (tmp_path / "rollback.json").write_text(json.dumps(record))
    assert told(tmp_path, "generations/1") == ["           with the kernel's arguments nosmt a=1"]
