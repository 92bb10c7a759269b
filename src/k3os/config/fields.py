"""The fields of keys whose items are maps: a file, a wireless network, an interface.

It contains only data, like k3os.config.schema, whose table refers to them.
"""

from __future__ import annotations

from k3os.config.key import Key
from k3os.config.spelling import fold

BASE64, GZIP = ("b64", "base64"), ("gz", "gzip")
ENCODINGS = (
    *("", "text/plain", *BASE64, *GZIP),
    *(f"{outer}+{inner}" for outer in GZIP for inner in BASE64),
)

FILE_FIELDS = (
    Key("path", "file path", "where the file goes: an absolute path", required=True),
    Key("content", "lines", "what is in it; empty when it is left out", secret=True),
    Key("encoding", "choice", "how content is written here", values=ENCODINGS),
    Key("owner", "owner", "`user`, `user:group`, or numbers; default `root:root`"),
    Key("permissions", "permissions", "octal, e.g. `'0644'` (the default)"),
    Key("append", "boolean", "add content at the end of what is there already (false)"),
)

# netplan's names (netplan-yaml(5), "auth"), without what k3os.wifi sets elsewhere
EAP_FIELDS = (
    Key(
        "method",
        "choice",
        "how to log in: with a password in a tunnel, or with a certificate",
        values=("peap", "ttls", "tls"),
        required=True,
    ),
    Key("identity", "text", "the account", required=True),
    Key("anonymous_identity", "text", "the account name shown to others, outside the tunnel"),
    Key("password", "text", "its password", secret=True),
    Key(
        "phase2",
        "choice",
        "how the password is checked inside the tunnel (mschapv2)",
        aliases=("phase2_auth",),
        values=("mschapv2", "pap", "chap", "mschap", "gtc", "md5", "eap-mschapv2"),
    ),
    Key(
        "ca_certificate",
        "certificate",
        "who signed the server's certificate: PEM text, or a path on the node",
    ),
    Key(
        "domain", "text", "the domain that the server's certificate must be for, or a name below it"
    ),
    Key("client_certificate", "certificate", "the node's own: PEM text, or a path on the node"),
    Key(
        "private_key",
        "private key",
        "the key of that certificate: PEM text, or a path on the node",
        secret=True,
        aliases=("client_key",),
    ),
    Key(
        "private_key_password",
        "text",
        "the password of that key",
        secret=True,
        aliases=("client_key_password",),
    ),
)
WIFI_FIELDS = (
    Key("ssid", "text", "the network's name", required=True, aliases=("name",)),
    Key(
        "passphrase",
        "text",
        "its passphrase, of WPA2 or WPA3; without one the network is open",
        secret=True,
        aliases=("pass", "password", "psk"),
    ),
    Key("hidden", "boolean", "the network does not broadcast its name (false)"),
    Key(
        "eap",
        "map",
        "the node's account, if the network has accounts (WPA-Enterprise)",
        fields=EAP_FIELDS,
        further="wireless.eap",
    ),
)

_TABLE = "number of a routing table, 1 to 2147483647"
_TABLES = (1, 2**31 - 1)
ROUTE_FIELDS = (
    Key("to", "network", "where it leads: a network, an address, `default`", required=True),
    Key("via", "router", "the router's address; without one the network is on the link"),
    Key(
        "metric",
        "number",
        "of two routes to one network, the one with the smaller metric counts",
        limits=(1, 2**31 - 1),
    ),
    Key(
        "table",
        "number",
        f"{_TABLE}; default: the main one",
        limits=_TABLES,
        further="routing_table",
    ),
)
RULE_FIELDS = (
    Key("from", "network", "packets from that network or address"),
    Key("to", "network", "packets to that network or address"),
    Key(
        "table",
        "number",
        f"{_TABLE}, which routes these packets",
        limits=_TABLES,
        further="routing_table",
        required=True,
    ),
    Key(
        "priority",
        "number",
        "rules with a smaller number come first; default 1000",
        limits=(1, 32765),
    ),
)
_MS = (1, 60000)
# netplan's names (netplan-yaml(5)); their effect: ip-link(8), the kernel's bonding.rst
BOND_FIELDS = (
    Key(
        "interfaces",
        "interfaces",
        "its members, by name or MAC; the first one's MAC becomes that of the bond",
        required=True,
    ),
    Key(
        "mode",
        "choice",
        "how it uses them",
        values=(
            *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad"),
            *("balance-tlb", "balance-alb"),
        ),
        required=True,
    ),
    Key(
        "mii_monitor_interval",
        "number",
        "milliseconds between two checks of the links (100)",
        aliases=("miimon",),
        limits=_MS,
    ),
    Key(
        "up_delay",
        "number",
        "milliseconds before a link that came up is used",
        limits=(0, 600000),
    ),
    Key(
        "down_delay",
        "number",
        "milliseconds before a link that went down is no longer used",
        limits=(0, 600000),
    ),
    Key(
        "lacp_rate",
        "choice",
        "how often the switch is to send LACP packets",
        values=("slow", "fast"),
    ),
    Key(
        "ad_select",
        "choice",
        "how to choose among several aggregates",
        values=("stable", "bandwidth", "count"),
    ),
    Key("min_links", "number", "with fewer links it is down (0)", limits=(0, 255)),
    Key(
        "transmit_hash_policy",
        "choice",
        "what decides which member a packet leaves by",
        aliases=("xmit_hash_policy",),
        values=("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"),
    ),
    Key("primary", "interface", "the member that is used when its link is there"),
    Key(
        "primary_reselect_policy",
        "choice",
        "when the primary is used again",
        aliases=("primary_reselect",),
        values=("always", "better", "failure"),
    ),
    Key(
        "fail_over_mac_policy",
        "choice",
        "whose MAC the bond has",
        aliases=("fail_over_mac",),
        values=("none", "active", "follow"),
    ),
    Key(
        "gratuitous_arp",
        "number",
        "how many ARP announcements to send after a change (1)",
        aliases=("num_grat_arp",),
        limits=(0, 255),
    ),
    Key(
        "arp_interval",
        "number",
        "milliseconds between two ARP requests to the targets, instead of checks of the links",
        limits=_MS,
    ),
    Key("arp_ip_targets", "hosts", "the ARP targets, up to 16 IPv4 addresses"),
    Key(
        "arp_validate",
        "choice",
        "whose answers count",
        values=("none", "active", "backup", "all"),
    ),
    Key("arp_all_targets", "choice", "how many must answer", values=("any", "all")),
    Key(
        "all_members_active",
        "boolean",
        "accept packets that arrive on inactive members (false)",
        aliases=("all_slaves_active",),
    ),
    Key(
        "packets_per_member",
        "number",
        "packets before the next member's turn (1); 0: at random",
        aliases=("packets_per_slave",),
        limits=(0, 65535),
    ),
    Key(
        "learn_packet_interval",
        "number",
        "seconds between two packets from which switches learn (1)",
        aliases=("lp_interval",),
        limits=(1, 2**31 - 1),
    ),
    Key("resend_igmp", "number", "IGMP reports after a change (1)", limits=(0, 255)),
)
BRIDGE_FIELDS = (
    Key("interfaces", "interfaces", "its ports, by name or MAC"),
    Key("stp", "boolean", "spanning tree: detect loops with other bridges (false)"),
    Key(
        "priority",
        "number",
        "the bridge with the smallest number is the root (32768)",
        limits=(0, 65535),
    ),
    Key(
        "forward_delay",
        "number",
        "seconds that a new port listens, and then learns, before it forwards packets (15)",
        limits=(2, 30),
    ),
    Key("hello_time", "number", "seconds between two STP messages (2)", limits=(1, 10)),
    Key("max_age", "number", "seconds after which an STP message expires (20)", limits=(6, 40)),
    Key(
        "ageing_time",
        "number",
        "seconds after which a neighbour is forgotten (300)",
        limits=(0, 1000000),
    ),
)
MATCH_FIELDS = (
    Key("name", "texts", "what it is called, or a pattern: `enp*`"),
    Key("mac", "interface", "its own MAC", aliases=("macaddress", "mac_address")),
    Key("driver", "texts", "the module that drives it, or a pattern: `e1000*`"),
    Key("path", "texts", "where it is plugged in, or a pattern: `pci-0000:02:00.0`"),
)
NETWORK_FIELDS = (
    Key(
        "match",
        "map",
        "the interfaces that the entry applies to; its own name is then free. All conditions must "
        "match. `k3os network show` lists the properties of an interface",
        fields=MATCH_FIELDS,
        further="match.checked",
    ),
    Key(
        "address",
        "addresses",
        "`192.168.1.10/24`, `dhcp` (the default), `off`, or a list of addresses",
        aliases=("addresses",),
    ),
    Key(
        "gateway",
        "hosts",
        "where the default route leads; several may have one if their `route_metric`s differ",
    ),
    Key("nameservers", "hosts", "DNS servers of this interface"),
    Key("domains", "texts", "search domains", further="domains"),
    Key("use_dns", "boolean", "ask the DNS servers that DHCP or a router names here (true)"),
    Key("use_routes", "boolean", "take a default route from DHCP or a router here (true)"),
    Key(
        "route_metric",
        "number",
        "metric of its default route, which stays next to others; the smallest counts",
        limits=(1, 2**31 - 1),
    ),
    Key("fallback_address", "fixed address", "an IPv4 address while no DHCP server answers"),
    Key("fallback_gateway", "router", "where the default route leads with that address"),
    Key("mtu", "number", "largest packet in bytes, e.g. 9000", limits=(576, 65535)),
    Key(
        "wake_on_lan",
        "boolean",
        "a magic packet starts the machine; without it the card's own setting stays",
        aliases=("wakeonlan",),
    ),
    Key(
        "vlan",
        "number",
        "the addresses belong to this VLAN on the interface; an interface `eth0.100` is VLAN "
        "100 on `eth0`, too",
        limits=(1, 4094),
    ),
    Key(
        "bond",
        "map",
        "k3OS makes this interface out of several",
        fields=BOND_FIELDS,
        further="bond",
    ),
    Key(
        "bridge",
        "map",
        "k3OS makes this bridge; the node's addresses are those of its own port, `to-NAME`",
        fields=BRIDGE_FIELDS,
        further="bridge",
    ),
    Key("dummy", "boolean", "k3OS makes this interface, which leads nowhere: `dummyNAME`"),
    Key("routes", "routes", "static routes through this interface", fields=ROUTE_FIELDS),
    Key("rules", "routes", "which packets another routing table routes", fields=RULE_FIELDS),
)


def fields_by_fold(key: Key) -> dict[str, Key]:
    """Folded name or alias -> field."""
    return {fold(name): field for field in key.fields for name in (field.name, *field.aliases)}
