"""Swap in compressed memory: a zram device (Documentation/admin-guide/blockdev/zram.rst).

The only program it starts is modprobe(8): the swap area's header (include/linux/swap.h, mkswap(8))
is one page, swapon(2) one call. Raises OSError; swap that is already on stays.
"""

import ctypes
import os
import struct

# used before any swap on a disk
PRIORITY = 100
SWAP_FLAG_PREFER = 0x8000
SIGNATURE = b"SWAPSPACE2"
_VERSION, _HEADER = 1, 1024  # the header comes after room for boot loaders
BLOCK, CONTROL = "/sys/block", "/sys/class/zram-control/hot_add"


def header(size: int, page: int) -> bytes:
    """The first page of a swap area of size bytes."""
    text = bytearray(page)
    struct.pack_into("=III", text, _HEADER, _VERSION, size // page - 1, 0)
    text[-len(SIGNATURE) :] = SIGNATURE
    return bytes(text)


def free_zram(block: str = BLOCK, control: str = CONTROL) -> str:
    """The name of a device without a size, "zram0"; created if there is none."""
    for name in sorted(os.listdir(block)):
        if name.startswith("zram") and _read(f"{block}/{name}/disksize") == "0":
            return name
    return f"zram{_read(control)}"


def set_up(name: str, size: int, algorithm: str, block: str = BLOCK) -> str:
    """Set a device's size; returns the algorithm, the kernel's default if it lacks ours."""
    chosen = f"{block}/{name}/comp_algorithm"
    if algorithm in _read(chosen).replace("[", "").replace("]", "").split():
        _write(chosen, algorithm)
    _write(f"{block}/{name}/disksize", str(size))
    return _read(chosen).partition("[")[2].partition("]")[0]


def swap_on(device: str, size: int) -> None:
    """mkswap(8) and swapon(8) of a device of size bytes."""
    with open(device, "wb", buffering=0) as file:
        file.write(header(size, os.sysconf("SC_PAGE_SIZE")))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.swapon(device.encode(), SWAP_FLAG_PREFER | PRIORITY) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), device)


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read().strip()


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
