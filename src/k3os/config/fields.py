"""The fields of keys whose items are maps: a file, a wireless network, an interface.

It holds data only, as k3os.config.schema, whose table names them.
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

WIFI_FIELDS = (
    Key("ssid", "text", "the network's name", required=True, aliases=("name",)),
    Key("passphrase", "text", "its passphrase", secret=True, aliases=("pass", "password", "psk")),
)

_TABLE = "number of a routing table, 1 to 2147483647"
_TABLES = (1, 2**31 - 1)
ROUTE_FIELDS = (
    Key("to", "network", "where it leads: a network, an address, `default`", required=True),
    Key("via", "router", "the router's address; without one the network is on the link"),
    Key("metric", "number", "of two routes the one with less counts", limits=(1, 2**31 - 1)),
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
        f"{_TABLE}, which answers",
        limits=_TABLES,
        further="routing_table",
        required=True,
    ),
    Key("priority", "number", "rules with less come first; default 1000", limits=(1, 32765)),
)
NETWORK_FIELDS = (
    Key(
        "address",
        "addresses",
        "`192.168.1.10/24`, `dhcp` (the default), `off`, or a list of addresses",
        aliases=("addresses",),
    ),
    Key("gateway", "hosts", "where the default route leads; one interface has it"),
    Key("nameservers", "hosts", "DNS servers of this interface"),
    Key("domains", "texts", "search domains", further="domains"),
    Key("mtu", "number", "largest packet in bytes, e.g. 9000", limits=(576, 65535)),
    Key(
        "vlan",
        "number",
        "the addresses are those of this VLAN on the interface; an interface `eth0.100` is VLAN "
        "100 on `eth0`, too",
        limits=(1, 4094),
    ),
    Key("routes", "routes", "static routes through this interface", fields=ROUTE_FIELDS),
    Key("rules", "routes", "whose packets another routing table answers", fields=RULE_FIELDS),
)


def fields_by_fold(key: Key) -> dict[str, Key]:
    """Folded name or alias -> field."""
    return {fold(name): field for field in key.fields for name in (field.name, *field.aliases)}
