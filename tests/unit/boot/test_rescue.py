"""The shell of last resort: when it comes back, and what happens then."""

import os

import pytest

from k3os.boot import init, rescue


class Consoles:
    """Shells that end with a status after some seconds, with a fake clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = 0.0
        self.shells: dict[str, tuple[float, int]] = {}
        self.slept = 0.0
        self.text: list[str] = []
        monkeypatch.setattr(rescue, "say", self.text.append)
        monkeypatch.setattr(rescue, "console_devices", lambda: list(self.shells))
        monkeypatch.setattr(rescue, "_start", lambda device, _: list(self.shells).index(device))
        monkeypatch.setattr(rescue.os, "wait", self.wait)
        monkeypatch.setattr(rescue.time, "monotonic", lambda: self.clock)
        monkeypatch.setattr(rescue.time, "sleep", self.sleep)

    def wait(self) -> tuple[int, int]:
        left = [each for each in self.shells.items() if each[1][0] >= self.clock]
        device, (self.clock, status) = min(left, key=lambda each: each[1][0])
        pid = list(self.shells).index(device)
        self.shells[device] = (-1.0, status)
        return pid, status

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture
def consoles(monkeypatch: pytest.MonkeyPatch) -> Consoles:
    return Consoles(monkeypatch)


def test_a_machine_whose_consoles_are_all_dead_pauses(consoles: Consoles) -> None:
    consoles.shells = {"/dev/ttyS0": (0.1, 32512), "/dev/tty1": (0.2, 32512)}
    rescue.open_shells("broken", after="goes on")
    assert consoles.slept == rescue.PAUSE_SECONDS


@pytest.mark.parametrize("ended", [(0.1, 0), (60.0, 256)])
def test_a_person_who_leaves_a_shell_goes_on_at_once(
    consoles: Consoles, ended: tuple[float, int]
) -> None:
    consoles.shells = {"/dev/ttyS0": (0.0, 32512), "/dev/tty1": ended, "/dev/tty2": (90.0, 0)}
    rescue.open_shells("broken", after="goes on")
    assert consoles.slept == 0
    assert consoles.clock == ended[0]


class Happened(Exception):
    """Raised in place of replacing or ending this process."""


@pytest.mark.parametrize(
    ("there", "end", "told"),
    [(True, "exec /init", "starts the boot again"), (False, "reboot", "reboots the machine")],
)
def test_after_a_failure_the_boot_starts_again_while_it_can_and_else_the_machine(
    consoles: Consoles, monkeypatch: pytest.MonkeyPatch, there: bool, end: str, told: str
) -> None:
    def execv(program: str, arguments: list[str]) -> None:
        raise Happened(f"exec {arguments[-1]}")

    def reboot() -> None:
        raise Happened("reboot")

    consoles.shells = {"/dev/ttyS0": (60.0, 0)}
    monkeypatch.setattr(init, "say", consoles.text.append)
    monkeypatch.setattr(init.os.path, "exists", lambda path: there and path == init.INIT)
    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr("k3os.system.mounts.unmount", lambda target, flags: None)
    monkeypatch.setattr(init.power, "reboot", reboot)
    with pytest.raises(Happened, match=end):
        init._fail(RuntimeError("broken"), "")
    assert f"Leaving the shell with `exit` {told}." in "\n".join(consoles.text)
