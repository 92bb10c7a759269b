"""`k3os report` as a whole, to a server that requires the kubelet's certificate."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k3os import names
from k3os.cluster import kubelet, own_node, readiness, result
from k3os.cluster.node_status import NodeStatus
from k3os.node import cluster_report
from k3os.system.http_mutual import NoAnswer
from tests.api_server import ApiServer, api_server

STATUS = NodeStatus(
    phases_file={"mode": "disk"},
    versions={"running": {"k3os": "1.0.0", "kernel": "6.12", "k3s": "v1.33.1+k3s1"}},
    boot_id="b2",
)
REBOOTING = result.record("r1", names.REBOOTING, "", "b1", {"k3os": "1.0.0"})


class Machine:
    """collected: how often the status was collected. commands: the commands that were started."""

    def __init__(self) -> None:
        self.collected = 0
        self.commands: list[list[str]] = []
        self.result: dict[str, Any] = {}

    def collect(self) -> NodeStatus:
        self.collected += 1
        return STATUS

    def run(self, command: list[str], **_: object) -> bytes:
        self.commands.append(command)
        return b""

    def write(self, record: dict[str, Any]) -> None:
        self.result = record


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr("k3os.node.status.collect", found.collect)
    monkeypatch.setattr("k3os.system.run.run", found.run)
    monkeypatch.setattr(cluster_report, "SENT", str(tmp_path / "sent"))
    monkeypatch.setattr(readiness, "FILE", str(tmp_path / "ready"))
    monkeypatch.setattr(own_node, "remember_labels", lambda _: None)
    monkeypatch.setattr(cluster_report, "node_name", lambda _: "me")
    monkeypatch.setattr(result, "read", lambda: found.result)
    monkeypatch.setattr(result, "write", found.write)
    return found


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    directory = tmp_path / "api"
    directory.mkdir()
    with api_server(directory, "me") as found:
        path, known = str(directory / "kubelet.kubeconfig"), kubelet.api
        monkeypatch.setattr(kubelet, "api", lambda: known(path))
        yield found


def test_the_node_and_its_condition_are_sent_over_one_connection(
    machine: Machine, server: ApiServer
) -> None:
    assert cluster_report.tell() == 0
    assert [each[0] for each in server.seen] == ["/api/v1/nodes/me", "/api/v1/nodes/me/status"]
    assert server.seen[0][2]["metadata"]["annotations"][names.K3OS] == "1.0.0"
    condition = server.seen[1][2]["status"]["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("True", "AsConfigured")
    assert json.loads(Path(cluster_report.SENT).read_text()) == condition
    assert server.connections == 1
    assert machine.collected == 1
    assert machine.commands == [["systemctl", "start", "--no-block", cluster_report.READY_UNIT]]


def test_nothing_is_collected_for_a_server_that_is_not_there(
    machine: Machine, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = kubelet.api()
    assert own is not None
    monkeypatch.setattr(kubelet, "api", lambda: kubelet.Api("https://127.0.0.1:9", own.identity))
    with pytest.raises(NoAnswer):
        cluster_report.tell()
    assert machine.collected == 0


@pytest.mark.parametrize("is_registered", [True, False])
def test_the_reboot_that_a_request_announced_is_completed_without_a_server_too(
    machine: Machine, server: ApiServer, monkeypatch: pytest.MonkeyPatch, is_registered: bool
) -> None:
    machine.result = REBOOTING
    own = kubelet.api()
    assert own is not None
    away = kubelet.Api("https://127.0.0.1:9", own.identity)
    monkeypatch.setattr(kubelet, "api", lambda: away if is_registered else None)
    if is_registered:
        with pytest.raises(NoAnswer):
            cluster_report.tell()
    else:
        assert cluster_report.tell() == 0
    assert (machine.result["request"], machine.result["state"]) == ("r1", names.SUCCEEDED)


def test_the_result_of_a_request_is_told(machine: Machine, server: ApiServer) -> None:
    machine.result = REBOOTING
    cluster_report.tell()
    told = json.loads(server.seen[0][2]["metadata"]["annotations"][names.LAST_RESULT])
    assert (told["request"], told["state"]) == ("r1", names.SUCCEEDED)
    assert machine.result["state"] == names.SUCCEEDED


def test_a_connection_that_the_server_has_closed_meanwhile_is_made_anew(server: ApiServer) -> None:
    own = kubelet.api()
    assert own is not None
    with own as api:
        api.patch_node("me", {"a": 1})
        server.troubles = [(0, "")]  # it hangs up
        api.patch_node("me", {"b": 2})
        assert server.connections == 2
    assert [each[2] for each in server.seen] == [{"a": 1}, {"b": 2}]


def test_a_server_that_hangs_up_again_and_again_is_no_answer(server: ApiServer) -> None:
    own = kubelet.api()
    assert own is not None
    with own as api:
        api.patch_node("me", {})
        server.troubles = [(0, "")] * 2
        with pytest.raises(NoAnswer, match="does not answer"):
            api.patch_node("me", {})
    assert server.asked == 3


def test_each_answer_over_one_connection_has_its_own_end(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the second one, which uses the existing connection."""
    own = kubelet.api()
    assert own is not None
    url = f"{own.server}/api/v1/nodes/me"
    with own as api:
        api.patch_node("me", {})
        assert api.connection is not None
        server.answers.clear()
        try:
            with pytest.raises(NoAnswer, match="does not answer"):
                api.connection.request("PATCH", url, b"{}", deadline=0.3)
        finally:
            server.answers.set()


def test_without_a_context_each_request_has_a_connection_of_its_own(server: ApiServer) -> None:
    own = kubelet.api()
    assert own is not None
    own.patch_node("me", {})
    own.patch_node("me", {})
    assert server.connections == 2


def test_a_node_is_watched_over_one_connection_until_it_is_ready(
    machine: Machine, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(cluster_report, "seconds_running", lambda: 0.0)
    server.is_ready = [False, False, True]
    assert cluster_report.until_ready() == 0
    assert (server.is_ready, server.connections) == ([], 1)
    assert json.loads(Path(readiness.FILE).read_text())["status"] == "True"
