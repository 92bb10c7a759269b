"""Foreign host names, converted to names that DNS and Kubernetes accept (RFC 1123).

DHCP servers and metadata send whatever an administrator typed: `Rack_1-Node`, a whole sentence.
"""

from __future__ import annotations

# any machine may have these, so they are useless in a cluster
NOBODYS = ("", "(none)", "localhost", "localhost4", "localhost6")
WRONG_NODE = "is not a valid node name"
RULES = "use letters, digits, `-` and `.`, at most 63 characters"
LONGEST = 63  # of a DNS label, and of a node's whole name, which Kubernetes uses as a label


def valid_hostname(name: str) -> str:
    """The name with `-` for invalid characters; "" if nothing is left of it, or if any machine may
    have that name."""
    valid = _cleaned(name)
    return "" if is_nobodys(name) or is_nobodys(valid) else valid


def is_nobodys(name: str) -> bool:
    return name.lower().partition(".")[0] in NOBODYS


def _cleaned(name: str) -> str:
    labels = []
    for label in name.split("."):
        text = "".join(c if c.isascii() and c.isalnum() else "-" for c in label).strip("-")
        if text:
            labels.append(text[:LONGEST].rstrip("-"))
    whole = ".".join(labels)
    return whole if len(whole) <= LONGEST else labels[0]


def is_domain(text: str) -> bool:
    """Whether it can be a search domain: letters, digits, `-`, `_`, separated by dots."""
    plain = text.strip(".").replace("-", "").replace("_", "").replace(".", "")
    return plain.isascii() and plain.isalnum()


def node_name(name: str) -> str:
    """The same for a Kubernetes node, in lower case."""
    return valid_hostname(name).lower()


def is_node_name(name: str) -> bool:
    """Whether Kubernetes accepts it; k3s converts capital letters."""
    return bool(name) and _cleaned(name) == name
