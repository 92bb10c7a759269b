"""`spec.strategy.canary` as typed records: steps, the gates between them, what a failure does.

It only parses; errors are UserErrors whose `where` is the field's path. The schema is
operator/canary_crd.py; the names are those of Argo Rollouts and Flagger where they have one
(`pause`, `analysis`, `prometheus.address`, `thresholdRange`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from k3os.cluster.duration import seconds
from k3os.cluster.objects import mapping, text, texts
from k3os.errors import UserError
from k3os.system.numbers import whole

PAUSE, ROLLBACK = ON_FAILURE = ("Pause", "Rollback")
CONDITION, PODS, JOB, PROMETHEUS = KINDS = ("condition", "pods", "job", "prometheus")
MOST = 20  # steps, gates
TIMEOUT = 300  # seconds in which all gates of a step must pass
NAME = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
OBJECT = r"[A-Za-z0-9]([-.:A-Za-z0-9]{0,251}[A-Za-z0-9])?"
WHERE = "spec.strategy.canary"


@dataclass(frozen=True)
class Step:
    """nodes: how many get the new target, a number or a percentage; pause: seconds."""

    nodes: int | str
    pause: int = 0

    def count(self, total: int) -> int:
        if isinstance(self.nodes, int):
            return self.nodes
        return max(1, total * int(self.nodes.rstrip("%")) // 100)


@dataclass(frozen=True)
class Gate:
    """What must hold before the next step. kind: one of KINDS; given: its fields, complete."""

    name: str
    kind: str
    given: Mapping[str, Any]


@dataclass(frozen=True)
class Canary:
    """timeout: seconds. implied: by spec.strategy.workloads.onFailure, which then is the only
    reason for nodes to go back."""

    steps: tuple[Step, ...]
    gates: tuple[Gate, ...] = ()
    timeout: int = TIMEOUT
    on_failure: str = PAUSE
    implied: bool = False


# all nodes at once
IMPLIED = Canary((Step("100%"),), implied=True)


def parse_canary(given: object) -> Canary | None:
    """None if there is none. Raises UserError."""
    if given is None:
        return None
    found = _map(given, WHERE)
    failure = found.get("onFailure", PAUSE)
    if failure not in ON_FAILURE:
        raise UserError(f"{failure!r} is unknown", "write Pause or Rollback", f"{WHERE}.onFailure")
    steps = _list(found, "steps")
    if not steps:
        raise UserError("are missing", "write `- nodes: 1`", f"{WHERE}.steps")
    gates = tuple(_gate(each, index) for index, each in enumerate(_list(found, "analysis")))
    known = [gate.name for gate in gates]
    if twice := [name for name in known if known.count(name) > 1]:
        raise UserError(f"{twice[0]!r} is given twice", "name each once", f"{WHERE}.analysis")
    return Canary(
        steps=tuple(_step(each, index) for index, each in enumerate(steps)),
        gates=gates,
        timeout=seconds(found.get("analysisTimeout", f"{TIMEOUT}s"), f"{WHERE}.analysisTimeout"),
        on_failure=failure,
    )


def _map(given: object, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UserError("must be a map", "", where)
    return given


def _list(given: Mapping[str, Any], name: str) -> list[Any]:
    found = given.get(name)
    if found is None:
        return []
    if not isinstance(found, (list, tuple)) or len(found) > MOST:
        raise UserError(f"must be a list of at most {MOST}", "", f"{WHERE}.{name}")
    return list(found)


def _step(given: object, index: int) -> Step:
    where = f"{WHERE}.steps[{index}]"
    found = _map(given, where)
    pause = found.get("pause")
    return Step(
        _nodes(found.get("nodes"), f"{where}.nodes"),
        seconds(pause, f"{where}.pause") if pause is not None else 0,
    )


def _nodes(given: object, where: str) -> int | str:
    nodes = whole(given) if isinstance(given, str) else given
    if type(nodes) is int and nodes > 0:
        return nodes
    if isinstance(given, str) and re.fullmatch(r"([1-9][0-9]?|100)%", given):
        return given
    text_of = f"{given!r} is neither a number above 0 nor a percentage"
    raise UserError(text_of, "write `1` or `10%`", where)


def _gate(given: object, index: int) -> Gate:
    where = f"{WHERE}.analysis[{index}]"
    found = _map(given, where)
    name = text(found.get("name"))
    if not re.fullmatch(NAME, name):
        raise UserError(
            f"{found.get('name')!r} is not a valid name", "write one as `errors`", f"{where}.name"
        )
    kinds = [kind for kind in KINDS if found.get(kind) is not None]
    if len(kinds) != 1:
        raise UserError("is not one gate", f"write one of {', '.join(KINDS)}", where)
    (kind,) = kinds
    where = f"{where}.{kind}"
    parsed = _PARSERS[kind](_map(found[kind], where), where)
    return Gate(name, kind, parsed)


def _name(given: Mapping[str, Any], name: str, where: str, default: str = "") -> str:
    found = given.get(name, default)
    if not isinstance(found, str) or (found != default and not re.fullmatch(OBJECT, found)):
        raise UserError(f"{found!r} is not a valid name", "", f"{where}.{name}")
    return found


def _condition(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    version = text(given.get("apiVersion"))
    if not re.fullmatch(rf"({OBJECT}/)?v[0-9a-z]{{1,20}}", version):
        raise UserError(f"{version!r} is none", "write `v1`, `apps/v1`", f"{where}.apiVersion")
    found = {"apiVersion": version, "namespace": _name(given, "namespace", where)}
    for name in ("kind", "name", "type"):
        if not (value := _name(given, name, where)):
            raise UserError("is missing", "", f"{where}.{name}")
        found[name] = value
    return found | {"status": _name(given, "status", where, "True")}


def _pods(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    labels = texts(mapping(given.get("selector")).get("matchLabels"))
    namespace = _name(given, "namespace", where)
    if not labels:
        raise UserError("is missing", "", f"{where}.selector.matchLabels")
    if not namespace:
        raise UserError("is missing", "", f"{where}.namespace")
    return {"namespace": namespace, "labels": labels}


def _job(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    kind, _, name = text(given.get("from")).partition("/")
    if kind != "cronjob" or not re.fullmatch(OBJECT, name):
        hint = "write `cronjob/NAME`, of a suspended CronJob in k3os-system"
        raise UserError(f"{given.get('from')!r} is not a CronJob", hint, f"{where}.from")
    return {"cronjob": name}


def _prometheus(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    address, query = text(given.get("address"), 2048), text(given.get("query"), 4096)
    if not address.startswith(("http://", "https://")) or not urlsplit(address).hostname:
        raise UserError(f"{address!r} is not an http(s) address", "", f"{where}.address")
    if "@" in urlsplit(address).netloc:
        raise UserError("holds a name or a password", "", f"{where}.address")
    if not query:
        raise UserError("is missing", "", f"{where}.query")
    threshold = mapping(given.get("thresholdRange"))
    limits = {
        name: _number(threshold[name], where, name) for name in ("min", "max") if name in threshold
    }
    if not limits:
        raise UserError("is missing", "write min, max, or both", f"{where}.thresholdRange")
    return {"address": address.rstrip("/"), "query": query, **limits}


def _number(value: object, where: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e18:
        raise UserError(f"{value!r} is not a number", "", f"{where}.thresholdRange.{name}")
    return float(value)


_PARSERS = {CONDITION: _condition, PODS: _pods, JOB: _job, PROMETHEUS: _prometheus}
