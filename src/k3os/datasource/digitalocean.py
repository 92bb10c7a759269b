"""DigitalOcean: the droplet metadata API, a single JSON document.

https://docs.digitalocean.com/reference/api/metadata/ (/metadata/v1.json)
"""

from __future__ import annotations

from k3os.datasource.found import Found
from k3os.datasource.service import LINK_LOCAL, Service, json_map, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query


def fetch(query: Query) -> Found:
    metadata = json_map(Service(query).identify("/metadata/v1.json"), LINK_LOCAL)
    userdata = str(metadata.get("user_data") or "").encode()
    keys = texts(metadata.get("public_keys"))
    return Found("digitalocean", metadata.get("hostname"), keys, userdata)
