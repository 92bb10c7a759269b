"""k3os.network with bonds, bridges and dummies: the files for connman and udev."""

from k3os.phases.ip_output import link_of
from k3os.phases.routes import decide

from .conftest import Machine
from .test_network import LOW, UDEV, connman, default, entry, link, network, words

MEMBER = 'ENV{SYSTEMD_WANTS}+="k3os-links.service"'


def test_connman_has_nothing_to_say_about_a_bonds_members_and_no_to_a_bridges(
    machine: Machine,
) -> None:
    """connman itself leaves members of a bond alone, but does not know about the bridge."""
    bond = "bond0: {bond: {mode: 802.3ad, interfaces: [eth0, '52:54:00:00:00:01']}}"
    bridge = "br0: {bridge: {interfaces: [bond0.5, eth2]}, address: 10.0.0.2/24, mtu: 9000}"
    dummy = "dummy0: {dummy: true, address: 192.0.2.1/32}"
    machine.apply("boot", network(f"{bond}, {bridge}, {dummy}"))
    off = "IPv4=off\nIPv6=off\n"
    assert connman(machine) == {
        f"k3os-network-{device}.config": (
            f"[service_k3os_{tag}]\nType=ethernet\nDeviceName={device}\n{lines}"
        )
        for device, tag, lines in (
            ("bond0.5", "bond0_5", off),
            ("eth2", "eth2", off),
            ("to-br0", "to_br0", "IPv4=10.0.0.2/24\nIPv6=auto\n"),
        )
    }
    add = 'ACTION=="add", SUBSYSTEM=="net", '
    card = 'ATTR{address}=="52:54:00:00:00:01", ENV{DEVTYPE}!="vlan|bond|bridge"'
    vlan = 'RUN+="/usr/sbin/ip link add link $name name bond0.5 type vlan id 5"'
    assert machine.text(UDEV).splitlines() == [
        f'{add}KERNEL=="bond0", ATTR{{mtu}}="9000"',
        f'{add}KERNEL=="eth0", {MEMBER}',
        f"{add}{card}, {MEMBER}",
        f'{add}KERNEL=="bond0", {vlan}',
        f'{add}KERNEL=="bond0.5", {MEMBER}',
        f'{add}KERNEL=="bond0.5", ATTR{{mtu}}="9000"',
        f'{add}KERNEL=="eth2", {MEMBER}',
        f'{add}KERNEL=="eth2", ATTR{{mtu}}="9000"',
    ]
    assert (machine.root / "run/k3os/network-links").exists()


def test_where_nothing_is_to_be_made_connman_does_not_wait_for_it(machine: Machine) -> None:
    mark = machine.root / "run/k3os/network-links"
    machine.apply("boot", network("eth0: {address: 10.0.0.2/24}"))
    assert not mark.exists()
    machine.apply("boot", network("bond0: {bond: {mode: broadcast, interfaces: eth0}}"))
    assert mark.exists()
    report = machine.apply("runtime", network("eth0: {address: 10.0.0.2/24}"))
    done = [each.what for each in report.results]
    assert "take away what is not wanted any more of bond0" in done
    assert "give the members back" in done
    assert not mark.exists()


def test_a_cards_mac_is_its_own_although_the_bond_has_given_it_another(machine: Machine) -> None:
    base = "sys/class/net"
    first, second = "52:54:00:00:00:01", "52:54:00:00:00:02"
    for name, kind in (("bond0", "DEVTYPE=bond\n"), ("eth0", ""), ("eth1", "")):
        machine.put(f"{base}/{name}/address", f"{first}\n")
        machine.put(f"{base}/{name}/uevent", f"{kind}INTERFACE={name}\n")
    machine.put(f"{base}/eth0/bonding_slave/perm_hwaddr", f"{first}\n")
    machine.put(f"{base}/eth1/bonding_slave/perm_hwaddr", f"{second}\n")
    bond = f"bond0: {{bond: {{mode: broadcast, interfaces: ['{first}', '{second}']}}, vlan: 5}}"
    assert machine.apply("boot", network(f"{bond}, eth2: dhcp")).is_fine
    report = machine.apply("boot", network(f"{bond}, eth1: dhcp"))
    assert f"configure {second}: is eth1, which another entry" in "\n".join(report.lines())


def test_the_default_route_over_a_bond_or_into_a_bridge_is_the_nodes(machine: Machine) -> None:
    for device, kind in (("bond0", "bond"), ("to-br0", "veth")):
        links = [link(device, "10.1.0.2/24", kind=kind), link("eth1", "10.0.2.15/24")]
        links.append(link("veth1234", kind="veth"))
        routes = [default("eth1", "10.0.2.2"), default(device, "10.1.0.1", LOW)]
        routes.append(default("veth1234"))
        commands = decide([entry(device, "10.1.0.1")], links, {4: routes, 6: []})
        assert words(commands) == [
            f"ip -4 route replace default via 10.1.0.1 dev {device}",
            "ip -4 route delete default via 10.0.2.2 dev eth1",
            f"ip -4 route delete default via 10.1.0.1 dev {device} metric {LOW}",
        ]


def test_a_member_is_found_by_its_own_mac() -> None:
    first, second = "52:54:00:00:00:01", "52:54:00:00:00:02"
    links = [
        link("bond0", mac=second, kind="bond"),
        {**link("eth0", mac=second), "permaddr": first},
        link("eth1", mac=second),
    ]
    found = [link_of(mac, links) for mac in (first, second)]
    assert [each and each["ifname"] for each in found] == ["eth0", "eth1"]
