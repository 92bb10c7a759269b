"""What a node reports about itself, and how: to a server that requires the kubelet's
certificate."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k3os import names
from k3os.cluster import kubelet, own_node
from k3os.cluster.impact import canonical, fragment_hash
from k3os.cluster.node_status import Disk, Failure, NodeStatus, Rollback, Verified
from k3os.config.check import check_text
from k3os.config.load import Config
from k3os.errors import UserError
from k3os.node import cluster_report as command
from k3os.node.cluster_report import node_name
from k3os.phases import operator, operator_room
from k3os.system.frozen import replace
from k3os.system.http_mutual import Identity
from tests.api_server import COMING_UP, ApiServer, api_server

STATUS = NodeStatus(
    phases_file={"mode": "disk"},
    versions={"running": {"k3os": "1.0.0", "kernel": "6.12", "k3s": "v1.33.1+k3s1"}},
    boot_id="b1",
)
BAD = Failure("runtime", "a.yaml:3:1: hostname: bad", "a.yaml")
FRAGMENT = {"k3os": {"labels": {"tier": "gold"}}}


def test_versions_labels_and_the_fragment_in_force_are_told(tmp_path: Path) -> None:
    path = tmp_path / own_node.FRAGMENT.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_bytes(canonical(FRAGMENT))
    said = own_node.metadata(STATUS, {"tier": "gold"}, {}, str(tmp_path))["metadata"]
    assert said["labels"] == {
        "tier": "gold",
        names.MODE_LABEL: "disk",
        names.VERSION_LABEL: "1.0.0",
    }
    assert said["annotations"][names.K3S] == "v1.33.1+k3s1"
    assert said["annotations"][names.CONFIG_HASH] == fragment_hash(FRAGMENT)
    assert names.LAST_RESULT not in said["annotations"]


def test_the_operators_image_is_told_when_k3s_has_it(tmp_path: Path) -> None:
    def told() -> object:
        notes = own_node.metadata(STATUS, {}, {}, str(tmp_path))["metadata"]["annotations"]
        return notes.get(names.IMAGE, "as it was")

    assert told() is None, "what a merge patch deletes"
    paths = (operator.IMAGE_ID, operator.LINK, operator_room.IMPORTED)
    known, link, imported = (tmp_path / path.lstrip("/") for path in paths)
    for each in (known, link, imported):
        each.parent.mkdir(parents=True)
    known.write_text("sha256:5\n")
    assert told() is None, "k3os.operator is off"
    link.symlink_to("elsewhere")
    assert told() == "as it was", "k3s starts; at the first boot nothing is there"
    imported.write_text("sha256:4\n")
    assert told() == "as it was"
    imported.write_text("sha256:5\n")
    assert told() == "sha256:5"


def test_whether_pods_of_the_operator_may_come_is_told_without_a_new_start_of_k3s(
    tmp_path: Path,
) -> None:
    def told(**own: str) -> object:
        patch = own_node.metadata(STATUS, dict(own), {}, str(tmp_path))
        own_node.remember_labels(patch["metadata"]["labels"], str(tmp_path))
        return patch["metadata"]["labels"].get(names.OPERATOR_LABEL, "as it was")

    assert told() == "as it was", "an image without an operator"
    known, link = (tmp_path / each.lstrip("/") for each in (operator.IMAGE_ID, operator.LINK))
    for each in (known, link):
        each.parent.mkdir(parents=True, exist_ok=True)
    known.write_text("sha256:5\n")
    assert told() == "false"
    link.symlink_to("elsewhere")
    assert told() == "true"
    assert told(**{names.OPERATOR_LABEL: "false"}) == "false", "the user's word"
    assert own_node.labels({}, root=str(tmp_path)) in ({}, {names.OPERATOR_LABEL: None})


def test_a_label_that_left_the_configuration_leaves_the_node(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert own_node.labels({"tier": "gold", "a": "b"}, root=root) == {"tier": "gold", "a": "b"}
    own_node.remember_labels({"tier": "gold", "a": "b"}, root)
    patch = own_node.metadata(STATUS, own_node.labels({"a": "c"}, root=root), {}, root)
    assert patch["metadata"]["labels"]["tier"] is None  # a merge patch deletes it
    assert patch["metadata"]["labels"]["a"] == "c"
    own_node.remember_labels(patch["metadata"]["labels"], root)
    assert own_node.labels({}, root=root) == {"a": None}


def test_a_configuration_with_an_error_takes_no_label_away(tmp_path: Path) -> None:
    root = str(tmp_path)
    own_node.remember_labels({"tier": "gold"}, root)
    sent = own_node.labels({"new": "x"}, sure=False, root=root)
    assert sent == {"new": "x"}
    own_node.remember_labels(sent, root)
    assert own_node.labels({}, root=root) == {"tier": None, "new": None}


@pytest.mark.parametrize(
    ("changes", "failures", "reason", "words"),
    [
        ({}, [], "AsConfigured", "everything"),
        ({}, [BAD] * 5, "NotApplied", "a.yaml:3:1: hostname"),
        (
            {"verified": Verified({"damaged": {"x": "y"}})},
            [Failure("verify", "x: y")],
            "Damaged",
            "verify: x",
        ),
        (
            {"rollback": Rollback({"failed": {"k3os": "2.0"}, "reason": "it hung"})},
            [],
            "RolledBack",
            "k3os 2.0 did not come up: it hung",
        ),
        (
            {"disk": Disk(level="full", words="/var is full: 1 %")},
            [Failure("disk", "/var is full: 1 %"), BAD],
            "DiskFull",
            "/var is full: 1 %; runtime: a.yaml:3:1",
        ),
        ({"disk": Disk(errors="vda1: 3")}, [Failure("disk", "vda1: 3")], "DiskErrors", "vda1: 3"),
        ({"disk": Disk(level="low", words="/var is low")}, [], "AsConfigured", "/var is low"),
        ({"disk": Disk()}, [], "AsConfigured", "everything was applied"),
        ({"clock_in_doubt": "1970"}, [], "ClockInDoubt", "time server"),
    ],
)
def test_the_condition_says_what_is_wrong(changes, failures, reason, words) -> None:
    said = own_node.condition(replace(STATUS, **changes), failures, "now", {})
    assert said["reason"] == reason
    assert words in said["message"]
    assert said["status"] == ("True" if reason == "AsConfigured" else "False")


def test_the_condition_keeps_the_time_of_its_last_change() -> None:
    one = own_node.condition(STATUS, [], "1", {})
    two = own_node.condition(STATUS, [], "2", one)
    assert (two["lastTransitionTime"], two["lastHeartbeatTime"]) == ("1", "2")
    assert own_node.condition(STATUS, [BAD], "3", two)["lastTransitionTime"] == "3"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("k3os: {k3s_args: [server, --node-name, chosen]}", "chosen"),
        ("k3os: {k3s_args: [server, --node-name=chosen]}", "chosen"),
        ("hostname: other", "pinned"),
    ],
)
def test_the_node_is_the_one_that_k3s_registered(tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / "name").write_text("pinned\n")
    config = Config(check_text(text.encode(), "config.yaml")[0])
    assert node_name(config, str(tmp_path / "name")) == wanted


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ("[--with-node-id]", "pinned-1a2b3c4d"),
        ("[agent, --with-node-id=true, --node-name=Chosen]", "chosen-1a2b3c4d"),
        ("[--with-node-id, --with-node-id=false]", "pinned"),
        ("[]", "pinned"),
    ],
)
def test_the_node_has_the_id_in_its_name_that_k3s_was_asked_for(
    tmp_path: Path, args: str, wanted: str
) -> None:
    (tmp_path / "name").write_text("pinned\n")
    config = Config(check_text(f"k3os: {{k3s_args: {args}}}".encode(), "config.yaml")[0])
    assert (
        node_name(config, str(tmp_path / "name"), str(tmp_path / "id")) == wanted.partition("-")[0]
    )
    (tmp_path / "id").write_text("1a2b3c4d")
    assert node_name(config, str(tmp_path / "name"), str(tmp_path / "id")) == wanted


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api"), "me") as found:
        yield found


def own_api(server: ApiServer) -> kubelet.Api:
    found = kubelet.api(str(server.directory / "kubelet.kubeconfig"))
    assert found is not None
    return found


def test_it_speaks_as_the_kubelet_and_merges(server: ApiServer) -> None:
    api = own_api(server)
    api.patch_node("me", {"metadata": {}})
    api.patch_node("me", {"status": {"conditions": []}}, status=True)
    assert [each[:2] for each in server.seen] == [
        ("/api/v1/nodes/me", kubelet.MERGE),
        ("/api/v1/nodes/me/status", kubelet.STRATEGIC),
    ]
    assert server.seen[0][3]["commonName"] == "system:node:me"


def test_an_authority_without_identifiers_is_trusted_by_a_strict_python_too(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ssl.create_default_context

    def strict(**given: str) -> ssl.SSLContext:
        """Like Python 3.13."""
        context = usual(**given)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    own_api(server).patch_node("me", {})


def test_a_refusal_and_a_server_that_is_down_are_told(server: ApiServer, tmp_path: Path) -> None:
    api = own_api(server)
    with pytest.raises(UserError, match='nodes "you" is forbidden'):
        api.patch_node("you", {})
    with pytest.raises(UserError, match="does not answer"):
        kubelet.Api("https://127.0.0.1:9", api.identity).patch_node("me", {})


def test_before_k3s_registered_there_is_nobody_to_tell(tmp_path: Path) -> None:
    assert kubelet.api(str(tmp_path / "none")) is None
    (tmp_path / "bad").write_text("clusters: []")
    with pytest.raises(UserError, match="is not a kubeconfig"):
        kubelet.api(str(tmp_path / "bad"))


def test_the_critical_pods_of_the_own_node_are_known_by_their_priority(server: ApiServer) -> None:
    priorities = {"web": None, "batch": 1000, "dns": 2_000_000_000, "proxy": 2_000_001_000}
    server.pods = [
        {
            "metadata": {"namespace": "a", "name": uid, "uid": uid},
            "spec": {} if value is None else {"priority": value},
            "status": {},
        }
        for uid, value in priorities.items()
    ]
    found = own_api(server).pods("me", 5)
    assert [pod["metadata"]["uid"] for pod in found if kubelet.is_critical(pod)] == [
        *("dns", "proxy"),
    ]
    with pytest.raises(UserError, match="lists no pods: 403 pods is forbidden"):
        own_api(server).pods("another", 5)


class Clock:
    """Time that only advances in sleep()."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def patiently(self, attempt: Callable[[], int]) -> int:
        return command.patiently(attempt, monotonic=self.monotonic, sleep=self.sleep)


def test_an_api_server_that_comes_up_is_waited_for_and_one_line_says_so(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api, clock = own_api(server), Clock()
    server.troubles = list(COMING_UP)
    tries = 0

    def tell() -> int:
        nonlocal tries
        tries += 1
        api.patch_node("me", {})
        return 0

    assert clock.patiently(tell) == 0
    assert tries == len(COMING_UP) + 1
    told = capsys.readouterr()
    assert told.out.startswith("waiting: ") and told.out.count("\n") == 1
    assert told.err == ""


@pytest.mark.parametrize(
    ("trouble", "code", "words"),
    [
        ((503, "apiserver not ready"), 75, "apiserver not ready"),
        ((0, ""), 75, "does not answer"),
        ((404, 'nodes "me" not found'), 1, "under another name"),
    ],
)
def test_the_wait_has_an_end_and_says_what_it_waited_for(
    server: ApiServer, trouble: tuple[int, str], code: int, words: str
) -> None:
    api, clock = own_api(server), Clock()
    server.troubles = [trouble] * 1000
    with pytest.raises(UserError, match=words) as caught:
        clock.patiently(lambda: api.patch_node("me", {}) or 0)
    server.troubles = []
    assert caught.value.exit_code == code
    assert command.PATIENCE <= clock.now < command.PATIENCE + command.LONGEST_PAUSE


def test_what_no_patience_changes_is_told_at_once(server: ApiServer, tmp_path: Path) -> None:
    api, clock = own_api(server), Clock()
    with pytest.raises(UserError, match="forbidden") as caught:
        clock.patiently(lambda: api.patch_node("you", {}) or 0)
    assert caught.value.exit_code == 1
    stranger = Identity(
        str(server.directory / "kubelet-ca.crt"), api.identity.certificate, api.identity.key
    )
    with pytest.raises(UserError, match="is not trusted"):
        clock.patiently(lambda: kubelet.Api(api.server, stranger).patch_node("me", {}) or 0)
    assert clock.now == 0


def test_news_leave_a_mark_and_a_place_that_cannot_be_written_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.request_report(str(tmp_path / "wanted"))
    command.request_report(str(tmp_path / "wanted"))
    assert (tmp_path / "wanted").exists()
    command.request_report(str(tmp_path / "none" / "wanted"))
    assert "the cluster hears of it later" in capsys.readouterr().err


def ended(reason: str, message: str, owner: str) -> dict[str, object]:
    owners = [{"kind": owner, "controller": True}] if owner else []
    return {
        "metadata": {"ownerReferences": owners},
        "status": {"reason": reason, "message": message},
    }


IMMINENT = "Pod was terminated in response to imminent node shutdown."


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (ended("Terminated", IMMINENT, "ReplicaSet"), True),
        (
            ended("NodeShutdown", "Pod was rejected as the node is shutting down.", "ReplicaSet"),
            True,
        ),
        (ended("Terminated", IMMINENT, ""), False),
        (ended("Terminated", IMMINENT, "Job"), False),
        (ended("Evicted", "The node was low on resource: memory.", "ReplicaSet"), False),
        ({"metadata": {}, "status": {}}, False),
    ],
)
def test_only_what_a_shutdown_ended_and_a_deployment_replaced_is_deleted(
    pod: dict[str, object], expected: bool
) -> None:
    assert kubelet.is_replaced(pod) == expected
