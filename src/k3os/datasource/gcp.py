"""Google Cloud: the metadata server, with its header in requests and answers.

https://cloud.google.com/compute/docs/metadata/querying-metadata
https://cloud.google.com/compute/docs/connect/add-ssh-keys (the metadata keys `ssh-keys`)

All users' keys log in as rancher, the only user. Keys that expire (`google-ssh`) are left out:
nobody would remove them in time.
"""

from __future__ import annotations

from k3os.datasource.found import Found, NotThere
from k3os.datasource.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query

FLAVOR = "Metadata-Flavor"
ROOT = "/computeMetadata/v1"


def fetch(query: Query) -> Found:
    service = Service(query, headers={FLAVOR: "Google"})
    hostname = service.identify(f"{ROOT}/instance/hostname").decode(errors="replace")
    if service.direct.headers.get(FLAVOR) != "Google":
        raise NotThere(f"answers without {FLAVOR}: Google", where=service.base)
    lines = service.text(f"{ROOT}/instance/attributes/ssh-keys").splitlines()
    blocked = service.text(f"{ROOT}/instance/attributes/block-project-ssh-keys")
    if blocked.lower() != "true":
        lines += service.text(f"{ROOT}/project/attributes/ssh-keys").splitlines()
    keys = [key_of(line) for line in lines if " google-ssh" not in line]
    problems: list[str] = []
    userdata = service.userdata(f"{ROOT}/instance/attributes/user-data", problems)
    return Found("gcp", hostname, keys, userdata, problems)


def key_of(line: str) -> str:
    """The key in a line of the form `user:key`."""
    user, colon, key = line.partition(":")
    return key if colon and " " not in user else line
