"""Shell completion after `kubectl k3os`; with a real kubectl if there is one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from k3os.cli import kubectl_complete
from k3os.cli.kubectl import parser
from k3os.cli.kubectl_complete import FILES, NO_FILES, completed
from k3os.cluster.kubectl import Kubectl
from tests.unit.cli.test_kubectl import SRC

NODES = ["node/alpha", "node/beta", "node/beet"]
POOLS = ["nodepool.k3os.io/workers", "nodepool.k3os.io/web"]
ANSWERS = {
    "nodes": NODES,
    "nodepools.k3os.io": POOLS,
    "get-contexts": ["prod", "test"],
    "get-clusters": ["NAME", "one"],
    "get-users": ["NAME", "jane"],
    "namespaces": ["namespace/default", "namespace/k3os-system"],
}
COMMANDS = [
    *("nodes", "diff", "status", "logs", "config", "support", "shell", "reboot", "rollback"),
    *("upgrade", "rollout"),
]
OF_KUBECTL = ["--context", "--cluster", "--user", "--kubeconfig"]


class Cluster:
    """Replaces kubectl. options: those of the last call."""

    def __init__(self) -> None:
        self.options: tuple[str, ...] = ()
        self.calls = 0

    def ask(self, kubectl: Kubectl, words: Sequence[str]) -> list[str]:
        self.options, self.calls = kubectl.options, self.calls + 1
        return ANSWERS[words[1]]


def offered(*argv: str) -> list[str]:
    return [word for word, _ in completed(argv, Cluster().ask)[0]]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ([""], COMMANDS),
        (["ro"], ["rollback", "rollout"]),
        (["rollout", ""], ["status", "pause", "resume", "retry", "history", "undo"]),
        (["rollout", "un"], ["undo"]),
        (["dance", ""], []),
        (["rollout", "dance", ""], []),
        # names of nodes
        (["status", ""], ["alpha", "beta", "beet"]),
        (["status", "be"], ["beta", "beet"]),
        (["status", "node/be"], ["node/beta", "node/beet"]),
        (["status", "alpha", ""], []),
        (["support", "alpha", ""], ["beta", "beet"]),
        (["reboot", "--force", "a"], ["alpha"]),
        (["logs", "-u", "k3s", "-n", "5", "a"], ["alpha"]),
        (["logs", "-f", "-b", "a"], ["alpha"]),
        (["logs", "--boot=-1", "a"], ["alpha"]),
        # of NodePools
        (["rollout", "status", "w"], ["workers", "web"]),
        (["rollout", "status", "nodepool/wo"], ["nodepool/workers"]),
        (["rollout", "status", "--watch", "wo"], ["workers"]),
        (["rollout", "undo", "--to-revision", "3", "wo"], ["workers"]),
        # of either
        (["rollback", ""], ["alpha", "beta", "beet", "workers", "web"]),
        (["rollback", "nodepool/"], ["nodepool/workers", "nodepool/web"]),
        (["rollback", "node/"], ["node/alpha", "node/beta", "node/beet"]),
        # commands without a name
        (["nodes", ""], []),
        (["diff", ""], []),
        # options
        (["nodes", "--"], ["--help", *OF_KUBECTL, "--namespace"]),
        (["nodes", "--na"], ["--namespace"]),
        (["nodes", "-"], ["-h", "--help", *OF_KUBECTL, "-n", "--namespace"]),
        (["reboot", "--force", "--fo"], []),
        (["reboot", "--t"], ["--timeout"]),
        (["logs", "-u", "k3s", "--un"], ["--unit"]),
        (["rollout", "history", "workers", "--rev"], ["--revision"]),
        (["--h"], ["--help"]),
        (["status", "--", "--"], []),
        # their values
        (["nodes", "--context", ""], ["prod", "test"]),
        (["nodes", "--context=p"], ["prod"]),
        (["nodes", "--cluster", ""], ["one"]),
        (["nodes", "--user", ""], ["jane"]),
        (["nodes", "-n", "k"], ["k3os-system"]),
        (["rollout", "status", "--watch="], ["true", "false"]),
        (["rollout", "status", "-t", "5m", "wo"], ["workers"]),
        (["rollout", "status", "-t", "5m", "--ti"], []),
        (["logs", "-u", ""], ["k3s"]),
        (["upgrade", "--k3s", ""], []),
        (["reboot", "--timeout", "a"], []),
    ],
)
def test_a_shell_offers_what_may_come(typed: list[str], words: list[str]) -> None:
    assert offered(*typed) == words


@pytest.mark.parametrize(
    ("typed", "directive"),
    [
        (["diff", "-f", ""], FILES),
        (["diff", "--filename=x"], FILES),
        (["support", "alpha", "-o", ""], FILES),
        (["nodes", "--kubeconfig", ""], FILES),
        (["status", ""], NO_FILES),
        ([""], NO_FILES),
        ([], NO_FILES),
        (["dance", "-x", ""], NO_FILES),
    ],
)
def test_files_are_offered_where_one_is_wanted(typed: list[str], directive: int) -> None:
    assert completed(typed, Cluster().ask)[1] == directive


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        (["status", "--context", "prod", ""], ("--context=prod",)),
        (["status", "--context=prod", "--user", "jane", ""], ("--context=prod", "--user=jane")),
        (["nodes", "--kubeconfig", "f", "--context", ""], ("--kubeconfig=f",)),
        (["status", "-h", ""], ()),
    ],
)
def test_the_cluster_that_was_named_is_the_one_that_is_asked(
    typed: list[str], options: tuple[str, ...]
) -> None:
    cluster = Cluster()
    completed(typed, cluster.ask)
    assert cluster.options == options


def test_commands_and_options_ask_no_cluster_and_say_what_they_are_for() -> None:
    cluster = Cluster()
    commands, _ = completed([""], cluster.ask)
    options, _ = completed(["reboot", "--"], cluster.ask)
    assert cluster.calls == 0
    assert dict(commands)["shell"].startswith("a root shell on a node")
    assert dict(options)["--force"] == "also evict pods that no controller starts elsewhere"


def every_parser(found, words=()):
    yield words, found
    commands = kubectl_complete._commands(found)
    for name, inner in (commands.choices if commands else {}).items():
        yield from every_parser(inner, (*words, name))


PARSERS = dict(every_parser(parser()))


@pytest.mark.parametrize("words", PARSERS, ids=" ".join)
def test_every_argument_and_every_option_has_a_source_of_its_values(words) -> None:
    """A new one fails here until somebody has added its completions."""
    without = {"--timeout", "--url", "--k3os", "--k3s", "--revision", "--to-revision"}
    without |= {"--lines", "--since", "--boot"}
    sources = {*kubectl_complete.ASKED, *kubectl_complete.SHOWN, *kubectl_complete.OF_FILES}
    found = PARSERS[words]
    for action in found._actions:
        if action.option_strings and action.nargs != 0:
            assert kubectl_complete._long_of(action) in sources | without
        elif not action.option_strings and kubectl_complete._commands(found) is None:
            assert action.dest in kubectl_complete.ARGUMENTS


def test_a_cluster_that_does_not_answer_has_no_names(tmp_path: Path, monkeypatch, capsys) -> None:
    stub = tmp_path / "kubectl"
    stub.write_text("#!/bin/sh\necho 'Unable to connect' >&2\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert kubectl_complete.main(["status", ""]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (":4\n", "")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert kubectl_complete.main(["status", ""]) == 0
    assert capsys.readouterr().out == ":4\n"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
def test_kubectl_itself_hands_the_words_to_the_shell(tmp_path: Path) -> None:
    programs = {"kubectl-k3os": "kubectl", "kubectl_complete-k3os": "kubectl_complete"}
    for name, module in programs.items():
        (tmp_path / name).write_text(
            f"#!{sys.executable}\nfrom k3os.cli.{module} import entry\nentry()\n"
        )
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": SRC}
    command = ["kubectl", "__complete", "k3os", "rollout", "re"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    words = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert words == ["resume", "retry", ":4"], done.stderr
