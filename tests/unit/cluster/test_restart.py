"""A node that is restarted by hand, with a cluster of a few objects."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pytest

from k3os import names
from k3os.cluster import restart as module
from k3os.cluster.kubectl import NODES, POOLS, Conflict, Forbidden, NotNow, NotThere
from k3os.cluster.restart import ATTACHMENTS, BUDGETS, PODS, Order, restart
from k3os.errors import UserError
from k3os.system.units import later
from tests.unit.cluster import objects

SERVER = {"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/etcd": "true"}
ORDER = Order("reboot", 600)


class Clock:
    """Replaces the module's time: nothing sleeps. each: called after each pause."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.each: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.each()

    def time(self) -> float:
        return self.now

    monotonic = time


class Cluster:
    """Replaces Kubectl. programs: those started on the node; boots: whether it reboots; conflicts:
    how often a patch of a Node is refused."""

    def __init__(self, clock: Clock, *nodes: dict[str, Any], pools: Any = ()) -> None:
        self.clock = clock
        self.nodes = {each["metadata"]["name"]: each for each in nodes}
        self.pools = {each["metadata"]["name"]: each for each in pools}
        self.pods: list[dict[str, Any]] = []
        self.budgets: list[dict[str, Any]] = []
        self.attachments: list[dict[str, Any]] = []
        self.evicted: list[str] = []
        self.programs: list[list[str]] = []
        self.cordons: list[bool] = []
        self.refuse, self.forbidden = "", ""
        self.conflicts, self.output_fails = 0, False
        self.after = {names.BOOT_ID: "2"}
        for number, each in enumerate(self.nodes.values()):
            each["metadata"]["resourceVersion"] = str(number)
            each["metadata"]["annotations"].setdefault(names.BOOT_ID, "1")
            each.setdefault("spec", {})

    def object(self, path: str) -> dict[str, Any]:
        name = path.removeprefix(f"{NODES}/")
        if name not in self.nodes:
            raise NotThere("gone")
        return dict(self.nodes[name])

    def objects(self, path: str) -> dict[str, Any]:
        if path == POOLS and not self.pools:
            raise NotThere("no such kind")
        return {POOLS: self.pools, NODES: self.nodes}[path]

    def listed(self, path: str) -> list[dict[str, Any]]:
        plain, _, query = path.partition("?")
        if plain == self.forbidden:
            raise Forbidden(f"cannot list {plain}")
        if plain == PODS:
            node = unquote(query).removeprefix("fieldSelector=spec.nodeName=")
            return [each for each in self.pods if each["spec"]["nodeName"] == node]
        return {BUDGETS: self.budgets, ATTACHMENTS: self.attachments}[plain]

    def run(self, *arguments: str, stdin: bytes = b"") -> str:
        if arguments[0] == "create":
            return self._evict(arguments[1], json.loads(stdin))
        assert arguments[:2] == ("patch", "node") and arguments[3] == "--type=merge"
        body, change = self.nodes[arguments[2]], json.loads(arguments[4].partition("=")[2])
        version = change["metadata"]["resourceVersion"]
        if self.conflicts or version != body["metadata"]["resourceVersion"]:
            self.conflicts -= 1
            raise Conflict("the object has been modified")
        for name, value in change["metadata"]["annotations"].items():
            body["metadata"]["annotations"].pop(name, None)
            if value is not None:
                body["metadata"]["annotations"][name] = value
        if "spec" in change:
            body["spec"] = {"unschedulable": True} if change["spec"]["unschedulable"] else {}
            self.cordons.append(bool(change["spec"]["unschedulable"]))
        body["metadata"]["resourceVersion"] = f"{version}x"
        return ""

    def _evict(self, path: str, body: dict[str, Any]) -> str:
        name = body["metadata"]["name"]
        assert body["kind"] == "Eviction"
        assert path == f"--raw=/api/v1/namespaces/default/pods/{name}/eviction"
        if self.refuse == name:
            raise NotNow("Cannot evict pod as it would violate the pod's disruption budget.")
        self.evicted.append(name)
        self.pods = [each for each in self.pods if each["metadata"]["name"] != name]
        return ""

    def started(self, name: str, program: list[str]) -> None:
        self.programs.append(program)
        if "reboot" in program:
            self.nodes[name]["metadata"]["annotations"] |= self.after


class There:
    """Replaces the pod on the node."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name

    def output(self, program: Any, seconds: float) -> bytes:
        assert seconds > 0
        if self.cluster.output_fails:
            raise UserError("it failed")
        self.cluster.started(self.name, list(program))
        return b"done\n"


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    made = Clock()

    @contextmanager
    def there(kubectl: Any, node: Any, _: int) -> Iterator[There]:
        assert kubectl.nodes[node.name]["spec"]["unschedulable"], "it takes no pods any more"
        yield There(kubectl, node.name)

    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(module, "on_node", there)
    monkeypatch.setattr(module, "check_rights", lambda _: None)
    return made


def pod(name: str, node: str = "a", **more: Any) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "controller": True}
    meta = {
        "name": name,
        "namespace": "default",
        "ownerReferences": [owner],
        "labels": {"app": name},
    }
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": meta | more, "spec": {"nodeName": node}, "status": status}


def node(name: str = "a", **more: Any) -> dict[str, Any]:
    return objects.node(name, **more)


def done(cluster: Cluster, order: Order = ORDER, name: str = "a") -> tuple[Any, list[str]]:
    said: list[str] = []
    after = restart(cluster, name, order, said.append)  # type: ignore[arg-type]
    return after, said


def is_free(cluster: Cluster, name: str = "a") -> bool:
    body = cluster.nodes[name]
    return names.BY_HAND not in body["metadata"]["annotations"] and not body["spec"]


REBOOT = later(5, "systemctl", "--no-block", "reboot")


def test_its_pods_move_away_then_it_restarts_and_takes_pods_again(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.pods = [pod("web"), pod("other", "b")]
    after, said = done(cluster)
    assert after.boot_id == "2"
    assert cluster.evicted == ["web"]
    assert cluster.programs == [REBOOT]
    assert cluster.cordons == [True, False]
    assert is_free(cluster)
    assert said == [
        *("cordoned", "1 pod to move away", "its pods have moved away", "restarts"),
        "uncordoned",
    ]


def test_what_is_done_before_the_restart_is_done_when_its_pods_are_gone(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.pods = [pod("web")]
    _, said = done(cluster, Order("rollback", 600, program=("k3os", "upgrade", "--rollback")))
    assert cluster.programs == [["k3os", "upgrade", "--rollback"], REBOOT]
    assert "done" in said


def test_what_fails_on_the_node_leaves_it_as_it_was(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.output_fails = True
    with pytest.raises(UserError, match="it failed"):
        done(cluster)
    assert is_free(cluster) and cluster.cordons == [True, False]


def test_one_that_was_cordoned_before_stays_so(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.nodes["a"]["spec"] = {"unschedulable": True}
    _, said = done(cluster)
    assert cluster.nodes["a"]["spec"] == {"unschedulable": True}
    assert names.BY_HAND not in cluster.nodes["a"]["metadata"]["annotations"]
    assert said[0] == "cordoned already" and "uncordoned" not in said


def test_a_budget_holds_it_and_is_named_and_the_node_is_given_back(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.pods, cluster.refuse = [pod("web")], "web"
    selector = {"matchLabels": {"app": "web"}}
    status = {"currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 0}
    cluster.budgets = [
        {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": selector, "minAvailable": 1},
            "status": status | {"expectedPods": 1},
        }
    ]
    with pytest.raises(UserError, match=r"DrainTimeout: .*default/web.*PodDisruptionBudget"):
        done(cluster)
    assert cluster.programs == [] and is_free(cluster)


def test_a_pod_that_nothing_would_start_again_is_refused_unless_it_is_forced(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.pods = [pod("lonely", ownerReferences=[])]
    with pytest.raises(UserError, match=r"default/lonely has no controller.*") as caught:
        done(cluster)
    assert "--force" in caught.value.hint
    assert cluster.evicted == [] and is_free(cluster)
    done(cluster, Order("reboot", 600, force=True))
    assert cluster.evicted == ["lonely"]


def test_the_drain_is_the_one_of_its_nodepool(clock: Clock) -> None:
    pool = objects.pool(strategy={"drain": {"enabled": False}})
    cluster = Cluster(clock, node(), node("b"), pools=[pool])
    cluster.pods = [pod("web")]
    _, said = done(cluster)
    assert cluster.evicted == [] and module.STAY in said


def test_the_only_node_restarts_with_its_pods(clock: Clock) -> None:
    cluster = Cluster(clock, node())
    cluster.pods = [pod("web")]
    _, said = done(cluster)
    assert cluster.evicted == []
    assert any("no other node" in line for line in said)


def test_volumes_are_given_time_to_be_detached(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    source = {"source": {"persistentVolumeName": "v"}, "nodeName": "a", "attacher": "driver"}
    cluster.attachments = [{"metadata": {"name": "x"}, "spec": source}]
    started = clock.now
    _, said = done(cluster)
    assert clock.now - started >= 120
    assert any("volumes are still attached to it: v (driver)" in line for line in said)


MARK = {"command": "reboot", "until": 2000, "token": "other"}
REFUSED = {
    "a rollout works on it": (
        node(state={"step": "Draining"}),
        "rollout of the NodePool workers is working on a: Draining",
    ),
    "another call works on it": (
        node(notes={names.BY_HAND: json.dumps(MARK)}),
        "`kubectl k3os reboot` is working on it already",
    ),
    "on trial": (node(notes={names.TRIAL: "true"}), "still on trial"),
}


@pytest.mark.parametrize(("body", "words"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_before_anything_is_changed(
    clock: Clock, body: dict[str, Any], words: str
) -> None:
    cluster = Cluster(clock, body, node("b"))
    with pytest.raises(UserError, match=words):
        done(cluster)
    assert cluster.cordons == [] and cluster.programs == []


def test_a_mark_that_was_left_behind_and_a_change_that_failed_hold_nobody_up(clock: Clock) -> None:
    old = {names.BY_HAND: json.dumps({**MARK, "until": 900})}
    failed = {"step": "Failed", "reason": "JobFailed"}
    cluster = Cluster(clock, node(notes=old, state=failed), node("b"))
    done(cluster)
    assert is_free(cluster)


def test_a_missing_right_is_told_before_anything_is_changed(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.forbidden = ATTACHMENTS
    with pytest.raises(Forbidden, match="volumeattachments"):
        done(cluster)
    assert cluster.cordons == []


def test_a_node_that_changes_meanwhile_is_looked_at_again(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.conflicts = 2
    done(cluster)
    assert cluster.cordons == [True, False]
    cluster.conflicts, cluster.after = 100, {names.BOOT_ID: "3"}
    with pytest.raises(UserError, match="keep changing the node"):
        done(cluster)


def test_whoever_takes_the_mark_away_has_the_node(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.pods, cluster.refuse = [pod("web")], "web"

    def take_away() -> None:
        cluster.nodes["a"]["metadata"]["annotations"].pop(names.BY_HAND, None)

    clock.each = take_away
    with pytest.raises(UserError, match="somebody else"):
        done(cluster)
    assert cluster.programs == [] and cluster.cordons == [True]


def test_one_that_does_not_come_back_stays_cordoned(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.after = {}
    with pytest.raises(UserError, match="not back in time") as caught:
        done(cluster)
    assert "kubectl uncordon a" in caught.value.hint
    assert cluster.cordons == [True]
    assert names.BY_HAND not in cluster.nodes["a"]["metadata"]["annotations"]


def test_one_that_is_on_trial_is_waited_for(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.after = {names.BOOT_ID: "2", names.TRIAL: "true"}
    end = clock.now + 100

    def confirm() -> None:
        if clock.now > end:
            cluster.nodes["a"]["metadata"]["annotations"][names.TRIAL] = "false"

    clock.each = confirm
    _, said = done(cluster)
    assert "has booted, its version is on trial" in said
    assert clock.now > end


def test_one_that_is_ready_before_it_reports_its_boot_prints_no_empty_line(clock: Clock) -> None:
    cluster = Cluster(clock, node(), node("b"))
    cluster.after = {}
    body = cluster.nodes["a"]
    ready, notes = body["status"]["conditions"][0], body["metadata"]["annotations"]
    changes = iter(
        (
            lambda: ready.update(status="False"),
            lambda: ready.update(status="True"),  # the kubelet is back before `k3os report`
            lambda: notes.update({names.BOOT_ID: "2"}),
        )
    )

    def go_on() -> None:
        if cluster.programs:
            next(changes)()

    clock.each = go_on
    _, said = done(cluster)
    assert said[-3:] == ["restarts", "is not Ready: it restarts", "uncordoned"]


def test_one_that_is_unwell_is_given_a_minute_to_say_otherwise(clock: Clock) -> None:
    cluster = Cluster(clock, node(healthy="False"), node("b"))
    started = clock.now
    after, _ = done(cluster)
    assert after.healthy is False and clock.now - started >= module.UNWELL_SECONDS
    assert is_free(cluster)


def test_an_api_server_that_restarts_with_it_is_waited_for(clock: Clock) -> None:
    cluster = Cluster(clock, node())
    asked = []
    plain = cluster.object

    def object_(path: str) -> dict[str, Any]:
        if cluster.programs and len(asked) < 5:
            asked.append(path)
            raise UserError("kubectl: connection refused")
        return plain(path)

    cluster.object = object_  # type: ignore[method-assign]
    _, said = done(cluster)
    assert said.count("no answer: kubectl: connection refused") == 1
    assert is_free(cluster)


def servers(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [node(name, **SERVER) for name in ("s1", "s2")] + list(more)


def test_two_servers_that_are_begun_with_at_once_do_not_both_restart(clock: Clock) -> None:
    cluster = Cluster(clock, *servers(node("s3", **SERVER)))
    plain = cluster.run

    def run(*arguments: str, stdin: bytes = b"") -> str:
        answer = plain(*arguments, stdin=stdin)
        cluster.nodes["s2"]["metadata"]["annotations"][names.BY_HAND] = json.dumps(MARK)
        return answer

    cluster.run = run  # type: ignore[method-assign]
    with pytest.raises(UserError, match="one at a time"):
        done(cluster, name="s1")
    assert cluster.programs == [] and is_free(cluster, "s1")
