"""The operator's image where it comes from a registry: what the operator's own pod says of it.

A node whose own build has an image names that one (node.py); any other takes this. It is read from
the pod and not from a setting beside it: whoever sets another image, in an overlay of kustomize or
with `kubectl set image`, has said it once. Pure.
Formats: core/v1 Pod (kubernetes.io, "API reference").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from k3os.cluster.objects import inside, maps, text

# of the operator's pods, and of the container in them
NAME_LABEL = "app.kubernetes.io/name"
CONTAINER = "operator"
# such an image is nowhere but on the nodes whose build has it
NEVER = "Never"


@dataclass(frozen=True)
class Pulled:
    """An image that a kubelet can get: its reference, the imagePullPolicy, names of Secrets."""

    name: str
    policy: str
    secrets: tuple[str, ...] = ()


def pulled_image(pods: Iterable[Mapping[str, Any]]) -> Pulled | None:
    """That of the operator's pods; None where theirs is not from a registry. Of several the newest
    that runs counts: another one's image may be nowhere."""
    staying = [pod for pod in pods if not inside(pod, "metadata", "deletionTimestamp")]
    newest = max(staying, key=_order, default=None)
    for container in maps(inside(newest, "spec", "containers")):
        name, policy = text(container.get("image")), text(container.get("imagePullPolicy"))
        if container.get("name") == CONTAINER and name and policy not in ("", NEVER):
            secrets = (text(each.get("name")) for each in maps(_secrets(newest)))
            return Pulled(name, policy, tuple(filter(None, secrets)))
    return None


def _secrets(pod: object) -> object:
    return inside(pod, "spec", "imagePullSecrets")


def _order(pod: Mapping[str, Any]) -> tuple[bool, str]:
    runs = text(inside(pod, "status", "phase")) == "Running"
    return runs, text(inside(pod, "metadata", "creationTimestamp"))
