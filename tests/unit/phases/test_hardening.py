"""k3os.hardening: cis: which settings k3s gets, where, and which are left out so that it can start.
The names are those of k3s' hardening guide."""

from __future__ import annotations

import os

import pytest
import yaml

from k3os.config.check import check_text
from k3os.config.hardening import NEEDED, contradictions
from k3os.phases import hardening
from k3os.phases.phase_report import ActionResult
from tests.unit.overlay.test_sysctls import DEFAULTS

from .conftest import Machine

DATA = "var/lib/rancher/k3s/server"
SETTINGS = hardening.SETTINGS.lstrip("/")
ON = "k3os: {hardening: cis}\n"
AGENT = "k3os: {hardening: cis, server_url: 'https://10.0.0.1:6443', token: some secret words}\n"


def with_k3s(machine: Machine, version: str) -> None:
    link = machine.root / "run/k3os/k3s"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(f"/k3os/system/k3s/{version}/k3s")


def settings(machine: Machine) -> dict[str, object]:
    found = yaml.safe_load(machine.text(SETTINGS))
    assert isinstance(found, dict)
    return found


def later(results: list[ActionResult]) -> dict[str, str]:
    return {each.what: each.reason for each in results if each.key == hardening.KEY and each.reason}


def test_a_server_is_told_all_of_it_and_has_the_files_that_are_named(machine: Machine) -> None:
    with_k3s(machine, "v1.33.1+k3s1")
    report = machine.apply("boot", ON)
    assert not report.failed
    assert not later(report.results)
    found = settings(machine)
    assert found["protect-kernel-defaults"] == found["secrets-encryption"] == "true"
    arguments = dict(each.split("=", 1) for each in found["kube-apiserver-arg+"])  # type: ignore[attr-defined]
    assert set(arguments["enable-admission-plugins"].split(",")) == {
        "NodeRestriction",
        "EventRateLimit",
    }
    assert arguments["service-account-extend-token-expiration"] == "false"
    for name in ("admission-control-config-file", "audit-policy-file"):
        path = arguments[name].lstrip("/")
        assert yaml.safe_load(machine.text(path))["kind"]
        assert machine.mode(path) == 0o600
    logs = os.path.dirname(arguments["audit-log-path"]).lstrip("/")
    assert machine.mode(logs) == machine.mode(DATA) == 0o700
    admission = yaml.safe_load(machine.text(arguments["admission-control-config-file"].lstrip("/")))
    plugins = {each["name"]: each["configuration"] for each in admission["plugins"]}
    assert set(plugins) == {"PodSecurity", "EventRateLimit"}
    assert plugins["PodSecurity"]["defaults"]["enforce"] == "restricted"
    assert plugins["PodSecurity"]["exemptions"]["namespaces"] == ["kube-system"]


def test_an_agent_is_told_what_is_the_kubelets_and_gets_no_files_of_a_server(
    machine: Machine,
) -> None:
    machine.apply("boot", AGENT)
    assert settings(machine).keys() == {"protect-kernel-defaults", "kubelet-arg+"}
    assert not (machine.root / DATA).exists()


def test_applying_it_twice_changes_nothing_the_second_time(machine: Machine) -> None:
    machine.apply("boot", ON)
    second = machine.apply("boot")
    assert {each.result for each in second.results if each.key == hardening.KEY} == {"unchanged"}


@pytest.mark.parametrize(
    ("version", "pods", "tokens"),
    [("v1.22.3+k3s1", False, False), ("v1.25.4+k3s1", True, False), ("v1.29.0+k3s1", True, True)],
)
def test_an_old_k3s_is_told_what_it_knows(
    machine: Machine, version: str, pods: bool, tokens: bool
) -> None:
    with_k3s(machine, version)
    report = machine.apply("boot", ON)
    assert ("restrict pods" in later(report.results)) is not pods
    assert ("PodSecurity\n" in machine.text(f"{DATA}/k3os-admission.yaml")) is pods
    arguments = str(settings(machine)["kube-apiserver-arg+"])
    assert ("service-account-extend-token-expiration" in arguments) is tokens


def test_a_cluster_that_began_without_encryption_is_not_told_to_begin_with_it(
    machine: Machine,
) -> None:
    (machine.root / DATA / "tls").mkdir(parents=True)
    report = machine.apply("boot", ON)
    assert "secrets-encryption" not in settings(machine)
    assert "encrypt secrets" in later(report.results)


def test_a_cluster_that_encrypts_goes_on_when_the_profile_goes(machine: Machine) -> None:
    machine.apply("boot", ON)
    machine.put(f"{DATA}/tls/x", "")
    machine.put(f"{DATA}/cred/encryption-config.json", "{}")
    assert settings(machine)["secrets-encryption"] == "true"
    machine.apply("boot", "hostname: a\n")
    assert settings(machine) == {"secrets-encryption": "true"}
    assert not (machine.root / f"{DATA}/k3os-admission.yaml").exists()


def test_without_it_nothing_of_it_is_there(machine: Machine) -> None:
    machine.apply("boot", ON)
    machine.apply("boot", "hostname: a\n")
    assert not (machine.root / SETTINGS).exists()
    assert not (machine.root / f"{DATA}/k3os-audit.yaml").exists()


@pytest.mark.parametrize("name", ["kernel.panic", "kernel/panic"])
def test_a_setting_with_which_the_kubelet_would_end_is_said_and_it_is_not_told_to(
    machine: Machine, name: str
) -> None:
    text = f"k3os: {{hardening: cis, sysctls: {{{name}: 5}}}}\n"
    values, problems = check_text(text.encode(), "f")
    (told,) = contradictions(values)
    assert not problems
    assert told.key == f"k3os.sysctls.{name}"
    assert "write 10" in str(told)
    report = machine.apply("boot", text)
    assert "protect-kernel-defaults" not in settings(machine)
    assert any("kernel settings" in what for what in later(report.results))


def test_what_the_kubelet_insists_on_k3os_has_without_being_asked() -> None:
    ours = {name: value for name, value in NEEDED.items() if not name.startswith("kernel.keys.")}
    assert ours.items() <= DEFAULTS.items()
