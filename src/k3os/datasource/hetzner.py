"""Hetzner Cloud: the server metadata service, a YAML document, and the userdata.

https://docs.hetzner.cloud/reference/cloud#description/server-metadata
"""

from __future__ import annotations

from k3os.datasource.found import Found
from k3os.datasource.nocloud import described
from k3os.datasource.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query

ROOT = "/hetzner/v1"


def fetch(query: Query) -> Found:
    service = Service(query)
    hostname, keys, _ = described(service.identify(f"{ROOT}/metadata"), "hetzner")
    problems: list[str] = []
    userdata = service.userdata(f"{ROOT}/userdata", problems)
    return Found("hetzner", hostname, keys, userdata, problems)
