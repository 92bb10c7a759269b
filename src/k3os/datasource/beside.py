"""Cloud data that the early boot copied from the stick it booted from (k3os.boot.beside): its place
and its files. PID 1 imports this, so it imports little.
"""

from __future__ import annotations

import os

from k3os.system.links import resolve

LARGEST = 1 << 20  # bytes of userdata, and of any answer
# a directory for each label
COPIES = "/run/k3os/beside"
KNOWN_FILES = (
    *("user-data", "meta-data"),
    *("openstack/latest/user_data", "openstack/latest/meta_data.json"),
)


def copy_known(directory: str, target: str) -> None:
    """Copy the files that a medium of cloud data may have. Of a file that is too large, copy only
    the beginning, but keep the size, which its reader reports. Raises OSError."""
    for name in KNOWN_FILES:
        path = directory + resolve(directory, f"/{name}")
        if not os.path.isfile(path):
            continue
        os.makedirs(os.path.dirname(f"{target}/{name}"), mode=0o700, exist_ok=True)
        with open(path, "rb") as old, open(f"{target}/{name}", "wb") as new:
            os.fchmod(new.fileno(), 0o600)
            new.write(old.read(LARGEST))
            new.truncate(os.fstat(old.fileno()).st_size)
