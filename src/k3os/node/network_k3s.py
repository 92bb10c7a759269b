"""k3s' own network settings: which name servers pods get, which networks are theirs.

Reads k3s' settings like k3s does (k3os.k3s.settings), which needs root.
"""

from __future__ import annotations

from dataclasses import dataclass

from k3os.phases.resolv import FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config

# k3s' names for the resolv.conf of pods, docs.k3s.io/cli/server; the kubelet's overrides it
OPTION, VARIABLE, KUBELETS = "resolv-conf", "K3S_RESOLV_CONF", "kubelet-arg"
NETWORKS = "cluster-cidr"
# also assumed for an agent, which does not know it
USUAL_NETWORK = "10.42.0.0/16"
NOT_ROOT = f"only root sees whether k3s was given another file (--{OPTION})"


@dataclass(frozen=True)
class OfK3s:
    """file: the resolv.conf of pods; unknown: why that is not certain."""

    file: str = FILE
    networks: tuple[str, ...] = (USUAL_NETWORK,)
    unknown: str = ""


def look(config: Config, root: str = "") -> OfK3s:
    from k3os.errors import UserError
    from k3os.k3s.settings import last, read
    from k3os.phases.environment import of_k3s
    from k3os.phases.k3s import arguments
    from k3os.phases.node import Node

    environment = of_k3s(config, Node(root or "/"))
    try:
        settings = read(arguments(config), environment, root=root)
    except UserError as error:
        return OfK3s(unknown=str(error))
    given = [
        *(environment.get(VARIABLE, ""), last(settings, OPTION)),
        *(value for name, value in map(_pair, settings.get(KUBELETS, [])) if name == OPTION),
    ]
    networks = [each for value in settings.get(NETWORKS, []) for each in value.split(",")]
    return OfK3s([FILE, *filter(None, given)][-1], tuple(networks) or (USUAL_NETWORK,))


def _pair(argument: str) -> tuple[str, str]:
    name, _, value = argument.partition("=")
    return name.lstrip("-"), value
