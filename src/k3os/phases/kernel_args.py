"""k3os.kernel_args: kernel arguments in the boot menu of an installed system.

A change creates a new generation (k3os.node.kernel_args), which is on trial at the next boot.
Arguments whose trial failed are not tried again. We compare with the generations, not with the
kernel's command line, to which a person may have added something.
"""

from __future__ import annotations

from k3os.config.kernel_args import KEY
from k3os.config.value import Place
from k3os.generation import kernel_args
from k3os.paths import ON_TRIAL, OWN_SYSTEM, RUNNING, TRIED
from k3os.phases.actions import DONE, LATER, UNCHANGED, Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

SECONDS = 600
COMMAND = ["upgrade", "--kernel-args"]
ERROR = "/run/k3os/kernel-args-error.json"
REBOOT = "the next boot does it: `sudo reboot`"
# modes in which the key has no effect
NOT_INSTALLED = (
    "it has no effect: this system is not installed, and its boot menu has the arguments"
)
FOREIGN = (
    "it has no effect: the kernel is that of the system below, whose boot loader has the arguments"
)


def plan(config: Config, node: Node) -> list[Action]:
    value = config.get(KEY)
    place = value.place if value is not None else Place("default")
    wanted = tuple(config.texts(KEY))
    if node.mode != "disk":
        # the installed system will have them; during installation, nobody expects them yet
        told = wanted and node.mode != "install"
        return [WithoutEffect(KEY, place, wanted)] if told else []
    known = any(generations(node)) or kernel_args.refused(node.path(OWN_SYSTEM))
    return [TellKernel(KEY, place, wanted)] if wanted or known else []


def generations(node: Node) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arguments of the generation that boots next, and of the one that runs."""
    return kernel_args.of_next_and_running(node.path(OWN_SYSTEM), node.read(RUNNING).strip())


def shown(arguments: tuple[str, ...]) -> str:
    return " ".join(arguments) or "no arguments of k3os.kernel_args"


class WithoutEffect(Action):
    """Shows a warning, although nothing is wrong with the value."""

    __slots__ = ("wanted",)

    def __init__(self, key: str, place: Place, wanted: tuple[str, ...]) -> None:
        super().__init__(key, place)
        self.wanted = wanted

    def describe(self) -> str:
        return f"boot with {shown(self.wanted)}"

    def perform(self, node: Node) -> str:
        self.note = FOREIGN if node.mode == "overlay" else NOT_INSTALLED
        node.say(f"{self.place}: {self.key}: warning: {self.note}")
        return LATER


class TellKernel(WithoutEffect):
    """Creates a generation with these arguments, unless the one that boots next has them."""

    __slots__ = ()

    def perform(self, node: Node) -> str:
        current, running = generations(node)
        refused = kernel_args.refused(node.path(OWN_SYSTEM))
        if self.wanted == current and not refused:
            self.note = REBOOT if current != running else ""
            return LATER if self.note else UNCHANGED
        if self.wanted != current and refused.get(kernel_args.RECORD) == list(self.wanted):
            self.refuse(refused)
        if why := self.why_not_now(node):
            self.note = why
            return LATER
        from k3os.system.own_command import run_k3os

        run_k3os(COMMAND, ERROR, timeout=SECONDS)  # it also clears the record of refused arguments
        self.note = REBOOT if self.wanted != running else ""
        return DONE if self.wanted != current else UNCHANGED

    def why_not_now(self, node: Node) -> str:
        """What must end first, "" for nothing."""
        if not node.is_real:
            return "not on this machine"
        if node.exists(ON_TRIAL):
            return "what runs is on trial itself; `sudo k3os config` does it then, or the next boot"
        if node.exists(TRIED):
            return "a configuration is being tried: first `sudo k3os config keep` or `back`"
        return ""

    def refuse(self, refused: dict[str, object]) -> None:
        """Raises UserError for arguments that have already failed."""
        from k3os.errors import UserError

        raise UserError(
            f"they are not tried again since {refused.get('when')}: {refused.get('reason')}",
            f"change {self.key}; `sudo k3os upgrade --kernel-args` tries them once more",
        )
