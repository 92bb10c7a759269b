"""The end of a failed trial: the machine restarts, no matter what still works."""

import pytest

from k3os.cli import confirm
from k3os.cluster import config_trial
from k3os.config.check import check_text
from k3os.config.load import Config
from k3os.node import boot_health
from k3os.system import power, run


@pytest.mark.parametrize("systemd_hangs", [False, True])
def test_the_machine_restarts_also_when_systemd_hangs(monkeypatch, systemd_hangs):
    done = []

    def ask(argv: list[str], **_: object) -> bytes:
        done.append(argv[0])
        if systemd_hangs:
            raise run.CommandError(argv, 1)
        return b""

    monkeypatch.setattr(run, "run", ask)
    monkeypatch.setattr(power, "reboot", lambda: done.append("reboot(2)"))
    boot_health.restart()
    assert done == (["systemctl", "reboot(2)"] if systemd_hangs else ["systemctl"])


@pytest.mark.parametrize(
    ("version", "port"), [((1, 31), "10248"), ((1, 32), "10999"), (None, "10999")]
)
def test_the_kubelet_is_asked_where_a_k3s_of_that_version_has_it_listen(version, port):
    """Before v1.32 it does not read the file that k3os.kubelet is written to."""
    text = b"k3os: {kubelet: {healthzPort: 10999}}"
    config = Config(check_text(text, "config.yaml")[0])
    assert boot_health.kubelet_port(config, version) == port


def test_what_is_still_missing_at_the_end_is_told():
    clock = iter(range(100))
    said = boot_health.wait(
        [lambda: "", lambda: "k3s' API server is not ready"],
        5,
        monotonic=lambda: next(clock),
        sleep=lambda _: None,
    )
    assert said == "k3s' API server is not ready (after 5 s)"


@pytest.mark.parametrize(
    ("state", "jobs", "said"),
    [
        ("running", "", ""),
        ("degraded", "", ""),
        (
            "starting",
            "3 k3os-confirm.service start running\n4 multi-user.target start waiting\n",
            "",
        ),
        (
            "starting",
            "3 k3os-confirm.service start running\n5 k3s.service start running\n"
            "6 connman.service start waiting\n",
            "systemd says starting, not done: k3s.service, connman.service",
        ),
        ("maintenance", "", "systemd says maintenance"),
        ("", "", "systemd says nothing"),
    ],
)
def test_systemd_is_up_or_says_what_it_waits_for(monkeypatch, state, jobs, said):
    answers = {"is-system-running": state, "list-jobs": jobs}
    monkeypatch.setattr(run, "run", lambda argv, **_: answers[argv[1]].encode())
    assert boot_health.systemd_is_up() == said


@pytest.fixture
def trial_of_configuration(tmp_path, monkeypatch):
    """A boot in which only a NodePool's configuration is on trial."""
    (tmp_path / "trial").write_text("30\n")
    for each in (confirm, boot_health):
        monkeypatch.setattr(each, "ON_TRIAL", str(tmp_path / "trial"))
    monkeypatch.setattr(boot_health, "BASE", str(tmp_path / "base"))
    monkeypatch.setattr(config_trial, "FRAGMENT_TRIAL", str(tmp_path / "record.json"))
    monkeypatch.setattr(config_trial, "FRAGMENT", str(tmp_path / "fragment.yaml"))
    monkeypatch.setattr("k3os.config.load.load_config", lambda **_: (None, []))
    monkeypatch.setattr(boot_health, "checks", lambda _: [])
    monkeypatch.setattr("os.geteuid", lambda: 0)
    config_trial.begin("r1", 30)
    (tmp_path / "fragment.yaml").write_text("new")
    done = []
    monkeypatch.setattr("k3os.node.cluster_report.request_report", lambda: done.append("report"))
    monkeypatch.setattr(boot_health, "restart", lambda: done.append("restart"))
    monkeypatch.setattr("k3os.system.console.say", done.append)
    return done


def test_a_healthy_configuration_stays(trial_of_configuration, tmp_path, monkeypatch):
    monkeypatch.setattr(boot_health, "wait", lambda *_: "")
    assert confirm.main([]) == 0
    assert trial_of_configuration == ["the new configuration is healthy: it stays", "report"]
    assert not config_trial.is_on_trial()
    assert not (tmp_path / "trial").exists()
    assert (tmp_path / "fragment.yaml").read_text() == "new"


def test_an_unhealthy_one_is_taken_back_by_the_next_boot(
    trial_of_configuration, tmp_path, monkeypatch
):
    monkeypatch.setattr(boot_health, "wait", lambda *_: "no interface has an address")
    assert confirm.main([]) == 1
    said = (
        "this configuration is not healthy, the former one comes back: no interface has an address"
    )
    assert trial_of_configuration == [said, "restart"]
    assert config_trial.attempt("") == 0
    assert not (tmp_path / "fragment.yaml").exists()
    assert not (tmp_path / "base").exists()
