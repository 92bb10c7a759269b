"""A lab that runs: the network of a plan with DHCP, DNS and a web server in it, and machines.

`with running(plan, directory) as lab` makes it and takes it down, however the block is left. The
kernel ends what was started when this process dies; the namespace of a process that was killed
goes with the next lab.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from k3os.errors import UserError
from k3os.system.run import CommandError, run
from k3os.vm.console import ConsoleError
from k3os.vm.machine import VM
from k3os.vm.spec import VMSpec
from tests.real.plan import HOSTS, WEB_PORT, Plan, leftovers

T = TypeVar("T")
UNPLUGGED_SECONDS = 5
POLL_SECONDS, LONGEST_PAUSE = 3, 30
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


class Lab:
    """web: the directory that the web server shows. machines: by name, those that run.
    k3s: the executable that is kubectl to the lab."""

    def __init__(
        self, plan: Plan, directory: Path, logs: Path, accel: tuple[str, ...], k3s: Path
    ) -> None:
        self.plan = plan
        self.k3s = k3s
        self.directory = directory
        self.web = directory / "web"
        self.logs = logs
        self.machines: dict[str, VM] = {}
        self.moved: set[str] = set()
        self.dnsmasq: subprocess.Popen[bytes] | None = None
        self._accel = accel
        self._serials: dict[str, int] = {}

    def address(self, name: str) -> str:
        host = self.plan.host(name)
        return host.other_address if name in self.moved else host.address

    def write_hosts(self) -> None:
        (self.directory / HOSTS).write_text(self.plan.dhcp_hosts(self.moved))

    def _give(self, moved: set[str]) -> None:
        """What the DHCP server gives from now on."""
        self.moved = moved
        self.write_hosts()
        if self.dnsmasq is not None:
            self.dnsmasq.send_signal(signal.SIGHUP)

    def move(self, name: str) -> None:
        """The DHCP server has the other address for this host from now on, and its cable is
        unplugged for a moment, so that it asks."""
        self._give(self.moved | {name})
        vm = self.machines[name]
        vm.set_link("net0", up=False)
        time.sleep(UNPLUGGED_SECONDS)
        vm.set_link("net0", up=True)

    @property
    def is_emulated(self) -> bool:
        return "kvm" not in self._accel

    def log(self, name: str) -> Path:
        """A serial log for each start of a machine."""
        self._serials[name] = self._serials.get(name, 0) + 1
        return self.logs / f"{name}-{self._serials[name]}.log"

    @contextmanager
    def machine(self, name: str, spec: VMSpec) -> Iterator[VM]:
        """Run a machine as the host of that name."""
        with VM(spec, accel=self._accel, log=self.log(name)) as vm:
            self.machines[name] = vm
            try:
                yield vm
            finally:
                del self.machines[name]
                self._give(self.moved - {name})

    def inside(self, *command: str, timeout: float = 60, stdin: bytes | None = None) -> str:
        """What a command in the lab's network prints. Raises CommandError."""
        printed = run(self.plan.inside(*command), timeout=timeout, stdin=stdin)
        return printed.decode(errors="replace").strip()

    def kubectl(self, kubeconfig: Path, *words: str, timeout: float, stdin: bytes | None) -> str:
        """What kubectl prints. Raises CommandError. An executable that unpacks itself first does
        that among the lab's files, not in the host's /var."""
        data = f"K3S_DATA_DIR={self.directory / 'k3s'}"
        command = ("env", data, str(self.k3s), "kubectl", f"--kubeconfig={kubeconfig}", *words)
        return self.inside(*command, timeout=timeout, stdin=stdin)


@contextmanager
def running(
    plan: Plan, directory: Path, logs: Path, accel: tuple[str, ...], k3s: Path
) -> Iterator[Lab]:
    """Make the network of a plan, in a directory for scratch files."""
    needs_root()
    remove_leftovers()
    lab = Lab(plan, directory, logs, accel, k3s)
    lab.web.mkdir(parents=True)
    lab.write_hosts()
    with ExitStack() as stack:
        stack.callback(run, plan.removal(), check=False)
        for command in plan.commands():
            run(command)
        server = [sys.executable, "-m", "http.server", str(WEB_PORT), "--bind", plan.gateway]
        services = {
            "dnsmasq": plan.dnsmasq(directory),
            "web": [*server, "--directory", str(lab.web)],
        }
        for name, command in services.items():
            process = stack.enter_context(service(plan.inside(*command), logs / f"{name}.log"))
            if name == "dnsmasq":
                lab.dnsmasq = process
        wait_for("the lab's web server answers", 20, lambda: _answers(lab))
        yield lab


@contextmanager
def service(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs as long as the block; what it says is in log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [*_DIE_WITH_US, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            ended = process.poll()
            process.kill()
            process.wait()
        if ended is not None:
            raise UserError(f"{command[4]} ended with {ended}", f"its words are in {log}")


def _answers(lab: Lab) -> bool:
    lab.inside(
        sys.executable, "-c", f"import urllib.request as u; u.urlopen('http://{lab.plan.gateway}')"
    )
    return True


def needs_root() -> None:
    if os.getuid() != 0:
        raise UserError(
            "only root may make a network namespace", "sudo make test-real K3S=<path>", "test-real"
        )


def remove_leftovers() -> None:
    """The namespaces of labs whose process was killed; their machines died with it."""
    for name in leftovers(run(["ip", "netns", "list"]).decode().splitlines()):
        say(f"removing {name}, which a killed run has left")
        run(["ip", "netns", "delete", name])


def say(text: str) -> None:
    print(f"      {text}", flush=True)


def wait_for(what: str, seconds: float, look: Callable[[], T]) -> T:
    """Until look() returns something true, which is returned; that a node cannot be asked yet is
    no answer. Raises AssertionError that says what did not happen, and what was seen last.

    Twice as long as an answer took it leaves the node alone: an emulated machine has other things
    to do."""
    say(f"waiting, {seconds:.0f} s at most: {what}")
    started = time.monotonic()
    last: object = "nothing"
    while True:
        asked = time.monotonic()
        try:
            found = look()
        except (CommandError, ConsoleError, ValueError) as error:
            found, last = None, error
        else:
            last = found
        if found:
            return found
        now = time.monotonic()
        if now - started > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}; seen last: {last}")
        time.sleep(
            max(POLL_SECONDS, min(2 * (now - asked), LONGEST_PAUSE, started + seconds - now))
        )
