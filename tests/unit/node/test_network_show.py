"""What `k3os network show` says about a recorded node and its problems."""

from __future__ import annotations

import json

import pytest

from k3os.cli.network import main
from k3os.node.network_report import Report
from k3os.node.network_text import lines

from .conftest import CONFIG, MISSING, SAID, SECRET, Recorded, missing

BUSCTL = next(each for each in SAID if each.startswith("busctl"))


def addresses(report: Report, device: str) -> dict[str, str]:
    return {
        each.text: str(each.origin)
        for link in report.interfaces
        if link.name == device
        for each in link.addresses
    }


def routes(report: Report, device: str) -> dict[str, str]:
    return {
        f"{each.to} {each.hops[0].gateway} {each.table}": str(each.origin)
        for each in report.routes
        if each.devices == (device,) and each.table != "255"
    }


def managed(report: Report) -> dict[str, str]:
    return {each.name: str(each.managed) for each in report.interfaces}


def test_each_address_says_where_it_comes_from(recorded: Recorded) -> None:
    """connman reports the last address that was added by hand as that of DHCP."""
    report = recorded.show()
    assert addresses(report, "eth0") == {
        "10.0.2.36/24": "DHCP, by connman",
        "10.0.2.200/24": "by hand, or another program",
        "fd00:2::dc83:edff:fe2a:c722/64": "router advertisement (SLAAC)",
        "fe80::dc83:edff:fe2a:c722/64": "link-local, by the kernel",
    }
    key = "k3os.network.eth1.address"
    assert addresses(report, "eth1") == {
        "192.168.77.50/24": f"{key}, {CONFIG}:5:17",
        "192.168.77.51/24": f"{key}, {CONFIG}:5:35",
        "fd00:77::50/64": f"{key}, {CONFIG}:5:53",
        "fe80::1c41:9dff:feb9:8419/64": "link-local, by the kernel",
    }
    assert addresses(report, "to-br0")["192.168.79.50/24"] == (
        f"k3os.network.br0.address, {CONFIG}:16:16"
    )
    assert set(addresses(report, "cni0").values()) == {"k3s or a network plugin"}
    assert set(addresses(report, "lo").values()) == {"the kernel"}


def test_each_route_says_where_it_comes_from(recorded: Recorded) -> None:
    report = recorded.show()
    assert routes(report, "eth0") == {
        "default 10.0.2.2 254": "DHCP, by connman",
        "10.0.2.0/24  254": "the kernel",
        "10.0.2.2  254": "connman, the way to the router",
        "fd00:2::/64  254": "the kernel",
        "fe80::/64  254": "the kernel",
    }
    assert routes(report, "eth1") == {
        "default 192.168.77.4 100": f"k3os.network.eth1.routes, {CONFIG}:11:9",
        "default 192.168.77.2 254": f"k3os.network.eth1.gateway, {CONFIG}:6:16",
        "10.20.0.0/16 192.168.77.3 254": f"k3os.network.eth1.routes, {CONFIG}:10:9",
        "192.168.77.0/24  254": "the kernel",
        "192.168.77.2  254": "connman, the way to the router",
        "::300:0:a00:0:100:0  254": "connman, the way to a host",
        "fd00:77::/64  254": "the kernel",
        "fe80::/64  254": "the kernel",
    }
    assert routes(report, "flannel.1")["10.42.1.0/24 10.42.1.0 254"] == "k3s or a network plugin"
    apart = [each for each in report.routes if len(each.devices) != 1]
    assert [(each.kind, each.to, each.devices, str(each.origin)) for each in apart] == [
        ("blackhole", "10.66.0.0/16", (), "by hand, or another program"),
        ("", "10.67.0.0/16", ("eth1", "eth0"), "by hand, or another program"),
    ]


def test_a_route_of_an_advertisement_and_of_a_routing_daemon(recorded: Recorded) -> None:
    def add(found: list[dict]) -> None:
        found.append({"dst": "default", "gateway": "fe80::1", "dev": "eth0", "protocol": "9"})
        found.append({"dst": "fd00:9::/64", "gateway": "fe80::1", "dev": "eth0", "protocol": "12"})

    recorded.edit("ip -json -N -6 route", add)
    found = routes(recorded.show(), "eth0")
    assert found["default fe80::1 254"] == "router advertisement"
    assert found["fd00:9::/64 fe80::1 254"] == "bird"


def test_rules_say_where_they_come_from(recorded: Recorded) -> None:
    def add(found: list[dict]) -> None:
        found.append({"priority": 9, "src": "all", "fwmark": "0x200", "table": "2004"})

    recorded.edit("ip -json -N -4 rule", add)
    report = recorded.show()
    found = [(each.version, each.priority, str(each.origin)) for each in report.rules]
    assert found == [
        (4, "0", "the kernel"),
        (4, "1000", f"k3os.network.eth1.rules, {CONFIG}:13:9"),
        (4, "32766", "the kernel"),
        (4, "32767", "the kernel"),
        (4, "9", "by hand, or another program"),
        (6, "0", "the kernel"),
        (6, "32766", "the kernel"),
    ]
    assert "  IPv4 9 from all fwmark 0x200 table 2004  by hand, or another program" in [
        line.replace("   ", "") for line in lines(report)
    ]


def test_each_interface_says_who_looks_after_it(recorded: Recorded) -> None:
    report = recorded.show()
    assert managed(report) == {
        "eth0": "connman by itself, DHCP",
        "eth1": f"k3os.network.eth1, {CONFIG}:5:7",
        "eth2": f"k3os.network.br0.interfaces, {CONFIG}:15:29; member of br0",
        "eth3": f"k3os.network.eth3, {CONFIG}:17:11",
        "br0": f"k3os.network.br0, {CONFIG}:15:7",
        "veth-br0": f"k3os.network.br0, {CONFIG}:15:7",
        "to-br0": f"k3os.network.br0, {CONFIG}:15:7",
        "cni0": "k3s or a network plugin",
        "vethabc": "k3s or a network plugin",
        "flannel.1": "k3s or a network plugin",
        "lo": "the kernel",
    }
    by_name = {each.name: each for each in report.interfaces}
    assert by_name["br0"].members == ("eth2", "veth-br0")
    assert (by_name["eth2"].master, by_name["eth2"].detail) == ("br0", "forwarding")
    assert (by_name["eth3"].is_up, by_name["eth3"].has_carrier) == (True, False)
    assert (by_name["flannel.1"].mtu, by_name["flannel.1"].kind) == (1450, "vxlan")


def test_name_servers_say_where_they_come_from(recorded: Recorded) -> None:
    report = recorded.show()
    assert {each.address: str(each.origin) for each in report.name_servers} == {
        "10.0.2.3": "DHCP on eth0",
        "192.168.77.9": f"k3os.network.eth1.nameservers, {CONFIG}:7:21",
    }
    assert report.search == ("example.org",)
    assert report.pods.servers == ("10.0.2.3", "192.168.77.9")


def test_without_a_server_of_a_network_the_configurations_is_named(recorded: Recorded) -> None:
    text = (
        "nameserver 127.0.0.1\n# FallbackNameservers of connman's main.conf, since no network "
        "names a server\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n"
    )
    recorded.put("run/connman/resolv.conf", text)
    report = recorded.show()
    assert {each.address: str(each.origin) for each in report.name_servers} == {
        "127.0.0.1": "somebody who has written it into /run/connman/resolv.conf",
        "192.0.2.53": (f"k3os.dns_nameservers, {CONFIG}:19:21; since no network names any"),
        "192.0.2.54": ("FallbackNameservers in /etc/connman/main.conf, since no network names any"),
    }
    assert report.pods.unreachable == ("127.0.0.1",)
    assert "  not 127.0.0.1, which a pod cannot reach" in lines(report)


def test_a_node_without_a_name_server_says_what_to_do(recorded: Recorded) -> None:
    from k3os.phases.resolv import HEADER, NONE_KNOWN

    recorded.put("run/connman/resolv.conf", "# Generated by Connection Manager\n")
    recorded.put("run/k3os/resolv.conf", HEADER + NONE_KNOWN)
    said = lines(recorded.show())
    assert said.count("  none is known; name some in k3os.dns_nameservers") == 2


@pytest.mark.parametrize(
    "path,text",
    [
        ("etc/rancher/k3s/config.yaml", "resolv-conf: /etc/my.conf\n"),
        ("k3os/system/config.yaml", "k3os: {k3s_args: [server, --resolv-conf=/etc/my.conf]}\n"),
        (
            "k3os/system/config.yaml",
            "k3os: {k3s_args: [--kubelet-arg=resolv-conf=/etc/my.conf]}\n",
        ),
        ("k3os/system/config.yaml", "k3os: {environment: {K3S_RESOLV_CONF: /etc/my.conf}}\n"),
    ],
    ids=["k3s' file", "an argument", "the kubelet's", "a variable"],
)
def test_another_file_for_pods_is_the_one_that_is_shown(
    recorded: Recorded, path: str, text: str
) -> None:
    recorded.put(path, text)
    recorded.put("etc/my.conf", "nameserver 10.9.9.9\n")
    pods = recorded.show().pods
    assert (pods.file, pods.servers, pods.unknown) == ("/etc/my.conf", ("10.9.9.9",), "")


@pytest.mark.parametrize(
    "network,config",
    [
        ("10.42.7.0/24", ""),
        ("10.99.7.0/24", "k3os: {k3s_args: [server, '--cluster-cidr=10.99.0.0/16,fd42::/56']}\n"),
    ],
    ids=["k3s' own", "another one"],
)
def test_a_way_to_the_pods_of_another_node_is_the_network_plugins(
    recorded: Recorded, network: str, config: str
) -> None:
    """Without a tunnel (host-gw), flannel's routes use the card itself."""

    def add(found: list[dict]) -> None:
        found.append({"dst": network, "gateway": "10.0.2.7", "dev": "eth0"})
        found.append({"dst": "10.43.0.0/16", "gateway": "10.0.2.8", "dev": "eth0"})

    recorded.edit("ip -json -N -4 route", add)
    if config:
        recorded.put("k3os/system/config.yaml", config)
    found = routes(recorded.show(), "eth0")
    assert found[f"{network} 10.0.2.7 254"] == "k3s or a network plugin"
    assert found["10.43.0.0/16 10.0.2.8 254"] == "by hand, or another program"


def test_a_connman_that_does_not_answer_comes_first(recorded: Recorded) -> None:
    del recorded.answers[BUSCTL]
    report = recorded.show()
    assert missing(report)[0].startswith("connman does not answer: nobody asks for addresses")
    assert addresses(report, "eth0")["10.0.2.36/24"] == "unknown: connman does not answer"
    assert managed(report)["eth0"] == "unknown: connman does not answer"


def test_an_ip_address_of_an_own_file_and_of_connmanctl(recorded: Recorded) -> None:
    where = "var/lib/connman/ethernet_de83ed2ac722_cable/settings"
    for method, said in (
        ("fixed", "a service file in /var/lib/connman"),
        ("manual", "connman, told by connmanctl"),
    ):
        text = recorded.read(where).replace("DHCP.LastAddress", "local_address")
        recorded.put(where, text)

        def change(value: dict, method: str = method) -> None:
            for _, service in value["data"][0]:
                if service["Ethernet"]["data"]["Interface"]["data"] == "eth0":
                    service["IPv4"]["data"]["Method"]["data"] = method

        recorded.edit("busctl", change)
        assert addresses(recorded.show(), "eth0")["10.0.2.36/24"] == said


def test_everybody_may_ask_and_hears_what_only_root_sees(recorded: Recorded) -> None:
    recorded.become(1000)
    recorded.put("k3os/system/config.yaml", "not for rancher")
    report = recorded.show()
    assert missing(report) == [each.split(": ", 1)[1] for each in MISSING]
    assert report.notes == (
        "only root sees in which file and line something is asked for: `sudo k3os network show`",
    )
    assert addresses(report, "eth1")["192.168.77.50/24"] == "k3os.network.eth1.address"
    both = "DHCP, by connman, or by hand: only root sees which"
    found = addresses(report, "eth0")
    assert (found["10.0.2.36/24"], found["10.0.2.200/24"]) == (both, both)
    assert managed(report)["eth2"] == "k3os.network.br0.interfaces; member of br0"
    assert report.pods.unknown.startswith("only root sees whether k3s was given another file")
    servers = {each.address: str(each.origin) for each in report.name_servers}
    assert servers["192.168.77.9"] == "k3os.network.eth1.nameservers"


def test_no_secret_is_read_into_it(recorded: Recorded) -> None:
    assert SECRET in recorded.read("k3os/system/config.yaml")
    for uid in (0, 1000):
        recorded.become(uid)
        report = recorded.show()
        assert SECRET not in json.dumps(report.as_dict())
        assert SECRET not in "\n".join(lines(report, every=True))


def test_a_configuration_on_the_kernels_command_line_is_named_so(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.put("k3os/system/config.yaml", "")
    words = "k3os.network.eth1.address=192.168.77.50/24"
    monkeypatch.setattr("k3os.config.load._kernel_cmdline", lambda: words)
    found = addresses(recorded.show(), "eth1")["192.168.77.50/24"]
    assert found == "k3os.network.eth1.address, the kernel's command line"


def bonded(recorded: Recorded) -> None:
    """eth2 and eth3 in a bond as iproute2 prints one: iplink_bond.c, iplink_bond_slave.c."""
    text = "k3os: {network: {bond0: {bond: {mode: active-backup, interfaces: [eth2, eth3]}}}}"
    recorded.put("k3os/system/config.yaml", text)

    def change(links: list[dict]) -> None:
        by_name = {each["ifname"]: each for each in links}
        bond = dict(by_name["eth2"], ifname="bond0", addr_info=[])
        data = {"mode": "active-backup", "miimon": 100, "active_slave": "eth2"}
        bond["linkinfo"] = {"info_kind": "bond", "info_data": data}
        bond.pop("master")
        links.append(bond)
        for name, state, link in (("eth2", "ACTIVE", "UP"), ("eth3", "BACKUP", "DOWN")):
            slave = {"state": state, "mii_status": link, "perm_hwaddr": by_name[name]["address"]}
            info = {"info_slave_kind": "bond", "info_slave_data": slave}
            by_name[name].update(master="bond0", addr_info=[], linkinfo=info)
        by_name["eth3"].update(address=bond["address"], permaddr="52:cd:68:27:c1:21")

    recorded.edit("ip -json -details", change)


def test_a_bond_says_which_member_is_active_and_whose_link_is_down(recorded: Recorded) -> None:
    bonded(recorded)
    report = recorded.show()
    by_name = {each.name: each for each in report.interfaces}
    assert by_name["bond0"].detail == "active-backup, eth2 is active"
    assert by_name["bond0"].members == ("eth2", "eth3")
    assert by_name["eth3"].detail == "backup, link down"
    assert by_name["eth3"].own_mac == "52:cd:68:27:c1:21"
    assert managed(report)["eth3"] == (
        f"k3os.network.bond0.interfaces, {CONFIG}:1:73; member of bond0"
    )
    assert missing(report) == [
        f"{CONFIG}:1:25: k3os.network.bond0.address: bond0 is to use DHCP, and has no IPv4 "
        "address from it: connman does not know it; `journalctl -b -u k3os-config -u k3os-network "
        "-u connman` says what happened"
    ]


def test_options_of_show_go_with_it_alone(capsys: pytest.CaptureFixture[str]) -> None:
    from k3os.cli.options import Usage

    with pytest.raises(Usage, match="--json goes with show"):
        main(["settle", "--json"])
    with pytest.raises(Usage, match="--all and --json exclude each other"):
        main(["show", "--json", "--all"])


def test_a_vlans_key_is_that_of_the_entry_whoever_asks(recorded: Recorded) -> None:
    """`eth1: {vlan: 9}` and `eth1.9: …` ask for the same device."""
    from k3os.config.load import load_config
    from k3os.phases.network import asked_for, routing
    from k3os.phases.network_plan import dumped
    from k3os.phases.node import Node

    recorded.put("k3os/system/config.yaml", "k3os: {network: {eth1: {vlan: 9, address: off}}}\n")
    config, _ = load_config(str(recorded.root), cmdline="")
    _, right, _ = asked_for(config, Node(str(recorded.root)))
    recorded.put("run/k3os/network.json", dumped(routing(right)).decode())
    for uid in (0, 1000):
        recorded.become(uid)
        report = recorded.show()
        assert [(each.key, each.what) for each in report.missing] == [
            ("k3os.network.eth1", "the VLAN eth1.9 is not there")
        ]
    recorded.become(0)
    assert managed(recorded.show())["eth1"] == (
        f"k3os.network.eth1, {CONFIG}:1:24; no addresses, the VLAN eth1.9 has them"
    )
