"""Whatever addresses and routes a node has, each is shown once, or counted where lines are
folded."""

from __future__ import annotations

import json
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from k3os.node.network_facts import explain
from k3os.node.network_k3s import OfK3s
from k3os.node.network_kernel import Kernel, details_in, routes_in
from k3os.node.network_report import Report
from k3os.node.network_text import lines
from k3os.node.network_wanted import Configuration
from k3os.phases.ip_output import links_in

NAMES = ("lo", "eth0", "eth1", "bond0", "to-br0", "cni0", "veth12", "flannel.1", "strange")
COUNTED = re.compile(r"(\d+) address(?:es)?, (\d+) routes?;")
LOCAL = re.compile(r"^table local, the kernel's: (\d+) routes?;", re.MULTILINE)

devices = st.lists(st.sampled_from(NAMES), unique=True)
kinds = st.sampled_from(["", "1", "2", "3", "5", "6", "7", "8", "9"])
tables = st.sampled_from(["", "254", "255", "100", "253"])


@st.composite
def machines(draw: st.DrawFn) -> tuple[list[dict], dict[int, list[dict]]]:
    """Output of ip(8) about interfaces and routes; each address and destination occurs once."""
    numbers = iter(range(1, 1000))
    names = draw(devices)
    links = []
    for name in names:
        found = []
        for family in draw(st.lists(st.sampled_from(["inet", "inet6"]), max_size=3)):
            number = next(numbers)
            old = family == "inet"
            local = f"10.{number >> 8}.{number & 255}.1" if old else f"fd00:{number:x}::1"
            scope = draw(st.sampled_from(["global", "link", "host"]))
            length = 24 if old else 64
            found.append({"family": family, "local": local, "prefixlen": length, "scope": scope})
        links.append({"ifname": name, "flags": ["UP"], "operstate": "UP", "addr_info": found})
    routes: dict[int, list[dict]] = {4: [], 6: []}
    for version in draw(st.lists(st.sampled_from([4, 6]), max_size=12)):
        number = next(numbers)
        network = (
            f"172.{number >> 8}.{number & 255}.0/24" if version == 4 else f"fd77:{number:x}::/64"
        )
        # "gone": an interface that no longer exists
        over = draw(st.lists(st.sampled_from([*names, "gone"]), max_size=3))
        each: dict = {"dst": network, "type": draw(kinds), "table": draw(tables)}
        each = {key: value for key, value in each.items() if value}
        if len(over) > 1:
            each["nexthops"] = [{"dev": name, "weight": 1, "gateway": "10.9.9.9"} for name in over]
        elif over:
            each["dev"] = over[0]
        routes[version].append(each)
    return links, routes


def report_of(machine: tuple[list[dict], dict[int, list[dict]]]) -> Report:
    links, routes = machine
    said = json.dumps(links).encode()
    found = [
        each
        for version, listed in routes.items()
        for each in routes_in(json.dumps(listed).encode(), version)
    ]
    kernel = Kernel(tuple(links_in(said)), tuple(found), (), details_in(said))
    return explain(kernel, (), Configuration(), ("", ""), OfK3s())


def blocks(said: list[str]) -> dict[str, list[str]]:
    """Heading -> the lines below it."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in said:
        if not line.startswith("  "):
            heading = line.split("  ")[0]
        found.setdefault(heading, []).append(line)
    return found


def words(said: list[str], label: str) -> Counter[str]:
    """The first word with a network in each line `  label  WORD …`."""
    rows = [line.split() for line in said if line.startswith(f"  {label}")]
    return Counter(next((word for word in row if "/" in word), "none") for row in rows)


@given(machines())
def test_every_address_and_route_is_said_once(machine) -> None:
    links, routes = machine
    report = report_of(machine)
    wanted = Counter(
        f"{link['ifname']} {each['local']}/{each['prefixlen']}"
        for link in links
        for each in link["addr_info"]
    )
    assert wanted == Counter(
        f"{link.name} {each.text}" for link in report.interfaces for each in link.addresses
    )
    destinations = Counter(each["dst"] for listed in routes.values() for each in listed)
    assert destinations == Counter(each.to for each in report.routes)
    said = lines(report, every=True)
    below = blocks(said)
    shown = Counter(
        f"{link['ifname']} {word}"
        for link in links
        for word in words(below[link["ifname"]], "address ").elements()
        if word != "none"
    )
    assert shown == wanted
    text = Counter(word for line in said for word in line.split())
    assert {word: text[word] for word in destinations} == dict(destinations)


@given(machines())
def test_what_is_folded_is_counted(machine) -> None:
    links, routes = machine
    report = report_of(machine)
    said = "\n".join(lines(report))
    text = Counter(said.split())
    addresses = [each["local"] for link in links for each in link["addr_info"]]
    shown = sum(text[f"{each}/{24 if '.' in each else 64}"] for each in addresses)
    destinations = [each["dst"] for listed in routes.values() for each in listed]
    counted = COUNTED.search(said)
    local = LOCAL.search(said)
    assert shown + (int(counted[1]) if counted else 0) == len(addresses)
    assert sum(text[each] for each in destinations) + (int(counted[2]) if counted else 0) + (
        int(local[1]) if local else 0
    ) == len(destinations)
    assert all(text[each] <= 1 for each in destinations)
