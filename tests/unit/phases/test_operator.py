"""k3os.operator: which of the operator's files are where k3s finds them, on which nodes."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from k3os.config.value import Place
from k3os.phases.changed import HAS, not_in_k3s
from k3os.phases.node import Node
from k3os.phases.operator import COPY, IMAGE, IMAGE_ID, LINK, MANIFESTS, OLD_LINK, HandOver
from k3os.phases.operator_room import IMPORTED
from k3os.phases.phase_report import PhaseReport

from .conftest import Machine

AGENT = "k3os: {server_url: 'https://s:6443', token: x}\n"


@pytest.fixture
def node(machine: Machine) -> Machine:
    """A node whose image has an operator."""
    machine.put(IMAGE[1:], "image")
    machine.put(MANIFESTS[1:], "kind: Namespace\n")
    return machine


def where(node: Machine, path: str) -> Path:
    return node.root / path[1:]


def of_the_operator(report: PhaseReport) -> list[tuple[str, str]]:
    return [(each.what, each.result) for each in report.results if each.key == "k3os.operator"]


def test_a_server_gets_a_link_to_the_image_and_a_copy_of_the_objects(node: Machine) -> None:
    report = node.apply("boot", "{}\n")
    assert not report.failed, report.lines()
    assert where(node, LINK).readlink() == Path(IMAGE)
    assert node.text(COPY[1:]) == "kind: Namespace\n"
    assert node.mode(COPY[1:]) == 0o600


def test_the_link_of_an_older_build_goes_and_what_is_not_ours_stays(node: Machine) -> None:
    old = where(node, OLD_LINK)
    old.parent.mkdir(parents=True)
    old.symlink_to(IMAGE)
    node.apply("boot", "{}\n")
    assert not old.is_symlink()
    old.write_text("somebody's archive")
    node.apply("boot", "{}\n")
    assert old.read_text() == "somebody's archive"


def test_what_k3s_keeps_beside_them_stays_for_root_only(node: Machine) -> None:
    node.apply("boot", "{}\n")
    assert node.mode("var/lib/rancher/k3s/server") == 0o700
    assert node.mode("var/lib/rancher/k3s/server/manifests") == 0o700


def test_a_second_boot_changes_nothing(node: Machine) -> None:
    node.apply("boot", "{}\n")
    before = where(node, COPY).stat()
    found = of_the_operator(node.apply("boot"))
    assert {result for _, result in found} == {"unchanged"}
    assert where(node, COPY).stat().st_mtime_ns == before.st_mtime_ns
    assert where(node, COPY).stat().st_ino == before.st_ino


def test_the_image_is_never_read(node: Machine) -> None:
    where(node, IMAGE).unlink()
    where(node, IMAGE).mkdir()  # reading it would fail
    assert not node.apply("boot", "{}\n").failed
    assert where(node, LINK).is_symlink()


def test_an_agent_gets_the_image_only(node: Machine) -> None:
    assert not node.apply("boot", AGENT).failed
    assert where(node, LINK).is_symlink()
    assert not where(node, "/var/lib/rancher/k3s/server").exists()


def test_a_server_that_joins_others_gets_the_objects_too(node: Machine) -> None:
    node.apply("boot", "k3os: {server_url: 'https://s:6443', k3s_args: [server]}\n")
    assert where(node, COPY).exists()


def test_a_server_that_becomes_an_agent_loses_the_objects(node: Machine) -> None:
    node.apply("boot", "{}\n")
    node.apply("boot", AGENT)
    assert not where(node, COPY).exists()
    assert where(node, LINK).is_symlink()


def test_another_version_replaces_link_and_objects(node: Machine) -> None:
    node.apply("boot", "{}\n")
    node.put(MANIFESTS[1:], "kind: Namespace # newer\n")
    where(node, LINK).unlink()
    where(node, LINK).symlink_to("/usr/share/elsewhere")
    node.apply("boot")
    assert node.text(COPY[1:]) == "kind: Namespace # newer\n"
    assert where(node, LINK).readlink() == Path(IMAGE)


@pytest.mark.parametrize("phase", ["boot", "runtime"])
def test_switched_off_both_go_and_nothing_else(node: Machine, phase: str) -> None:
    node.apply("boot", "{}\n")
    node.put("var/lib/rancher/k3s/server/manifests/mine.yaml", "mine")
    report = node.apply(phase, "k3os: {operator: false}\n")
    assert not report.failed
    assert not where(node, LINK).is_symlink()
    assert not where(node, COPY).exists()
    assert node.text("var/lib/rancher/k3s/server/manifests/mine.yaml") == "mine"
    assert of_the_operator(node.apply(phase)) == [], "there is nothing to say any more"


def test_after_an_image_without_operator_no_stale_link_remains(node: Machine) -> None:
    node.apply("boot", "{}\n")
    where(node, IMAGE).unlink()
    where(node, MANIFESTS).unlink()
    assert not node.apply("boot").failed
    assert not where(node, LINK).is_symlink()
    assert not where(node, COPY).exists()


def test_a_file_that_the_user_writes_there_stays_the_users(node: Machine) -> None:
    config = f"write_files: [{{path: {COPY}, content: mine}}]\nk3os: {{operator: %s}}\n"
    for value in ("true", "false"):
        assert not node.apply("boot", config % value).failed
        assert node.text(COPY[1:]) == "mine"


def with_memory(node: Machine, mib: int) -> Machine:
    node.put("proc/meminfo", f"MemTotal: {mib * 1024} kB\n")
    return node


@pytest.mark.parametrize(("mode", "mib"), [("live", 849), ("disk", 649), ("overlay", 440)])
def test_a_node_with_too_little_memory_has_no_operator_and_says_so(
    node: Machine, mode: str, mib: int
) -> None:
    report = with_memory(node, mib).apply("boot", "{}\n", mode=mode)
    assert not report.failed, "it is no fault of anybody's"
    (said,) = [each for each in report.results if each.key == "k3os.operator"]
    assert (said.what, said.result) == ("leave the operator out", "unchanged")
    assert said.reason.startswith(f"{mib} MiB of memory are too little for it")
    assert said.reason.endswith("; `k3os.operator: true` insists")
    assert not where(node, LINK).is_symlink()
    assert not where(node, COPY).exists()
    assert '"k3os.io/operator=false"' in node.text("etc/rancher/k3s/config.yaml")


@pytest.mark.parametrize(("mode", "mib"), [("live", 900), ("disk", 700)])
def test_with_enough_memory_it_has_one(node: Machine, mode: str, mib: int) -> None:
    with_memory(node, mib).apply("boot", "{}\n", mode=mode)
    assert where(node, LINK).is_symlink()
    assert where(node, COPY).exists()
    assert '"k3os.io/operator=true"' in node.text("etc/rancher/k3s/config.yaml")


def test_a_person_who_insists_gets_it(node: Machine) -> None:
    with_memory(node, 440).apply("boot", "k3os: {operator: true}\n")
    assert where(node, LINK).is_symlink()
    assert where(node, COPY).exists()
    assert '"k3os.io/operator=true"' in node.text("etc/rancher/k3s/config.yaml")


def test_a_node_that_lost_memory_loses_the_image_too(node: Machine) -> None:
    with_memory(node, 2000).apply("boot", "{}\n")
    with_memory(node, 440).apply("boot")
    assert not where(node, LINK).is_symlink()
    assert not where(node, COPY).exists()


def test_without_room_for_the_image_it_stays_out_but_is_not_taken_away(
    node: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = SimpleNamespace(f_bavail=199 << 8, f_frsize=4096)
    (node.root / "var/lib").mkdir(parents=True)
    monkeypatch.setattr("os.statvfs", lambda path: full)
    report = node.apply("boot", "{}\n")
    assert "199 MiB are free in /var, it needs 200" in str(report.as_dict())
    assert not where(node, LINK).is_symlink()
    full.f_bavail = 200 << 8
    node.apply("boot")
    full.f_bavail = 0  # k3s has unpacked it
    node.apply("boot")
    assert where(node, LINK).is_symlink()


def test_a_node_of_an_older_build_keeps_it_without_room_for_it_anew(
    node: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = where(node, OLD_LINK)
    old.parent.mkdir(parents=True)
    old.symlink_to(IMAGE)
    full = SimpleNamespace(f_bavail=0, f_frsize=4096)  # the upgrade used the rest
    monkeypatch.setattr("os.statvfs", lambda path: full)
    for _ in range(2):
        node.apply("boot", "{}\n")
        assert where(node, LINK).is_symlink()
        assert where(node, COPY).exists()
        assert '"k3os.io/operator=true"' in node.text("etc/rancher/k3s/config.yaml")


def test_switched_off_the_cluster_starts_none_here(node: Machine) -> None:
    node.apply("boot", "k3os: {operator: false}\n")
    assert '"k3os.io/operator=false"' in node.text("etc/rancher/k3s/config.yaml")


HANDED = ("give the operator's image to k3s", "later")


def test_switched_on_while_k3s_runs_it_does_not_wait_for_the_next_start(node: Machine) -> None:
    node.put(IMAGE_ID[1:], "sha256:5\n")
    off = "k3os: {operator: false}\n"
    node.apply("boot", off)
    assert HANDED not in of_the_operator(node.apply("runtime", off)), "k3s is still to start"
    node.put(HAS[1:], node.text("run/k3os/k3s-wants"))
    assert HANDED not in of_the_operator(node.apply("runtime", off))
    report = node.apply("runtime", "k3os: {operator: true}\n")
    assert HANDED in of_the_operator(report), "a directory runs nothing"
    assert where(node, COPY).exists()
    assert not_in_k3s(Node(str(node.root))) == [], "nobody is told to restart k3s"
    node.put(IMPORTED[1:], "sha256:4\n")  # from the previous version
    assert HANDED in of_the_operator(node.apply("runtime"))
    node.put(IMPORTED[1:], "sha256:5\n")
    assert HANDED not in of_the_operator(node.apply("runtime"))


def test_the_service_that_k3s_starts_hands_it_over(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("k3os.system.run.run", lambda argv, **_: started.append(argv) or b"")
    assert HandOver("k3os.operator", Place("x")).perform(Node()) == "done"
    assert started == [["systemctl", "--no-block", "start", "k3os-operator-image.service"]]
