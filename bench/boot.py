"""Boot one system once in QEMU and measure it; the same way for both.

It knows only the kernel, the initrd, the disks, and that the serial console logs in USER by itself.
Seconds are counted from the start of QEMU, by the host's clock, when output appears on the serial
console.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import scenario
from k3os.errors import UserError
from k3os.vm.machine import VM
from k3os.vm.spec import VMSpec

MEMORY_MIB = 2048
CPUS = 2
BOOT_TIMEOUT = 600.0
COMMAND_TIMEOUT = 120.0
SETTLE_SECONDS = 10.0
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Boot:
    """One boot: seconds since QEMU's start, bytes in use, and the clocks' offset.

    cpu: seconds of processor time that QEMU had used at login: the work done, which depends less
    on other load on the host than elapsed time does.
    k3s: when it is executed; for a real one, when its /readyz answers. cpu_k3s: as cpu, until k3s.
    settled: memory in use SETTLE_SECONDS after login and k3s, when one-off work is done.
    ready: memory in use when a real k3s' /readyz answers; 0 with the stand-in.
    offset: seconds from QEMU's start to the guest's uptime 0.
    """

    login: float
    k3s: float
    cpu: float
    memory: float
    settled: float
    offset: float
    ready: float = 0.0
    cpu_k3s: float = 0.0


def used_memory(meminfo: str) -> float:
    """MemTotal − MemAvailable of /proc/meminfo (proc_meminfo(5)) in bytes."""
    fields = dict(re.findall(r"^(Mem\w+):\s+(\d+) kB", meminfo, re.MULTILINE))
    return float(int(fields["MemTotal"]) - int(fields["MemAvailable"])) * 1024


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its threads (proc_pid_stat(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def boot(
    spec: VMSpec,
    accel: Sequence[str],
    log: Path,
    inspect: Callable[[VM, Boot], None] | None = None,
    *,
    real: bool = False,
) -> Boot:
    """Boot spec, measure, check that the settings were applied, hand the VM to inspect, stop it.

    accel: from k3os.vm.accel.choose; log: where the serial log goes; real: k3s is not the stand-in.
    Raises UserError if a setting was not applied (then the numbers are not comparable),
    ConsoleError.
    """
    with VM(spec, accel=accel, log=log) as vm:
        login = vm.expect(r"login: ", BOOT_TIMEOUT).seconds
        cpu = cpu_seconds(vm.pid)
        vm.wait_for_shell(COMMAND_TIMEOUT)
        memory = used_memory(shell(vm, "cat /proc/meminfo"))
        k3s, uptime = _k3s_times(vm, scenario.READY_MARKER if real else scenario.K3S_MARKER)
        cpu_k3s = cpu_seconds(vm.pid)
        ready = used_memory(shell(vm, f"cat {scenario.READY_MEMINFO}")) if real else 0.0
        check_settings(vm)
        time.sleep(SETTLE_SECONDS)
        settled = used_memory(shell(vm, "cat /proc/meminfo"))
        result = Boot(login, k3s, cpu, memory, settled, k3s - uptime, ready, cpu_k3s)
        if inspect is not None:
            inspect(vm, result)
    return result


def shell(vm: VM, command: str, timeout: float = COMMAND_TIMEOUT) -> str:
    """A command's output in the VM. Raises UserError if it fails, ConsoleError."""
    code, output = vm.command(command, timeout)
    if code:
        raise UserError(f"in the VM, {command!r} exited with {code}", output.strip()[-500:])
    return output


def _k3s_times(vm: VM, marker: str) -> tuple[float, float]:
    """When k3s was executed, or ready: since QEMU's start, and by the guest's clock.

    Watches the console, including output that commands have skipped. A loop in the guest that waits
    for the file took a tenth of the processor time while k3s was starting.
    """
    end = time.monotonic() + BOOT_TIMEOUT
    while (seconds := vm.console.when(marker)) is None:
        if vm.console.closed or time.monotonic() > end:
            hint = f"boot again; see {vm.log}"
            raise UserError("the line of k3s did not come on the console, or was damaged", hint)
        time.sleep(LOOK_SECONDS)
    line = re.search(marker, vm.console.text)
    assert line is not None
    return seconds, float(line[1])


def check_settings(vm: VM) -> None:
    """Check that every setting of the scenario is in effect. Raises UserError."""
    for command, wanted in scenario.EXPECTED.items():
        found = shell(vm, command).strip()
        if found != wanted:
            raise UserError(
                f"a setting did not arrive: {command!r} prints {found!r}, not {wanted!r}",
                "the comparison would be of unequal work; see the serial log",
            )
