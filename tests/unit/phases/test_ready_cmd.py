"""ready_cmd: announced by the runtime phase, run when k3s is ready."""

import pytest

from k3os.cli import config as command
from k3os.config.load import Config, load_config
from k3os.phases.apply import plan_phase
from k3os.phases.node import Node
from k3os.phases.run_command import RunCommand

from .conftest import Machine

CONFIG = "run_cmd: early\nready-cmd: [kubectl get nodes, [ls, -l]]\n"


def config_of(machine: Machine, text: str) -> Config:
    machine.put("k3os/system/config.yaml", text)
    config, problems = load_config(str(machine.root), cmdline="")
    assert problems == []
    return config


def test_the_runtime_phase_says_that_it_comes_later_and_starts_what_waits(
    machine: Machine,
) -> None:
    report = machine.apply("runtime", CONFIG)
    found = [each for each in report.results if each.key == "ready_cmd"]
    assert [(each.what, each.result, each.reason) for each in found[:2]] == [
        ("run ready_cmd[0]: kubectl …", "later", "when k3s is ready"),
        ("run ready_cmd[1]: ls …", "later", "when k3s is ready"),
    ]
    assert found[2].what == "start k3os-ready.service"


def test_without_a_ready_cmd_nothing_waits(machine: Machine) -> None:
    report = machine.apply("runtime", "run_cmd: early\n")
    assert not any("k3os-ready" in each.what for each in report.results)


def test_when_k3s_is_ready_only_its_commands_run(machine: Machine) -> None:
    text = f"{CONFIG}write_files: [{{path: /etc/x}}]\nhostname: a\nk3os: {{environment: {{A: b}}}}"
    report = machine.apply("ready", text)
    assert [each.key for each in report.results] == ["ready_cmd", "ready_cmd"]
    assert not (machine.root / "etc/environment").exists()
    assert not (machine.root / "etc/x").exists()


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("", {"A": "b", "KUBECONFIG": "/etc/rancher/k3s/k3s.yaml"}),
        ("  server_url: https://first:6443\n", {"A": "b"}),
        (
            "  environment: {A: b, KUBECONFIG: /mine}\n",
            {"A": "b", "KUBECONFIG": "/mine"},
        ),
        ("  k3s_args: [server, --write-kubeconfig=/w]\n", {"A": "b", "KUBECONFIG": "/w"}),
        ("  k3s_args: [server, -o, /w]\n", {"A": "b", "KUBECONFIG": "/w"}),
        (
            "  environment: {A: b, K3S_KUBECONFIG_OUTPUT: /w}\n",
            {"A": "b", "K3S_KUBECONFIG_OUTPUT": "/w", "KUBECONFIG": "/w"},
        ),
        (
            "write_files: [{path: /etc/rancher/k3s/config.yaml.d/a.yaml,"
            " content: 'write-kubeconfig: /w'}]\n",
            {"A": "b", "KUBECONFIG": "/w"},
        ),
    ],
)
def test_its_environment_is_the_configured_one_and_on_a_server_the_kubeconfig(
    machine: Machine, text: str, environment: dict[str, str]
) -> None:
    base = "" if "environment" in text else "  environment: {A: b}\n"
    node = Node(str(machine.root), "ready")
    actions = plan_phase(config_of(machine, f"{CONFIG}k3os:\n{base}{text}"), node)
    assert node.environment == environment
    assert [each.label for each in actions if isinstance(each, RunCommand)] == [
        "ready_cmd[0]",
        "ready_cmd[1]",
    ]


def test_config_ready_runs_them_without_waiting_on_a_directory(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.put("k3os/system/config.yaml", CONFIG)
    assert command.main(["--ready", "--root", str(machine.root), "--cmdline", ""]) == 0
    assert "phase ready: 0 changes, 0 failed" in capsys.readouterr().out
    assert '"ready": {' in machine.text("run/k3os/status.json")
