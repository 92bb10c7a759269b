"""Which rights a kubectl call needs, and which the documentation lists. A right: namespace ("" for
cluster-wide), resource with its subresource, verb.

Recorded with kubectl 1.32: `patch` and `apply` get the object first; `replace` (of an object with a
resourceVersion), `create` and `delete` do not; `exec` gets the pod, then connects by GET
(WebSockets, since 1.31), or else by POST.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from k3os import names

Right = tuple[str, str, str]
OWN = names.NAMESPACE
ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs/how-to/fleet.md"
ROLES = ROOT / "docs/reference/kubectl-k3os-rbac.yaml"
ENTRY = re.compile(r"(\()?`([a-z/]+)`((?: [a-z]+)+)?")


def of_path(path: str, verb: str = "") -> Right:
    """verb: "" for get, list or watch, whichever reads this path."""
    plain, _, query = path.partition("?")
    parts = plain.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    resource = "/".join([parts[0], *parts[2:]])
    reading = "get" if len(parts) > 1 else "watch" if "watch=true" in query else "list"
    # pods may be in any namespace: the right must be cluster-wide
    return namespace if namespace == OWN else "", resource, verb or reading


def needed(argv: list[str], kind: str = "") -> set[Right]:
    """The rights for a kubectl command line. kind: of the object on its stdin."""
    verb, what = argv[0], argv[1]
    if verb == "get":
        assert what == "--raw"
        return {of_path(argv[2])}
    if verb == "patch":
        plural = {"node": "nodes"}.get(what, what.partition(".")[0])
        return {("", plural, "get"), ("", plural, "patch")}
    if verb == "replace":
        return {("", "nodepools", "update")}
    if verb == "apply":
        return {("", "nodepools", each) for each in ("get", "create", "patch")}
    if verb == "delete":
        return {(OWN, what.partition(".")[0], "delete")}
    if verb == "exec":
        return {(OWN, "pods", "get"), (OWN, "pods/exec", "get"), (OWN, "pods/exec", "create")}
    assert verb == "create", argv
    if raw := next((each[6:] for each in argv if each.startswith("--raw=")), ""):
        return {of_path(raw, "create")}
    # everybody may ask for their own rights (the role system:basic-user)
    return {"SelfSubjectAccessReview": set(), "Job": {(OWN, "jobs", "create")}}[kind]


def documented() -> dict[str, tuple[set[Right], set[Right]]]:
    """Command -> required and optional rights."""
    table = (
        GUIDE.read_text().partition("| `kubectl k3os` | in the cluster |")[2].partition("\n\n")[0]
    )
    found = {}
    for line in table.splitlines()[2:]:
        commands, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        must: set[Right] = set()
        may: set[Right] = set()
        for namespace, cell in zip(("", OWN), cells, strict=True):
            # `nodes` get (list): a verb in brackets
            cell = re.sub(r"(`\w+`)([ a-z]+) \((\w+)\)", r"\1\2, (\1 \3)", cell)
            for bracket, resource, verbs in ENTRY.findall(cell):
                (may if bracket else must).update(
                    (namespace, resource, verb) for verb in verbs.split()
                )
        for name in re.findall(r"`([^`]+)`", commands):
            found[name] = must, may
    return found


def granted(*roles: str) -> set[Right]:
    """The rights in the sample roles with these names."""
    found = set()
    for each in yaml.safe_load_all(ROLES.read_text()):
        if each["metadata"]["name"] in roles:
            namespace = each["metadata"].get("namespace", "")
            for rule in each["rules"]:
                found |= {
                    (namespace, resource, verb)
                    for resource in rule["resources"]
                    for verb in rule["verbs"]
                }
    return found


def objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(ROLES.read_text()))
