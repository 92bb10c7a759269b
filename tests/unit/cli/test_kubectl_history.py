"""`kubectl k3os rollout history` and `undo`, with a cluster of a few objects."""

import base64
import json
from typing import Any

import pytest

from k3os.cli import kubectl as plugin
from k3os.cli.kubectl_history import (
    REVISIONS,
    SECRETS,
    history_lines,
    show_history,
    undo,
)
from k3os.cluster.kubectl import NODES, POOLS, NotThere
from k3os.cluster.revision import AT, BY, CAUSE, FILE, LABEL, Content, data_of, parse_revision
from k3os.cluster.target import parse_target
from k3os.cluster.undo import undone
from k3os.errors import UserError
from tests.unit.cluster import objects

SECRET = "topsecret-passphrase"
CONFIG = {"k3os": {"wifi": [{"name": "home", "passphrase": SECRET}]}}
URL = "https://example.com"
SPECS = [
    {"k3os": {"version": "v1.0.0", "url": URL}, "k3s": {"version": "v1.32.0+k3s1"}},
    {"k3os": {"version": "v1.1.0", "url": URL}, "config": CONFIG},
    {"k3os": {"version": "v1.2.0", "url": URL}, "k3s": {"version": "v1.33.0+k3s1"}},
]


class Cluster:
    """Replaces Kubectl. replaced: the NodePools that were written."""

    def __init__(self, *, channel: bool = False, **strategy: Any) -> None:
        spec: dict[str, Any] = {"nodeSelector": {"matchLabels": {}}, "strategy": strategy}
        spec |= SPECS[-1]
        pool = objects.pool(selector={"matchLabels": {}})
        pool["spec"] = spec
        pool["metadata"] |= {"uid": "u1", "resourceVersion": "7", "managedFields": [{}]}
        if channel:
            spec["k3os"] = {"channel": "stable", "url": URL}
            pool["status"]["channels"] = {"k3os": {"channel": "stable", "version": "v1.2.0"}}
        server = {"node-role.kubernetes.io/control-plane": "true"}
        self.nodes = {"s": objects.node("s", "v1.2.0", **server)}
        self.pools = {"workers": pool}
        self.revisions = {f"r{n}": revision(n, SPECS[n - 1]) for n in (1, 2, 3)}
        data = base64.b64encode(json.dumps(CONFIG).encode()).decode()
        self.secret: dict[str, Any] = {"data": {FILE: data}}
        self.replaced: list[dict[str, Any]] = []
        self.arguments: list[str] = []

    def objects(self, path: str) -> dict[str, Any]:
        self.arguments.append(path)
        known = {POOLS: self.pools, NODES: self.nodes}
        wanted = f"{REVISIONS}?labelSelector=k3os.io%2Fnodepool-uid%3Du1"
        return self.revisions if path == wanted else known[path]

    def object(self, path: str) -> dict[str, Any]:
        assert path == f"{SECRETS}/r2"
        return self.secret

    def run(self, *arguments: str, stdin: bytes = b"") -> str:
        assert arguments == ("replace", "-f", "-")
        self.arguments += arguments
        self.replaced.append(json.loads(stdin))
        return ""


def revision(number: int, spec: dict[str, Any]) -> dict[str, Any]:
    notes = {BY: "kubectl-edit", AT: "2031-01-02T00:00:00Z", CAUSE: f"because {number}"}
    meta = {"name": f"r{number}", "labels": {LABEL: "u1"}, "annotations": notes}
    return {"metadata": meta, "revision": number, "data": data_of(parse_target(spec))}


def test_the_history_says_who_when_what_and_why(capsys) -> None:
    assert show_history(Cluster(), "workers", None) == 0  # type: ignore[arg-type]
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["REVISION", "SINCE", "BY", "K3OS", "K3S", "CONFIG", "CHANGE-CAUSE"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert "kubectl-edit" in rows[1] and "v1.1.0" in rows[1] and "because 2" in rows[1]


def test_one_revision_is_shown_with_its_configuration(capsys) -> None:
    show_history(Cluster(), "workers", 2)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "v1.1.0 https://example.com" in said
    assert json.loads(said.partition("config:")[2]) == CONFIG


def test_undo_wants_what_the_revision_before_wanted_and_keeps_the_rest(capsys) -> None:
    cluster = Cluster(maxUnavailable="25%", rollback="Allow")
    assert undo(cluster, "workers", None, allow=False) == 0  # type: ignore[arg-type]
    (body,) = cluster.replaced
    assert body["spec"] == {
        "nodeSelector": {"matchLabels": {}},
        "strategy": {"maxUnavailable": "25%", "rollback": "Allow"},
        "k3os": {"version": "v1.1.0", "url": URL},
        "config": CONFIG,
    }
    # refused if the NodePool has changed since
    assert body["metadata"]["resourceVersion"] == "7"
    assert "managedFields" not in body["metadata"] and "status" not in body
    assert body["metadata"]["annotations"][CAUSE].endswith("--to-revision=2")
    assert SECRET not in json.dumps(cluster.arguments) + capsys.readouterr().out


def test_older_versions_need_leave() -> None:
    cluster = Cluster()
    with pytest.raises(UserError, match=r"k3OS v1\.2\.0 -> v1\.0\.0.*forbids") as caught:
        undo(cluster, "workers", 1, allow=False)  # type: ignore[arg-type]
    assert "--allow-rollback" in caught.value.hint
    assert cluster.replaced == []
    undo(cluster, "workers", 1, allow=True)  # type: ignore[arg-type]
    assert cluster.replaced[0]["spec"]["strategy"] == {"rollback": "Allow"}


def test_what_is_no_way_back_needs_none() -> None:
    cluster = Cluster()
    cluster.nodes = {"a": objects.node("a", "v0.9.0")}
    undo(cluster, "workers", 2, allow=False)  # type: ignore[arg-type]
    assert cluster.replaced


def test_servers_that_go_back_over_a_minor_version_have_a_copy_and_are_told(capsys) -> None:
    undo(Cluster(), "workers", 1, allow=True)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "s: k3s goes back over a minor version, v1.33.0+k3s1 -> v1.32.0+k3s1" in said
    assert "DatastoreKept" in said


def test_a_channel_that_is_left_and_a_pause_that_stays_are_told(capsys) -> None:
    undo(Cluster(channel=True, paused=True), "workers", 2, allow=True)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "no longer follows channels: k3os stable" in said
    assert "rollout resume workers" in said


def test_what_is_wanted_already_is_not_written(capsys) -> None:
    cluster = Cluster()
    undo(cluster, "workers", 3, allow=True)  # type: ignore[arg-type]
    assert cluster.replaced == []
    assert "already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "revisions", "words"),
    [
        (9, None, "there is no revision 9; there are: 1, 2, 3"),
        (None, {}, "there is no revision before this one; the operator writes one down"),
    ],
)
def test_without_such_a_revision_it_says_which_there_are(number, revisions, words) -> None:
    cluster = Cluster()
    cluster.revisions = cluster.revisions if revisions is None else revisions
    with pytest.raises(UserError) as caught:
        undo(cluster, "workers", number, allow=True)  # type: ignore[arg-type]
    assert words in f"{caught.value.message}; {caught.value.hint}"


def test_a_configuration_that_somebody_changed_is_not_taken() -> None:
    cluster = Cluster()
    cluster.secret = {"data": {FILE: base64.b64encode(b'{"hostname": "x"}').decode()}}
    with pytest.raises(UserError, match="does not hold the configuration of revision 2"):
        undo(cluster, "workers", 2, allow=True)  # type: ignore[arg-type]


def test_a_cluster_without_the_operator_is_no_riddle() -> None:
    class Bare(Cluster):
        def objects(self, path: str) -> dict[str, Any]:
            raise NotThere("the server could not find it")

    with pytest.raises(UserError, match="knows no NodePools"):
        show_history(Bare(), "workers", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["undo", "np"], {"to_revision": None, "allow_rollback": False}),
        (
            ["undo", "np", "--to-revision=4", "--allow-rollback", "--context", "prod"],
            {"to_revision": 4, "allow_rollback": True, "context": "prod"},
        ),
        (["history", "np", "--revision", "2"], {"revision": 2}),
    ],
)
def test_its_words_are_those_of_kubectl(words, given) -> None:
    found = vars(plugin.parse(["rollout", *words]))
    assert given.items() <= found.items()


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5"])
def test_a_revision_is_a_number(number, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        plugin.parse(["rollout", "undo", "np", f"--to-revision={number}"])
    assert ended.value.code == 2
    assert "is not a revision number" in capsys.readouterr().err


def test_in_the_middle_of_a_canary_undo_wants_what_was_completed_last() -> None:
    """Not a version that was tried before it and also failed."""
    for phase, wanted in (("Failed", "v1.0.0"), ("Pausing", "v1.0.0"), ("Completed", "v1.1.0")):
        cluster = Cluster(rollback="Allow")
        digest, stable = (parse_target(spec).digest for spec in (SPECS[2], SPECS[0]))
        canary = {"target": digest, "phase": phase, "stable": stable}
        cluster.pools["workers"]["status"]["canary"] = canary
        undo(cluster, "workers", None, allow=False)  # type: ignore[arg-type]
        assert cluster.replaced[0]["spec"]["k3os"]["version"] == wanted, phase


def test_what_a_revision_does_not_name_is_told_to_stay(capsys) -> None:
    undo(Cluster(), "workers", 2, allow=True)  # type: ignore[arg-type]
    assert "revision 2 names no version of k3s: nodes keep theirs" in capsys.readouterr().out


def test_a_configuration_that_is_gone_is_said() -> None:
    class Gone(Cluster):
        def object(self, path: str) -> dict[str, Any]:
            raise NotThere("secrets not found")

    with pytest.raises(UserError, match="the Secret r2, with the configuration of revision 2, is"):
        undo(Gone(), "workers", 2, allow=True)  # type: ignore[arg-type]


def test_undo_takes_overrides_and_secrets_along() -> None:
    override = {"nodeSelector": {"matchLabels": {"room": "1"}}, "config": {"hostname": "x"}}
    ref = {"name": "t", "valueFrom": {"secretKeyRef": {"name": "office", "key": "token"}}}
    pool = {"metadata": {"name": "p"}, "spec": {"overrides": [{}], "secrets": [{}], "config": {}}}
    wanted = revision(1, {"config": CONFIG})
    chosen = parse_revision(wanted)
    assert chosen is not None
    body = undone(pool, chosen, Content(CONFIG, [override], [ref]), allow=False)
    assert body["spec"] == {"config": CONFIG, "overrides": [override], "secrets": [ref]}
    assert undone(pool, chosen, Content(), allow=False)["spec"] == {}


def test_the_configuration_column_tells_overrides_from_none() -> None:
    override = {"nodeSelector": {}, "config": {"hostname": "x"}}
    specs: list[dict[str, Any]] = [
        {},
        {"config": CONFIG},
        {"config": CONFIG, "overrides": [override]},
    ]
    revisions = [parse_revision(revision(1, spec)) for spec in specs]
    shown = [history_lines([each])[1].split()[5] for each in revisions if each]
    assert shown[0] == "-" and shown[2].startswith(f"{shown[1]}+") and len(set(shown)) == 3
