"""The `k3os` command itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from k3os.cli.main import COMMANDS, OF_NODES, main
from k3os.errors import UserError
from k3os.system.os_release import check_node

ROOT = Path(__file__).parents[3]
SOURCE, SCRIPT = ROOT / "src", ROOT / "overlay/rootfs/usr/sbin/k3os"


def test_a_command_that_this_machine_does_not_have_says_where_it_runs(monkeypatch, capsys) -> None:
    """Nodes do not have `k3os build` and `k3os operator`."""
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
    """Run as root on a workstation, `k3os config` would give it a node's name and files."""
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


AS_ROOT = sorted(name for name, each in COMMANDS.items() if each[1] in ("node", "anywhere"))


@pytest.mark.parametrize("name", AS_ROOT)
def test_what_root_writes_to_a_node_is_open_whatever_the_umask(name, monkeypatch) -> None:
    """`sudo k3os install` below `umask 077` made directories that no service of the installed
    node could enter."""
    seen = []

    def stub(*_: object) -> int:
        before = os.umask(0o077)
        seen.append(before)
        return 0

    monkeypatch.setattr(f"{COMMANDS[name][0]}.main", stub)
    monkeypatch.setattr("k3os.system.os_release.check_node", lambda: None)
    monkeypatch.setattr("k3os.phases.environment.adopt_configured", lambda: None)
    before = os.umask(0o077)
    try:
        for user in (0, 1000):
            monkeypatch.setattr("os.geteuid", lambda user=user: user)
            os.umask(0o077)
            assert main([name]) == 0
    finally:
        os.umask(before)
    assert seen == [0o022, 0o077]  # other users keep theirs


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_a_closed_output_is_no_failure(closed: str) -> None:
    command = f'"{sys.executable}" -c "from k3os.cli.main import leave, main; '
    command += f"leave(main(['--version']))\" {closed}"
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={"PYTHONPATH": str(SOURCE)}, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


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


def as_script(*words: str, before: str = "", **options: Any) -> subprocess.Popen[str]:
    """Run a node's script with these arguments and this tree's package. before: Python code to run
    first."""
    code = SCRIPT.read_text().replace("/usr/lib/python3/dist-packages", str(SOURCE))
    return subprocess.Popen(
        [sys.executable, "-IS", "-c", f"{before}\n{code}", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_script_of_the_node_prints_all_and_has_its_exit_code() -> None:
    shown = as_script("config", "schema")
    out, err = shown.communicate()
    assert (shown.returncode, err) == (0, "")
    assert json.loads(out)["type"] == "object"
    assert len(out) > 1 << 14  # more than Python buffers
    unknown = as_script("x")
    out, err = unknown.communicate()
    assert (unknown.returncode, out) == (2, "")
    assert err.startswith("k3os: unknown command 'x'\n")


def test_what_was_printed_before_an_error_is_not_lost_at_the_end() -> None:
    """What it printed to a pipe is still in a buffer then."""
    before = "import types, sys; sys.modules['k3os.cli.build'] = module = types.ModuleType('x')\n"
    before += "def main(_):\n    from k3os.errors import UserError\n"
    before += "    print('printed')\n    raise UserError('failed')\n"
    failed = as_script("build", before=before + "module.main = main")
    assert failed.communicate() == ("printed\n", "k3os: error: failed\n")
    assert failed.returncode == 1


def test_a_reader_that_is_gone_is_no_traceback() -> None:
    script = as_script("config", "schema")
    assert script.stdout is not None
    script.stdout.close()
    script.stdout = None
    assert script.communicate()[1] == ""
    assert script.returncode == 1


def test_a_bug_still_shows_its_traceback() -> None:
    before = "import types, sys; sys.modules['k3os.cli.build'] = module = types.ModuleType('x')\n"
    broken = as_script("build", before=before + "module.main = lambda _: 1 // 0")
    assert broken.communicate()[1].endswith(
        "ZeroDivisionError: integer division or modulo by zero\n"
    )
    assert broken.returncode == 1
