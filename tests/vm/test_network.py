"""Addresses, routes and names: two wired interfaces, one of them static and with the gateway."""

import dataclasses
import re

import pytest

from tests.vm.node import BOOT, ask, put, wait_until_settled

MAC = "52:54:00:00:00:02"
NET = "192.168.77.0/24"
SECOND = f"user,id=net1,net={NET}"
DNS = "192.0.2.53"  # RFC 5737: an address for documentation, behind the gateway
# interfaces that network plugins, container engines and tunnels make
CONTAINERS = (
    *("veth1234", "cni0", "flannel.1", "cali12ab", "cilium_host", "docker0", "kube-bridge"),
    *("br-4711", "vxlan.calico", "tunl0", "wg0", "nodelocaldns", "antrea-gw0", "ovn0", "weave"),
    *("genev_sys_6081", "vx-submariner", "podman0", "vnet3", "k6t-eth0", "zt5u4uptmb"),
)
CONFIG = f"""\
k3os:
  network:
    {MAC}:
      address: [192.168.77.50/24, 192.168.77.51/24]
      gateway: 192.168.77.2
      mtu: 1400
      routes:
      - {{to: 10.20.0.0/16, via: 192.168.77.3}}
      - {{to: default, via: 192.168.77.4, table: 100}}
      rules:
      - {{from: 192.168.77.51, table: 100}}
    eth1.9:
      address: 10.9.0.2/24
  dns_nameservers: [{DNS}]
"""
# A name as encoded in a question (RFC 1035, 3.1); no service, such as NTP, asks for it by itself.
NAME = ("some", "name", "test")
QUESTION = b"".join(bytes([len(label)]) + label.encode() for label in NAME) + b"\0"
# prints the interface on which the question for this name leaves for the server's port 53
SNIFFER = f"""
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
print("listening", flush=True)
while True:
    packet, (device, *_) = s.recvfrom(2048)
    is_there = packet[16:20] == socket.inet_aton("{DNS}")
    if packet[9] == 17 and is_there and packet[22:24] == b"\\0\\x35" and {QUESTION!r} in packet:
        print(device, flush=True)
        break
"""


def second_card(netdev=SECOND):
    device = f"virtio-net-pci,netdev=net1,mac={MAC},romfile="
    return ("-netdev", netdev, "-device", device)


@pytest.fixture(scope="module")
def node(boot, images):
    spec = dataclasses.replace(images.direct("", CONFIG), extra=second_card())
    with boot("network", spec) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        yield vm


def routes(node):
    return ask(node, "ip route show default").splitlines()


def test_each_interface_has_what_was_asked_for(node):
    text = ask(node, "ip -br -4 address")
    found = {line.split()[0].split("@")[0]: line.split()[2:] for line in text.splitlines()}
    assert found["eth0"] == ["10.0.2.15/24"], "not in the configuration: DHCP"
    assert sorted(found["eth1"]) == ["192.168.77.50/24", "192.168.77.51/24"]
    assert found["eth1.9"] == ["10.9.0.2/24"]
    assert ask(node, "cat /sys/class/net/eth1/mtu") == "1400"


def test_there_is_one_default_route_the_one_asked_for(node):
    assert [line.split() for line in routes(node)] == [
        ["default", "via", "192.168.77.2", "dev", "eth1"]
    ]
    assert "192.168.77.50" in ask(node, "ip route get 192.0.2.1")


def ways(node):
    """The gateways to the static route's network, to elsewhere, and from the second address."""
    asked = ("10.20.3.4", "192.0.2.1", "192.0.2.1 from 192.168.77.51")
    return [ask(node, f"ip route get {each}").split(" via ")[1].split()[0] for each in asked]


WAYS = ["192.168.77.3", "192.168.77.2", "192.168.77.4"]


def test_static_routes_and_rules_are_there(node):
    assert ways(node) == WAYS


def test_the_node_is_fine(node):
    assert "k3s        is running" in ask(node, "k3os status"), "rancher sees it, too"
    ask(node, "k3s --version")
    assert ask(node, "systemctl --failed --no-legend --plain") == ""


def test_the_default_route_comes_back_after_a_pulled_cable(node):
    for name in ("eth0", "eth1"):
        ask(node, f"sudo -n ip link set {name} down && sleep 2 && sudo -n ip link set {name} up")
        ask(
            node,
            "until [ \"$(ip route show default | tr -d '\\n')\" = "
            "'default via 192.168.77.2 dev eth1 ' ] && ip -4 address show dev eth0 | grep -q inet; "
            "do sleep 1; done",
            60,
        )
    ask(node, "until ip route show | grep -q ^10.20; do sleep 1; done", 60)
    assert ways(node) == WAYS


def test_connman_leaves_the_interfaces_of_containers_alone(node):
    # without the states, which change after the cable was pulled in an earlier test
    names = "connmanctl services | cut -c5- | sort"
    ask(node, "until connmanctl services | grep -q '^.A[RO] '; do sleep 1; done", 60)
    before = ask(node, names)
    ask(
        node,
        f"sudo -n sh -c 'for name in {' '.join(CONTAINERS)}; do "
        "ip link add $name type dummy && ip link set $name up; done'",
    )
    ask(node, "sleep 5")
    assert ask(node, names) == before
    lines = [line.split() for line in ask(node, "ip -br address").splitlines()]
    shown = {name.partition("@")[0]: addresses for name, _, *addresses in lines}
    for name in CONTAINERS:
        assert [each for each in shown[name] if ":" not in each] == []
    assert len(routes(node)) == 1


SOURCE = "/var/lib/rancher/k3os/config.d/test.yaml"
SPOKEN = "sudo -n journalctl -b -u connman -o cat | grep -c 'state is'"


def change(node, entries):
    """Set k3os.network on the running node to these entries, in addition to those of CONFIG.
    Returns the addresses of both interfaces."""
    text = f"k3os: {{network: {{{entries}}}}}" if entries else ""
    ask(node, f"echo '{text}' | {put(SOURCE)}")
    ask(node, "sudo -n k3os config", 60)
    return [
        ask(node, f"ip -br -4 address show dev {each}").split()[2:] for each in ("eth0", "eth1")
    ]


def test_a_change_on_a_running_node_is_made_once_and_keeps_what_did_not_change(node):
    ask(node, "(ip monitor address dev eth0 >/tmp/monitor 2>&1 & echo $! >/tmp/monitor.pid)")
    other = "routes: {to: 10.21.0.0/16, via: 192.168.77.3}"
    server = f"{MAC}: {{address: 192.168.77.60/24, nameservers: 192.168.77.9, {other}}}"
    both = f"{server}, eth1.10: 10.10.0.2/24"
    assert change(node, both) == [["10.0.2.15/24"], ["192.168.77.60/24"]]
    assert "10.10.0.2/24" in ask(node, "ip -br -4 address show dev eth1.10")
    listed = ask(node, "ip -4 route show table all proto static").split()
    assert "10.21.0.0/16" in listed
    assert not {"10.20.0.0/16", "192.168.77.4"} & set(listed)
    assert "nameserver 192.168.77.9" in ask(node, "cat /etc/resolv.conf")
    assert ask(node, "kill $(cat /tmp/monitor.pid); cat /tmp/monitor") == ""
    before = int(ask(node, SPOKEN))
    both = f"eth0: 10.0.2.99/24, {MAC}: dhcp"
    assert change(node, both) == [["10.0.2.99/24"], ["192.168.77.15/24"]]
    assert "192.168.77.9" not in ask(node, "cat /etc/resolv.conf")
    assert "eth1.10" not in ask(node, "ip -br link")
    ask(node, "timeout 5 connmanctl services")
    ask(node, "sleep 3")
    assert int(ask(node, SPOKEN)) - before < 20, "connman takes them up and down"
    dhcp, (first, second) = change(node, "")
    assert (dhcp, {first, second}) == (["10.0.2.15/24"], {"192.168.77.50/24", "192.168.77.51/24"})
    assert len(routes(node)) == 1
    assert ways(node) == WAYS


def test_names_are_asked_of_the_configured_server_where_no_network_names_one(node):
    ask(node, "sudo -n ip link set eth0 down")
    ask(node, f"until grep -q '^nameserver {DNS}$' /run/k3os/resolv.conf; do sleep 1; done", 60)
    assert ask(node, "grep -c ^nameserver /etc/resolv.conf") == "1"
    ask(node, f"cat >/tmp/sniffer.py <<'END'{SNIFFER}END")
    output = ask(
        node,
        "sudo -n timeout 60 python3 /tmp/sniffer.py >/tmp/sniffed & sniffer=$!; "
        "until grep -q listening /tmp/sniffed; do sleep 0.2; done; "
        f"getent hosts {'.'.join(NAME)} >/dev/null 2>&1 & "
        "wait $sniffer; cat /tmp/sniffed",
        90,
    )
    assert output.splitlines() == ["listening", "eth1"]


BONDED = ("52:54:00:00:00:03", "52:54:00:00:00:04")
PORT = "52:54:00:00:00:05"
BOND = "{mode: active-backup, interfaces: ['" + "', '".join(BONDED) + "']}"
OWN = f"""\
write_files:
- path: /var/lib/connman/mine.config
  content: |
    [service_mine]
    Type=ethernet
    MAC=52:54:00:00:00:02
    IPv4=192.168.77.60/255.255.255.0/192.168.77.2
    Nameservers=192.168.77.3
k3os:
  network:
    bond0: {{bond: {BOND}, address: 192.168.78.50/24, gateway: 192.168.78.2}}
    bond0.9: 10.9.0.2/24
    br0: {{bridge: {{interfaces: ['{PORT}']}}}}
    dummy0: {{dummy: true, address: 192.0.2.9/32}}
"""


def third_to_fifth_card():
    """Two for a bond, on networks that look the same, and one for a bridge."""
    words = []
    for number, (mac, net) in enumerate(zip((*BONDED, PORT), (78, 78, 79), strict=True), 2):
        words += ["-netdev", f"user,id=net{number},net=192.168.{net}.0/24"]
        device = f"virtio-net-pci,netdev=net{number},id=card{number},mac={mac},romfile="
        words += ["-device", device]
    return tuple(words)


@pytest.fixture(scope="module")
def own(boot, images):
    cards = (*second_card(), *third_to_fifth_card())
    spec = dataclasses.replace(images.direct("", OWN), extra=cards)
    with boot("network-own", spec) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        yield vm


def addresses_of(vm, device):
    return ask(vm, f"ip -br -4 address show dev {device}").split()[2:]


def test_a_service_file_of_the_users_own_gives_a_static_address(own):
    assert addresses_of(own, "eth1") == ["192.168.77.60/24"]


def test_bonds_bridges_and_dummies_have_their_addresses_and_their_members_none(own):
    found = {name: addresses_of(own, name) for name in ("bond0", "bond0.9", "to-br0", "dummy0")}
    assert found == {
        "bond0": ["192.168.78.50/24"],
        "bond0.9": ["10.9.0.2/24"],
        "to-br0": ["192.168.79.15/24"],
        "dummy0": ["192.0.2.9/32"],
    }
    masters = {"eth2": "bond0", "eth3": "bond0", "eth4": "br0", "veth-br0": "br0"}
    for name, master in masters.items():
        assert ask(own, f"basename $(readlink /sys/class/net/{name}/master)") == master
    for name in (*masters, "br0"):
        assert ask(own, f"ip -br address show dev {name} scope global").split()[2:] == []
    assert ask(own, "cat /sys/class/net/bond0/address") == BONDED[0]
    assert ask(own, "systemctl --failed --no-legend --plain") == ""
    assert "k3s        is running" in ask(own, "k3os status")


def rows_of(vm, command):
    """The lines of its output, with columns separated by single spaces."""
    return [" ".join(line.split()) for line in ask(vm, command).splitlines()]


def test_the_node_says_where_everything_comes_from_and_that_nothing_is_missing(own):
    """The exit code says so, too: ask() requires 0."""
    rows = rows_of(own, "sudo -n k3os network show")
    assert not [row for row in rows if row.startswith(("MISSING", "note:"))]
    key, place = "k3os.network.", ", /k3os/system/config.yaml:"
    number = next(n for n, line in enumerate(OWN.splitlines(), 1) if line.startswith("    bond0:"))
    for start, origin in {
        "address 192.168.78.50/24": f"{key}bond0.address{place}{number}:",
        "address 10.9.0.2/24": f"{key}bond0.9.address{place}{number + 1}:",
        "address 192.0.2.9/32": f"{key}dummy0.address{place}{number + 3}:",
        "address 192.168.79.15/24": "DHCP, by connman",
        "address 192.168.77.60/24": "a service file in /var/lib/connman",
        "address 10.0.2.15/24": "DHCP, by connman",
        "route default via 192.168.78.2": f"{key}bond0.gateway{place}{number}:",
        "route 192.168.78.0/24": "the kernel",
    }.items():
        assert [row for row in rows if row.startswith(f"{start} {origin}")], (start, rows)
    for server in ask(own, "sed -n 's/^nameserver //p' /run/connman/resolv.conf").split():
        row = next(row for row in rows if row.startswith(f"{server} "))
        assert re.search(r" on (eth0|to-br0)$|a service file .*, for eth1$", row), row
    bond = rows.index(next(row for row in rows if row.startswith("bond0 bond, active-backup,")))
    assert rows[bond + 1].startswith(f"managed {key}bond0{place}{number}:")
    assert rows[bond + 2] == "members eth2, eth3"
    assert any(row.endswith("; member of bond0") for row in rows)
    everybody = rows_of(own, "k3os network show")
    assert f"address 192.168.78.50/24 {key}bond0.address" in everybody
    parsed = "sudo -n k3os network show --json | python3 -c 'import json; print(json.load(open(0))"
    assert ask(own, f"""{parsed}["missing"])'""") == "[]"


def gateway_answers(vm):
    ask(vm, "until sudo -n ping -q -c 1 -W 1 192.168.78.2 >/dev/null; do sleep 0.2; done", 30)


def test_a_bond_under_the_default_route_survives_the_loss_of_each_link(own):
    assert [line.split() for line in routes(own)] == [
        ["default", "via", "192.168.78.2", "dev", "bond0"]
    ]
    active = "/sys/class/net/bond0/bonding/active_slave"
    for lost, left in (("card2", "eth3"), ("card3", "eth2")):
        own.set_link(lost, up=False)
        ask(own, f"until [ $(cat {active}) = {left} ]; do sleep 0.2; done", 30)
        gateway_answers(own)
        assert addresses_of(own, "bond0") == ["192.168.78.50/24"]
        own.set_link(lost, up=True)
        both = "[ $(grep -c 'MII Status: up' /proc/net/bonding/bond0) = 3 ]"
        ask(own, f"until {both}; do sleep 0.2; done", 30)
    assert len(routes(own)) == 1


def mode(vm):
    return ask(vm, "cat /sys/class/net/bond0/bonding/mode").split()[0]


def test_a_bond_is_made_anew_on_a_running_node_and_gives_its_members_back(own):
    xor = f"{{mode: balance-xor, interfaces: [{BONDED[0]}]}}"
    change(own, f"bond0: {{bond: {xor}, address: 192.168.78.51/24, gateway: 192.168.78.2}}")
    assert (mode(own), addresses_of(own, "bond0")) == ("balance-xor", ["192.168.78.51/24"])
    assert addresses_of(own, "eth3") == ["192.168.78.15/24"], "it uses DHCP again"
    gateway_answers(own)
    ask(own, "until ip -br -4 address show dev bond0.9 | grep -q 10.9.0.2; do sleep 1; done", 30)
    before = ask(own, "cat /sys/class/net/bond0/ifindex")
    ask(own, "sudo -n k3os config", 60)
    assert ask(own, "cat /sys/class/net/bond0/ifindex") == before, "nothing changed"
    change(own, "")
    assert (mode(own), addresses_of(own, "bond0")) == ("active-backup", ["192.168.78.50/24"])
    assert addresses_of(own, "eth3") == []
    gateway_answers(own)
    assert len(routes(own)) == 1


@pytest.fixture(scope="module")
def named(boot, images):
    """With only one interface: a static one may be up before DHCP answers, and then the node does
    not wait for its name."""
    cards = ("-netdev", "user,id=net0,hostname=named-by-dhcp")
    cards += ("-device", "virtio-net-pci,netdev=net0,romfile=")
    spec = dataclasses.replace(images.direct(), network=False, forwards=(), extra=cards)
    with boot("network-named", spec) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        yield vm


def test_the_name_that_dhcp_gives_is_taken_where_none_is_configured(named):
    assert ask(named, "uname -n") == "named-by-dhcp"
    assert ask(named, "cat /etc/hostname") == "named-by-dhcp"
    assert "127.0.1.1 named-by-dhcp" in ask(named, "cat /etc/hosts")
    assert ask(named, "sudo -n cat /var/lib/rancher/k3os/node-name") == "named-by-dhcp"
