"""k3os.embedded_registry: nodes share images with each other (docs.k3s.io, "Embedded Registry
Mirror"). Only servers get the flag; agents learn it from them, and would exit for an unknown flag.

k3os.registries.mirrors, on every node, selects the registries whose images are shared.
"""

from __future__ import annotations

from k3os.config.by_version import obstacle
from k3os.config.k3s_flags import FILE, flag_and_value
from k3os.phases.actions import Action, OwnFile, Refused
from k3os.phases.k3s import arguments, to_yaml
from k3os.phases.shutdown import k3s_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "k3os.embedded_registry"
OTHERS = ("docker", "container-runtime-endpoint")
SETTINGS = f"{FILE}.d/45-k3os-registry.yaml"


def plan(config: Config, node: Node) -> list[Action]:
    value = config.get(KEY)
    if value is None or not value.data or arguments(config)[0] != "server":
        return []
    if why := obstacle(KEY, k3s_version(node)):
        what = "share images between nodes"
        return [Refused(KEY, value.place, what, why, "take a newer k3s: `k3os upgrade --k3s`")]
    if flag := other_runtime(arguments(config)):
        why = f"k3s shares images of its own containerd, not with {flag}: it would not start"
        return [Refused(KEY, value.place, "share images between nodes", why, "leave one out")]
    return [OwnFile(KEY, value.place, SETTINGS, to_yaml({"embedded-registry": "true"}).encode())]


def other_runtime(argv: list[str]) -> str:
    """The argument that replaces containerd, "" for none."""
    for each in argv:
        name, value = flag_and_value(each)
        if name in OTHERS and (value or "").strip().lower() not in ("false", "0", "f"):
            return f"--{name}"
    return ""
