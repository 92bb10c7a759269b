"""The only place that mounts: mount(2), umount2(2), loop devices (loop(4)), chroot's move.

System calls go through ctypes: a mount(8) process costs more than the mount. Raises OSError with
the path in it.
"""

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
SAFETY = MS_NOSUID | MS_NODEV | MS_NOEXEC
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE, MS_SLAVE = (
    *(32, 4096, 8192, 16384, 1 << 18, 1 << 19),
)
MNT_DETACH = 2
TABLE = "/proc/self/mounts"
CLONE_NEWNS = 0x20000

# include/uapi/linux/loop.h
LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LO_FLAGS_READ_ONLY, LO_FLAGS_AUTOCLEAR = 1, 4
_LOOP_CONFIG_SIZE = 304  # fd, block_size, struct loop_info64 (232 bytes), 8 reserved u64
_LOOP_FLAGS_OFFSET = 8 + 52  # lo_flags within loop_info64

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); target must exist. Raises OSError."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source, None, target)


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError."""
    if _libc.umount2(target.encode(), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def bind(source: str, target: str) -> None:
    """Show a directory or file at a second place."""
    mount(source, target, flags=MS_BIND)


def mounted(table: str = "") -> list[tuple[str, str, str]]:
    """Source, target and type of each mount, in the order in which they were mounted (proc(5)).
    table: read this instead of TABLE. Raises OSError."""
    with open(table or TABLE, errors="surrogateescape") as file:
        lines = [line.split() for line in file]
    return [(fields[0], fields[1], fields[2]) for fields in lines if len(fields) > 2]


def bind_read_only(source: str, target: str) -> None:
    """Like bind, but read-only even if the source is writable (a second call, mount(8))."""
    bind(source, target)
    make_read_only(target)


def make_read_only(target: str) -> None:
    """Make one mount read-only; others of the same file system stay as they are."""
    mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | (options(target) & SAFETY))


def options(target: str) -> int:
    """The options of the mount that a path is on, limited to MS_RDONLY and SAFETY, for which
    statvfs(3) uses the same numbers. A remount sets all of them again."""
    return os.statvfs(target).f_flag & (MS_RDONLY | SAFETY)


def restrict(target: str, flags: int) -> None:
    """Set exactly these flags of SAFETY for one mount; whether it is writable does not change."""
    mount("none", target, flags=MS_BIND | MS_REMOUNT | flags | (options(target) & ~SAFETY))


@contextmanager
def writable(target: str) -> Iterator[None]:
    """A read-only mount of a writable file system, made writable temporarily."""
    make_writable(target)
    try:
        yield
    finally:
        make_read_only(target)


def make_writable(target: str) -> None:
    """Undo make_read_only for one mount."""
    mount("none", target, flags=MS_BIND | MS_REMOUNT | (options(target) & SAFETY))


def private_namespace() -> None:
    """Give this process its own mount namespace: nobody else sees its changes from now on."""
    if _libc.unshare(CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "unshare")
    mount("none", "/", flags=MS_REC | MS_SLAVE)


def move(source: str, target: str) -> None:
    """Move a mount and everything mounted below it."""
    mount(source, target, flags=MS_MOVE)


def attach_loop(path: str) -> str:
    """A read-only loop device for a file; it is freed when it is unmounted.

    Returns "/dev/loopN". Raises OSError; if another process takes the device first, it retries.
    """
    with open(path, "rb") as file, open("/dev/loop-control", "rb") as control:
        for _ in range(16):
            device = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
            config = bytearray(_LOOP_CONFIG_SIZE)
            struct.pack_into("=II", config, 0, file.fileno(), 0)
            flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR
            struct.pack_into("=I", config, _LOOP_FLAGS_OFFSET, flags)
            with open(device, "rb") as loop:
                try:
                    fcntl.ioctl(loop, LOOP_CONFIGURE, config)
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno == 16:  # EBUSY: another process was faster
                        continue
                    raise
                # a second descriptor must stay open until the mount, else AUTOCLEAR frees it
                _held.append(os.dup(loop.fileno()))
            _read_ahead(device)
            return device
    raise OSError(16, "no free loop device", path)


def _read_ahead(device: str) -> None:
    """Fewer and larger reads: each one passes through a kernel thread and another file system."""
    with open(f"/sys/block/{device.rpartition('/')[2]}/queue/read_ahead_kb", "w") as file:
        file.write("1024")


_held: list[int] = []


def release_loops() -> None:
    """Close our descriptors of the loop devices: from now on their mounts keep them."""
    while _held:
        os.close(_held.pop())


def mount_image(path: str, target: str, kind: str = "squashfs") -> None:
    """Mount a file read-only. Raises OSError (also if it holds no such file system)."""
    os.makedirs(target, exist_ok=True)
    mount(attach_loop(path), target, kind, MS_RDONLY | MS_NODEV)
    release_loops()
