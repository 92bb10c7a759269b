"""`k3os shutdown`: what it says, when it ends, and what it does when k3s cannot help."""

import json
import os
import signal
from pathlib import Path

import pytest

from k3os.cli.main import main
from k3os.errors import UserError
from k3os.k3s import pods as node_pods
from k3os.k3s.pods import Pod
from k3os.node import shutdown
from k3os.system.run import run

KNOWN = {"grace": 30, "critical": 10}


class Node:
    """Pods that end at a time, a clock, a console."""

    def __init__(self, ends: dict[str, float], critical: set[str] | None) -> None:
        self.ends = ends
        self.critical = critical
        self.now = 100.0
        self.said: list[str] = []
        self.told: list[str] = []
        self.killed: list[str] = []

    def running(self) -> list[Pod]:
        return [Pod(uid, f"default/{uid}", "") for uid, end in self.ends.items() if self.now < end]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def terminate(self, pod: Pod) -> None:
        self.told.append(f"{pod.uid} {self.now - 100:.0f}")

    def kill(self, pod: Pod) -> None:
        self.killed.append(f"{pod.uid} {self.now - 100:.0f}")
        self.ends[pod.uid] = self.now


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def node(ends: dict[str, float], critical: set[str] | None = None) -> Node:
        made = Node({uid: 100 + seconds for uid, seconds in ends.items()}, critical)
        monkeypatch.setattr(shutdown, "BEGUN", str(tmp_path / "begun"))
        monkeypatch.setattr(shutdown, "ENDED", str(tmp_path / "ended"))
        monkeypatch.setattr(shutdown, "_now", lambda: made.now)
        monkeypatch.setattr(shutdown.time, "sleep", made.sleep)
        monkeypatch.setattr(shutdown, "critical_pods", lambda: made.critical)
        monkeypatch.setattr("k3os.system.console.say", made.said.append)
        monkeypatch.setattr("k3os.system.remote.remote_mounts", list)
        monkeypatch.setattr("k3os.system.remote.hurry_iscsi", lambda: 0)
        for name in ("running", "terminate", "kill"):
            monkeypatch.setattr(node_pods, name, getattr(made, name))
        monkeypatch.setattr(node_pods, "kill_runtime", lambda: 0)
        return made

    return node


def test_it_says_how_many_pods_it_waits_for_which_and_how_long_it_took(make) -> None:
    node = make({"web": 7, "db": 12})
    shutdown.watch(KNOWN)
    assert node.said == [
        "stopping 2 pods, 30 s at most",
        "waiting for default/web, default/db",
        "waiting for default/db",
        "all pods have ended, after 12 s",
    ]


def test_it_ends_with_the_time_of_the_pods_whatever_they_do(make) -> None:
    node = make({"hung": 1000})
    shutdown.watch(KNOWN)
    assert node.now - 100 == 35
    assert node.said[-1] == "waiting for default/hung"


@pytest.mark.parametrize("slow", ["sleep", "critical_pods"])
def test_services_are_stopped_before_the_end_of_the_last_pod_was_seen(
    make, monkeypatch, slow
) -> None:
    node = make({"web": 7})

    def until_systemd_stops_it(seconds: float = 0) -> None:
        node.now = 111
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")  # signals are handled before the next statement

    where = shutdown.time if slow == "sleep" else shutdown
    monkeypatch.setattr(where, slow, until_systemd_stops_it)
    handler = signal.getsignal(signal.SIGTERM)
    shutdown.watch(KNOWN)
    assert node.said == ["stopping 1 pod, 30 s at most", "all pods have ended, after 11 s"]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_services_are_stopped_while_pods_are_left(make, monkeypatch) -> None:
    node = make({"hung": 1000})
    monkeypatch.setattr(shutdown.time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    shutdown.watch(KNOWN)
    assert node.said == ["stopping 1 pod, 30 s at most"]


def test_without_pods_it_says_nothing_and_leaves_nothing_to_tidy(make) -> None:
    node = make({})
    shutdown.watch(KNOWN)
    assert not node.said
    assert not Path(shutdown.ENDED).exists()


class Api:
    """The API of k3s, which takes a while to answer."""

    def __init__(self, pods: list[dict], answers_at: float, node: Node) -> None:
        self.listed = pods
        self.answers_at = answers_at
        self.node = node
        self.deleted: list[tuple[str, str, str]] = []

    def pods(self, name: str, timeout: float, phase: str) -> list[dict]:
        if self.node.now < self.answers_at:
            raise UserError("127.0.0.1:6443 does not answer")
        assert phase == "Failed"
        return self.listed

    def delete_pod(self, *pod: str) -> None:
        self.deleted.append(pod)


def ended(name: str, kind: str) -> dict:
    owner = {"kind": kind, "controller": True}
    meta = {"namespace": "a", "name": name, "uid": f"u-{name}", "ownerReferences": [owner]}
    message = "Pod was terminated in response to imminent node shutdown."
    return {"metadata": meta, "status": {"reason": "Terminated", "message": message}}


@pytest.mark.parametrize(("answers_at", "code"), [(120.0, 0), (1000.0, 1)])
def test_what_was_replaced_is_deleted_when_the_api_answers(
    make, monkeypatch: pytest.MonkeyPatch, answers_at: float, code: int
) -> None:
    node = make({"web": 1})
    shutdown.watch(KNOWN)
    assert Path(shutdown.ENDED).exists()
    api = Api([ended("web", "ReplicaSet"), ended("once", "Job")], answers_at, node)
    monkeypatch.setattr("k3os.cluster.kubelet.api", lambda: api)
    monkeypatch.setattr(shutdown, "own_name", lambda: "me")
    monkeypatch.setattr("k3os.system.os_release.os_id", lambda root: "k3os")
    assert main(["shutdown", "tidy"]) == code
    assert api.deleted == ([("a", "web", "u-web")] if code == 0 else [])
    assert Path(shutdown.ENDED).exists() == (code == 1)


def test_which_pods_are_critical_is_known_when_k3s_has_stopped(make) -> None:
    node = make({"web": 1000, "dns": 1000}, {"web"})
    shutdown.watch({**KNOWN, "grace": 1})
    assert json.loads(Path(shutdown.BEGUN).read_text()) == {"begun": 100.0, "critical": ["web"]}
    node.now = 100.0
    shutdown.finish(KNOWN)
    assert node.told == ["dns 0", "web 20"]


def test_what_k3s_left_is_told_then_killed_in_order_and_in_time(make) -> None:
    node = make({"web": 1000, "dns": 1000}, {"dns"})
    Path(shutdown.BEGUN).write_text(json.dumps({"begun": 100.0, "critical": ["dns"]}))
    shutdown.finish(KNOWN)
    assert node.told == ["web 0", "dns 20"]
    assert node.killed == ["web 20", "dns 30"]
    assert "stopping 2 pods without k3s: default/web, default/dns" in node.said
    assert "default/web did not end in time" in node.said


def test_time_that_the_kubelet_has_used_is_not_given_again(make) -> None:
    node = make({"web": 1000})
    Path(shutdown.BEGUN).write_text(json.dumps({"begun": 65.0}))
    shutdown.finish(KNOWN)
    assert node.now - 100 < 3
    assert (node.told, node.killed) == (["web 0"], ["web 2"]), "nothing is killed without a word"


def test_a_pod_that_nobody_told_in_its_time_still_ends_by_itself(make) -> None:
    node = make({"db": 1})
    Path(shutdown.BEGUN).write_text(json.dumps({"begun": 65.0}))
    shutdown.finish(KNOWN)
    assert (node.told, node.killed) == (["db 0"], [])


def test_a_shutdown_that_was_called_off_takes_no_time_from_the_next(make) -> None:
    node = make({"web": 2})
    Path(shutdown.BEGUN).write_text(json.dumps({"begun": 5.0, "critical": []}))
    shutdown.finish(KNOWN)
    assert node.told == ["web 0"]
    assert not node.killed


def test_a_pod_that_hangs_in_the_kernel_does_not_hold_the_machine(make) -> None:
    node = make({"stuck": 1000})
    node_pods.kill = lambda pod: None  # type: ignore[assignment]  # make restores it
    shutdown.finish(KNOWN)
    assert node.now - 100 <= 36
    assert node.said.count("default/stuck did not end in time") == 1


def test_many_pods_are_not_all_named() -> None:
    found = shutdown.listed([Pod(str(n), f"default/p{n}", "") for n in range(9)])
    assert found.endswith("default/p5 and 3 more")


QUIET = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/systemd/system-shutdown/k3os-quiet"


@pytest.mark.parametrize(
    ("cmdline", "expected"),
    [
        ("console=ttyS0 quiet", "3"),
        ("console=ttyS0", "5 4 1 7"),
        ("quiet k3os.debug", "5 4 1 7"),
        ("disquieting", "5 4 1 7"),
    ],
)
def test_the_kernel_is_quiet_at_the_end_where_it_was_before(
    tmp_path: Path, cmdline: str, expected: str
) -> None:
    printk = tmp_path / "sys/kernel/printk"
    printk.parent.mkdir(parents=True)
    printk.write_text("5 4 1 7")
    (tmp_path / "cmdline").write_text(f"{cmdline}\n")
    run([str(QUIET), "poweroff"], env={"K3OS_PROC": str(tmp_path)})
    assert printk.read_text().strip() == expected


def test_wrong_usage_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("k3os.system.os_release.os_id", lambda root: "k3os")
    assert main(["shutdown"]) == 2
    assert "a word is missing: watch, finish, tidy" in capsys.readouterr().err
