"""KVM or TCG: KVM only if a guest has really run on this machine.

That /dev/kvm can be opened says little: in a virtual machine without nested virtualization a guest
may start and then hang. So a stock kernel is booted once, for a few seconds at most, and the result
is cached until the host reboots (by its boot id). K3OS_ACCEL=tcg|kvm decides without a probe.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from k3os.errors import UserError
from k3os.system.files import atomic_write
from k3os.system.run import CommandError, run

# Measured with a boot to k3s: 25 % less processor time than "max", whose XSAVE, protection keys and
# five-level page tables are expensive to emulate. x86-64-v2, which Go programs may require.
# Without SVM: loading KVM takes a twelfth of all instructions up to the login.
EMULATED_CPU = "qemu64,-svm,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16"
TCG = ("-accel", "tcg,thread=multi", "-cpu", EMULATED_CPU)
# other architectures; "max" signs pointers, which takes an emulator most of its time
EMULATED_CPUS = {"amd64": EMULATED_CPU, "arm64": "cortex-a57", "arm": "cortex-a15"}
KVM = ("-accel", "kvm", "-cpu", "host")
CHOICES = {"tcg": TCG, "kvm": KVM}
DEVICE = "/dev/kvm"
PROBE_SECONDS = 8.0
# A kernel without a root ends here: its whole start-up worked.
PROOF = b"Kernel panic - not syncing: VFS"
RESULT = "accel.json"


def choose(
    cache: Path,
    kernel: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    program: str = "qemu-system-x86_64",
    device: str = DEVICE,
    arch: str = "amd64",
) -> tuple[str, ...]:
    """The QEMU arguments of the fastest accelerator that works: KVM or TCG.

    cache: the directory that keeps the probe's result. kernel: what the probe boots; without one,
    and without an earlier result, TCG is used. arch: the machine's; KVM is for PCs only. Raises
    UserError for an invalid K3OS_ACCEL.
    """
    if arch != "amd64":
        return ("-accel", "tcg,thread=multi", "-cpu", EMULATED_CPUS[arch])
    forced = environ.get("K3OS_ACCEL", "")
    if forced:
        if forced not in CHOICES:
            raise UserError(f"unknown accelerator {forced!r}", "use tcg or kvm", "K3OS_ACCEL")
        return CHOICES[forced]
    if not os.access(device, os.R_OK | os.W_OK):
        return TCG
    key = host_key()
    known = _remembered(cache, key)
    if known is not None:
        return CHOICES[known]
    if kernel is None or not kernel.exists():
        return TCG
    result = "kvm" if kvm_runs(kernel, program) else "tcg"
    cache.mkdir(parents=True, exist_ok=True)
    atomic_write(str(cache / RESULT), json.dumps({"host": key, "accel": result}).encode())
    return CHOICES[result]


def kvm_runs(kernel: Path, program: str, seconds: float = PROBE_SECONDS) -> bool:
    """Boot kernel without a root under KVM; True if it reaches its expected end in time."""
    command = [program, "-machine", "q35", *KVM, "-m", "256", "-nodefaults", "-no-reboot"]
    command += ["-display", "none", "-serial", "stdio", "-kernel", str(kernel)]
    command += ["-append", "console=ttyS0 panic=-1"]
    try:
        return PROOF in run(command, timeout=seconds, check=False)
    except CommandError as error:
        # timed out: KVM hangs, unless all expected output came and QEMU merely did not exit
        return PROOF in error.output


def host_key() -> str:
    """Changes whenever the result could: with the host's kernel and with each boot of the host."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{os.uname().release} {boot_id}"


def _remembered(cache: Path, key: str) -> str | None:
    try:
        known = json.loads((cache / RESULT).read_text())
    except (OSError, ValueError):
        return None
    if isinstance(known, dict) and known.get("host") == key and known.get("accel") in CHOICES:
        return str(known["accel"])
    return None
