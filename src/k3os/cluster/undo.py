"""Going back to a revision of a NodePool, `kubectl k3os rollout undo`: which revision is meant, the
NodePool to write, and what to tell the user (channels, components without a version, servers going
back a minor version).

Pure. What nodes do about it is up to the operator, as always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from k3os import names
from k3os.cluster.node import NodeView
from k3os.cluster.objects import inside, mapping, text
from k3os.cluster.revision import CAUSE, Content, Revision, before
from k3os.cluster.target import COMPONENTS, channel, plain
from k3os.errors import UserError
from k3os.generation.versions import is_minor_back, is_older

Body = Mapping[str, Any]


def choose(
    revisions: Sequence[Revision], number: int | None, digest: str, completed: str = ""
) -> Revision:
    """number None: the one completed, a digest, if given (a target that a canary only tried is
    nothing to go back to), else the one before the current. Raises UserError."""
    listed = ", ".join(str(each.number) for each in revisions)
    hint = f"there are: {listed}" if listed else "the operator writes one down for each change"
    if number is None:
        found = next((each for each in revisions if each.digest == completed), None)
        found = found or before(revisions, digest)
        what = "there is no revision before this one"
    else:
        found = next((each for each in revisions if each.number == number), None)
        what = f"there is no revision {number}"
    if found is None:
        raise UserError(what, hint)
    return found


def completed_last(status: Body, digest: str) -> str:
    """The last completed target, if the canary of this one has not completed."""
    canary = mapping(status.get("canary"))
    tried = plain(text(canary.get("target"))) == digest and canary.get("phase") != "Completed"
    return plain(text(canary.get("stable"))) if tried else ""


def undone(pool: Body, chosen: Revision, content: Content, *, allow: bool) -> dict[str, Any]:
    """The NodePool to write: everything that is not rolled out stays."""
    body = deepcopy({key: pool[key] for key in pool if key != "status"})
    body |= {"apiVersion": f"{names.GROUP}/{names.VERSION}", "kind": names.KIND}
    spec, meta = body["spec"], body["metadata"]
    for name, wanted in (("k3os", chosen.k3os), ("k3s", chosen.k3s)):
        spec.pop(name, None)
        if wanted:
            spec[name] = {"version": wanted.version} | ({"url": wanted.url} if wanted.url else {})
    for name in ("config", "overrides", "secrets"):
        spec.pop(name, None)
        if wants := getattr(content, name):
            spec[name] = deepcopy(wants)
    if allow:
        spec["strategy"] = {**mapping(spec.get("strategy")), "rollback": "Allow"}
    meta.pop("managedFields", None)
    cause = f"kubectl k3os rollout undo --to-revision={chosen.number}"
    meta["annotations"] = {**mapping(meta.get("annotations")), CAUSE: cause}
    return dict(body)


def going_back(chosen: Revision, nodes: Iterable[NodeView]) -> list[str]:
    """Which versions would become older, "k3s v1.34.0+k3s1 -> v1.33.1+k3s1"."""
    found = []
    for node in nodes:
        for name, wanted, has in (
            ("k3OS", chosen.k3os, node.k3os),
            ("k3s", chosen.k3s, node.k3s),
        ):
            if wanted is not None and is_older(wanted.version, has):
                found.append(f"{name} {has} -> {wanted.version}")
    return list(dict.fromkeys(found))


def remarks(name: str, spec: Body, chosen: Revision, nodes: Iterable[NodeView]) -> list[str]:
    """What people should know after going back. spec: the one before."""
    found = []
    left = [f"{each} {channel(spec, each)}" for each in COMPONENTS if channel(spec, each)]
    if left:
        found.append(f"it no longer follows channels: {', '.join(left)}")
    pairs = (("k3os", chosen.k3os), ("k3s", chosen.k3s))
    if kept := [each for each, wanted in pairs if wanted is None and mapping(spec.get(each))]:
        found.append(
            f"revision {chosen.number} names no version of {' and '.join(kept)}: nodes keep theirs"
        )
    if inside(spec, "strategy", "paused") is True:
        found.append(f"it is paused: `kubectl k3os rollout resume {name}`")
    servers = [node for node in nodes if node.control_plane or node.etcd]
    version = chosen.k3s.version if chosen.k3s else ""
    if back := [node for node in servers if is_minor_back(node.k3s, version)]:
        found.append(
            f"{', '.join(node.name for node in back)}: k3s goes back over a minor version, "
            f"{back[0].k3s} -> {version}. The datastore stays as it is; each server copied it "
            "before the upgrade, and its Event DatastoreKept names the copy and the commands that "
            "restore it"
        )
    return found
