"""k3os.swap: swap in compressed memory (zram), and whether pods may use it.

In the early boot and not in a unit: here it takes one modprobe and a few writes; a generator or a
unit would take several processes, and a machine with little memory needs it before systemd starts
everything. Settings: Documentation/admin-guide/sysctl/vm.rst.
"""

from __future__ import annotations

from k3os.config.value import Place
from k3os.paths import RUN_UNITS
from k3os.phases.actions import DONE, LATER, UNCHANGED, Action, Refused, SetKernel, WriteFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

ZRAM, PODS = "k3os.swap.zram", "k3os.swap.pods"
ALGORITHM = "zstd"  # compresses better than lz4, the default of Debian's kernel
MIB = 1 << 20
# `auto`: larger than a small memory, half of a large one
SMALL, LARGEST = 1536 * MIB, 4096 * MIB
# its contents take memory, too: a larger one does not help
MOST_TIMES = 4
# settings for a swap that is faster than any disk: rather swap out than drop what must be read and
# unpacked from the medium again; one page at a time, since there are no seeks to save; and do not
# reclaim extra memory when it is fragmented
SYSCTLS = {"vm.swappiness": "150", "vm.page-cluster": "0", "vm.watermark_boost_factor": "0"}
SLICE = f"{RUN_UNITS}/kubepods.slice.d/20-swap.conf"
ALLOWED = "# k3os.swap.pods\n[Slice]\nMemorySwapMax=infinity\n"


def plan(config: Config, node: Node) -> list[Action]:
    value, pods = config.get(ZRAM), config.get(PODS)
    place = value.place if value is not None else Place("default")
    text = str(value.data) if value is not None else "auto"
    actions: list[Action] = []
    memory = total_memory(node.read("/proc/meminfo"))
    wanted = size(text, memory)
    if wanted > MOST_TIMES * memory:
        message = f"{text} of swap in {memory // MIB} MiB of memory is no help, so there is none"
        actions.append(Refused(ZRAM, place, "make swap", message, "write `auto`, `100%`, …"))
    elif wanted:
        actions.append(ZramSwap(ZRAM, place, wanted))
        actions += [
            SetKernel(ZRAM, place, name, f"/proc/sys/{name.replace('.', '/')}", setting)
            for name, setting in SYSCTLS.items()
        ]
    if pods is not None and pods.data:
        actions.append(WriteFile(PODS, pods.place, SLICE, ALLOWED.encode()))
    return actions


def total_memory(meminfo: str) -> int:
    """Bytes, from /proc/meminfo; 0 if that does not say."""
    from k3os.system import memory

    return memory.parse(meminfo).get("MemTotal", 0) * 1024


def size(text: str, memory: int) -> int:
    """Bytes for a checked value (scalars.swap_size) on a machine with so much memory."""
    if text == "off" or not memory:
        return 0
    if text == "auto":
        wanted = min(max(memory // 2, min(memory * 3 // 2, SMALL)), LARGEST)
    elif text.endswith("%"):
        wanted = memory * int(text[:-1]) // 100
    else:
        wanted = int(text[:-1]) * {"M": MIB, "G": 1024 * MIB}[text[-1]]
    return wanted // MIB * MIB


class ZramSwap(Action):
    """Swap in a zram device; an active one stays as it is."""

    __slots__ = ("size",)

    def __init__(self, key: str, place: Place, size: int) -> None:
        super().__init__(key, place)
        self.size = size

    def describe(self) -> str:
        return f"make swap of {self.size // MIB} MiB in compressed memory"

    def perform(self, node: Node) -> str:
        from k3os.system import kernelmodules, swap

        if "/dev/zram" in node.read("/proc/swaps"):
            return UNCHANGED
        if not node.is_real:
            self.note = "not on this machine"
            return LATER
        complaint = kernelmodules.load(["zram"])
        if not node.exists(swap.CONTROL):
            from k3os.errors import UserError

            raise UserError(complaint or "the kernel has no zram", f"`{ZRAM}: off` asks for none")
        name = swap.free_zram()
        algorithm = swap.set_up(name, self.size, ALGORITHM)
        swap.swap_on(f"/dev/{name}", self.size)
        self.note = algorithm if algorithm == ALGORITHM else f"{algorithm}, without {ALGORITHM}"
        return DONE
