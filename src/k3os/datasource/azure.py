"""Microsoft Azure: the instance metadata service, and custom data on the provisioning CD.

https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service (header Metadata)
https://learn.microsoft.com/azure/virtual-machines/user-data (base64)
https://learn.microsoft.com/azure/virtual-machines/custom-data (ovf-env.xml)

The service returns userdata, but never custom data. We do not report the machine as ready.
"""

from __future__ import annotations

from k3os.datasource.found import Found, NotThere, attempt
from k3os.datasource.media import first, read_file
from k3os.datasource.service import LINK_LOCAL, Service, json_map
from k3os.errors import UserError
from k3os.system.json_text import maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query

INSTANCE = "/metadata/instance?api-version=2021-02-01"
CUSTOM_DATA = "CustomData>"
PROVISIONING = ("udf", "iso9660")  # possible file systems of that CD


def fetch(query: Query) -> Found:
    service = Service(query, headers={"Metadata": "true"})
    compute = json_map(service.identify(INSTANCE), LINK_LOCAL).get("compute")
    if not isinstance(compute, dict):
        raise UserError("has no `compute` in its answer", where=LINK_LOCAL)
    profile = compute.get("osProfile")
    hostname = profile.get("computerName") if isinstance(profile, dict) else ""
    keys = [each.get("keyData") for each in maps(compute.get("publicKeys"))]
    problems: list[str] = []
    text = str(compute.get("userData") or "")
    userdata = attempt(lambda: decoded(text), b"", problems)
    userdata = userdata or attempt(lambda: custom_data(own=query.own_media), b"", problems)
    return Found("azure", hostname or compute.get("name"), keys, userdata, problems)


def decoded(text: str) -> bytes:
    """Base64. Raises UserError."""
    import binascii

    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError as error:
        raise UserError(f"the userdata is not base64: {error}", where=LINK_LOCAL) from None


def custom_data(*, own: bool) -> bytes:
    """The custom data on the CD of the first boot; b"" without one."""
    try:
        return first("", read, PROVISIONING, own=own).userdata
    except NotThere:
        return b""


def read(directory: str) -> Found | None:
    """The element CustomData of ovf-env.xml, with any namespace prefix."""
    text = (read_file(directory, "ovf-env.xml") or b"").decode("utf-8", "replace")
    content = text.partition(CUSTOM_DATA)[2].partition("<")[0]
    return Found("azure", userdata=decoded(content)) if content.strip() else None
