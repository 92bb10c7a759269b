"""The operator's image if it comes from a registry, as the operator's own pod says.

A node whose build includes an image names that one (node.py); all others use this. It is read from
the pod rather than a separate setting: anyone who sets another image, in a kustomize overlay or
with `kubectl set image`, only has to say it once. Pure.
Formats: core/v1 Pod (kubernetes.io, "API reference").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from k3os.cluster.objects import inside, maps, text

# of the operator's pods, and of their container
NAME_LABEL = "app.kubernetes.io/name"
CONTAINER = "operator"
# an image with this policy only exists on nodes whose build includes it
NEVER = "Never"


@dataclass(frozen=True)
class Pulled:
    """An image that a kubelet can pull: its reference, the imagePullPolicy, names of Secrets."""

    name: str
    policy: str
    secrets: tuple[str, ...] = ()


def pulled_image(pods: Iterable[Mapping[str, Any]]) -> Pulled | None:
    """The image of the operator's pods; None if it is not from a registry. Of several, the newest
    running one counts: the image of another may not exist."""
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
