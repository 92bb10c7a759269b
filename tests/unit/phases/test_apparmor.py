"""AppArmor profiles of write_files: which files are profiles, and when they are loaded."""

from pathlib import Path

import pytest

from k3os.config.value import Place
from k3os.errors import UserError
from k3os.phases.actions import DONE, UNCHANGED
from k3os.phases.apparmor import ENABLED, LoadProfile, digest_of
from k3os.phases.node import Node
from k3os.phases.write_files import is_profile
from k3os.system import run as processes
from k3os.system.run import CommandError

from .conftest import Machine

PATH = "/etc/apparmor.d/mine"
CONFIG = f"""\
write_files:
- path: {PATH}
  content: profile mine {{}}
- path: /etc/apparmor.d/abstractions/of-mine
  content: deny /x r,
"""


@pytest.mark.parametrize("path", [PATH, "/etc/apparmor.d/usr.bin.x", "/etc/apparmor.d/a.b-c"])
def test_a_file_in_the_directory_of_profiles_is_one(path: str) -> None:
    assert is_profile(path)


@pytest.mark.parametrize(
    "path",
    ["/etc/apparmor.d/tunables/x", "/etc/apparmor.d/.x", "/etc/apparmor/parser.conf", "/etc/x"],
)
def test_what_profiles_include_and_everything_else_is_none(path: str) -> None:
    assert not is_profile(path)


def loads(machine: Machine, phase: str) -> list[tuple[str, str]]:
    results = machine.apply(phase, CONFIG).results
    return [(each.what, str(each.place)) for each in results if "AppArmor" in each.what]


def test_profiles_are_loaded_before_k3s_after_all_files_are_written(machine: Machine) -> None:
    assert loads(machine, "boot") == []
    assert loads(machine, "runtime") == [
        (f"load the AppArmor profile {PATH}", "/k3os/system/config.yaml:2:3")
    ]
    whats = [each.what for each in machine.apply("runtime").results]
    written = [what for what in whats if what.startswith("write /etc/apparmor.d")]
    assert len(written) == 2
    assert whats.index(f"load the AppArmor profile {PATH}") > max(map(whats.index, written))


def test_without_profiles_nothing_is_done(machine: Machine) -> None:
    report = machine.apply("runtime", "write_files: [{path: /etc/x, content: y}]\n")
    assert not [each for each in report.results if "AppArmor" in each.what]


def test_a_kernel_without_apparmor_is_said(machine: Machine) -> None:
    machine.put(ENABLED.lstrip("/"), "N\n")
    failed = machine.apply("runtime", CONFIG).failed
    assert [each.reason.partition(";")[0] for each in failed] == [
        "this kernel runs without AppArmor"
    ]


class RealNode(Node):
    """A directory that counts as a real node, so that programs are started."""

    is_real = True  # type: ignore[assignment]


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that would run; one that names `broken` fails like the parser."""
    started: list[list[str]] = []

    def run(argv: list[str], **_: object) -> bytes:
        started.append(argv)
        if argv[-1].endswith("broken"):
            raise CommandError(argv, 1, b"Warning: x\nAppArmor parser error at line 1: syntax\n")
        return b""

    monkeypatch.setattr(processes, "run", run)
    return started


@pytest.fixture
def node(tmp_path: Path, machine: Machine) -> RealNode:
    machine.put(ENABLED.lstrip("/"), "Y\n")
    machine.put(PATH.lstrip("/"), "profile mine {}")
    return RealNode(str(tmp_path))


def load(node: Node, path: str = PATH) -> str:
    return LoadProfile("write_files", Place("x"), path).perform(node)


def test_a_profile_is_loaded_again_only_when_a_file_changed(
    node: RealNode, machine: Machine, parser: list[list[str]]
) -> None:
    assert [load(node), load(node)] == [DONE, UNCHANGED]
    machine.put("etc/apparmor.d/abstractions/of-mine", "deny /y r,")
    assert [load(node), load(node)] == [DONE, UNCHANGED]
    assert parser == [["apparmor_parser", "--replace", "--", PATH]] * 2


def test_a_broken_profile_says_what_the_parser_says_and_is_tried_again(
    node: RealNode, parser: list[list[str]]
) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="AppArmor parser error at line 1: syntax"):
            load(node, "/etc/apparmor.d/broken")
    assert len(parser) == 2


def test_the_digest_knows_names_from_contents(node: RealNode, machine: Machine) -> None:
    first = digest_of(node)
    (machine.root / PATH.lstrip("/")).rename(machine.root / "etc/apparmor.d/other")
    assert digest_of(node) != first
