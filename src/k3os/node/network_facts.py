"""The state of this node's network, and why: everything `k3os network show` prints, collected.

It changes nothing, and works for every user; what only root can see is reported as missing.
"""

from __future__ import annotations

import os

from k3os.node import network_cards, network_k3s, network_kernel, network_missing, network_names
from k3os.node import network_origin as origin
from k3os.node.network_cards import Hardware
from k3os.node.network_k3s import NOT_ROOT, OfK3s
from k3os.node.network_report import Device, Missing, Report
from k3os.node.network_wanted import Configuration, configured, planned
from k3os.phases import connman_services
from k3os.phases.network_plan import PLAN
from k3os.phases.resolv import SOURCE
from k3os.system.files import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from k3os.node.network_kernel import Kernel
    from k3os.node.network_origin import Known
    from k3os.phases.connman_services import Service

    Json: TypeAlias = "dict[str, Any]"

NO_HARDWARE = Hardware()
NO_CONNMAN = Missing(
    "connman does not answer: nobody asks for addresses, or renews them",
    hint="`systemctl status connman`, `journalctl -b -u connman`",
)


def collect(root: str = "") -> Report:
    """Raises CommandError if ip(8) does not work."""
    from k3os.system.run import CommandError

    services: tuple[Service, ...] | None
    try:
        services = connman_services.look()
    except CommandError:
        services = None
    is_root = os.geteuid() == 0
    if is_root and services is not None:
        services = tuple(connman_services.with_given(each, root) for each in services)
    if is_root:
        config, of_k3s = _as_root(root)
    else:
        config = planned(text_of(root + PLAN).encode())
        of_k3s = OfK3s(unknown=NOT_ROOT)
    texts = (text_of(root + SOURCE), text_of(root + of_k3s.file))
    hardware = network_cards.look(config.wanted, root)
    return explain(network_kernel.look(), services, config, texts, of_k3s, hardware)


def _as_root(root: str) -> tuple[Configuration, OfK3s]:
    from k3os.config.load import load_config
    from k3os.phases.node import Node

    config, problems = load_config(root or "/", cloud=True)
    return configured(config, problems, Node(root or "/")), network_k3s.look(config, root)


def explain(
    kernel: Kernel,
    services: tuple[Service, ...] | None,
    config: Configuration,
    texts: tuple[str, str],
    of_k3s: OfK3s,
    hardware: Hardware = NO_HARDWARE,
) -> Report:
    """Pure. texts: the node's resolv.conf, and that of pods."""
    known = origin.known(kernel, config, services, of_k3s.networks)
    silent = (NO_CONNMAN,) if services is None else ()
    used = network_names.servers(texts[0], known, config)
    lacking = network_missing.missing(config.wanted, kernel, known, hardware)
    return Report(
        (*silent, *config.problems, *lacking),
        (*config.notes, *network_missing.notes(kernel, known)),
        tuple(
            _device(each, kernel, known, hardware)
            for each in sorted(kernel.links, key=_is_loopback)
        ),
        tuple(origin.route(each, known) for each in kernel.routes),
        tuple(origin.rule(each, known) for each in kernel.rules),
        used,
        network_names.search(texts[0]),
        network_names.pods(texts[1], used, of_k3s.file, of_k3s.unknown),
    )


def _is_loopback(link: Json) -> bool:
    return bool(link["ifname"] == origin.LOOPBACK)


def _device(link: Json, kernel: Kernel, known: Known, hardware: Hardware) -> Device:
    name = link["ifname"]
    card = hardware.cards.get(name)
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
        card.driver if card else "",
        card.path if card else "",
    )
