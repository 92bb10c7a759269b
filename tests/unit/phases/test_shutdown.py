"""k3os.shutdown: the settings of kubelet and logind for how long a shutdown may wait for pods."""

import json

import pytest
import yaml

from k3os.config.check import check_text
from k3os.phases.k3s import DATA
from k3os.phases.phase_report import PhaseReport
from k3os.phases.shutdown import ARGUMENT, DROP_IN, LOGIND, SETTINGS

from .conftest import Machine

FILE = f"{DATA}/{DROP_IN}"[1:]
KEYS = "k3os: {shutdown: {grace_period: 45s, critical_grace_period: 1m}}\n"


def install_k3s(machine: Machine, version: str) -> None:
    machine.put(f"k3os/system/k3s/{version}/k3s", "")
    (machine.root / "k3os/system/current").mkdir()
    (machine.root / "k3os/system/current/k3s").symlink_to(f"../k3s/{version}")
    (machine.root / "run/k3os").mkdir(parents=True)
    (machine.root / "run/k3os/k3s").symlink_to("/k3os/system/current/k3s/k3s")


def kubelet(machine: Machine) -> tuple[str, str]:
    read = yaml.safe_load(machine.text(FILE))
    assert (read["kind"], read["apiVersion"]) == (
        *("KubeletConfiguration", "kubelet.config.k8s.io/v1beta1"),
    )
    return read["shutdownGracePeriod"], read["shutdownGracePeriodCriticalPods"]


def told(report: PhaseReport) -> list[str]:
    return [each.reason for each in report.results if each.key.startswith("k3os.shutdown")]


def is_there(machine: Machine, path: str) -> bool:
    return (machine.root / path[1:]).exists()


def test_pods_have_30_seconds_without_any_configuration(machine: Machine) -> None:
    report = machine.apply("boot", "{}\n")
    assert not report.failed, report.lines()
    assert kubelet(machine) == ("30s", "10s")
    assert "InhibitDelayMaxSec=35\n" in machine.text(LOGIND[1:])
    assert json.loads(machine.text(SETTINGS[1:])) == {"grace": 30, "critical": 10}


def test_the_keys_set_both_times(machine: Machine) -> None:
    config = "k3os: {shutdown: {gracePeriod: 1m30s, criticalGracePeriod: 20}}\n"
    assert not machine.apply("boot", config).failed
    assert kubelet(machine) == ("90s", "20s")
    assert "InhibitDelayMaxSec=95\n" in machine.text(LOGIND[1:])


def test_a_new_k3s_reads_the_file_by_itself(machine: Machine) -> None:
    install_k3s(machine, "v1.32.0+k3s1")
    machine.apply("boot", "{}\n")
    assert not is_there(machine, ARGUMENT)


@pytest.mark.parametrize("version", ["v1.22.3+k3s1", "v1.31.14+k3s1"])
def test_an_older_k3s_is_told_of_the_file_beside_other_arguments(
    machine: Machine, version: str
) -> None:
    install_k3s(machine, version)
    assert not machine.apply("boot", "{}\n").failed
    assert yaml.safe_load(machine.text(ARGUMENT[1:])) == {"kubelet-arg+": [f"config=/{FILE}"]}


def test_a_newer_k3s_is_not_told_any_more(machine: Machine) -> None:
    install_k3s(machine, "v1.31.14+k3s1")
    machine.apply("boot", "{}\n")
    link = machine.root / "k3os/system/current/k3s"
    link.unlink()
    link.symlink_to("../k3s/v1.33.1+k3s1")
    machine.put("k3os/system/k3s/v1.33.1+k3s1/k3s", "")
    machine.apply("boot")
    assert not is_there(machine, ARGUMENT)
    assert kubelet(machine) == ("30s", "10s")


OFF = "'--kubelet-arg=feature-gates=GracefulNodeShutdown=false'"
OWN_FILE = '{path: /etc/rancher/k3s/config.yaml, content: "kubelet-arg:\\n- config=/etc/mine"}'


@pytest.mark.parametrize(
    ("version", "config", "reason"),
    [
        ("v1.21.14+k3s1", "{}\n", "older than 1.22"),
        ("v1.33.1+k3s1", f"k3os: {{k3s_args: [{OFF}]}}\n", "switched off"),
        ("v1.30.1+k3s1", "k3os: {k3s_args: ['--kubelet-arg=config=/etc/mine']}\n", "name a file"),
        ("v1.30.1+k3s1", f"write_files: [{OWN_FILE}]\n", "name a file"),
    ],
)
def test_a_kubelet_that_would_not_start_with_it_is_left_alone(
    machine: Machine, version: str, config: str, reason: str
) -> None:
    machine.put(FILE, "of another version")
    install_k3s(machine, version)
    report = machine.apply("boot", config)
    assert not report.failed, report.lines()
    assert not any(is_there(machine, path) for path in (ARGUMENT, f"/{FILE}", LOGIND))
    assert any(reason in each for each in told(report)), told(report)
    # pods are ended without the kubelet
    assert json.loads(machine.text(SETTINGS[1:]))["grace"] == 30


def test_a_users_kubelet_file_does_not_hide_ours_where_k3s_reads_a_directory(
    machine: Machine,
) -> None:
    install_k3s(machine, "v1.33.1+k3s1")
    machine.apply("boot", "k3os: {k3s_args: ['--kubelet-arg=config=/etc/mine']}\n")
    assert kubelet(machine) == ("30s", "10s")


def test_zero_switches_it_off_and_takes_everything_back(machine: Machine) -> None:
    install_k3s(machine, "v1.31.14+k3s1")
    machine.apply("boot", "{}\n")
    assert not machine.apply("boot", "k3os: {shutdown: {grace_period: 0s}}\n").failed
    assert not any(is_there(machine, path) for path in (ARGUMENT, f"/{FILE}", LOGIND))
    assert json.loads(machine.text(SETTINGS[1:]))["grace"] == 0


def test_a_short_time_for_all_shortens_the_default_for_critical_pods(machine: Machine) -> None:
    report = machine.apply("boot", "k3os: {shutdown: {grace_period: 6s}}\n")
    assert not report.failed, report.lines()
    assert kubelet(machine) == ("6s", "2s")


def test_critical_pods_with_more_than_all_of_the_time_are_an_error_of_the_file() -> None:
    values, problems = check_text(KEYS.encode(), "config.yaml")
    assert [str(each) for each in problems] == [
        "config.yaml:1:61: k3os.shutdown.critical_grace_period: is more than "
        "k3os.shutdown.grace_period, which includes it; write 45s or less"
    ]
    assert "k3os.shutdown.grace_period" in values


def test_two_files_that_contradict_each_other_never_reach_the_kubelet(machine: Machine) -> None:
    machine.put("k3os/system/config.yaml", "k3os: {shutdown: {critical_grace_period: 40s}}\n")
    report = machine.apply("boot")
    assert [each.key for each in report.failed] == ["k3os.shutdown.critical_grace_period"]
    assert kubelet(machine) == ("30s", "10s")


@pytest.mark.parametrize("word", ["soon", "-5", "1.5s", "20m", "{}"])
def test_what_is_no_duration_is_an_error(word: str) -> None:
    text = f"k3os: {{shutdown: {{grace_period: {word}}}}}\n"
    values, problems = check_text(text.encode(), "config.yaml")
    assert len(problems) == 1 and not values


@pytest.mark.parametrize(
    "config",
    [
        "k3os: {k3s_args: [server, --data-dir, /var/lib/k3s]}\n",
        "k3os: {k3s_args: [server, -d=/var/lib/k3s/]}\n",
        "k3os: {k3s_args: [server, --data-dir=/other, --data-dir=/var/lib/k3s]}\n",
        "write_files: [{path: /etc/rancher/k3s/config.yaml, content: 'data-dir: /var/lib/k3s'}]\n",
        "write_files: [{path: /etc/rancher/k3s/config.yaml.d/a.yml, content: 'd: /var/lib/k3s'}]\n",
    ],
)
def test_another_data_directory_of_k3s_gets_the_file(machine: Machine, config: str) -> None:
    machine.apply("boot", config)
    assert is_there(machine, f"/var/lib/k3s/{DROP_IN}")
    assert not is_there(machine, f"/{FILE}")
