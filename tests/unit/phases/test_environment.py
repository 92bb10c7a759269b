"""Other variables in /etc/environment reach k3s, as in the original k3OS."""

import gzip
import json
from base64 import b64encode

import pytest

from k3os.phases.changed import not_in_k3s
from k3os.phases.node import Node
from tests.unit.phases.conftest import Machine

K3S = "etc/rancher/k3s/k3s.env"
LINES = """\
# a comment=1
export http_proxy=http://proxy:3128
NO_PROXY="10.0.0.0/8,.example" # ours
PRICE='5 $'
 EMPTY=
not a variable
2ND=no name
"""
VARIABLES = (
    'http_proxy="http://proxy:3128"\nNO_PROXY="10.0.0.0/8,.example"\nPRICE="5 \\$"\nEMPTY=""\n'
)


def entry(content: str, encoding: str = "") -> str:
    return f"write_files: [{{path: /etc/environment, content: {json.dumps(content)}{encoding}}}]\n"


@pytest.mark.parametrize("phase", ["boot", "runtime"])
def test_what_write_files_puts_into_etc_environment_reaches_k3s(
    machine: Machine, phase: str
) -> None:
    report = machine.apply(phase, entry(LINES))
    assert not report.failed
    assert machine.text(K3S) == VARIABLES
    assert machine.text("etc/environment") == LINES


def test_packed_contents_count_too(machine: Machine) -> None:
    packed = b64encode(gzip.compress(LINES.encode(), mtime=0)).decode()
    machine.apply("boot", entry(packed, ", encoding: gz+b64"))
    assert machine.text(K3S) == VARIABLES


def test_what_a_command_wrote_there_before_reaches_k3s(machine: Machine) -> None:
    machine.put("etc/environment", "A=1\n")
    machine.apply("runtime", "hostname: x\n")
    assert machine.text(K3S) == 'A="1"\n'


def test_k3os_environment_wins_and_what_leaves_the_file_leaves_k3s(machine: Machine) -> None:
    machine.apply("boot", entry("A=theirs\nB=b\n") + "k3os: {environment: {A: ours}}\n")
    assert machine.text(K3S) == 'A="ours"\nB="b"\n'
    machine.apply("runtime", "k3os: {environment: {C: c}}\n")
    assert 'A="' not in machine.text(K3S)


def test_a_value_that_only_a_shell_could_make_is_said_and_left_out(machine: Machine) -> None:
    report = machine.apply("boot", entry('PATH=$PATH:/opt/bin\nA=1\nB="${C}"\n'))
    assert machine.text(K3S) == 'A="1"\n'
    assert not report.failed
    assert [each.reason for each in report.results if "k3s.env" in each.what] == [
        "without PATH, B of /etc/environment: no shell expands the `$`"
    ]
    assert [problem.message for problem in report.problems] == [
        "k3s does not get PATH: no shell expands the `$` in it",
        "k3s does not get B: no shell expands the `$` in it",
    ]


def test_a_changed_entry_is_named_as_what_k3s_runs_without(machine: Machine) -> None:
    machine.apply("runtime", entry("A=1\n"))
    node = Node(str(machine.root), "runtime", "live")
    machine.put("run/k3os/k3s-has", machine.text("run/k3os/k3s-wants"))
    assert not_in_k3s(node) == []
    machine.apply("runtime", entry("A=2\n"))
    assert not_in_k3s(node) == ["/etc/environment"]


def test_a_server_to_join_that_is_named_there_counts(machine: Machine) -> None:
    machine.apply("runtime", entry("K3S_URL=https://first:6443\n"))
    assert (machine.root / "run/k3os/joins").exists()
    machine.apply("runtime", entry("A=1\n"))
    assert not (machine.root / "run/k3os/joins").exists()


def test_only_root_reads_what_may_hold_a_password_and_logins_get_it_from_root(
    machine: Machine,
) -> None:
    machine.put("etc/environment", "LANG=C\n")
    machine.apply("boot", "k3os: {environment: {https_proxy: 'http://u:secret@proxy:1'}}")
    assert machine.mode("etc/environment") == machine.mode("etc/rancher/k3s/k3s.env") == 0o600
    machine.apply("boot", "hostname: a")
    assert machine.text("etc/environment") == "LANG=C\n"
    assert machine.mode("etc/environment") == 0o644
