"""Actions on systemd units (systemctl(1))."""

from __future__ import annotations

from k3os.config.value import Place
from k3os.phases.actions import DONE, LATER, UNCHANGED, Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.node import Node


class RestartUnit(Action):
    """Restarts a running unit if one of the given actions changed something."""

    __slots__ = ("after", "unit")

    def __init__(self, key: str, place: Place, unit: str, after: list[Action]) -> None:
        super().__init__(key, place)
        self.unit = unit
        self.after = after

    def describe(self) -> str:
        return f"restart {self.unit}, if its settings changed"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.system.run import CommandError, run

        if not node.is_real or not any(action.result == DONE for action in self.after):
            return UNCHANGED
        try:
            run(["systemctl", "try-restart", self.unit], timeout=60)
        except CommandError as error:
            hint = f"see `journalctl -u {self.unit}`"
            raise UserError(f"{self.unit} does not restart", hint) from error
        return DONE


class StartUnit(Action):
    """Asks systemd to start a unit, without waiting for the result."""

    __slots__ = ("unit",)

    def __init__(self, key: str, place: Place, unit: str) -> None:
        super().__init__(key, place)
        self.unit = unit

    def describe(self) -> str:
        return f"start {self.unit}"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.system.run import CommandError, run

        if not node.is_real:
            self.note = "not on this machine"
            return LATER
        try:
            run(["systemctl", "is-active", "--quiet", self.unit], timeout=60)
            return UNCHANGED
        except CommandError:
            pass  # this is how it reports "no"
        try:
            run(["systemctl", "start", "--no-block", self.unit], timeout=60)
        except CommandError as error:
            hint = f"see `systemctl status {self.unit}`"
            raise UserError(f"{self.unit} does not start", hint) from error
        return DONE
