"""Kubernetes LabelSelectors (matchLabels, matchExpressions), used as nodeSelector and podSelector:
which nodes or pods they select.

Formats: kubernetes.io, "Labels and Selectors".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from k3os import names
from k3os.cluster.objects import mapping

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
NOTHING = {"matchExpressions": [{"key": f"{names.GROUP}/none", "operator": "In", "values": []}]}


def selector_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """A NodePool's selector; an invalid one selects nothing."""
    selector = spec.get("nodeSelector")
    return mapping(selector) if selector is None or is_selector(selector) else NOTHING


def keys_of(selector: Mapping[str, Any]) -> set[str]:
    """The labels that a LabelSelector looks at."""
    expressions = selector.get("matchExpressions") or []
    return {*(selector.get("matchLabels") or {}), *(each["key"] for each in expressions)}


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Kubernetes' LabelSelector; an empty one matches everything."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    return all(_fits(each, labels) for each in selector.get("matchExpressions") or [])


def is_selector(selector: object) -> bool:
    """Whether it is a LabelSelector."""
    if not isinstance(selector, Mapping) or selector.keys() - {"matchLabels", "matchExpressions"}:
        return False
    wanted, expressions = selector.get("matchLabels"), selector.get("matchExpressions")
    return (wanted is None or _are_texts(wanted)) and (
        expressions is None
        or (isinstance(expressions, list) and all(map(_is_expression, expressions)))
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values())


def _is_expression(value: object) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("key"), str):
        return False
    values = value.get("values") or []
    return value.get("operator") in OPERATORS and (
        isinstance(values, list) and all(isinstance(each, str) for each in values)
    )


def _fits(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or []
    return {
        "In": value in values and value is not None,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]
