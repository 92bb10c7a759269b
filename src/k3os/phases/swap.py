"""k3os.swap: swap in compressed memory (zram), and whether pods may use it.

In the early boot and not in a unit: it takes one modprobe and a few writes there, a generator or
a unit would take several processes, and what is below memory's edge needs it before systemd
starts all it has. Settings: Documentation/admin-guide/sysctl/vm.rst.
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
ALGORITHM = "zstd"  # packs tighter than lz4, the choice of Debian's kernel
MIB = 1 << 20
# `auto`: more than there is of memory where there is little of it, half of it where there is more
SMALL, LARGEST = 1536 * MIB, 4096 * MIB
# what is in it takes room, too: beyond this it is no help
MOST_TIMES = 4
# how the kernel is to weigh this swap, which is faster than any disk: page out rather than drop
# what must be read and unpacked from the medium again; one page at a time, since there is no seek
# to save; and reclaim no more than is asked for, when memory is in pieces
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
    """Bytes, from /proc/meminfo; 0 when it does not say."""
    from k3os.system import memory

    return memory.parse(meminfo).get("MemTotal", 0) * 1024


def size(text: str, memory: int) -> int:
    """Bytes of a checked value (scalars.swap_size) on a machine with so much memory."""
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
    """Swap in a zram device; one that is on already stays as it is."""

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
