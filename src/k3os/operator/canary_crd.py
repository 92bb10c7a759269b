"""The schema of `spec.strategy.canary` and `status.canary`, made from canary_spec's defaults."""

from __future__ import annotations

from typing import Any

from k3os.cluster.canary_spec import (
    CONDITION,
    JOB,
    MOST,
    NAME,
    ON_FAILURE,
    PAUSE,
    PODS,
    PROMETHEUS,
)
from k3os.cluster.canary_spec import TIMEOUT as SECONDS


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, "maxLength": 253, **more}


def _map(description: str, properties: dict[str, Any], *required: str) -> dict[str, Any]:
    found = {"type": "object", "description": description, "properties": properties}
    return found | ({"required": list(required)} if required else {})


def spec(duration: str) -> dict[str, Any]:
    """duration: the pattern of a duration."""
    nodes = {
        "description": "how many nodes are updated after this step: number or percentage",
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": r"^([1-9][0-9]?|100)%$",
        "minimum": 1,
    }
    pause = _text("how long to pause after it", pattern=duration, minLength=2)
    steps = {
        "type": "array",
        "description": "list of `{nodes, pause}`: `1` or `10%` nodes, then a pause such as `10m`",
        "minItems": 1,
        "maxItems": MOST,
        "items": _map("", {"nodes": nodes, "pause": pause}, "nodes"),
    }
    gates = {
        "type": "array",
        "description": "gates that must be open after each step: see [Canary](#canary)",
        "maxItems": MOST,
        "items": _gate(),
    }
    return _map(
        "A few nodes first, and gates between the steps; without it all nodes in turn.",
        {
            "steps": steps,
            "analysis": gates,
            "analysisTimeout": _text(
                "time limit for the gates of a step; then the step has failed",
                pattern=duration,
                minLength=2,
                default=f"{SECONDS // 60}m",
            ),
            "onFailure": _text(
                "when a gate fails: pause, or roll the nodes back",
                enum=list(ON_FAILURE),
                default=PAUSE,
            ),
        },
        "steps",
    )


def _gate() -> dict[str, Any]:
    labels = {"type": "object", "additionalProperties": {"type": "string"}}
    numbers = {name: {"type": "number"} for name in ("min", "max")}
    condition = {
        **{name: _text("") for name in ("apiVersion", "kind", "name", "namespace", "type")},
        "status": _text("", default="True"),
    }
    gate = _map(
        "",
        {
            "name": _text("", pattern=f"^{NAME}$"),
            CONDITION: _map("", condition, "apiVersion", "kind", "name", "type"),
            PODS: _map(
                "",
                {
                    "namespace": _text(""),
                    "selector": _map("", {"matchLabels": labels}, "matchLabels"),
                },
                *("namespace", "selector"),
            ),
            JOB: _map("", {"from": _text("", pattern="^cronjob/.+")}, "from"),
            PROMETHEUS: _map(
                "",
                {
                    "address": _text("", pattern="^https?://", maxLength=2048),
                    "query": _text("", maxLength=4096),
                    "thresholdRange": _map("", numbers),
                },
                *("address", "query", "thresholdRange"),
            ),
        },
        "name",
    )
    kinds = (CONDITION, PODS, JOB, PROMETHEUS)
    return gate | {"oneOf": [{"required": [kind]} for kind in kinds]}


def status() -> dict[str, Any]:
    texts = ("target", "phase", "stable", "gate", "message", "retried")
    numbers = ("step", "since", "attempt")
    return _map(
        "",
        {name: {"type": "string"} for name in texts}
        | {name: {"type": "integer", "format": "int64"} for name in numbers},
    ) | {"nullable": True}
