"""The `k3os` command itself."""

import sys

from k3os.cli.main import COMMANDS, main


def test_a_command_that_this_machine_does_not_have_says_where_it_runs(monkeypatch, capsys) -> None:
    """A node has no `k3os build` and no `k3os operator`."""
    path = COMMANDS["build"][0]
    monkeypatch.setitem(sys.modules, path, None)
    assert main(["build"]) == 1
    error = capsys.readouterr().err
    assert error == (
        "k3os: error: `build` is not on this machine; call it where it runs: workstation\n"
    )
