"""The `k3os` command itself."""

import sys

import pytest

from k3os.cli.main import COMMANDS, OF_NODES, main
from k3os.errors import UserError
from k3os.system.os_release import check_node


def test_a_command_that_this_machine_does_not_have_says_where_it_runs(monkeypatch, capsys) -> None:
    """A node has no `k3os build` and no `k3os operator`."""
    path = COMMANDS["build"][0]
    monkeypatch.setitem(sys.modules, path, None)
    assert main(["build"]) == 1
    error = capsys.readouterr().err
    assert error == (
        "k3os: error: `build` is not on this machine; call it where it runs: workstation\n"
    )


RUNS_ON_NODES = (
    *(["config"], ["config", "--boot"], ["config", "--initrd"], ["config", "--ready"]),
    *(["config", "--restart"], ["config", "--again"], ["apply", "x"], ["report"], ["confirm"]),
    *(["overlay", "remove"], ["reset", "--yes"], ["reset"], ["grow"], ["network", "settle"]),
    *(["network", "resolv"], ["local", "start"], ["local", "stop"], ["shutdown", "finish"]),
    *(["shutdown", "tidy"], ["shutdown", "watch"], ["upgrade", "x"], ["upgrade", "--rollback"]),
    *(["k3s", "fetch"], ["k3s", "fetch", "--announce"], ["status"], ["status", "--json"]),
)


@pytest.mark.parametrize("argv", RUNS_ON_NODES, ids=" ".join)
@pytest.mark.parametrize("system", ["debian", "", "k3os"])
def test_a_command_for_nodes_changes_no_other_machine(argv, system, monkeypatch, capsys) -> None:
    """`k3os config`, as root on a workstation, would give it a node's name and files."""
    called = []

    def stub(*_: object, **__: object) -> int:
        called.append(argv[0])
        raise UserError("called")

    monkeypatch.setattr("k3os.system.os_release.os_id", lambda root: system)
    monkeypatch.setattr("k3os.node.configure.wait_for_k3s", stub)
    monkeypatch.setattr("k3os.phases.apply.apply_phase", stub)
    monkeypatch.setattr("k3os.phases.environment.adopt_configured", lambda: None)
    for name in ("fetch_on_node", "announced"):
        monkeypatch.setattr(f"k3os.cli.k3s.{name}", stub)
    if argv[0] in OF_NODES:
        monkeypatch.setattr(f"{COMMANDS[argv[0]][0]}.main", stub)
    assert main(argv) == 1
    error = capsys.readouterr().err
    assert called == ([argv[0]] if system == "k3os" else [])
    if system != "k3os":
        assert error == (
            "k3os: error: this machine does not run k3OS; call it on a node; nothing was changed\n"
        )


@pytest.mark.parametrize("argv", [[*each, "--help"] for each in RUNS_ON_NODES], ids=" ".join)
def test_the_help_of_a_command_for_nodes_is_there_on_any_machine(argv, capsys) -> None:
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("usage: k3os ")


def test_a_node_is_told_by_its_os_release(tmp_path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    path = tmp_path / "usr/lib/os-release"
    for text, is_node in (("NAME=k3OS\nID=k3os\n", True), ('ID="k3os"\n', True), ("ID=x\n", False)):
        path.write_text(text)
        if is_node:
            check_node(str(tmp_path))
            continue
        with pytest.raises(UserError, match="does not run k3OS"):
            check_node(str(tmp_path))
