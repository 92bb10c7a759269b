"""OpenStack: Nova's metadata service.

https://docs.openstack.org/nova/latest/user/metadata.html#the-metadata-service
"""

from __future__ import annotations

from k3os.datasource.configdrive import described
from k3os.datasource.found import Found
from k3os.datasource.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query


def fetch(query: Query) -> Found:
    service = Service(query)
    metadata = service.identify("/openstack/latest/meta_data.json")
    hostname, keys, _ = described(metadata, "openstack")
    problems: list[str] = []
    userdata = service.userdata("/openstack/latest/user_data", problems)
    return Found("openstack", hostname, keys, userdata, problems)
