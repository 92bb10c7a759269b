"""The history of a NodePool: a ControllerRevision for each target that it had.

Format: apps/v1 ControllerRevision (kubernetes.io, "API reference"), in the operator's namespace
and owned by the NodePool. Its data has versions, and hashes of the configuration and its overrides.
Their contents may include passwords, and many users may read revisions, so they are in a Secret of
the same name. Who made a change and when comes from the NodePool's managedFields. Nothing is asked
here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from k3os import names
from k3os.cluster.impact import fragment_hash
from k3os.cluster.objects import inside, mapping, maps, number, text, texts
from k3os.cluster.request import Wanted
from k3os.cluster.secret_refs import parse_refs, written_refs
from k3os.cluster.target import Target, parse_overrides, plain, written
from k3os.system.json_text import parsed

# of a revision and its Secret: the NodePool they belong to
LABEL = f"{names.GROUP}/nodepool-uid"
BY, AT = f"{names.GROUP}/changed-by", f"{names.GROUP}/changed-at"
CAUSE = "kubernetes.io/change-cause"  # as for Deployments
# files in the Secret; secrets: the references, without values
FILE, OVERRIDES, REFS = "config.json", "overrides.json", "secrets.json"
LONGEST = 2**21  # characters of a file; an object in the API is limited to about 1 MiB
DIGEST = r"[0-9a-f]{16}"


@dataclass(frozen=True)
class Revision:
    """at, by, cause: when it became the target, through which program, and why."""

    name: str
    number: int
    digest: str
    k3os: Wanted | None = None
    k3s: Wanted | None = None
    config_hash: str = ""
    overrides_hash: str = ""
    refs_hash: str = ""
    at: str = ""
    by: str = ""
    cause: str = ""


def parse_revision(body: Mapping[str, Any]) -> Revision | None:
    """None if it is not one of ours."""
    data, notes = mapping(body.get("data")), texts(inside(body, "metadata", "annotations"))
    digest = text(data.get("target"))
    if not re.fullmatch(DIGEST, digest):
        return None
    return Revision(
        name=text(inside(body, "metadata", "name")),
        number=number(body.get("revision")),
        digest=digest,
        k3os=_wanted(data, "k3os"),
        k3s=_wanted(data, "k3s"),
        config_hash=text(data.get("configHash")),
        overrides_hash=text(data.get("overridesHash")),
        refs_hash=text(data.get("secretsHash")),
        at=notes.get(AT, ""),
        by=notes.get(BY, ""),
        cause=notes.get(CAUSE, ""),
    )


def _wanted(data: Mapping[str, Any], name: str) -> Wanted | None:
    version = text(inside(data, name, "version"))
    return Wanted(version, text(inside(data, name, "url"))) if version else None


def parse_all(bodies: Iterable[Mapping[str, Any]], uid: str) -> list[Revision]:
    """Those of the NodePool with that uid, newest last."""
    own = [each for each in bodies if texts(inside(each, "metadata", "labels")).get(LABEL) == uid]
    found = [each for each in map(parse_revision, own) if each is not None]
    return sorted(found, key=lambda each: each.number)


@dataclass(frozen=True)
class Content:
    """What a revision's Secret holds: `config`, `overrides` and `secrets` of a spec."""

    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[Mapping[str, Any]] = ()
    secrets: Sequence[Mapping[str, Any]] = ()


def data_of(target: Target) -> dict[str, Any]:
    """A revision's `data` for a target."""
    pairs = (("k3os", target.k3os), ("k3s", target.k3s))
    found: dict[str, Any] = {
        name: {"version": wanted.version, "url": wanted.url} for name, wanted in pairs if wanted
    }
    found |= {"overridesHash": target.overrides_hash} if target.overrides else {}
    found |= {"secretsHash": fragment_hash(written_refs(target.refs))} if target.refs else {}
    found["configHash"] = fragment_hash(dict(target.config))
    return found | {"target": target.plain_digest}


def files_of(target: Target) -> dict[str, str]:
    """The files of a revision's Secret for a target, {} for none."""
    found = {FILE: json.dumps(dict(target.config))} if target.config else {}
    found |= {OVERRIDES: json.dumps(written(target.overrides))} if target.overrides else {}
    return found | ({REFS: json.dumps(written_refs(target.refs))} if target.refs else {})


def content_of(secret: Mapping[str, Any], revision: Revision) -> Content | None:
    """What the revision's Secret holds, None if it does not match the revision."""
    try:
        config = _file(secret, FILE) if revision.config_hash else {}
        overrides = _file(secret, OVERRIDES) if revision.overrides_hash else []
        refs = _file(secret, REFS) if revision.refs_hash else []
    except (ValueError, binascii.Error):
        return None
    fits = isinstance(config, dict) and fragment_hash(config) == revision.config_hash
    fits = fits and fragment_hash(overrides) == revision.overrides_hash
    fits = fits and fragment_hash(refs) == revision.refs_hash
    return Content(config, maps(overrides), maps(refs)) if fits else None


def _file(secret: Mapping[str, Any], name: str) -> Any:
    """Raises ValueError, binascii.Error."""
    data = text(inside(secret, "data", name), LONGEST)
    return parsed(base64.b64decode(data, validate=True))


def target_of(revision: Revision, content: Content) -> Target:
    overrides = parse_overrides(content.overrides)
    refs = parse_refs(content.secrets)
    return Target(revision.k3os, revision.k3s, content.config, overrides, refs=refs)


def changed_by(body: Mapping[str, Any]) -> tuple[str, str]:
    """Which program last changed a NodePool's spec, and when, if the API server recorded it
    (kubernetes.io, "Server-Side Apply", "Field management")."""
    found = [
        each
        for each in maps(inside(body, "metadata", "managedFields"))
        if not each.get("subresource") and "f:spec" in mapping(each.get("fieldsV1"))
    ]
    last = max(found, key=lambda each: text(each.get("time")), default={})
    return text(last.get("manager"), 256), text(last.get("time"), 64)


def has_content(revision: Revision) -> bool:
    """Whether it has a Secret."""
    return bool(revision.config_hash or revision.overrides_hash)


def before(revisions: Iterable[Revision], digest: str) -> Revision | None:
    """The newest one with another target."""
    found = (each for each in reversed(list(revisions)) if each.digest != plain(digest))
    return next(found, None)
