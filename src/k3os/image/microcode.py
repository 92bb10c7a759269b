"""Processor microcode: an archive before the initrd, which the kernel reads first.

It must not be compressed. Names: kernel Documentation/arch/x86/microcode.rst, "Early load
microcode". Debian's kernels do not load any later.
"""

from __future__ import annotations

import io
import re

from k3os.image.tree import FILE, Tree, write_cpio

DIRECTORY = "kernel/x86/microcode"
# the archive's file -> the files of Debian's packages that it consists of, in this order
SOURCES = {
    "AuthenticAMD.bin": r"usr/lib/firmware/amd-ucode/microcode_amd[^/]*\.bin",
    "GenuineIntel.bin": r"usr/lib/firmware/intel-ucode/[0-9a-f]{2}-[0-9a-f]{2}-[0-9a-f]{2}",
}
# so that what follows is aligned as if it were alone
ALIGNMENT = 512


def archive(packages: Tree, epoch: int) -> bytes:
    """The uncompressed cpio archive; b"" if the packages have no microcode."""
    tree = Tree()
    for name, pattern in SOURCES.items():
        paths = [
            path
            for path, entry in sorted(packages.entries.items())
            if entry.kind == FILE and re.fullmatch(pattern, path)
        ]
        if paths:
            tree.file(f"{DIRECTORY}/{name}", b"".join(packages.read(path) for path in paths))
    if not tree.entries:
        return b""
    written = io.BytesIO()
    write_cpio(tree, written, epoch)
    data = written.getvalue()
    return data + b"\0" * (-len(data) % ALIGNMENT)
