"""Config drive: a medium labelled config-2 with `openstack/latest/{meta_data.json,user_data}`.

https://docs.openstack.org/nova/latest/user/metadata.html#config-drives
"""

from __future__ import annotations

from k3os.datasource.found import Found
from k3os.datasource.media import first
from k3os.datasource.nocloud import both

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.nocloud import Described
    from k3os.datasource.query import Query

LABEL = "config-2"
DIRECTORY = "openstack/latest"


def fetch(query: Query) -> Found:
    return first(LABEL, read, own=query.own_media)


def read(directory: str) -> Found | None:
    files = (f"{DIRECTORY}/meta_data.json", f"{DIRECTORY}/user_data")
    return both(directory, "configdrive", files, described)


def described(metadata: bytes, name: str) -> Described:
    """Hostname, keys and instance UUID from a meta_data.json. Raises UserError."""
    from k3os.errors import UserError
    from k3os.system.json_text import WRONG_SHAPE, an_object

    try:
        values = an_object(metadata or b"{}")
        keys = values.get("public_keys") or {}
        hostname = values.get("hostname") or values.get("name") or ""
        return hostname, list(keys.values()), str(values.get("uuid") or "")
    except WRONG_SHAPE as error:
        raise UserError(f"meta_data.json is not what it should be: {error}", where=name) from None
