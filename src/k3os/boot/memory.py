"""Kernel memory settings of a node, other than swap: set before the phases, whose values win.

The defaults are made for large machines. Documentation: admin-guide/mm/transhuge.rst,
admin-guide/mm/multigen_lru.rst, admin-guide/sysctl/vm.rst (min_free_kbytes).
"""

import math
import os

from k3os.system import memory

# huge pages only for programs that ask for them: others would grow without a benefit
HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
ON_CMDLINE = "transparent_hugepage="
# what was used in the last second stays in memory; if that does not fit, the OOM killer acts,
# instead of the machine rereading its own programs all day
WORKING_SET, WORKING_SET_MS = "/sys/kernel/mm/lru_gen/min_ttl_ms", "1000"
RESERVE = "/proc/sys/vm/min_free_kbytes"
# with more memory (kB) than this, the reserve for huge pages is worth its cost
RESERVE_BELOW = 4096 * memory.MIB


def tune(root: str = "") -> None:
    """Apply them as far as this kernel supports them; another system's (overlay) may not."""
    with open(f"{root}/proc/cmdline", errors="replace") as file:
        if ON_CMDLINE not in file.read():
            _write(root + HUGE_PAGES, "madvise")
    _write(root + WORKING_SET, WORKING_SET_MS)
    total = memory.read(f"{root}/proc/meminfo").get("MemTotal", 0)
    if 0 < total < RESERVE_BELOW:
        _write(root + RESERVE, str(reserve(total)))


def reserve(total: int) -> int:
    """min_free_kbytes for a machine with total kB of memory and no huge pages.

    With huge pages, khugepaged raises it to 45 MB, whether they are used or not, and a reserve
    counts double: memory is reclaimed to well above it. mm/page_alloc.c: 4 * sqrt(memory in kB).
    """
    return min(max(4 * math.isqrt(total), 1024), 65536)


def _write(path: str, text: str) -> None:
    if os.path.exists(path):
        with open(path, "w") as file:
            file.write(text)
