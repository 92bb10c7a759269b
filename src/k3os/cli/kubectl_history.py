"""`kubectl k3os rollout history`, `rollout undo`, `rollout retry`: list what a NodePool wanted
before, go back to it, and retry what a canary gave up.

It writes one object, the NodePool, as a whole and through `kubectl replace`. That fails if the
object has changed since it was read, and keeps the configuration, which may contain passwords, out
of arguments. Decisions about nodes are left to the operator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from k3os import names
from k3os.cli.kubectl_text import table
from k3os.cluster.kubectl import NODES, POOLS, Kubectl, NotThere
from k3os.cluster.node import parse_node
from k3os.cluster.objects import inside, mapping, number, text
from k3os.cluster.progress import GIVEN_UP
from k3os.cluster.revision import (
    LABEL,
    Content,
    Revision,
    content_of,
    has_content,
    parse_all,
)
from k3os.cluster.selector import matches, selector_of
from k3os.cluster.target import parse_target
from k3os.cluster.undo import choose, completed_last, going_back, remarks, undone
from k3os.errors import UserError
from k3os.system.plural import counted
from k3os.system.screen import printable
from k3os.system.stamps import utc

REVISIONS = f"/apis/apps/v1/namespaces/{names.NAMESPACE}/controllerrevisions"
SECRETS = f"/api/v1/namespaces/{names.NAMESPACE}/secrets"
COLUMNS = ("REVISION", "SINCE", "BY", "K3OS", "K3S", "CONFIG", "CHANGE-CAUSE")
Body = Mapping[str, Any]


def show_history(kubectl: Kubectl, name: str, number: int | None) -> int:
    """Raises UserError."""
    pool = nodepool(kubectl, name)
    revisions = _revisions(kubectl, pool)
    if number is None:
        print(*map(printable, history_lines(revisions)), sep="\n")
        return 0
    chosen = choose(revisions, number, "")
    for line in details(chosen):
        print(printable(line))
    if has_content(chosen):
        content = content_of_revision(kubectl, chosen)
        for name in ("config", "overrides", "secrets"):
            found = getattr(content, name)
            if found:
                print(printable(f"{name}:  {json.dumps(found, indent=2, sort_keys=True)}"))
    return 0


def history_lines(revisions: Sequence[Revision]) -> list[str]:
    rows = [
        (
            str(each.number),
            each.at or "-",
            each.by or "-",
            each.k3os.version if each.k3os else "-",
            each.k3s.version if each.k3s else "-",
            _config(each),
            each.cause or "-",
        )
        for each in revisions
    ]
    return table(COLUMNS, rows)


def _config(revision: Revision) -> str:
    """Enough of a configuration and its overrides to tell it from others."""
    hashes = (revision.config_hash, revision.overrides_hash)
    return "+".join(each[:8] for each in hashes if each) or "-"


def details(revision: Revision) -> list[str]:
    found = [f"revision {revision.number}, since {revision.at or 'unknown'}"]
    found += [f"by:      {revision.by}"] if revision.by else []
    found += [f"cause:   {revision.cause}"] if revision.cause else []
    for name, wanted in (("k3os", revision.k3os), ("k3s", revision.k3s)):
        if wanted:
            found.append(f"{name + ':':<8} {wanted.version} {wanted.url}".rstrip())
    return found


def undo(kubectl: Kubectl, name: str, number: int | None, *, allow: bool) -> int:
    """Have a NodePool want again what it wanted earlier. Raises UserError."""
    pool = nodepool(kubectl, name)
    spec, status = mapping(pool.get("spec")), mapping(pool.get("status"))
    digest = parse_target(spec, status).plain_digest
    chosen = choose(_revisions(kubectl, pool), number, digest, completed_last(status, digest))
    if chosen.digest == digest:
        print(f"{name} is at revision {chosen.number} already")
        return 0
    nodes = [parse_node(each) for each in kubectl.objects(NODES).values()]
    mine = [node for node in nodes if matches(selector_of(spec), node.labels)]
    allowed = allow or inside(spec, "strategy", "rollback") == "Allow"
    if not allowed and (older := going_back(chosen, mine)):
        raise UserError(
            f"revision {chosen.number} has older versions than nodes run ({older[0]}), which "
            "spec.strategy.rollback forbids",
            "add --allow-rollback",
        )
    content = content_of_revision(kubectl, chosen) if has_content(chosen) else Content()
    body = undone(pool, chosen, content, allow=allow)
    kubectl.run("replace", "-f", "-", stdin=json.dumps(body).encode())
    print(f"{name} goes back to revision {chosen.number}")
    for line in remarks(name, spec, chosen, mine):
        print(printable(line))
    return 0


def retry(kubectl: Kubectl, name: str) -> int:
    """Raises UserError, also when there is nothing to retry, so that nobody waits for it."""
    status = mapping(nodepool(kubectl, name).get("status"))
    phase, sick = text(inside(status, "canary", "phase")), number(status.get("sickWorkloads"))
    if phase not in GIVEN_UP and not sick:
        raise UserError(
            f"no canary of {name} has failed: {f'it is {phase}' if phase else 'it has none'}",
            "a node that failed is tried again after "
            f"`kubectl annotate node NODE {names.ROLLOUT}-`",
        )
    change = {"metadata": {"annotations": {names.RETRIED: utc()}}}
    kind = f"{names.PLURAL}.{names.GROUP}"
    kubectl.run("patch", kind, name, "--type=merge", f"--patch={json.dumps(change)}")
    if phase in GIVEN_UP:
        print(
            f"{name}: failed gates are checked again; after a roll-back the first step starts again"
        )
    else:
        print(f"{name}: continues without {counted(sick, 'workload')} that did not come back")
    return 0


def nodepool(kubectl: Kubectl, name: str) -> Body:
    """Raises UserError."""
    try:
        pools = kubectl.objects(POOLS)
    except NotThere as error:
        raise UserError("this cluster knows no NodePools", "is the operator installed?") from error
    if name not in pools:
        hint = f"there are: {', '.join(sorted(pools))}" if pools else "there is none at all"
        raise UserError(f"there is no NodePool {name!r}", hint)
    return pools[name]


def _revisions(kubectl: Kubectl, pool: Body) -> list[Revision]:
    uid = text(inside(pool, "metadata", "uid"))
    path = f"{REVISIONS}?labelSelector={quote(f'{LABEL}={uid}', safe='')}"
    return parse_all(kubectl.objects(path).values(), uid)


def content_of_revision(kubectl: Kubectl, revision: Revision) -> Content:
    """Raises UserError."""
    what, hint = (
        f"configuration of revision {revision.number}",
        "write it into the NodePool by hand",
    )
    try:
        secret = kubectl.object(f"{SECRETS}/{quote(revision.name)}")
    except NotThere as error:
        raise UserError(f"the Secret {revision.name}, with the {what}, is gone", hint) from error
    found = content_of(secret, revision)
    if found is None:
        raise UserError(f"the Secret {revision.name} does not hold the {what}", hint)
    return found
