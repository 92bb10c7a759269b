"""Equinix Metal, formerly Packet: a metadata service that has a host name and uses TLS.

https://deploy.equinix.com/developers/docs/metal/server-metadata/metadata/
"""

from __future__ import annotations

from k3os.datasource.found import Found
from k3os.datasource.service import Service, json_map, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query

BASE = "https://metadata.platformequinix.com"


def fetch(query: Query) -> Found:
    service = Service(query, BASE)
    metadata = json_map(service.identify("/metadata"), BASE)
    keys = texts(metadata.get("ssh_keys"))
    problems: list[str] = []
    userdata = service.userdata("/userdata", problems)
    return Found("packet", metadata.get("hostname"), keys, userdata, problems)
