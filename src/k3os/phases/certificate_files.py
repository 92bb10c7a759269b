"""The files of k3os.ca_certificates: where they are, how large, and what their sums must be."""

from __future__ import annotations

from k3os.config.fetched import split
from k3os.paths import STATE
from k3os.phases.actions import LATER, OwnFile
from k3os.system.digest import mark_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Value
    from k3os.phases.node import Node

KEY = "k3os.ca_certificates"
KEPT = f"{STATE}/ca-certificates"


def kept_as(text: str) -> str:
    """Where what this address, with this sum, gives is kept."""
    return f"{KEPT}/{mark_of(text.encode(errors='surrogateescape'))}.pem"


def shown(text: str) -> str:
    """A place without its sum, and without a login."""
    from k3os.errors import discreet

    return discreet(split(text)[0], whole=True)


# of one file with certificates
LARGEST = 1 << 20


def check_sum(data: bytes, wanted: str) -> None:
    """Raises ValueError unless data has this SHA-256; "" is any."""
    if not wanted:
        return
    from hashlib import sha256

    found = sha256(data).hexdigest()
    if found != wanted:
        raise ValueError(f"wrong checksum: expected sha256 {wanted}, got {found}")


class CertificateFile(OwnFile):
    """One item's certificates; none as long as nothing was fetched."""

    __slots__ = ()

    def __init__(self, item: Value, path: str) -> None:
        super().__init__(KEY, item.place, path, b"")

    def perform(self, node: Node) -> str:
        if not self.data:
            self.note = "it was not fetched yet"
            return LATER
        return super().perform(node)
