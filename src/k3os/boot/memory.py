"""What a node's kernel does with memory, beside swap: set before the phases, whose values win.

Defaults are made for machines with much of it. Documentation: admin-guide/mm/transhuge.rst,
admin-guide/mm/multigen_lru.rst, admin-guide/sysctl/vm.rst (min_free_kbytes).
"""

import math
import os

from k3os.system import memory

# huge pages only where a program asks for them: others grow by them without a use for them
HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
ON_CMDLINE = "transparent_hugepage="
# what was used in the last second stays in memory; where that does not fit, the kernel's OOM
# killer acts instead of a machine that reads its own programs all day
WORKING_SET, WORKING_SET_MS = "/sys/kernel/mm/lru_gen/min_ttl_ms", "1000"
RESERVE = "/proc/sys/vm/min_free_kbytes"
# above this much memory (kB) the reserve for huge pages is worth its price
RESERVE_BELOW = 4096 * memory.MIB


def tune(root: str = "") -> None:
    """Set them, as far as this kernel has them; a kernel of another system (overlay) may not."""
    with open(f"{root}/proc/cmdline", errors="replace") as file:
        if ON_CMDLINE not in file.read():
            _write(root + HUGE_PAGES, "madvise")
    _write(root + WORKING_SET, WORKING_SET_MS)
    total = memory.read(f"{root}/proc/meminfo").get("MemTotal", 0)
    if 0 < total < RESERVE_BELOW:
        _write(root + RESERVE, str(reserve(total)))


def reserve(total: int) -> int:
    """What the kernel itself keeps free (kB) in so much memory when it has no huge pages.

    With them, asked for or not, khugepaged raises it to 45 MB, and a reserve counts double: memory
    is reclaimed to well above it. mm/page_alloc.c: 4 times the root of the memory in kB.
    """
    return min(max(4 * math.isqrt(total), 1024), 65536)


def _write(path: str, text: str) -> None:
    if os.path.exists(path):
        with open(path, "w") as file:
            file.write(text)
