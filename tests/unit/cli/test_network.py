"""`k3os network resolv`: changed name servers reach the cluster DNS' pods."""

from pathlib import Path

import pytest

from k3os.cli import network
from k3os.phases import links, resolv


@pytest.fixture
def crictl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stub with two pods of the cluster DNS; returns its calls."""
    log = tmp_path / "called"
    program = tmp_path / "bin/crictl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$*" >>"{log}"\n[ ! -e "{tmp_path}/fails" ] || exit 1\n'
        '[ "$1" != pods ] || printf "%s\\n" 1111 2222\n'
    )
    program.chmod(0o755)
    log.write_text("")
    (tmp_path / "containerd.sock").write_text("")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return log


PODS = "pods --label k8s-app=kube-dns --state ready --quiet"


def test_pods_of_the_clusters_dns_start_anew(crictl: Path) -> None:
    network.renew_dns_pods(str(crictl.parent / "containerd.sock"))
    assert crictl.read_text().splitlines() == [PODS, "stopp 1111", "stopp 2222"]


def test_where_no_container_runs_nobody_is_asked(crictl: Path) -> None:
    network.renew_dns_pods(str(crictl.parent / "missing.sock"))
    assert crictl.read_text() == ""


def test_containers_that_cannot_be_asked_are_a_line_in_the_log(
    crictl: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (crictl.parent / "fails").write_text("")
    network.renew_dns_pods(str(crictl.parent / "containerd.sock"))
    assert "may keep the former name servers" in capsys.readouterr().out


def test_nothing_starts_anew_unless_the_servers_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, renewed = tmp_path / "connman", []
    monkeypatch.setattr(network, "PAUSE", 0)
    monkeypatch.setattr(network, "renew_dns_pods", lambda: renewed.append(source.read_text()))
    monkeypatch.setattr(resolv, "SOURCE", str(source))
    monkeypatch.setattr(resolv, "FILE", str(tmp_path / "ours"))
    for text, count in [
        ("nameserver 10.0.0.1\n", 1),
        ("# of another time\nnameserver 10.0.0.1\n", 1),
        ("", 1),
        ("search corp.test\nnameserver 10.0.0.1\n", 2),
        ("search corp.test\nnameserver 10.0.0.2\n", 3),
    ]:
        source.write_text(text)
        network.resolv()
        assert len(renewed) == count, text


def test_what_cannot_be_made_is_an_error_of_the_unit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = links.Report()
    monkeypatch.setattr(links, "main", lambda: report)
    monkeypatch.setattr(network.time, "sleep", lambda _: pytest.fail("connman waits for it"))
    report.missing.append("eth1 of bond0 is not there")
    assert network.main(["links"]) == 0
    report.failed.append("bond0 cannot be made: no")
    assert network.main(["links"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["eth1 of bond0 is not there"] * 2 + ["bond0 cannot be made: no"]


def test_servers_that_come_while_the_dns_starts_anew_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restarting it takes time, and a path unit misses changes while its service runs."""
    source, ours, renewed = tmp_path / "connman", tmp_path / "ours", []
    later = ["nameserver 10.0.0.2\n", "nameserver 10.0.0.2\n# the same\n"]

    def renew() -> None:
        renewed.append(ours.read_text())
        if later:
            source.write_text(later.pop(0))

    monkeypatch.setattr(network, "PAUSE", 0)
    monkeypatch.setattr(network, "renew_dns_pods", renew)
    monkeypatch.setattr(resolv, "SOURCE", str(source))
    monkeypatch.setattr(resolv, "FILE", str(ours))
    source.write_text("nameserver 10.0.0.1\n")
    network.resolv()
    assert "10.0.0.2" in ours.read_text()
    assert [text.split()[-1] for text in renewed] == ["10.0.0.1", "10.0.0.2"]
    assert not resolv.is_stale()
