"""`k3os run`: boot the built image in a virtual machine, in the terminal or up to a given point.

The machine's firmware boots the ISO, as on a real machine. With --config or --append the kernel
is booted directly, which allows passing a command line and an initrd (which carries the
configuration).
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

from k3os.cli import build as build_command
from k3os.errors import UserError
from k3os.generation.grub import NO_SELF_TESTS
from k3os.system.numbers import whole
from k3os.system.run import CommandError, run
from k3os.vm import accel
from k3os.vm.console import ConsoleError
from k3os.vm.machine import VM, attach, free_port
from k3os.vm.spec import SERIAL, SSH, Disk, VMSpec

# what `--until` waits for on the serial console
POINTS = {
    "login": r"login: |^rancher@\S+:\S*\$ ",
    "k3s": r"k3OS: k3s is running",
}
RESCUE_PROMPT = "k3OS rescue # "
RESCUE = re.escape(RESCUE_PROMPT)
APPEND = f"console=tty0 console={{}},115200 quiet {NO_SELF_TESTS} k3os.mode=live"
CONFIG = "k3os/system/config.yaml"
FULL = ("amd64", "arm64")  # the architectures that ISOs are built for
DEFAULT_DISK_SIZE = "10G"
DEFAULT_TIMEOUT = 600.0
LOG = Path("dist/vm-logs/run.log")

EPILOG = """\
The image is built first (`k3os build --help` lists the variables: KERNEL, K3S, …); what is
unchanged since the last build is not built again.

k3os run --memory 4096 --disk disk.qcow2:20G
k3os run --config config.yaml --append 'k3os.debug'
k3os run --until k3s --timeout 300
"""


def main(argv: list[str]) -> int:
    options = parse(argv)
    signal.signal(signal.SIGTERM, _terminate)
    if options.config:
        build_command.check_config(str(options.config))
    artifacts, cache, arch = _directories()
    if arch not in FULL:
        raise UserError(
            f"there is nothing to boot for {arch}, only a tarball for another system",
            "docs/how-to/arm.md#on-top-of-another-system; `make test-arm` boots it",
            "ARCH",
        )
    if not options.no_build and (code := build_command.main([])):
        return code
    with tempfile.TemporaryDirectory(prefix="k3os-run.") as scratch:
        spec = make_spec(options, artifacts, Path(scratch), arch)
        for disk in spec.disks:
            _create_disk(disk, options.disk)
        chosen = accel.choose(cache, artifacts / f"k3os-vmlinuz-{arch}", arch=arch)
        if options.until:
            return _run_until(spec, chosen, options.until, options.timeout)
        ports = {SSH: free_port()}
        print(introduction(chosen, ports[SSH]), file=sys.stderr, flush=True)
        return attach(spec, chosen, ports)


def parse(argv: list[str]) -> argparse.Namespace:
    """The options; on wrong ones argparse itself ends the program (exit code 2)."""
    parser = argparse.ArgumentParser(
        prog="k3os run",
        description="Boot k3OS in a virtual machine; the terminal is its serial console.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--memory", type=_positive, default=2048, metavar="MiB", help="memory (default 2048)")
    add("--cpus", type=_positive, default=2, metavar="N", help="processors (default 2)")
    add(
        "--disk",
        action="append",
        default=[],
        metavar="PATH[:SIZE]",
        help=f"attach a disk image; a missing one is created ({DEFAULT_DISK_SIZE}); repeatable",
    )
    add("--config", type=Path, metavar="FILE", help="boot with this config.yaml")
    add("--append", default="", metavar="CMDLINE", help="more kernel parameters")
    add("--uefi", action="store_true", help="UEFI firmware instead of a BIOS (arm64 has no other)")
    add("--until", choices=list(POINTS), help="for scripts: show the boot, leave when reached")
    add(
        "--timeout",
        type=_positive,
        default=DEFAULT_TIMEOUT,
        metavar="S",
        help=f"with --until: exit 1 after S seconds (default {DEFAULT_TIMEOUT:.0f})",
    )
    add("--no-build", action="store_true", help="boot the artifacts that are there")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    if not whole(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt  # as for Ctrl-C: the machine is stopped, scratch files go


def _directories() -> tuple[Path, Path, str]:
    """Artifacts, cache and architecture of the build, from its environment variables."""
    from k3os.image.settings import from_environment

    settings = from_environment(os.environ)
    return settings.artifacts, settings.cache, settings.arch.name


def make_spec(
    options: argparse.Namespace, artifacts: Path, scratch: Path, arch: str = "amd64"
) -> VMSpec:
    """The machine that the options ask for; writes an initrd with --config into scratch.

    Raises UserError when an artifact is missing.
    """
    iso = _artifact(artifacts, f"k3os-{arch}.iso")
    uefi = options.uefi or (arch != "amd64" and not options.config and not options.append)
    disks = tuple(disk_of(text) for text in options.disk)
    if not options.config and not options.append:
        return VMSpec(
            cdrom=iso,
            disks=disks,
            memory=options.memory,
            cpus=options.cpus,
            uefi=uefi,
            arch=arch,
        )
    initrd = _artifact(artifacts, f"k3os-initrd-{arch}")
    if options.config:
        initrd = initrd_with_config(initrd, options.config, scratch / "initrd")
    return VMSpec(
        kernel=_artifact(artifacts, f"k3os-vmlinuz-{arch}"),
        initrd=initrd,
        append=f"{APPEND.format(SERIAL[arch])} {options.append}".rstrip(),
        disks=(*disks, Disk(iso, readonly=True)),
        memory=options.memory,
        cpus=options.cpus,
        uefi=uefi,
        arch=arch,
    )


def _artifact(artifacts: Path, name: str) -> Path:
    path = artifacts / name
    if not path.is_file():
        raise UserError(f"{path} is missing", "build it first, with `make` or without --no-build")
    return path


def initrd_with_config(initrd: Path, config: Path, target: Path) -> Path:
    """Write an initrd to target that carries config, where PID 1 looks first, before the medium.

    The kernel unpacks concatenated archives one after another. The uncompressed one comes first, as
    with microcode, so that no decompressor meets bytes after its end.
    """
    from k3os.image.tree import Tree, write_cpio

    tree = Tree()
    try:
        tree.file(CONFIG, config.read_bytes(), 0o600)
    except OSError as error:
        raise UserError(f"{config}: {error.strerror}", "give the path of a config.yaml") from error
    with open(target, "wb") as file:
        write_cpio(tree, file, 0)
        file.write(initrd.read_bytes())
    return target


def disk_of(text: str) -> Disk:
    """PATH or PATH:SIZE; the format follows from the name (.raw, .img: raw, else qcow2)."""
    path = Path(_split_size(text)[0])
    kind = "raw" if path.suffix in (".raw", ".img") else "qcow2"
    return Disk(path, kind)


def _split_size(text: str) -> tuple[str, str]:
    path, colon, size = text.rpartition(":")
    if colon and size and size[0].isdigit() and "/" not in size:
        return path, size
    return text, DEFAULT_DISK_SIZE


def _create_disk(disk: Disk, texts: list[str]) -> None:
    """Create the image of a --disk if it does not exist; an existing one is never touched."""
    if disk.path.exists():
        return
    size = next((s for p, s in map(_split_size, texts) if Path(p) == disk.path), DEFAULT_DISK_SIZE)
    try:
        run(["qemu-img", "create", "-q", "-f", disk.format, str(disk.path), size])
    except CommandError as error:
        raise UserError(
            str(error).splitlines()[-1].strip(), "try --disk disk.qcow2:20G", "--disk"
        ) from error


def introduction(chosen: tuple[str, ...], port: int) -> str:
    """What a person should know before the console takes over the terminal."""
    slow = (
        "" if "kvm" in chosen else " (no KVM here: the machine is emulated, several times slower)"
    )
    return (
        f"k3os: the virtual machine starts{slow}\n"
        f"  leave:  Ctrl-a, then x\n"
        f"  ssh:    ssh -p {port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        " rancher@127.0.0.1\n"
        "          (with a key or password of yours in --config)"
    )


def _run_until(spec: VMSpec, chosen: tuple[str, ...], point: str, timeout: float) -> int:
    """Show the console until the point is reached: 0; else 1, with the end of the log."""
    try:
        with VM(spec, accel=chosen, log=LOG, show=_show) as vm:
            seen = vm.expect(f"{POINTS[point]}|{RESCUE}", timeout)
            if seen.match[0] == RESCUE_PROMPT:
                raise ConsoleError(vm.console.explain("the boot ended in the rescue shell"))
    except ConsoleError as error:
        sys.stdout.flush()
        print(f"\nk3os: error: {error}", file=sys.stderr)
        return 1
    print(f"\nk3os: reached {point} after {seen.seconds:.1f} s", file=sys.stderr)
    return 0


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
