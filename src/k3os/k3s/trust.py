"""What proves that a k3s is genuine: a pinned checksum, or TLS.

A checksum from the same server proves that a file is complete, not where it comes from; over plain
http, anyone in between can replace both. Pinned are: `#sha256=` of an address, `k3os.k3s_sums` of
the node's configuration, and pinned.json of this k3OS, which is in the signed image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from k3os.errors import UserError
from k3os.k3s.source import Release, pinned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config

SUMS, INSECURE = "k3os.k3s_sums", "k3os.k3s_insecure_http"


@dataclass(frozen=True)
class Trust:
    """sums: version to the SHA-256 of its executables, for any architecture; insecure_http: whether
    an unpinned one may come over plain http."""

    sums: Mapping[str, frozenset[str]] = field(default_factory=dict)
    insecure_http: bool = False

    def pins(self, release: Release, arch: str) -> frozenset[str]:
        """The valid sums of the executable; empty: none is known."""
        if release.sha256:
            return frozenset((release.sha256,))
        ours = pinned().sums.get(release.version, {}).get(arch, "").lower()
        theirs = self.sums.get(release.version, frozenset())
        return theirs | {ours} if ours else theirs

    def check_transport(self, url: str, what: str, hint: str) -> None:
        """Raise UserError unless an unpinned file may come from there."""
        if not url.lower().startswith("https://") and not self.insecure_http:
            raise UserError(
                f"{what} has no pinned sum, and plain http proves nothing about it",
                hint,
                url,
            )


NOBODY = Trust()


def of_config(config: Config, *, insecure: bool = False) -> Trust:
    """insecure: overrides what the configuration says about plain http."""
    said = config.get(INSECURE)
    return Trust(
        {name: frozenset(text.lower().split()) for name, text in config.mapping(SUMS).items()},
        insecure or (said is not None and said.data is True),
    )


def of_node() -> Trust:
    """As this node is configured."""
    from k3os.config.load import load_config

    return of_config(load_config(cloud=True)[0])
