"""The machine and its network: names that DHCP gives, what ip(8), connman and the kernel say."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from k3os.errors import UserError
from k3os.phases.network_plan import LEARNED
from tests.fuzz.target import target
from tests.fuzz.targets import scratch


@target("host-name", words=". - _ localhost k3os-1 xn--")
def host_name(data: bytes) -> object:
    """Of a DHCP server or of metadata: what comes of it is one, or nothing."""
    from k3os.config.hostnames import LONGEST, node_name, valid_hostname
    from k3os.phases.hostname import hosts

    text = scratch.text(data)
    name = valid_hostname(text)
    assert len(name) <= LONGEST and name.replace("-", "").replace(".", "").isalnum() == bool(name)
    assert not name or all(label.strip("-") == label != "" for label in name.split("."))
    return node_name(text), hosts(text, name or "x")


@target("resolv-conf", words="nameserver search domain options 10.0.0.1 fe80::1%eth0 127.0.0.53")
def resolv_conf(data: bytes) -> object:
    from k3os.phases.resolv import compose, with_fallback

    text = scratch.text(data)
    return compose(text), with_fallback(text, text)


ENTRIES: list[dict[str, Any]] = [
    {
        **LEARNED,
        "metric": 7 if device == "eth1" else 0,
        "use_routes": device == "eth0",
        "use_dns": device == "eth0",
        "fallback": "10.0.2.36/24" if device == "eth1" else "",
        "fallback_gateway": "10.0.2.2" if device == "eth1" else "",
        "device": device,
        "gateways": ["10.0.0.1", "fd00::1"],
        "static": [4, 6],
        "dhcp": device == "eth1",
        "fixed": ["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64"],
        "more": ["10.0.0.3/24"],
        "below": "eth0" if device == "eth0.5" else "",
        "mtu": 9000,
        "routes": [
            {"version": 4, "to": "default", "via": "10.0.0.1", "metric": "0", "table": "7"},
            {"version": 6, "to": "fd01::/64", "via": "", "metric": "1024", "table": "254"},
        ],
        "rules": [
            {"version": 4, "from": "10.0.0.2", "to": "all", "priority": "1000", "table": "7"}
        ],
        "made": {
            "kind": "bond" if device == "eth0" else "bridge",
            "name": f"made-{device}",
            "words": [],
            "mtu": 0,
            "primary": "eth1",
            "members": ["eth1", "52:54:00:12:34:56"],
            "port": "",
        },
    }
    for device in ("eth0", "eth1", "eth0.5", "52:54:00:12:34:56")
]


@target("ip-json", words='"ifname" "addr_info" "local" "dst" "default" "dev" "gateway" "linkinfo"')
def ip_json(data: bytes) -> object:
    """Links and routes as ip(8) describes them, and connman's list of services."""
    from k3os.node import network_kernel
    from k3os.node.status import addresses
    from k3os.phases import ignored_servers, ip_output, replug, routes, static_routes
    from k3os.phases import links as devices
    from k3os.system import run as running

    def run(argv: list[str], **_: Any) -> bytes:
        return data

    with patch.object(running, "run", run):
        links, listed = ip_output.addresses(), routes._routes()
        present = static_routes.Present.look(ENTRIES)
        missing = routes._look(ENTRIES)
        found: list[object] = [
            *(missing, routes.decide(ENTRIES, links, listed), routes.services()),
            routes.decide([{**each, "gateways": []} for each in ENTRIES], links, listed),
            routes.decide_fallbacks(ENTRIES, links),
            list(map(sorted, ignored_servers.ignored(ENTRIES, links, ()))),
            routes.coming([], links, listed),
            routes.coming([{**each, "gateways": []} for each in ENTRIES], links, listed),
            replug.undo(ENTRIES, [], links),
            [devices.creation(each, links) for each in ENTRIES],
            [devices.attachment(each["made"], "eth1", links) for each in ENTRIES],
            [devices.primary(each["made"], links) for each in ENTRIES],
            devices.removal(ENTRIES, [], links),
            static_routes.decide_static(ENTRIES, links, present),
            static_routes.undo_static(ENTRIES, [], links, present),
            [routes.service_name(link) for link in links],
            addresses(),
            shown(network_kernel.look(), ()),
        ]
    return json.dumps(found)


def shown(kernel: Any, services: Any) -> object:
    """What `k3os network show` makes of it."""
    from k3os.node.network_facts import explain
    from k3os.node.network_k3s import OfK3s
    from k3os.node.network_text import lines
    from k3os.node.network_wanted import planned

    report = explain(kernel, services, planned(json.dumps(ENTRIES).encode()), ("", ""), OfK3s())
    return [dict(report.as_dict()), lines(report), lines(report, every=True)]


@target("connman-objects", words='"type" "data" "Ethernet" "Interface" "IPv4" "Method" "Address"')
def connman_objects(data: bytes) -> object:
    """connman's services as busctl(1) prints them, on a machine with an interface."""
    from k3os.node.network_kernel import Kernel
    from k3os.phases import connman_services

    address = {"family": "inet", "local": "10.0.2.36", "prefixlen": 24, "scope": "global"}
    link = {"ifname": "eth0", "flags": [], "linkinfo": {}, "addr_info": [address]}
    return json.dumps(shown(Kernel((link,)), connman_services.services_in(data)))


@target("connman-services", words="*AO Wired ethernet_525400123456_cable wifi_ hidden")
def connman_services(data: bytes) -> object:
    from k3os.phases import routes
    from k3os.system import run as running

    with patch.object(running, "run", lambda *_, **__: data):
        return routes.services()


@target(
    "connman-file", words="[General] [service_x] MAC= DeviceName= IPv4=dhcp FallbackNameservers="
)
def connman_file(data: bytes) -> object:
    from k3os.phases.connman import with_settings
    from k3os.phases.network import devices

    text = scratch.text(data)
    return devices(text), with_settings(text, {"A": "b"})


@target("users", words="rancher: root:x:0:0:: :1000:1000: $6$ab$cd !")
def users(data: bytes) -> object:
    """passwd, group, shadow and authorized_keys of a node that somebody edited."""
    from k3os.phases.managed_block import replace_block
    from k3os.phases.node import Node
    from k3os.phases.password import field
    from k3os.phases.ssh_keys import sections

    for name in ("passwd", "group", "shadow"):
        scratch.file(data, f"users/etc/{name}")
    node = Node(str(scratch.directory() / "users"))
    text = scratch.text(data)
    return (
        node.user("rancher"),
        node.group("rancher"),
        field(node),
        sections(text),
        replace_block(text, ["x"]),
    )


@target("mount-table", words="- 8:1 /dev/sda1 ext4 nfs4 server:/x \\040 shared:1 rw")
def mount_table(data: bytes) -> object:
    from k3os.system.disks import mounts
    from k3os.system.remote import remote_mounts

    path = scratch.file(data, "mounts/proc/self/mountinfo")
    return mounts(path), remote_mounts(str(scratch.directory() / "mounts"))


@target("memory", words="MemTotal: kB MemAvailable: SwapTotal:")
def memory(data: bytes) -> object:
    from k3os.phases.swap import size, total_memory
    from k3os.system.memory import parse

    text = scratch.text(data)
    return parse(text), [size(each, total_memory(text)) for each in ("auto", "50%", "512M")]


@target("disk-marks", raises=(ValueError, UserError), words="signatures type label uuid DEVNAME=")
def disk_marks(data: bytes) -> object:
    """What wipefs and blkid say of labels that anybody wrote, and a record that somebody changed:
    a disk that holds anything is never formatted."""
    from k3os.phases.empty_disks import Seen, Wanted, decide, read_record
    from k3os.phases.node import Node
    from k3os.system.disk_content import carriers_in, marks_in

    scratch.file(data, "disk-marks/var/lib/rancher/k3os/disks.json")
    record = read_record(Node(str(scratch.directory() / "disk-marks"))).get("data", {})
    carriers_in(data)
    marks = marks_in("/dev/vdb", data)
    seen = Seen("/dev/vdb", marks, is_blank=not marks, identity="x")
    uuid = decide(Wanted("/dev/vdb", "ext4", "data"), record, seen)
    assert not marks or uuid in [mark.uuid for mark in marks]
    return uuid
