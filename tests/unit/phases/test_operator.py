"""k3os.operator: what of the operator lies where k3s finds it, on which nodes."""

from pathlib import Path

import pytest

from k3os.phases.operator import COPY, IMAGE, LINK, MANIFESTS
from k3os.phases.report import Report

from .conftest import Machine

AGENT = "k3os: {server_url: 'https://s:6443', token: x}\n"


@pytest.fixture
def node(machine: Machine) -> Machine:
    """Of an image with an operator."""
    machine.put(IMAGE[1:], "image")
    machine.put(MANIFESTS[1:], "kind: Namespace\n")
    return machine


def where(node: Machine, path: str) -> Path:
    return node.root / path[1:]


def of_the_operator(report: Report) -> list[tuple[str, str]]:
    return [(each.what, each.result) for each in report.results if each.key == "k3os.operator"]


def test_a_server_gets_a_link_to_the_image_and_a_copy_of_the_objects(node: Machine) -> None:
    report = node.apply("boot", "{}\n")
    assert not report.failed, report.lines()
    assert where(node, LINK).readlink() == Path(IMAGE)
    assert node.text(COPY[1:]) == "kind: Namespace\n"
    assert node.mode(COPY[1:]) == 0o600


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
