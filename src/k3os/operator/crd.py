"""The CustomResourceDefinition of NodePool, made from the same defaults as cluster/spec.py.

Formats: apiextensions.k8s.io/v1 (kubernetes.io, "Extend the Kubernetes API with
CustomResourceDefinitions"): a structural schema. Servers before 1.25 drop the CEL rules
(x-kubernetes-validations); spec.parse_pool checks the same again.
"""

from __future__ import annotations

from typing import Any

from k3os import names
from k3os.cluster.canary_spec import PAUSE
from k3os.cluster.duration import LONGEST
from k3os.cluster.spec import HISTORY, MOST_HISTORY, ROLLBACK, Drain, Strategy
from k3os.cluster.spec import VERSION as VERSION_TEXT
from k3os.cluster.window import DAYS
from k3os.cluster.workloads import ON_FAILURE, SOAK
from k3os.operator import canary_crd, config_crd

RULES = "x-kubernetes-validations"
# as in cluster/duration.py
NO_DURATION = "is not a duration; write `20m` or `1h30m`, a week at most"
DURATION = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
VERSION = f"^{VERSION_TEXT}$"
CONDITIONS = ("Progressing", "Available", "Degraded")
PHASES = ("Pending", "Updating", "Updated", "Paused", "Failed", "Conflict")

COLUMNS = (
    ("Nodes", "integer", ".status.nodes"),
    ("Updated", "integer", ".status.updated"),
    ("Ready", "integer", ".status.ready"),
    ("K3OS", "string", ".status.k3os"),
    ("K3s", "string", ".status.k3s"),
    ("Phase", "string", ".status.phase"),
    ("Age", "date", ".metadata.creationTimestamp"),
)


def definition() -> dict[str, Any]:
    """The object to create."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Cluster",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": [names.SHORT],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name.upper(), "type": kind, "jsonPath": path}
                        for name, kind, path in COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def schema() -> dict[str, Any]:
    """Of a NodePool."""
    return {
        "type": "object",
        "description": "Nodes that should have the same versions and configuration.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
    }


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _map(description: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "description": description, "properties": properties, **more}


def _component(name: str, where: str) -> dict[str, Any]:
    return _map(
        f"The wanted {name}.",
        {
            "version": _text(f"its version, e.g. {where}", pattern=VERSION, maxLength=128),
            "channel": _text(
                "instead of a version: a channel to follow, by name or address", maxLength=2048
            ),
            "url": _text("where its releases are", pattern=r"^https?://", maxLength=2048),
        },
        oneOf=[{"required": ["version"]}, {"required": ["channel"]}],
        **_rule("has(self.version) != has(self.channel)", "give either version or channel"),
    )


def _spec() -> dict[str, Any]:
    k3os = _component("k3OS", "v1.2.0")
    k3os["required"] = ["url"]
    return _map(
        "What the nodes should have, and how they get it.",
        {
            "nodeSelector": _node_selector("Which nodes, a LabelSelector."),
            "k3os": k3os,
            "k3s": _component("k3s", "v1.33.1+k3s1"),
            "config": config_crd.config(
                "A part of config.yaml, checked like one; texts may have values of the node in "
                "them: `$(node.name)`."
            ),
            "overrides": config_crd.overrides(
                _node_selector("Which of the nodes, a LabelSelector.")
            ),
            "secrets": config_crd.secrets(),
            "revisionHistoryLimit": {
                "type": "integer",
                "description": "how many revisions to keep for `kubectl k3os rollout undo`",
                "minimum": 0,
                "maximum": MOST_HISTORY,
                "default": HISTORY,
            },
            "strategy": _strategy(),
        },
        required=["nodeSelector"],
    )


def _node_selector(description: str) -> dict[str, Any]:
    return _selector(description, "a node") | _rule(
        "has(self.matchLabels) || has(self.matchExpressions)",
        "say which nodes: matchLabels or matchExpressions",
    )


def _selector(description: str, whose: str) -> dict[str, Any]:
    return _map(
        description,
        {
            "matchLabels": {
                "type": "object",
                "description": f"labels that {whose} must have, with these values",
                "additionalProperties": {"type": "string"},
            },
            "matchExpressions": {
                "type": "array",
                "description": "conditions as `{key, operator, values}` with the operators "
                "In, NotIn, Exists, DoesNotExist",
                "items": _expression(),
                "maxItems": 64,
            },
        },
    )


def _expression() -> dict[str, Any]:
    operators = ["In", "NotIn", "Exists", "DoesNotExist"]
    return {
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": {"type": "string", "maxLength": 317},
            "operator": {"type": "string", "enum": operators},
            "values": {
                "type": "array",
                "items": {"type": "string", "maxLength": 63},
                "maxItems": 256,
            },
        },
        **_rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "In and NotIn need values, Exists and DoesNotExist have none",
        ),
    }


def _rule(rule: str, message: str, expression: str = "") -> dict[str, Any]:
    """A CEL rule. expression: for a message that depends on the value (Kubernetes 1.29)."""
    found = {"rule": rule, "message": message}
    return {RULES: [found | ({"messageExpression": expression} if expression else {})]}


def _duration(description: str, seconds: int = 0) -> dict[str, Any]:
    """seconds: the default, 0 for none."""
    least, most = "duration(self) > duration('0s')", f"duration(self) <= duration('{LONGEST}s')"
    more = {"default": f"{seconds // 60}m"} if seconds else {}
    # the maximum length limits the estimated cost of the rule
    more |= _rule(f"{least} && {most}", NO_DURATION, f'"\'" + self + "\' {NO_DURATION}"')
    return _text(description, pattern=DURATION, minLength=2, maxLength=32, **more)


def _strategy() -> dict[str, Any]:
    plain, drain = Strategy(), Drain()
    return _map(
        "How many at a time, when, and how carefully.",
        {
            "maxUnavailable": {
                "description": "how many nodes may be unavailable at once: number or percentage",
                "x-kubernetes-int-or-string": True,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "pattern": r"^([1-9][0-9]?|100)%$",
                "minimum": 1,
                "default": plain.max_unavailable,
            },
            "drain": _map(
                "How pods are moved away before a node restarts.",
                {
                    "enabled": {
                        "type": "boolean",
                        "description": "whether pods are moved away at all",
                        "default": drain.enabled,
                    },
                    "timeout": _duration(
                        "time limit for moving pods away; then the rollout stops", drain.timeout
                    ),
                    "deleteEmptyDirData": {
                        "type": "boolean",
                        "description": "also evict pods that lose an emptyDir",
                        "default": drain.delete_empty_dir_data,
                    },
                    "force": {
                        "type": "boolean",
                        "description": "also evict pods that nothing would start again",
                        "default": drain.force,
                    },
                    "gracePeriod": {
                        "type": "integer",
                        "description": "seconds that a pod gets to end; -1: its own setting",
                        "minimum": -1,
                        "maximum": LONGEST,
                        "default": drain.grace_period,
                    },
                    "ignoreDaemonSets": {
                        "type": "boolean",
                        "description": "leave pods of DaemonSets alone; false: one of them, "
                        "without the annotation `k3os.io/drain: evict`, stops the rollout",
                        "default": drain.ignore_daemon_sets,
                    },
                    "podSelector": _selector(
                        "Which pods are moved away, a LabelSelector; without it all.", "a pod"
                    ),
                    "skipWaitForDeleteTimeout": _duration(
                        "do not wait for a pod that should have ended this long ago; without it, "
                        "wait for all"
                    ),
                    "detachTimeout": _duration(
                        "how long to wait for the node's volumes to be detached when its pods are "
                        "gone; then it restarts anyway",
                        drain.detach_timeout,
                    ),
                },
                default={},
            ),
            "window": _map(
                "When changes may begin; without it always.",
                {
                    "start": _text("time of day", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"),
                    "duration": _duration("how long it is open", 3 * 3600),
                    "days": {
                        "type": "array",
                        "description": "on which days it opens; default: every day",
                        "items": {"type": "string", "enum": list(DAYS)},
                        "maxItems": len(DAYS),
                    },
                    "timeZone": _text("e.g. Europe/Berlin", default="UTC", maxLength=64),
                },
                required=["start"],
            ),
            "progressDeadline": _duration(
                "time limit for each node, from its first step until it is updated, without the "
                "soak time",
                plain.progress_deadline,
            ),
            "paused": {
                "type": "boolean",
                "description": "start no more nodes",
                "default": plain.paused,
            },
            "canary": canary_crd.spec(DURATION),
            "workloads": _map(
                "What to do if pods that were Ready on a node are not Ready after its upgrade; "
                "without it, pods are not checked.",
                {
                    "onFailure": _text(
                        "when some are not Ready: continue, pause, or roll the nodes back: "
                        "see [Workloads](#workloads)",
                        enum=list(ON_FAILURE),
                        default=PAUSE,
                    ),
                    "soak": _duration(
                        "how long to wait when a node is back; a workload not Ready then is sick",
                        SOAK,
                    ),
                },
            ),
            "rollback": _text(
                "whether nodes may go back to older versions", enum=list(ROLLBACK), default="Forbid"
            ),
        },
        default={},
    )


def _status() -> dict[str, Any]:
    count = {"type": "integer"}
    time = {"type": "string", "format": "date-time"}
    condition = _map(
        "",
        {
            "type": {"type": "string", "enum": list(CONDITIONS)},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string"},
            "message": {"type": "string"},
            "observedGeneration": {"type": "integer", "format": "int64"},
            "lastTransitionTime": time,
        },
        required=["type", "status"],
    )
    # only nodes with a change or a failure: 1,000 nodes would be too much for one object
    node = _map(
        "",
        {name: {"type": "string"} for name in ("name", "step", "reason", "message")},
        required=["name"],
    )
    listed = {"x-kubernetes-list-type": "map"}
    return _map(
        "What was seen last.",
        {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "phase": {"type": "string", "enum": list(PHASES)},
            "nodes": count,
            "updated": count,
            "ready": count,
            # workloads that were Ready on nodes before their upgrade and are not now
            "sickWorkloads": count,
            "waiting": {"type": "string"},
            "k3os": {"type": "string"},
            "k3s": {"type": "string"},
            # which versions the channels last stood for
            "channels": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in ("channel", "version")},
                },
            },
            "canary": canary_crd.status(),
            "conditions": {
                "type": "array",
                "items": condition,
                **listed,
                "x-kubernetes-list-map-keys": ["type"],
            },
            "changing": {
                "type": "array",
                "items": node,
                **listed,
                "x-kubernetes-list-map-keys": ["name"],
            },
        },
    )
