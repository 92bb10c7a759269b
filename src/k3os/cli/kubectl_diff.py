"""`kubectl k3os diff -f FILE`: what applying NodePools would change, on which node, at what cost.

kubectl reads the files, and the API server returns the resulting objects (a server-side dry run,
as in `kubectl diff`), so nothing is changed. k3os.cluster.pool_difference works out what that means
for the nodes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from k3os import names
from k3os.cli.kubectl_history import REVISIONS, content_of_revision
from k3os.cli.kubectl_text import table
from k3os.cluster.kubectl import NODES, POOLS, Kubectl, parsed
from k3os.cluster.node import NodeView, parse_node
from k3os.cluster.objects import mapping, maps
from k3os.cluster.on_node import from_registry
from k3os.cluster.pool_difference import (
    NodeDifference,
    PoolDifference,
    Sight,
    differences,
    unknown_fragments,
)
from k3os.cluster.pulled_image import Pulled
from k3os.cluster.revision import has_content, parse_revision, target_of
from k3os.cluster.target import Target, parse_target
from k3os.config.key import AT_BOOT, NOW, RESTART
from k3os.errors import UserError
from k3os.system.plural import counted
from k3os.system.run import CommandError
from k3os.system.screen import printable

SAME, DIFFERENT, ERROR = 0, 1, 2
COLUMNS = ("NODE", "NODEPOOL", "CHANGES", "COST", "REMARK")
EARLIER = "what nodes still have from an earlier configuration"
COSTS = {NOW: "nothing restarts", RESTART: "k3s restarts", AT_BOOT: "reboot"}
Body = Mapping[str, Any]


def diff(kubectl: Kubectl, files: Sequence[str]) -> int:
    """Exit code: SAME, DIFFERENT, ERROR. Raises UserError, whose exit code is ERROR."""
    try:
        bodies = applied(kubectl, files)
        found = differences(bodies, sight_of(kubectl, bodies), time.time())
    except UserError as error:
        error.exit_code = ERROR
        raise
    for number, each in enumerate(found):
        print(*([""] if number else []), *map(printable, told(each)), sep="\n")
    if any(each.problems for each in found):
        return ERROR
    return DIFFERENT if any(each.differs for each in found) else SAME


def applied(kubectl: Kubectl, files: Sequence[str]) -> list[Body]:
    """The NodePools of the files as they would be in the cluster. Raises UserError."""
    words = [word for path in files for word in ("--filename", path)]
    stdin = sys.stdin.buffer.read() if "-" in files else None
    try:
        answer = kubectl.run("apply", "--dry-run=server", "--output=json", *words, stdin=stdin)
    except UserError as error:
        raise _refused(error) from error
    whole = parsed(answer.encode())
    found = [each for each in maps(whole.get("items")) or [whole] if each.get("kind") == names.KIND]
    if not found:
        raise UserError(f"contains no {names.KIND}", "name a file with one", ", ".join(files))
    return found


def _refused(error: UserError) -> UserError:
    """The error with all of kubectl's output: an invalid object gets one line per mistake."""
    cause = error.__cause__
    if not isinstance(cause, CommandError) or type(error) is not UserError:
        return error
    lines = cause.output.decode(errors="replace").strip().splitlines()
    words = " ".join(line.strip() for line in lines if not line.startswith("Warning: "))
    return UserError(f"kubectl says: {words}") if words else error


def sight_of(kubectl: Kubectl, bodies: Sequence[Body]) -> Sight:
    """Raises UserError."""
    pools, nodes = kubectl.objects(POOLS), kubectl.objects(NODES).values()
    views = [parse_node(each) for each in nodes]
    if not all(view.image for view in views):
        other = _other_image(kubectl)
        views = [parse_node(each, other) for each in nodes]
    fragments: dict[str, Body] = {"": {}}
    for each in (*pools.values(), *bodies):
        fragments |= _of_nodes(parse_target(mapping(each.get("spec"))), views)
    if unknown := unknown_fragments(views, fragments):
        fragments |= _from_revisions(kubectl, unknown, views)
    return Sight(pools, views, fragments)


def _other_image(kubectl: Kubectl) -> Pulled | None:
    """The image for nodes that do not have their own."""
    try:
        return from_registry(kubectl)
    except UserError as error:
        _unknown("whether nodes without an image of the operator can pull one", error)
        return None


def _of_nodes(target: Target, views: Iterable[NodeView]) -> dict[str, Body]:
    """Hash -> what a target means for a node, without the seal of secrets."""
    found = (target.of(view) for view in views)
    return {each.config_hash: each.config for each in found if not each.fault}


def _from_revisions(
    kubectl: Kubectl, wanted: set[str], views: Sequence[NodeView]
) -> dict[str, Body]:
    """What NodePools wanted earlier, as far as it is kept and may be read. Without it, the cost
    is less certain."""
    found: dict[str, Body] = {}
    try:
        revisions = list(filter(None, map(parse_revision, kubectl.objects(REVISIONS).values())))
    except UserError as error:
        _unknown(EARLIER, error)
        return found
    for revision in revisions:
        # with overrides or per-node values in it, the hash does not identify it
        if has_content(revision) and wanted - found.keys():
            try:
                content = content_of_revision(kubectl, revision)
            except UserError as error:
                _unknown(EARLIER, error)
                continue
            found |= _of_nodes(target_of(revision, content), views)
    return found


def _unknown(what: str, error: UserError) -> None:
    print(f"kubectl k3os: {what} is not known: {error}", file=sys.stderr)


def told(found: PoolDifference) -> list[str]:
    """The output for people."""
    changed = found.fields or found.config or found.overrides
    state = "is new" if found.new else "changes" if changed else "is the same"
    lines = [f"NodePool {found.name} {state}"]
    lines += [f"  error: {each}" for each in found.problems]
    lines += [f"  {each}" for each in found.fields]
    lines += ["  spec.config:"] if found.config else []
    lines += [f"    {each}" for each in found.config]
    for name, config in found.overrides:
        lines += [f"  {name}:", *(f"    {each}" for each in config)]
    rows = [_row(node) for node in found.nodes if node.differs or node.remark]
    lines += ["", *table(COLUMNS, rows)] if rows else []
    return [*lines, "", *_summary(found)]


def _row(node: NodeDifference) -> tuple[str, ...]:
    return node.name, node.member or "-", ", ".join(node.changes) or "-", _cost(node), node.remark


def _cost(node: NodeDifference) -> str:
    if node.cost is None:
        return "-"
    cost = COSTS[node.cost.effect] + ("" if node.cost.sure else ", or more")
    return f"{cost}, pods move away" if node.moves else cost


def _summary(found: PoolDifference) -> list[str]:
    members = [node for node in found.nodes if node.member != "leaves"]
    changed = [node for node in members if node.changes]
    if not found.nodes:
        return ["its selector matches no node"]
    lines = [f"{len(changed)} of {counted(len(members), 'node')} would be changed"]
    if any(node.cost and not node.cost.sure for node in changed):
        lines.append(
            "or more: what nodes still have from an earlier NodePool's configuration is not known"
        )
    if changed and found.first:
        lines.append(f"first: {', '.join(found.first)}")
    elif changed and found.waiting:
        lines.append(f"nothing starts: {found.waiting}")
    return lines
