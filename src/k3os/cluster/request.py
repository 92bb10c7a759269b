"""What the operator asks of a node: a JSON object in a file, checked before anything is done.

    {"id": "…", "k3os": {"version": "v1.2.0", "url": "https://…/releases"}, "k3s": {…},
     "config": {…}, "configHash": "…", "reboot": true, "rollback": false, "dryRun": false}

k3os and k3s may be null or missing: then they stay as they are; without config, it is empty.
configHash: by which the node names the config in the cluster, "" for its own hash; that would let
others guess secrets. A k3OS release is the directory <url>/<version>; k3s' url is a mirror of its
releases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from k3os.cluster.impact import ORDER, check, fragment_hash, impact
from k3os.config.key import AT_BOOT, RESTART
from k3os.errors import UserError
from k3os.system.json_text import parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,252}")
VERSION = re.compile(r"v?[0-9][0-9A-Za-z.+~_-]{0,126}")
HASH = re.compile(r"[0-9a-f]{64}(-[0-9a-f]{1,64})?")
BAD_REQUEST = 2  # the exit code


class BadRequest(UserError):
    """No node can carry it out."""

    exit_code = BAD_REQUEST


@dataclass(frozen=True)
class Wanted:
    """A version and where to get it, url "" for the component's default."""

    version: str
    url: str = ""

    def is_met_by(self, version: str) -> bool:
        return version.removeprefix("v") == self.version.removeprefix("v")


@dataclass(frozen=True)
class NodeRequest:
    """reboot: whether it may (it was drained for that); rollback: whether to older versions."""

    id: str
    k3os: Wanted | None = None
    k3s: Wanted | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    reboot: bool = False
    rollback: bool = False
    dry_run: bool = False
    config_hash: str = ""


@dataclass(frozen=True)
class Work:
    """What is left to do of a request. effect: what the configuration needs, including parts that
    were written but not applied in this boot."""

    k3os: bool
    k3s: bool
    config: bool
    effect: str

    @property
    def reboot(self) -> bool:
        return self.k3os or self.effect == AT_BOOT

    @property
    def restarts_k3s(self) -> bool:
        return self.k3s or self.effect == RESTART

    @property
    def is_nothing(self) -> bool:
        return not (self.k3os or self.k3s or self.config)


def parse(data: bytes) -> NodeRequest:
    """Raises BadRequest, which names the field."""
    try:
        fields = parsed(data)
    except ValueError as error:
        raise BadRequest(f"the request is not JSON: {error}", "nothing was changed") from error
    name = fields.get("id") if isinstance(fields, dict) else None
    if not isinstance(name, str) or not ID.fullmatch(name):
        raise BadRequest("the request has no id", "nothing was changed", "id")
    config = {} if fields.get("config") is None else fields["config"]
    if not isinstance(config, dict):
        raise BadRequest("must be a map", "nothing was changed", "config")
    errors = [str(each) for each in check(config, "config")[1] if each.is_error]
    if errors:
        raise BadRequest("; ".join(errors), "nothing was changed", "config")
    given_hash = fields.get("configHash") or ""
    if not isinstance(given_hash, str) or not (given_hash == "" or HASH.fullmatch(given_hash)):
        raise BadRequest("is not the hash of a configuration", "nothing was changed", "configHash")
    return NodeRequest(
        id=name,
        k3os=_wanted(fields, "k3os"),
        k3s=_wanted(fields, "k3s"),
        config=config,
        reboot=fields.get("reboot") is True,
        rollback=fields.get("rollback") is True,
        dry_run=fields.get("dryRun") is True,
        config_hash=given_hash if config else "",
    )


def _wanted(value: Mapping[str, Any], name: str) -> Wanted | None:
    given = value.get(name)
    if given is None:
        return None
    if not isinstance(given, dict):
        raise BadRequest("must be a map", "nothing was changed", name)
    version, url = (str(given.get(key) or "") for key in ("version", "url"))
    if not VERSION.fullmatch(version):
        raise BadRequest(f"{version!r} is not a version", "nothing was changed", f"{name}.version")
    if "@" in url:
        # it becomes an argument of `k3os upgrade`, which everybody can see; so do not repeat it
        raise BadRequest("holds a name or a password", "nothing was changed", f"{name}.url")
    if url and not url.startswith(("http://", "https://")):
        raise BadRequest(f"{url!r} is not an http(s) address", "nothing was changed", f"{name}.url")
    if name == "k3os" and not url:
        raise BadRequest("is missing: where is the release?", "nothing was changed", "k3os.url")
    return Wanted(version, url)


def remaining(
    request: NodeRequest, running: Mapping[str, str], fragment: Mapping[str, Any], pending: str = ""
) -> Work:
    """What differs. running: component to version; fragment: the one on the disk; pending: the
    effect that the written one still waits for, "" for none."""
    effects = [impact(request.config, fragment), *([pending] if pending else [])]
    return Work(
        k3os=request.k3os is not None and not request.k3os.is_met_by(running.get("k3os", "")),
        k3s=request.k3s is not None and not request.k3s.is_met_by(running.get("k3s", "")),
        config=bool(pending) or fragment_hash(request.config) != fragment_hash(fragment),
        effect=max(effects, key=ORDER.index),
    )
