"""A running virtual machine: a context manager around one QEMU process.

QEMU is stopped whenever the block is left. If our own process dies without leaving it, the kernel
kills QEMU (setpriv(1) --pdeathsig, so start it from a thread that lives as long as the machine
should).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from k3os.errors import UserError
from k3os.vm import shell
from k3os.vm.console import Console, ConsoleError, Seen
from k3os.vm.qmp import QMP, QMPError
from k3os.vm.spec import SSH, VMSpec, arguments

# the prompts of a logged-in user and of the rescue shell
PROMPT = r"^rancher@\S+:\S*\$ |k3OS rescue # "
QUIT_SECONDS = 5
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


class VM:
    """with VM(spec, accel=…, log=…) as vm: vm.expect(r"login:", 120); vm.command("uname -r")."""

    def __init__(
        self,
        spec: VMSpec,
        *,
        accel: Sequence[str],
        log: Path,
        show: Callable[[bytes], None] | None = None,
    ) -> None:
        """accel: from k3os.vm.accel.choose; log: the serial log to write; show: called with
        each piece of the raw serial output, in the reader's thread."""
        self.spec = spec
        self.log = log
        self.ports = {guest: free_port() for guest in spec.forwarded}
        self._accel = tuple(accel)
        self._show = show

    @property
    def ssh_port(self) -> int:
        """The local port that is forwarded to the guest's ssh."""
        return self.ports[SSH]

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._process.pid

    @property
    def console(self) -> Console:
        return self._console

    def __enter__(self) -> VM:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(prefix="k3os-vm."))
        try:
            self._start()
        except BaseException:
            shutil.rmtree(self._scratch)
            raise
        return self

    def _start(self) -> None:
        serial, serial_of_qemu = socket.socketpair()
        monitor, monitor_of_qemu = socket.socketpair()
        command = arguments(
            self.spec, self._accel, self.ports, private_variables(self.spec, self._scratch)
        )
        command += ["-display", "none"]
        command += ["-chardev", f"socket,id=serial0,fd={serial_of_qemu.fileno()}"]
        command += ["-serial", "chardev:serial0"]
        command += ["-chardev", f"socket,id=monitor0,fd={monitor_of_qemu.fileno()}"]
        command += ["-mon", "chardev=monitor0,mode=control"]
        self._messages = open(self._scratch / "qemu.log", "w+b")  # noqa: SIM115 (closed in __exit__)
        self._console = Console(serial, self.log, self._show)
        self._qmp = QMP(monitor)
        try:
            self._process = subprocess.Popen(
                [*_DIE_WITH_US, *self.spec.launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=self._messages,
                stderr=subprocess.STDOUT,
                pass_fds=(serial_of_qemu.fileno(), monitor_of_qemu.fileno()),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise UserError(f"{error.filename} is not installed", "run `make setup`") from error
        finally:
            serial_of_qemu.close()
            monitor_of_qemu.close()
        self._console.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stop()
        finally:
            self._console.__exit__(None, None, None)
            self._qmp.close()
            self._messages.close()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _stop(self) -> None:
        """End QEMU: first ask, so that it writes out its disks; then kill."""
        try:
            if self._process.poll() is None:
                self._qmp.execute("quit")
                self._process.wait(QUIT_SECONDS)
        except (QMPError, subprocess.TimeoutExpired):
            pass  # it hangs, or has ended already: the code below is right for both
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def expect(self, pattern: str, timeout: float) -> Seen:
        """Wait for pattern on the serial console; see Console.expect.

        If QEMU ended with an error, raises UserError with QEMU's message.
        """
        with self._qemus_own_words():
            return self._console.expect(pattern, timeout)

    def expect_shell_and(self, *patterns: str, timeout: float) -> None:
        """Wait for the shell's prompt, and for messages before or after it."""
        with self._qemus_own_words():
            self._console.expect_all((PROMPT, *patterns), timeout)

    @contextmanager
    def _qemus_own_words(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._check_qemu()
            raise

    def _check_qemu(self) -> None:
        if self._console.closed:  # QEMU closes it a moment before it exits
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        if self._process.poll():
            self._messages.seek(0)
            words = self._messages.read().decode(errors="replace").strip()
            raise UserError(f"QEMU ended with {self._process.returncode}: {words}")

    def send(self, text: str) -> None:
        """Type text on the serial console."""
        self._console.send(text)

    def wait_for_shell(self, timeout: float) -> Seen:
        """Wait for the prompt of a logged-in user or of the rescue shell."""
        return self.expect(PROMPT, timeout)

    def command(self, command: str, timeout: float = 60) -> tuple[int, str]:
        """Run a command in the shell on the serial console: (exit code, output)."""
        result = shell.run_command(self._console, command, timeout)
        return result.code, result.output

    def reset(self) -> None:
        """Press the reset button: the machine boots again, with its disks as they are."""
        self._console.skip()
        self._qmp.execute("system_reset")

    def cut_power(self) -> None:
        """Kill QEMU: what it and the guest have not yet written to disk is lost."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def power_button(self) -> None:
        """Press the power button (ACPI)."""
        self._qmp.execute("system_powerdown")

    def set_link(self, card: str, *, up: bool) -> None:
        """Plug in or pull the cable of a network card (the id of its device)."""
        self._qmp.execute("set_link", name=card, up=up)

    def hold_key(self, name: str) -> None:
        """Press a key on the machine's keyboard (QEMU's QKeyCode) and keep it pressed."""
        key = {"down": True, "key": {"type": "qcode", "data": name}}
        self._qmp.execute("input-send-event", events=[{"type": "key", "data": key}])

    def wait_for_end(self, timeout: float) -> int:
        """Wait until the guest has powered off; returns QEMU's exit code.

        Raises ConsoleError if it is still running after timeout seconds.
        """
        end = time.monotonic() + timeout
        while not self._console.closed and time.monotonic() < end:
            time.sleep(0.1)
        try:
            return self._process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            what = f"still running after {timeout:g} s"
            raise ConsoleError(self._console.explain(what)) from None


def attach(spec: VMSpec, accel: Sequence[str], ports: dict[int, int]) -> int:
    """Run a machine with the terminal as its serial console. Ctrl-a x ends it, Ctrl-a c opens the
    monitor (qemu(1), "Keys in the character backend multiplexer").

    Returns QEMU's exit code.
    """
    with tempfile.TemporaryDirectory(prefix="k3os-vm.") as scratch:
        command = arguments(spec, tuple(accel), ports, private_variables(spec, Path(scratch)))
        command += ["-display", "none", "-serial", "mon:stdio"]
        try:
            process = subprocess.Popen([*_DIE_WITH_US, *spec.launcher, *command])
        except FileNotFoundError as error:
            raise UserError(f"{error.filename} is not installed", "run `make setup`") from error
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def private_variables(spec: VMSpec, directory: Path) -> Path | None:
    """A writable copy of the empty UEFI variables in directory; None for a BIOS.

    Raises UserError if the firmware is not installed.
    """
    if spec.firmware is None:
        return None
    for name in spec.firmware:
        if not Path(name).exists():
            package = spec.firmware_package
            raise UserError(f"{name} is missing", f"install the package {package} (`make setup`)")
    return Path(shutil.copyfile(spec.firmware[1], directory / "variables.fd"))


def free_port() -> int:
    """A local TCP port that is currently unused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
