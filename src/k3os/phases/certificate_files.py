"""The files of k3os.ca_certificates: their paths and maximum size."""

from __future__ import annotations

from k3os.paths import STATE
from k3os.phases.actions import LATER, OwnFile
from k3os.system.digest import mark_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Value
    from k3os.phases.node import Node

KEY = "k3os.ca_certificates"
KEPT = f"{STATE}/ca-certificates"
# bytes per file with certificates
LARGEST = 1 << 20


def kept_as(text: str) -> str:
    """Where the result for this address, with this checksum, is kept."""
    return f"{KEPT}/{mark_of(text.encode(errors='surrogateescape'))}.pem"


class CertificateFile(OwnFile):
    """One item's certificates; empty until they have been fetched."""

    __slots__ = ()

    def __init__(self, item: Value, path: str) -> None:
        super().__init__(KEY, item.place, path, b"")

    def perform(self, node: Node) -> str:
        if not self.data:
            self.note = "it was not fetched yet"
            return LATER
        return super().perform(node)
