"""Any CD or disk with userdata: a medium of nocloud or configdrive, or one with a file `user-data`,
`config` or `config.yaml` at its top level.
"""

from __future__ import annotations

from k3os.datasource import configdrive, nocloud
from k3os.datasource.found import Found, NotThere
from k3os.datasource.media import first, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query

NAMES = ("config", "config.yaml")


def fetch(query: Query) -> Found:
    for label, reader in (
        (nocloud.LABEL, nocloud.read),
        (configdrive.LABEL, configdrive.read),
        ("", read),
    ):
        try:
            return first(label, reader)
        except NotThere as error:
            reason = error
    raise reason


def read(directory: str) -> Found | None:
    for name in NAMES:
        userdata = read_file(directory, name)
        if userdata:
            return Found("cdrom", userdata=userdata)
    return nocloud.read(directory) if read_file(directory, "user-data") else None
