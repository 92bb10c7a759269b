"""The part of NodePool's definition for configurations: `config`, `overrides`, `secrets`.

Format: a structural schema of apiextensions.k8s.io/v1, as in crd.py; the contents of a
configuration are checked elsewhere (cluster/spec_config.py).
"""

from __future__ import annotations

from typing import Any

from k3os.cluster.placeholders import NAME
from k3os.cluster.spec_config import SECRET, SECRET_KEY

MOST = 64  # overrides, secrets
PAGE = "../how-to/node-settings.md"


def config(description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "x-kubernetes-preserve-unknown-fields": True,
    }


def overrides(node_selector: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "array",
        "description": "list of `{nodeSelector, config}`: more configuration for some of the "
        "nodes; later ones win over earlier ones, and all win over `config`: see "
        f"[overrides]({PAGE}#overrides)",
        "maxItems": MOST,
        "items": {
            "type": "object",
            "required": ["nodeSelector", "config"],
            "properties": {
                "nodeSelector": node_selector,
                "config": config("A part of config.yaml."),
            },
        },
    }


def secrets() -> dict[str, Any]:
    """A map by name, in the form of a container's environment."""
    ref = {
        "type": "object",
        "description": "A key of a Secret in the operator's namespace.",
        "required": ["name", "key"],
        "properties": {
            "name": {"type": "string", "pattern": f"^{SECRET}$", "maxLength": 253},
            "key": {"type": "string", "pattern": f"^{SECRET_KEY}$", "maxLength": 253},
        },
    }
    value = {
        "type": "object",
        "description": "Where the value is.",
        "required": ["secretKeyRef"],
        "properties": {"secretKeyRef": ref},
    }
    return {
        "type": "array",
        "description": "list of `{name, valueFrom: {secretKeyRef: {name, key}}}`: what "
        f"`$(secret.NAME)` in a configuration stands for: see [secrets]({PAGE}#secrets)",
        "maxItems": MOST,
        "items": {
            "type": "object",
            "required": ["name", "valueFrom"],
            "properties": {
                "name": {"type": "string", "pattern": f"^{NAME}$", "maxLength": 63},
                "valueFrom": value,
            },
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
