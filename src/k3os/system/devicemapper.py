"""Devices composed of pieces of others: the device mapper's ioctls.

Format: include/uapi/linux/dm-ioctl.h; the targets' parameters: kernel
Documentation/admin-guide/device-mapper/{linear,striped}.rst.
"""

import fcntl
import os
import struct

from k3os.system import kernelmodules

CONTROL = "/dev/mapper/control"
VERSION = (4, 0, 0)
HEADER = struct.Struct("=3I2IIiIII Q128s129s7x")
TARGET = struct.Struct("=QQiI16s")
BASE = 0xC0000000 | HEADER.size << 16 | 0xFD00
DEV_CREATE, DEV_REMOVE, DEV_SUSPEND, TABLE_LOAD = 3, 4, 6, 9
DEVICE_FIELD = 10
LONGEST_NAME = 127


class Target:
    """length: in sectors of 512 bytes; kind: "linear", "striped"; parameters: of that kind."""

    __slots__ = ("length", "kind", "parameters")

    def __init__(self, length: int, kind: str, parameters: str) -> None:
        self.length = length
        self.kind = kind
        self.parameters = parameters


def table(targets: list[Target]) -> bytes:
    """The concatenated targets, as TABLE_LOAD takes them."""
    pieces, start = [], 0
    for target in targets:
        parameters = target.parameters.encode() + b"\0"
        parameters = parameters.ljust(-(-len(parameters) // 8) * 8, b"\0")
        size = TARGET.size + len(parameters)
        pieces += [TARGET.pack(start, target.length, 0, size, target.kind.encode()), parameters]
        start += target.length
    return b"".join(pieces)


def create(name: str, uuid: str, targets: list[Target]) -> str:
    """Create a device; returns its path, "/dev/dm-0". Raises OSError, leaving none behind."""
    kernelmodules.load(["dm_mod"])
    number = _call(DEV_CREATE, name, uuid)
    try:
        _call(TABLE_LOAD, name, data=table(targets), count=len(targets))
        _call(DEV_SUSPEND, name)  # without its flag: resume
    except OSError:
        remove(name)
        raise
    return f"/dev/dm-{os.minor(number)}"


def remove(name: str) -> None:
    """Raises OSError, also if it is in use."""
    _call(DEV_REMOVE, name)


def _call(command: int, name: str, uuid: str = "", data: bytes = b"", count: int = 0) -> int:
    """Do one ioctl; returns the device's number."""
    size = HEADER.size + len(data)
    values = (*VERSION, size, HEADER.size, count, 0, 0, 0, 0, 0, name.encode(), uuid.encode())
    buffer = bytearray(HEADER.pack(*values) + data)
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(control, BASE | command, buffer)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), name) from None
    finally:
        os.close(control)
    return int(HEADER.unpack_from(buffer)[DEVICE_FIELD])
