"""Vultr: the metadata API.

https://www.vultr.com/metadata/ (v1.json)
https://www.vultr.com/docs/manage-instance-user-data-with-the-vultr-metadata-api/ (user-data)
"""

from __future__ import annotations

from k3os.datasource.found import Found
from k3os.datasource.service import LINK_LOCAL, Service, json_map, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query


def fetch(query: Query) -> Found:
    service = Service(query)
    metadata = json_map(service.identify("/v1.json"), LINK_LOCAL)
    keys = texts(metadata.get("public-keys"))  # a list, or one text with lines
    problems: list[str] = []
    userdata = service.userdata("/latest/user-data", problems)
    return Found("vultr", metadata.get("hostname"), keys, userdata, problems)
