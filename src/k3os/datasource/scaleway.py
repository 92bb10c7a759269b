"""Scaleway: the metadata API, on an address of its own; it returns userdata only to a source port
below 1024, which proves that root is asking.

https://www.scaleway.com/en/developers/api/instance/user-data
https://www.scaleway.com/en/docs/instances/how-to/use-cloud-init/ (the key `cloud-init`)
"""

from __future__ import annotations

from k3os.datasource.found import Found
from k3os.datasource.service import Service, json_map, texts
from k3os.system.json_text import maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query

BASE = "http://169.254.42.42"


def fetch(query: Query) -> Found:
    metadata = json_map(Service(query, BASE).identify("/conf?format=json"), BASE)
    keys = [each.get("key") for each in maps(metadata.get("ssh_public_keys"))]
    problems: list[str] = []
    service = Service(query, BASE, low_port=True)
    userdata = service.userdata("/user_data/cloud-init", problems)
    return Found("scaleway", metadata.get("hostname"), texts(keys), userdata, problems)
