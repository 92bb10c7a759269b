"""A power cut at each write of a change of kernel arguments, of an upgrade and of rollbacks; and
what GRUB and the boot do then. GRUB is a model here, everything else is real.

`stale`: GRUB reads ext4 without its journal, and may see the state at the journal's last flush.
"""

import contextlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k3os.boot import guard, init, media
from k3os.generation import grub, grubenv, kernel_args, trial
from k3os.generation.layout import ARGUMENTS, LINKS, MENU, link
from k3os.node import upgrade
from k3os.system import files
from k3os.system.blockdev import FileSystem
from tests.unit.upgrade.test_command import Node
from tests.unit.upgrade.test_command import node as node
from tests.unit.upgrade.test_kernel_args import Asked, renew
from tests.unit.upgrade.test_kernel_args import asked as asked

# with the first a kernel never starts our code; with the second it is not healthy
HANGS, FAILS = "hangs", "fails"
MOST_BOOTS = 6


class Cut(BaseException):
    """The power is cut."""


class Machine:
    """writes: the number of writes until the power is cut; None: never."""

    def __init__(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.system = str(node.root), str(node.system)
        self.writes: int | None = None
        for name in ("atomic_write", "atomic_symlink", "durable_remove"):
            self._replace(monkeypatch, name, self._counted(getattr(files, name)))
        self._replace(monkeypatch, "flush_journal", lambda _: setattr(self, "flushed", self.seen))
        monkeypatch.setattr(os, "sync", lambda: None)
        monkeypatch.setattr(init, "say", lambda _: None)
        monkeypatch.setattr(guard, "begin", lambda _: None)
        self.flushed = self.seen

    @staticmethod
    def _replace(monkeypatch: pytest.MonkeyPatch, name: str, new: Callable[..., object]) -> None:
        for module in [each for each in sys.modules.values() if hasattr(each, "__name__")]:
            if module.__name__.startswith("k3os.") and name in vars(module):
                monkeypatch.setattr(module, name, new)

    def _counted(self, real: Callable[..., object]) -> Callable[..., object]:
        def write(*given: object, **more: object) -> object:
            if self.writes == 0:
                raise Cut
            if self.writes is not None:
                self.writes -= 1
            return real(*given, **more)

        return write

    @property
    def seen(self) -> tuple[dict[str, str], dict[str, str], str]:
        """What GRUB reads: links, environment block, menu."""
        links = {name: link(f"{self.system}/{name}") for name in LINKS}
        return links, grubenv.read(self.root), Path(self.root, MENU).read_text()

    def boot(self, *, stale: bool = False) -> str:
        """Boot. Returns "", or why it does not complete. What runs must match its kernel's
        arguments."""
        links, block, menu = self.flushed if stale else self.seen
        name, options = "current", dict[str, str]()
        if block.get("k3os_trial"):
            options["k3os.trial"] = "600"
            if (tries := int(block["k3os_tries"])) == 0:
                name, options = "previous", {"k3os.generation": "previous", "k3os.rollback": "true"}
            elif not stale:
                Path(self.root, grubenv.PATH).write_bytes(
                    grubenv.block({**block, "k3os_tries": str(tries - 1)})
                )
        path, given = f"{self.system}/{links[name]}/{ARGUMENTS}", list[str]()
        if "$k3os_args" in menu and os.path.exists(path):
            line = Path(path).read_text().split("\n")[1].partition("=")[2]
            *given, own = line.split()
            options["k3os.args_of"] = own.partition("=")[2]
        if HANGS in given:
            return "hangs"
        where = FileSystem("/dev/vda1", "ext4", "K3OS_STATE")
        medium = media.Medium("disk", where, self.root, "current")
        init.choose_generation(medium, options)
        on_trial = init.on_trial_or_back(medium, options, "")
        init.remember_generation(medium, upgrade.RUNNING)
        running = Path(upgrade.RUNNING).read_text().strip()
        record = json.loads(Path(self.system, running, "manifest.json").read_text())
        assert kernel_args.of(record) == tuple(given)
        if on_trial and not trial.waits(self.root, running):
            if FAILS in given:
                trial.fail(self.root, "it fails")
                return "fails"
            trial.confirm(self.root)
        return ""

    def applies(self, wanted: tuple[str, ...]) -> bool:
        """Do what the runtime phase does about kernel arguments; whether no reboot is needed any
        more."""
        current, running = (
            kernel_args.of(json.loads(Path(self.system, name, "manifest.json").read_text()))
            for name in ("current", Path(upgrade.RUNNING).read_text().strip())
        )
        refused = kernel_args.refused(self.system).get(kernel_args.RECORD)
        if wanted != current and refused != list(wanted):
            renew()
        return running == wanted or (refused == list(wanted) and running == current)


@pytest.fixture
def machine(node: Node, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that runs with `nosmt`."""
    found = Machine(node, monkeypatch)
    asked.arguments("nosmt")
    renew()
    found.boot()
    return found


def again(machine: Machine, kept: Path) -> Iterator[None]:
    """Restore the initial state repeatedly, each time with one more write before the power cut."""
    names = ("k3os", "boot")
    for name in names:
        shutil.copytree(f"{machine.root}/{name}", kept / name, symlinks=True)
    running, flushed = Path(upgrade.RUNNING).read_text(), machine.flushed
    for writes in itertools.count():
        for name in names:
            shutil.rmtree(f"{machine.root}/{name}")
            shutil.copytree(kept / name, f"{machine.root}/{name}", symlinks=True)
        Path(upgrade.RUNNING).write_text(running)
        machine.flushed, machine.writes = flushed, writes
        yield


CHANGES: dict[str, tuple[tuple[str, ...], Callable[[Node], object]]] = {
    "other arguments": (("audit=1",), lambda _: renew()),
    "none any more": ((), lambda _: renew()),
    "some that hang": ((HANGS,), lambda _: renew()),
    "some that fail": ((FAILS,), lambda _: renew()),
    "a version": (("nosmt",), lambda node: node.upgrade(str(node.release), "--no-reboot")),
    "both": (
        ("audit=1",),
        lambda node: (node.upgrade(str(node.release), "--no-reboot"), renew()),
    ),
    "a way back by hand": (("audit=1",), lambda node: (renew(), node.rollback())),
}


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_wherever_the_power_goes_the_machine_comes_to_what_is_wanted_or_stays(
    node: Node, asked: Asked, machine: Machine, tmp_path_factory, change: str, stale: bool
) -> None:
    wanted, act = CHANGES[change]
    for _ in again(machine, tmp_path_factory.mktemp("kept")):
        asked.arguments(*wanted)
        with contextlib.suppress(Cut):
            act(node)
            while machine.boot():
                pass
            machine.writes = None  # it completed
        is_over, machine.writes = machine.writes is None, None
        boots = [machine.boot(stale=stale)]
        while boots[-1] or not machine.applies(wanted):
            boots.append(machine.boot())
            assert len(boots) <= MOST_BOOTS, boots
        if is_over:
            break


def test_the_model_of_grub_knows_the_words_of_the_menu() -> None:
    for word in ("k3os.rollback", "k3os.trial=$k3os_timeout", "set default=previous"):
        assert word in grub.TRIAL
    assert "k3os.generation=previous $back" in grub.menu()
