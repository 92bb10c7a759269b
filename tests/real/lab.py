"""A running lab: the network of a plan with DHCP, DNS and a web server in it, and machines.

`with running(plan, directory, …) as lab` sets it up and always tears it down. If this process is
killed, the kernel ends the programs it started, and the next lab removes its namespace.
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
    """web: the directory that the web server serves. machines: the running ones, by name.
    moved: names of hosts that have their other address. k3s: the executable used as kubectl."""

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
        """Make the DHCP server give these hosts their other address from now on."""
        self.moved = moved
        self.write_hosts()
        if self.dnsmasq is not None:
            self.dnsmasq.send_signal(signal.SIGHUP)

    def move(self, name: str) -> None:
        """Make the DHCP server give this host its other address, and unplug the host's cable for a
        moment, so that it asks."""
        self._give(self.moved | {name})
        vm = self.machines[name]
        vm.set_link("net0", up=False)
        time.sleep(UNPLUGGED_SECONDS)
        vm.set_link("net0", up=True)

    @property
    def is_emulated(self) -> bool:
        return "kvm" not in self._accel

    def log(self, name: str) -> Path:
        """A new serial log for each start of a machine."""
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
        """Run a command in the lab's network and return its output. Raises CommandError."""
        printed = run(self.plan.inside(*command), timeout=timeout, stdin=stdin)
        return printed.decode(errors="replace").strip()

    def kubectl(self, kubeconfig: Path, *words: str, timeout: float, stdin: bytes | None) -> str:
        """Run kubectl and return its output. Raises CommandError. An executable that unpacks
        itself does that in the lab's directory, not in the host's /var."""
        data = f"K3S_DATA_DIR={self.directory / 'k3s'}"
        command = ("env", data, str(self.k3s), "kubectl", f"--kubeconfig={kubeconfig}", *words)
        return self.inside(*command, timeout=timeout, stdin=stdin)


@contextmanager
def running(
    plan: Plan, directory: Path, logs: Path, accel: tuple[str, ...], k3s: Path
) -> Iterator[Lab]:
    """Set up the network of a plan. directory: for scratch files."""
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
    """Run a program until the block is left, with its output in log. Raises UserError if it ended
    before."""
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
    """Remove the namespaces of labs whose process was killed; their machines died with it."""
    for name in leftovers(run(["ip", "netns", "list"]).decode().splitlines()):
        say(f"removing {name}, which a killed run has left")
        run(["ip", "netns", "delete", name])


def say(text: str) -> None:
    print(f"      {text}", flush=True)


def wait_for(what: str, seconds: float, look: Callable[[], T]) -> T:
    """Call look() until it returns something true, and return that; errors from a node that does
    not answer yet are ignored. Raises AssertionError with what did not happen and the last result.

    Waits twice as long as the call took before the next one, to spare emulated machines."""
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
