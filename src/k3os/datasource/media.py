"""Media with userdata: find their file systems, and mount each read-only to look at it.

The boot medium, the state partition and anything already mounted are never touched.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from k3os.datasource import beside
from k3os.datasource.found import LARGEST, Found, LeftOut, NotThere
from k3os.datasource.own_media import is_own
from k3os.errors import UserError
from k3os.system import mounts
from k3os.system.blockdev import FileSystem, block_devices, probe
from k3os.system.console import say
from k3os.system.links import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS = ("K3OS_STATE", "K3OS_GRUB", "K3OS")
MOUNTED_AT = "/run/k3os/datasource"
# do not replay the journal: that would write to somebody's disk
OPTIONS = {"ext4": "noload"}
FLAGS = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


def file_systems(label: str = "", kinds: tuple[str, ...] = ()) -> list[FileSystem]:
    """Those with this label (in lower or upper case) and of these kinds, or all."""
    found = []
    taken = mounted()
    for name in block_devices():
        try:
            file_system = probe(f"/dev/{name}")
        except OSError:
            continue  # a drive without a medium
        except Exception as error:  # one bad header must not hide the other media
            from k3os.system.bug import report

            say(f"cloud data: /dev/{name} is left out: {report(error)}")
            continue
        is_wanted = not label or file_system.label.lower() == label
        if kinds and file_system.kind not in kinds:
            continue
        if file_system.kind and is_wanted and file_system.label not in OURS:
            if file_system.device not in taken:
                found.append(file_system)
    return found


def mounted() -> set[str]:
    return {source for source, _, _ in mounts.mounted()}


@contextmanager
def shown(file_system: FileSystem) -> Iterator[str]:
    """Mount it; yields the directory. Raises OSError."""
    os.makedirs(MOUNTED_AT, mode=0o700, exist_ok=True)
    options = OPTIONS.get(file_system.kind, "")
    mounts.mount(file_system.device, MOUNTED_AT, file_system.kind, FLAGS, options)
    try:
        yield MOUNTED_AT
    finally:
        mounts.unmount(MOUNTED_AT, mounts.MNT_DETACH)


def first(
    label: str,
    read: Callable[[str], Found | None],
    kinds: tuple[str, ...] = (),
    *,
    own: bool = False,
) -> Found:
    """The result of `read` for the first medium that has something; own: only the machine's own
    media. Raises NotThere, UserError."""
    if (found := _beside(label, read)) is not None:
        return found
    seen = file_systems(label, kinds)
    trouble, strange = [], []
    for file_system in seen:
        if own and not is_own(file_system.device):
            strange.append(file_system)
            continue
        try:
            with shown(file_system) as directory:
                found = read(directory)
        except PermissionError:
            raise UserError("only root may read media", "use sudo") from None
        except OSError as error:
            if error.errno == errno.EBUSY:
                continue  # part of a disk that is in use, e.g. the boot medium
            trouble.append(f"{file_system}: {error.strerror}")
            continue
        except UserError as error:
            trouble.append(f"{file_system}: {error}")
            continue
        except Exception as error:  # the next medium may work
            from k3os.system.bug import report

            trouble.append(f"{file_system}: {report(error)}")
            continue
        if found is not None:
            return found
    if trouble:
        raise UserError("; ".join(trouble))
    if strange and label:
        raise LeftOut(
            f"{', '.join(map(str, strange))}: a disk that can be written to is not read with "
            "`auto`",
            "attach it as a CD or read-only, or name its source in k3os.data_sources",
        )
    listed = ", ".join(map(str, seen))
    what = f"medium labelled {label}" if label else "medium with userdata"
    raise NotThere(f"no {what}" + (f"; without it: {listed}" if listed else ""))


def _beside(label: str, read: Callable[[str], Found | None]) -> Found | None:
    """What is on the stick that we booted from."""
    if not os.path.isdir(beside.COPIES):
        return None
    try:
        names = sorted(os.listdir(beside.COPIES))
    except PermissionError:
        raise UserError("only root may read media", "use sudo") from None
    for name in names:
        if label in ("", name) and (found := read(f"{beside.COPIES}/{name}")) is not None:
            return found
    return None


def read_file(directory: str, name: str) -> bytes | None:
    """A file of a medium; None if missing. Links never lead out of it. Raises UserError."""
    path = directory + resolve(directory, f"/{name}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if os.fstat(descriptor).st_mode & 0o170000 != 0o100000:
        os.close(descriptor)
        return None  # a directory with that name
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(LARGEST + 1)
        size = max(len(data), os.fstat(file.fileno()).st_size)
    if len(data) > LARGEST:
        raise UserError(
            f"{name} has {size} bytes, more than the {LARGEST} that are read",
            "let it fetch what is large",
        )
    return data
