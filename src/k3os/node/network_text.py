"""`k3os network show` for people: what is missing first, then each interface with what it has.

What network plugins create, and what the kernel adds to each address, is folded into one line each.
"""

from __future__ import annotations

from k3os.node.network_kernel import LOCAL, MAIN, TABLES
from k3os.node.network_report import KERNEL
from k3os.system.plural import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from k3os.node.network_report import Device, Pods, Report, Route, Rule

MOST_NAMES = 6
UNFOLD = "`k3os network show --all` lists them"
NO_SERVER = "none is known; name some in k3os.dns_nameservers"


def lines(report: Report, *, every: bool = False) -> list[str]:
    """every: fold nothing."""
    said = [f"MISSING  {each}" for each in report.missing]
    said += [f"note: {each}" for each in report.notes]
    shown = [each for each in report.interfaces if every or not each.is_plugins]
    routes = [each for each in report.routes if every or each.table != LOCAL]
    for device in shown:
        said += ["", *_about(device, [each for each in routes if each.devices == (device.name,)])]
    names = {each.name for each in report.interfaces}
    folded = names - {each.name for each in shown}
    apart = [
        each
        for each in routes
        if (len(each.devices) != 1 or each.devices[0] not in names) and not _is_over(each, folded)
    ]
    if apart:
        said += [
            "",
            "routes over no interface, or over several",
            *_listed(_route(each, apart=True) for each in apart),
        ]
    if not every:
        said += _folded(report)
    said += ["", *_rules(report.rules, every)]
    said += ["", "name servers"]
    said += _listed((each.address, str(each.origin)) for each in report.name_servers) or [
        f"  {NO_SERVER}"
    ]
    said += [f"  search {' '.join(report.search)}"] if report.search else []
    said += ["", *_pods(report.pods)]
    return said if said[0] else said[1:]


def _is_over(given: Route, names: set[str]) -> bool:
    """Whether it only uses these interfaces."""
    return bool(given.devices) and names.issuperset(given.devices)


def _about(device: Device, routes: Iterable[Route]) -> list[str]:
    kind = f"{device.kind}, {device.detail}" if device.detail else device.kind
    switched = "up" if device.is_up else "down"
    carrier = "carrier" if device.has_carrier else "no carrier"
    mac = f"{device.mac} (its own: {device.own_mac})" if device.own_mac else device.mac
    words = [kind, switched, carrier, f"state {device.state}", mac, f"MTU {device.mtu}"]
    said = [f"{device.name}  {', '.join(word for word in words if word)}"]
    managed = [("managed", str(device.managed))]
    card = ", ".join(each for each in (device.driver, device.path) if each)
    managed += [("driver", card)] if card else []
    managed += [("master", device.master)] if device.master else []
    managed += [("members", ", ".join(device.members))] if device.members else []
    managed += [("connman", f"its state is {device.connman}")] if device.connman else []
    managed += [] if device.addresses else [("address", "none")]
    said += [f"  {label:<8} {text}" for label, text in managed]
    rows = []
    for each in device.addresses:
        notes = f" ({', '.join(each.notes)})" if each.notes else ""
        rows.append((f"address  {each.text}{notes}", str(each.origin)))
    for given in routes:
        text, where = _route(given)
        rows.append((f"route    {text}", where))
    return said + _listed(rows)


def _route(given: Route, *, apart: bool = False) -> tuple[str, str]:
    """apart: not below its interface."""
    words = [given.kind, given.to]
    for hop in given.hops:
        words += ["via", hop.gateway] if hop.gateway else []
        words += ["dev", hop.device] if hop.device and (apart or len(given.hops) > 1) else []
    words += ["metric", given.metric] if given.metric not in ("", "0") else []
    words += ["table", _table(given.table)] if given.table != MAIN else []
    words += ["(dead)"] if given.is_dead else []
    return " ".join(word for word in words if word), str(given.origin)


def _table(number: str) -> str:
    return TABLES.get(number, number)


def _listed(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Two columns."""
    found = list(rows)
    width = max((len(text) for text, _ in found), default=0)
    return [f"  {text:<{width}}  {where}" for text, where in found]


def _folded(report: Report) -> list[str]:
    folded = [each for each in report.interfaces if each.is_plugins]
    names = {each.name for each in folded}
    local = [each for each in report.routes if each.table == LOCAL]
    said = []
    if folded:
        shown = ", ".join(each.name for each in folded[:MOST_NAMES])
        shown += ", …" if len(folded) > MOST_NAMES else ""
        addresses = sum(len(each.addresses) for each in folded)
        over = [each for each in report.routes if each.table != LOCAL and _is_over(each, names)]
        routes = len(over)
        said_of = f"{counted(addresses, 'address', 'addresses')}, {counted(routes, 'route')}"
        what = f"k3s' and network plugins', {counted(len(folded), 'interface')}"
        said += ["", f"{what}: {shown}; {said_of}; {UNFOLD}"]
    if local:
        said += ["", f"table local, the kernel's: {counted(len(local), 'route')}; {UNFOLD}"]
    return said


def _rules(rules: Iterable[Rule], every: bool) -> list[str]:
    shown = [each for each in rules if every or each.origin.by != KERNEL]
    if not shown:
        return ["rules: only the kernel's"]
    rows = []
    for each in shown:
        table = f"table {_table(each.table)}" if each.table else ""
        to = f"to {each.to}" if each.to != "all" else ""
        words = [f"IPv{each.version}", each.priority, f"from {each.source}", to, each.others, table]
        rows.append((" ".join(word for word in words if word), str(each.origin)))
    return ["rules" if every else "rules, beside the kernel's", *_listed(rows)]


def _pods(pods: Pods) -> list[str]:
    said = [f"name servers of pods, {pods.file}"]
    said += [f"  {each}" for each in pods.servers] or [f"  {NO_SERVER}"]
    said += [f"  not {each}, which a pod cannot reach" for each in pods.unreachable]
    return said + ([f"  {pods.unknown}"] if pods.unknown else [])
