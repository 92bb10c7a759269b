"""Reading the files that every boot needs into the page cache, in parallel to the boot.

Programs are mapped page by page, each a small read through the loop device. Reading whole files in
the order of their use, on another processor, is faster on any medium, and much faster on CDs and
sticks. It only reads, and nothing waits for it or depends on it.
"""

import os

LIST = "usr/lib/k3os/prefetch"  # from the image build: one path per line, relative to /
CHUNK = 1 << 20
MIN_MEMORY_KIB = 900_000  # with less memory, the cache would evict what is in use


def start(image: str) -> int:
    """Fork a reader of the files listed in LIST below image; returns its process id, 0 if none."""
    try:
        with open(f"{image}/{LIST}", errors="surrogateescape") as file:
            paths = file.read().split()
    except FileNotFoundError:
        return 0
    # half of what it reads is never used: good only if a processor is idle
    if len(os.sched_getaffinity(0)) < 2 or _memory_kib() < MIN_MEMORY_KIB:
        return 0
    pid = os.fork()
    if pid:
        return pid
    try:
        # a working directory stays valid while mounts are moved
        os.chdir(image)
        buffer = bytearray(CHUNK)
        for path in paths:
            _read(path, buffer)
    finally:
        os._exit(0)


def _read(path: str, buffer: bytearray) -> None:
    try:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                continue
    except OSError:
        return  # whatever needs the file will report the error


def _memory_kib() -> int:
    with open("/proc/meminfo", errors="surrogateescape") as file:
        return int(file.readline().split()[1])
