"""Changes that only take effect when k3s restarts, or at a boot, are reported."""

import shutil

import pytest

from k3os.cli import config
from k3os.node import k3s_restart, status, status_text
from k3os.phases import changed
from k3os.phases.node import Node

from .conftest import Machine

BEFORE = "k3os: {environment: {no_proxy: a, x: y}, k3s_args: [server], labels: {a: b}}\n"


def start_k3s(machine: Machine) -> None:
    """Start k3s like k3s.service."""
    shutil.copy(machine.root / changed.WANTS.lstrip("/"), machine.root / changed.HAS.lstrip("/"))


def not_in_k3s(machine: Machine) -> list[str]:
    return changed.not_in_k3s(Node(str(machine.root)))


@pytest.mark.parametrize(
    ("after", "names"),
    [
        (BEFORE, []),
        (BEFORE.replace("a: b", "a: c"), []),  # the node reports it to the cluster itself
        (BEFORE.replace("no_proxy: a", "no_proxy: b"), ["k3os.environment.no_proxy"]),
        (BEFORE.replace("no_proxy: a, ", ""), ["k3os.environment.no_proxy"]),
        (BEFORE.replace("[server]", "[server, --debug]"), ["k3os.k3s_args"]),
        ("hostname: a\n", ["k3os.environment.no_proxy", "k3os.environment.x", "k3os.k3s_args"]),
        (
            BEFORE + "write_files: [{path: /etc/rancher/k3s/registries.yaml}, {path: /etc/x}]\n",
            ["/etc/rancher/k3s/registries.yaml"],
        ),
    ],
)
def test_what_k3s_was_not_started_with_is_named(
    machine: Machine, after: str, names: list[str]
) -> None:
    machine.apply("runtime", BEFORE)
    assert not_in_k3s(machine) == []  # k3s is not running yet
    start_k3s(machine)
    machine.apply("runtime", after)
    assert not_in_k3s(machine) == names
    found = status.collect(str(machine.root))
    assert found.not_in_k3s == names
    text = "\n".join(status_text.lines(found))
    assert ("k3os config --restart" in text) == bool(names)
    start_k3s(machine)
    assert not_in_k3s(machine) == []


@pytest.mark.parametrize("changed_one", ["a", "b"])
def test_each_part_of_a_file_that_k3s_reads_counts(machine: Machine, changed_one: str) -> None:
    path = "path: /etc/rancher/k3s/registries.yaml"
    text = f"write_files: [{{{path}, content: 'a: 1'}}, {{{path}, content: 'b: 1', append: on}}]\n"
    machine.apply("runtime", text)
    start_k3s(machine)
    machine.apply("runtime", text.replace(f"{changed_one}: 1", f"{changed_one}: 2"))
    assert not_in_k3s(machine) == ["/etc/rancher/k3s/registries.yaml"]


def test_no_value_is_in_the_record(machine: Machine) -> None:
    machine.apply("runtime", "k3os: {token: hidden-token, environment: {p: hidden-too}}\n")
    assert "hidden" not in machine.text(changed.WANTS.lstrip("/"))
    assert machine.mode(changed.WANTS.lstrip("/")) == 0o600


def test_config_says_what_k3s_lacks_and_restarts_it_only_when_asked(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restarts = []
    monkeypatch.setattr(
        k3s_restart, "restart_for_configuration", lambda config: restarts.append(config)
    )
    arguments = ["--root", str(machine.root), "--cmdline", ""]
    machine.apply("runtime", BEFORE)
    start_k3s(machine)
    machine.put("k3os/system/config.yaml", BEFORE.replace("no_proxy: a", "no_proxy: secret"))
    assert config.main(arguments) == 0
    said = capsys.readouterr().out
    assert "restart k3s for k3os.environment.no_proxy: `sudo k3os config --restart`" in said
    assert "secret" not in said
    assert restarts == []
    assert config.main([*arguments, "--restart"]) == 0
    assert len(restarts) == 1
    assert "k3s was restarted for k3os.environment.no_proxy" in capsys.readouterr().out
    start_k3s(machine)
    assert config.main([*arguments, "--restart"]) == 0
    assert len(restarts) == 1


def test_what_only_a_boot_applies_is_said_until_there_is_one(machine: Machine) -> None:
    machine.apply("runtime", "boot_cmd: [a]\nk3os: {swap: {zram: 'off'}}\n")
    assert not later(machine.apply("runtime"))
    told = later(machine.apply("runtime", "boot_cmd: [b]\n"))
    assert told == {"boot_cmd", "k3os.swap.zram"}
    assert not later(machine.apply("runtime", "boot_cmd: [a]\nk3os: {swap: {zram: 'off'}}\n"))


def later(report: object) -> set[str]:
    return {each.key for each in report.results if "next boot does it" in each.reason}  # type: ignore[attr-defined]
