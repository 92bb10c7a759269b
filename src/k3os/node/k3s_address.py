"""k3s when the address that its node registered with is gone: the node moved to another subnet.

k3s takes the address of the interface with the default route, when it starts; a kubelet whose
address is gone no longer updates its Node. So k3s is restarted, and pods keep running; except with
an embedded etcd, which accepts no other address (k3s#11778), or if the user gave k3s an address.

/usr/lib/k3os/issue and each report notice that the address is gone; then /usr/lib/k3os/k3s-address
waits until the new ones have been stable for half a minute. This module decides; k3s_follow.py
collects the facts and acts.
"""

from __future__ import annotations

import os

from k3os.paths import STATE
from k3os.system.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

# the addresses by which the cluster knows the node, one per line; two scripts read them, too
REGISTERED = f"{STATE}/node-addresses"
# what the user has to do, for `k3os status`
MESSAGE = "/run/k3os/k3s-address"
# the address for which k3s was last restarted
TAKEN = "/run/k3os/k3s-address-taken"
UNIT = "k3os-k3s-address.service"
# seconds: between two restarts for different addresses; until the cluster must know the new one
APART, PATIENCE = 600.0, 300.0
# flags with addresses that the user may give to k3s
GIVEN = ("node-ip", "bind-address", "advertise-address", "vpn-auth", "vpn-auth-file")
# k3s' annotation with a node's addresses, and its prefix of a providerID: its pkg/cloudprovider
ANNOTATION, PROVIDER = "k3s.io/internal-ip", "k3s://"
NOTHING, RESTART, SAY = "nothing", "restart", "say"
HOW = "docs/how-to/network.md#when-a-nodes-address-changes"


class Seen(Frozen):
    """registered: addresses of the Node. present: those of the machine; leading: the one that k3s
    would take, "" for none. given: flags of k3s with an address. is_younger: k3s has started since
    the addresses changed. taken: the address it was last restarted for, seconds since then."""

    registered: tuple[str, ...]
    present: tuple[str, ...]
    leading: str
    k3s: str = "active"
    given: Mapping[str, str] | None = None
    has_etcd: bool = False
    is_younger: bool = False
    is_stopping: bool = False
    taken: tuple[str, float] = ("", APART)
    name: str = ""


class Decision(Frozen):
    """address: that k3s should take."""

    what: str
    words: str
    address: str = ""


def is_gone(registered: Iterable[str], present: Iterable[str]) -> bool:
    return bool(set(registered) - set(present))


def decide(seen: Seen) -> Decision:
    if not seen.registered or not is_gone(seen.registered, seen.present):
        return Decision(NOTHING, "the node has the address that it registered with")
    was = ", ".join(seen.registered)
    now = seen.leading
    if seen.is_stopping:
        return Decision(NOTHING, "the machine is going down")
    if not now:
        return Decision(NOTHING, "no default route leads to an address that k3s could take")
    if seen.has_etcd:
        return Decision(SAY, _of_etcd(was, now, seen.name))
    if gone := _given_and_gone(seen):
        return Decision(
            SAY,
            f"k3s was told {gone}, and this node has {now} now: change it where it was said "
            "(`k3os status` lists k3s' settings), then `sudo systemctl restart k3s`",
        )
    if seen.k3s != "active":
        return Decision(NOTHING, f"k3s is {seen.k3s}: it takes {now} when it starts")
    if seen.is_younger:
        return Decision(NOTHING, "k3s has started since, and has chosen by itself")
    address, seconds = seen.taken
    if address == now and seconds < PATIENCE:
        return Decision(NOTHING, f"k3s has just been restarted for {now}")
    if address == now:
        return Decision(
            SAY,
            f"k3s was restarted for {now}, and the node is still registered with {was}: "
            f"`journalctl -u k3s`, {HOW}",
        )
    if seconds < APART:
        return Decision(NOTHING, "k3s was started for another address a moment ago: later")
    words = f"this node's address was {was} and is {now} now: k3s restarts, pods keep running"
    return Decision(RESTART, words, now)


def _given_and_gone(seen: Seen) -> str:
    for name, value in (seen.given or {}).items():
        addresses = [each.strip() for each in value.split(",")]
        if name.startswith("vpn-auth") or not set(addresses) <= {*seen.present, "0.0.0.0", "::"}:
            return f"--{name}" if name.startswith("vpn-auth") else f"--{name}={value}"
    return ""


def _of_etcd(was: str, now: str, name: str) -> str:
    return (
        f"k3s' embedded etcd knows this node as {was}; it has {now} now, which etcd does not take. "
        f"Give it {was} back (k3os.network); or, on the cluster's only server: sudo systemctl stop "
        "k3s && sudo k3s server --cluster-reset && sudo systemctl start k3s; where there are other "
        f"servers, on one of them: kubectl delete node {name}, and join this one again: {HOW}"
    )


def addresses_of(node: Mapping[str, Any]) -> list[str]:
    """The addresses that k3s has chosen for a Node: only IPv4, if there are any, since an IPv6
    prefix may change every day. [] if another cloud's controller sets the Node's addresses: they
    need not be the machine's."""
    from k3os.system.json_text import map_in, maps

    known = map_in(dict(node), "metadata").get("annotations")
    chosen = known.get(ANNOTATION) if isinstance(known, dict) else None
    provider = str(map_in(dict(node), "spec").get("providerID") or PROVIDER)
    listed = maps(map_in(dict(node), "status").get("addresses"))
    found = [str(each.get("address", "")) for each in listed if each.get("type") == "InternalIP"]
    if isinstance(chosen, str) and chosen:
        found = [each.strip() for each in chosen.split(",")]
    elif not provider.startswith(PROVIDER):
        return []
    return [each for each in found if ":" not in each] or found


def remember(node: Mapping[str, Any], present: Iterable[str], root: str = "") -> bool:
    """Keep the Node's addresses; returns whether one is gone here. present: as from
    `k3os.node.status`. Raises OSError."""
    from k3os.system.files import atomic_write, durable_remove, text_of

    registered = addresses_of(node)
    text = "".join(f"{each}\n" for each in registered)
    if registered and text.strip() != text_of(root + REGISTERED):
        os.makedirs(os.path.dirname(root + REGISTERED), exist_ok=True)
        atomic_write(root + REGISTERED, text.encode())
    if registered and is_gone(registered, bare(present)):
        return True
    if os.path.exists(root + MESSAGE):
        durable_remove(root + MESSAGE)
    return False


def bare(addresses: Iterable[str]) -> list[str]:
    """The address of `eth0 10.0.2.15/24`."""
    return [each.rpartition(" ")[2].partition("/")[0] for each in addresses]
