"""`kubectl k3os diff`: exit codes like those of `kubectl diff`, its requests, and its output."""

import base64
import json
from typing import Any

import pytest

from k3os import names
from k3os.cli.kubectl_diff import DIFFERENT, ERROR, SAME, diff
from k3os.cli.kubectl_history import REVISIONS, SECRETS
from k3os.cluster.impact import fragment_hash
from k3os.cluster.kubectl import NODES, POOLS, Forbidden
from k3os.cluster.on_node import PODS
from k3os.cluster.revision import FILE, LABEL, data_of
from k3os.cluster.target import parse_target
from k3os.errors import UserError
from tests.unit.cli.test_kubectl import NOT_FOUND, STUB, calls, k3os, stub_in
from tests.unit.cluster.objects import node, pool

EARLIER = {"boot_cmd": ["true"]}
SECRET = "topsecret-passphrase"


class Cluster:
    """Replaces Kubectl. applied: what the dry run answers; ran: its arguments."""

    def __init__(self, applied: Any, *nodes: dict[str, Any], pools: Any = ()) -> None:
        self.answer = applied
        self.nodes = {each["metadata"]["name"]: each for each in nodes}
        self.pools = {each["metadata"]["name"]: each for each in pools}
        self.ran: list[tuple[str, ...]] = []
        self.revisions: dict[str, Any] = {}
        self.may_read = True
        self.operator: dict[str, Any] = {}

    def run(self, *arguments: str, stdin: bytes | None = None) -> str:
        self.ran.append(arguments)
        return json.dumps(self.answer)

    def objects(self, path: str) -> dict[str, Any]:
        if path == REVISIONS:
            if not self.may_read:
                raise Forbidden("the API server refuses it: cannot list", "rights")
            return self.revisions
        if path.startswith(f"{PODS}?"):
            if not self.may_read:
                raise Forbidden("the API server refuses it: cannot list pods", "rights")
            return {"p": self.operator} if self.operator else {}
        return {POOLS: self.pools, NODES: self.nodes}[path]

    def object(self, path: str) -> dict[str, Any]:
        assert path == f"{SECRETS}/r1"
        text = base64.b64encode(json.dumps(EARLIER).encode()).decode()
        return {"data": {FILE: text}}


def body(**spec: Any) -> dict[str, Any]:
    return {"kind": names.KIND, "apiVersion": f"{names.GROUP}/{names.VERSION}", **pool(**spec)}


def shown(cluster: Cluster, capsys: Any, *files: str) -> tuple[int, str, str]:
    code = diff(cluster, files or ("pool.yaml",))  # type: ignore[arg-type]
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_server_says_what_the_object_would_be_and_nothing_is_written(capsys: Any) -> None:
    cluster = Cluster(body(), node("a", "v1.1.0"), pools=[pool()])
    code, out, _ = shown(cluster, capsys, "a.yaml", "b.yaml")
    assert code == SAME
    assert cluster.ran == [
        (
            *("apply", "--dry-run=server", "--output=json"),
            *("--filename", "a.yaml", "--filename", "b.yaml"),
        )
    ]
    assert out.splitlines()[0] == "NodePool workers is the same"
    assert "0 of 1 node would be changed" in out


def test_each_node_has_a_line_with_what_changes_and_what_that_costs(capsys: Any) -> None:
    after = body(
        k3s={"version": "v1.34.0+k3s1"},
        config={"k3os": {"wifi": [{"name": "home", "passphrase": SECRET}]}},
        selector={"matchLabels": {"tier": "web"}},
    )
    nodes = [node("a", tier="web"), node("b"), node("c", "v1.1.0", tier="web", role="x")]
    code, out, _ = shown(Cluster(after, *nodes, pools=[pool()]), capsys)
    assert code == DIFFERENT
    assert SECRET not in out
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert lines["a"].endswith("reboot, pods move away")
    assert "k3OS v1.0.0 -> v1.1.0, k3s v1.33.0+k3s1 -> v1.34.0+k3s1, configuration" in lines["a"]
    assert lines["b"].split()[1] == "leaves" and "keeps what it has" in lines["b"]
    assert lines["c"].split()[1] == "joins" and "k3s restarts, pods move away" in lines["c"]
    assert "spec.k3s.version: (none) -> v1.34.0+k3s1" in out
    assert "2 of 2 nodes would be changed" in out and "first: a" in out


def test_several_nodepools_of_a_file_each_have_their_part(capsys: Any) -> None:
    two = [body(), body(name="others", selector={"matchLabels": {"role": "x"}})]
    secret = {"kind": "Secret", "metadata": {"name": "s"}}
    listed = {"kind": "List", "items": [*two, secret]}
    code, out, _ = shown(Cluster(listed, node("a", role="x"), pools=[pool()]), capsys)
    assert code == DIFFERENT
    assert "NodePool workers is the same" in out and "NodePool others is new" in out


@pytest.mark.parametrize("may_read", [True, False])
def test_what_a_node_has_of_an_earlier_configuration_is_looked_up(
    capsys: Any, may_read: bool
) -> None:
    has = {names.CONFIG_HASH: fragment_hash(EARLIER)}
    cluster = Cluster(body(), node("a", "v1.1.0", notes=has), node("b", "v1.1.0"), pools=[pool()])
    cluster.may_read = may_read
    data = data_of(parse_target({"config": EARLIER}))
    meta = {"name": "r1", "labels": {LABEL: "gone"}}
    cluster.revisions = {"r1": {"metadata": meta, "revision": 1, "data": data}}
    code, out, err = shown(cluster, capsys)
    assert code == DIFFERENT
    assert ("reboot, pods move away" in out) == may_read
    assert ("nothing restarts, or more" in out) == (not may_read)
    assert ("not known" in err) == (not may_read)


def test_a_spec_with_an_error_is_an_error(capsys: Any) -> None:
    wrong = body(config={"k3os": {"shutdown": {"grace_period": "11m"}}})
    code, out, _ = shown(Cluster(wrong, node("a"), pools=[pool()]), capsys)
    assert code == ERROR
    assert "error: k3os.shutdown.grace_period" in out


def test_a_file_without_a_nodepool_is_an_error() -> None:
    with pytest.raises(UserError, match="contains no NodePool") as caught:
        diff(Cluster({"kind": "Secret"}), ["x.yaml"])  # type: ignore[arg-type]
    assert caught.value.exit_code == ERROR


REFUSED = "Warning: old\nThe NodePool is invalid: \n* spec.a: wrong\n* spec.b: wrong, too\n"
LACKS = 'Error from server (Forbidden): nodepools.k3os.io "w" is forbidden: User "u" cannot patch\n'


@pytest.mark.parametrize(
    ("step", "code", "words"),
    [
        ({"text": json.dumps(body())}, SAME, ""),
        ({"text": json.dumps(body(k3s={"version": "v1.34.0+k3s1"}))}, DIFFERENT, ""),
        ({"error": REFUSED}, ERROR, "* spec.a: wrong * spec.b: wrong, too"),
        ({"error": LACKS}, ERROR, "how-to/fleet.md#rights"),
        (NOT_FOUND, ERROR, "could not find it"),
    ],
)
def test_exit_codes_are_those_of_kubectl_diff(
    tmp_path: Any, step: dict[str, str], code: int, words: str
) -> None:
    script = {"nodes": [{"list": [node("a", "v1.1.0")]}], "pools": [step, {"list": [pool()]}]}
    directory = stub_in(tmp_path, STUB)(**script)
    result = k3os(directory, "diff", "-f", "pool.yaml", "--context", "prod", timeout=120)
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert all("--context=prod" in each for each in calls(directory))


@pytest.mark.parametrize(
    ("policy", "may_read", "told"),
    [
        ("IfNotPresent", True, ("", "")),
        ("Never", True, ("has no operator image", "")),
        ("IfNotPresent", False, ("has no operator image", "can pull one is not known: ")),
    ],
)
def test_a_node_without_an_image_is_no_obstacle_where_it_can_pull_one(
    policy: str, may_read: bool, told: tuple[str, str], capsys: Any
) -> None:
    cluster = Cluster(body(), node("a", notes={names.IMAGE: ""}))
    container = {"name": "operator", "image": "r/op:1", "imagePullPolicy": policy}
    cluster.operator = {"spec": {"containers": [container]}}
    cluster.may_read = may_read
    _, out, errors = shown(cluster, capsys)
    for text, phrase, every in (
        (out, told[0], "has no operator image"),
        (errors, told[1], "can pull one is not known: "),
    ):
        assert (every in text) == bool(phrase)
