"""The requests of each `kubectl k3os` command, the rights that the guide lists for it, and those
that the sample roles grant are the same.

A stub of kubectl has a small cluster and records its calls; `rights.py` knows the rights for each
call.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from k3os import names
from k3os.cli.kubectl import parser
from k3os.cli.kubectl_complete import _commands
from k3os.cli.kubectl_history import REVISIONS, SECRETS
from k3os.cluster.kubectl import NODES, POOLS
from k3os.cluster.on_node import EVENTS
from k3os.cluster.on_node import PODS as OWN_PODS
from k3os.cluster.restart import ATTACHMENTS, BUDGETS, PODS, VOLUMES
from k3os.cluster.revision import FILE, LABEL, data_of
from k3os.cluster.target import parse_target
from tests.unit.cli.rights import documented, granted, needed, objects
from tests.unit.cli.test_kubectl import calls, k3os, stub_in
from tests.unit.cluster.objects import node, pool

STUB = f"""#!{sys.executable} -SE
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
words = sys.argv[1:]
script = json.load(open(here + "/script.json"))
kind = ""
if words[0] in ("create", "replace", "apply"):
    given = sys.stdin.read() if "-" in words or "--filename=-" in words else ""
    kind = json.loads(given or "{{}}").get("kind", "")
with open(here + "/calls", "a") as file:
    file.write(json.dumps([kind, *words]) + "\\n")
def mark(name): open(here + "/" + name, "w").close()
def marked(name): return os.path.exists(here + "/" + name)
if words[0] == "get":
    path, _, query = words[2].partition("?")
    if "watch=true" in query:
        end = time.monotonic() + 20  # both watches are asked for before one tells something
        while time.monotonic() < end and open(here + "/calls").read().count("watch=true") < 2:
            time.sleep(0.05)
        if "/nodepools" in path:
            print(json.dumps({{"type": "MODIFIED", "object": script["done"]}}), flush=True)
        time.sleep(60)
    key = path + ("!" if marked("evicted") and path + "!" in script else "")
    found = script.get(key)
    if found is None:
        sys.exit("Error from server (NotFound): " + path + " not found")
    text = json.dumps(found)
    sys.stdout.write(text.replace("boot-1", "boot-2") if marked("rebooted") else text)
elif kind == "SelfSubjectAccessReview":
    print(json.dumps({{"status": {{"allowed": True}}}}))
elif any(each.endswith("/eviction") for each in words):
    mark("evicted")
elif words[0] == "exec":
    if "reboot" in words: mark("rebooted")
    print(json.dumps({{"versions": {{"previous": {{"k3s": "v1.33.0+k3s1"}}}}}}))
elif words[:2] == ["patch", "node"]:
    change = json.loads(words[4].partition("=")[2])
    body = script["{NODES}/" + words[2]]
    body["metadata"]["annotations"].update(change.get("metadata", {{}}).get("annotations", {{}}))
    body.setdefault("spec", {{}}).update(change.get("spec", {{}}))
    with open(here + "/script.json", "w") as file: json.dump(script, file)
elif words[0] == "apply":
    print(json.dumps(script["applied"]))
"""
RUNNING = {
    "metadata": {"name": "p-1"},
    "status": {"containerStatuses": [{"state": {"running": {}}}]},
}
OWNER = [{"kind": "ReplicaSet", "name": "web", "uid": "u", "controller": True}]
DAEMON = [{"kind": "DaemonSet", "name": "d", "uid": "u", "controller": True}]


def pod(name: str, owner: Any, claim: str = "") -> dict[str, Any]:
    volumes = [{"persistentVolumeClaim": {"claimName": claim}}] if claim else []
    meta = {"name": name, "namespace": "shop", "uid": name, "ownerReferences": owner}
    return {
        "metadata": meta,
        "spec": {"nodeName": "node-1", "volumes": volumes},
        "status": {"phase": "Running"},
    }


def revision(number: int, body: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": f"r{number}", "labels": {LABEL: "uid-1"}}
    return {"metadata": meta, "revision": number, "data": data_of(parse_target(body["spec"]))}


def listed(*items: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "1"}, "items": list(items)}


@pytest.fixture
def cluster(tmp_path: Path):
    """Two nodes, one of them without the operator's image, a NodePool with a history, a pod to
    move."""
    boot = {names.BOOT_ID: "boot-1"}
    nodes = [node("node-1", notes=boot), node("node-2", notes={names.IMAGE: ""})]
    own = pool(strategy={"workloads": {}}, status={"sickWorkloads": 1})
    before = pool(config={"boot_cmd": ["true"]})
    own["metadata"] |= {"uid": "uid-1", "resourceVersion": "1"}
    kept = base64.b64encode(json.dumps({"boot_cmd": ["true"]}).encode()).decode()
    daemon, web = pod("d-1", DAEMON, "data"), pod("web-1", OWNER)
    source = {"nodeName": "node-1", "source": {"persistentVolumeName": "pv-1"}}
    claim = {"claimRef": {"namespace": "shop", "name": "data"}}
    answers = {
        NODES: listed(*nodes),
        **{f"{NODES}/{each['metadata']['name']}": each for each in nodes},
        POOLS: listed(own),
        "done": {**own, "status": {"observedGeneration": 1, "phase": "Updated"}},
        "applied": {**own, "kind": names.KIND},
        REVISIONS: listed(revision(1, before), revision(2, own)),
        f"{SECRETS}/r1": {"data": {FILE: kept}},
        OWN_PODS: listed(RUNNING),
        PODS: listed(daemon, web),
        f"{PODS}!": listed(daemon),
        ATTACHMENTS: listed({"metadata": {"name": "va"}, "spec": source}),
        f"{VOLUMES}/pv-1": {"metadata": {"name": "pv-1"}, "spec": claim},
        BUDGETS: listed(),
        EVENTS: listed(),
    }
    return stub_in(tmp_path, STUB)(**answers)


# command -> row in the guide
CALLS = {
    "nodes": "nodes",
    "diff -f {}/pool.yaml": "diff",
    "rollout status workers": "rollout status",
    "rollout pause workers": "rollout pause",
    "rollout resume workers": "rollout resume",
    "rollout retry workers": "rollout retry",
    "rollout history workers --revision 1": "rollout history",
    "rollout undo workers": "rollout undo",
    "rollback nodepool/workers": "rollback nodepool/…",
    **{f"{each} node-1": each for each in ("status", "logs", "config", "shell")},
    "support node-1 -o {}/archive": "support",
    "reboot node-1": "reboot",
    "upgrade node-1 --k3s v1.34.0+k3s1": "upgrade",
    "rollback node/node-1": "rollback node/…",
}
LOOKS = ("nodes", "rollout status")
ROLLS_OUT = (*LOOKS, "diff", *(name for name in CALLS.values() if name.startswith("rollout ")))
ON_NODES = ("status", "logs", "config", "support", "shell", "reboot", "upgrade", "rollback node/…")
MAY = {
    "k3os-looks": LOOKS,
    "k3os-rolls-out": (*ROLLS_OUT, "rollback nodepool/…"),
    "k3os-works-on-nodes": (*LOOKS, *ON_NODES),
}


@pytest.mark.parametrize("words", CALLS)
def test_a_command_asks_for_what_the_guide_says_and_nothing_else(cluster: Path, words: str) -> None:
    (cluster / "pool.yaml").write_text("")
    result = k3os(cluster, *words.format(cluster, cluster).split())
    asked = set().union(*(needed(argv, kind) for kind, *argv in calls(cluster)))
    must, may = documented()[CALLS[words]]
    assert asked <= must | may, (asked - must - may, result.stderr)
    assert must <= asked, (must - asked, result.stdout + result.stderr)


def test_every_command_has_a_row() -> None:
    known = set()
    for name, found in _commands(parser()).choices.items():  # type: ignore[union-attr]
        inner = _commands(found)
        known |= {f"{name} {each}" for each in inner.choices} if inner else {name}
    rows = {row.removesuffix(" nodepool/…").removesuffix(" node/…") for row in documented()}
    assert rows == known
    assert set(CALLS.values()) == documented().keys()


@pytest.mark.parametrize("role", MAY)
def test_a_sample_role_is_enough_for_its_commands(role: str) -> None:
    rows = documented()
    for command in MAY[role]:
        must, may = rows[command]
        missing = must | may
        has = granted(role)
        # a cluster-wide right covers each namespace
        assert {
            each for each in missing if each not in has and ("", *each[1:]) not in has
        } == set(), command


def test_a_sample_role_grants_nothing_that_no_command_of_it_needs() -> None:
    rows = documented()
    people = {("", "nodes", "watch"), ("", "nodes", "get"), ("", "nodepools", "watch")}
    people |= {("", "nodepools", verb) for verb in ("get", "delete", "create", "update", "patch")}
    for role, commands in MAY.items():
        wanted = set().union(*(must | may for must, may in (rows[each] for each in commands)))
        looking = {each for each in people if each[2] in ("get", "watch")}
        extra = granted(role) - wanted - (people if role == "k3os-rolls-out" else looking)
        assert extra == set(), role


def test_no_sample_role_is_aggregated_into_those_of_kubernetes() -> None:
    for each in objects():
        assert not each["metadata"].get("labels")
        assert each["kind"] in ("ClusterRole", "Role")
        assert all("*" not in [*rule["verbs"], *rule["resources"]] for rule in each["rules"])
