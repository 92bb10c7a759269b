"""How the network of this node is, and why: everything `k3os network show` says, collected.

It changes nothing, and works for everybody; what only root sees is said to be missing.
"""

from __future__ import annotations

import os

from k3os.node import connman_services, network_kernel, network_missing, network_names
from k3os.node import network_origin as origin
from k3os.node.network_report import Device, Missing, Report
from k3os.node.network_wanted import Configuration, configured, planned
from k3os.phases.network_plan import PLAN
from k3os.phases.resolv import FILE, SOURCE
from k3os.system.files import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from k3os.node.connman_services import Service
    from k3os.node.network_kernel import Kernel
    from k3os.node.network_origin import Known

    Json: TypeAlias = "dict[str, Any]"

# k3s' name for the file that pods get
OPTION = "resolv-conf"
NO_CONNMAN = Missing(
    "connman does not answer: nobody asks for addresses, or renews them",
    hint="`systemctl status connman`, `journalctl -b -u connman`",
)


def collect(root: str = "") -> Report:
    """Raises CommandError where ip(8) does not work."""
    from k3os.system.run import CommandError

    services: tuple[Service, ...] | None
    try:
        services = connman_services.look()
    except CommandError:
        services = None
    is_root = os.geteuid() == 0
    if is_root and services is not None:
        services = tuple(connman_services.with_given(each, root) for each in services)
    config = _as_root(root) if is_root else planned(text_of(root + PLAN).encode())
    file, unknown = _file_of_pods(root, is_root)
    texts = (text_of(root + SOURCE), text_of(root + file))
    return explain(network_kernel.look(), services, config, texts, file, unknown)


def _as_root(root: str) -> Configuration:
    from k3os.config.load import load_config
    from k3os.phases.node import Node

    config, problems = load_config(root or "/", cloud=True)
    return configured(config, problems, Node(root or "/"))


def _file_of_pods(root: str, is_root: bool) -> tuple[str, str]:
    """The file whose name servers pods get, and why that is not known for sure."""
    from k3os.k3s.given import given

    if not is_root:
        return FILE, f"only root sees whether k3s was given another file (--{OPTION})"
    named = given(root).get(OPTION, [])
    return (named[-1] if named else FILE), ""


def explain(
    kernel: Kernel,
    services: tuple[Service, ...] | None,
    config: Configuration,
    texts: tuple[str, str],
    file: str = FILE,
    unknown: str = "",
) -> Report:
    """Pure. texts: the node's resolv.conf, and that of pods."""
    known = origin.known(kernel, config, services)
    silent = (NO_CONNMAN,) if services is None else ()
    used = network_names.servers(texts[0], known, config)
    return Report(
        (*silent, *config.problems, *network_missing.missing(config.wanted, kernel, known)),
        config.notes,
        tuple(_device(each, kernel, known) for each in sorted(kernel.links, key=_is_loopback)),
        tuple(origin.route(each, known) for each in kernel.routes),
        tuple(origin.rule(each, known) for each in kernel.rules),
        used,
        network_names.search(texts[0]),
        network_names.pods(texts[1], used, file, unknown),
    )


def _is_loopback(link: Json) -> bool:
    return bool(link["ifname"] == origin.LOOPBACK)


def _device(link: Json, kernel: Kernel, known: Known) -> Device:
    name = link["ifname"]
    service = known.service(name)
    mtu = link.get("mtu")
    return Device(
        name,
        origin.kind_of(link),
        str(link.get("operstate", "")).lower(),
        "UP" in link["flags"],
        "LOWER_UP" in link["flags"],
        str(link.get("address", "")),
        mtu if type(mtu) is int else 0,
        origin.manager(name, link, known),
        origin.own_mac(link),
        str(link.get("master", "")),
        tuple(each["ifname"] for each in kernel.links if each.get("master") == name),
        kernel.details.get(name, ""),
        service.state if service else "",
        tuple(origin.address(link, each, known) for each in link["addr_info"]),
        name in known.plugins,
    )
