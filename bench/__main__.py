"""`python -m bench` (`make bench`): build both systems, measure, print and write the table.

`make bench K3S=PATH` compares the time until /readyz of that k3s, the same in both systems; without
K3S a stand-in is used, and sizes and cold starts are measured, too.

Results: dist/bench/bench.md, bench.json, timeline.svg, and the serial logs. Exit code 0: all
budgets are met; 1: one is exceeded (the table says which); 2: wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import cold, images, large, peer, scenario, sizes, svg, table, timeline
from bench.boot import CPUS, MEMORY_MIB, Boot, boot, shell
from bench.table import Row, Samples
from k3os.errors import UserError
from k3os.generation.grub import NO_SELF_TESTS
from k3os.image.cache import Cache, digest
from k3os.image.progress import Progress
from k3os.image.settings import Settings, from_environment
from k3os.system.files import atomic_write
from k3os.system.run import CommandError, run
from k3os.vm import accel
from k3os.vm.console import ConsoleError
from k3os.vm.machine import VM
from k3os.vm.spec import Disk, VMSpec

# minimum seconds for a unit to get a bar of its own
SHORTEST_BAR = 0.05


@dataclass
class Drawing:
    """Our fastest boot as steps and marks, for the SVG."""

    steps: list[timeline.Step] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)

    def record(self, vm: VM, result: Boot) -> None:
        """Collect all records of the boot from the running node."""
        if result.login >= self.marks.get("login", float("inf")):
            return
        steps = [
            *timeline.kernel_steps(shell(vm, timeline.KERNEL_COMMAND)),
            *timeline.early_steps(shell(vm, timeline.STEPS_COMMAND)),
            *timeline.manager_steps(shell(vm, timeline.MANAGER_COMMAND)),
            *timeline.unit_steps(shell(vm, timeline.UNITS_COMMAND), at_least=SHORTEST_BAR),
        ]
        firmware = timeline.Step("firmware", "QEMU and firmware", 0.0, max(result.offset, 0.0))
        last = max(result.login, result.k3s)
        shifted = timeline.shift(steps, result.offset)
        # what starts after both (such as our own commands) is not part of the boot
        self.steps = [firmware, *(step for step in shifted if step.start <= last)]
        self.marks = {"login": result.login, "k3s": result.k3s}


def main(arguments: list[str]) -> int:
    """Parse arguments, run; exit code: see the top of this module."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="k3OS against Debian")
    parser.add_argument(
        "--runs", type=int, default=int(os.environ.get("RUNS") or 3), help="boots of each system"
    )
    parser.add_argument(
        "--build", action="store_true", help="also time a cold build and a rebuild (minutes)"
    )
    parser.add_argument("--no-boot", action="store_true", help="only sizes and cold starts")
    parser.add_argument("--no-generic", action="store_true", help="only the cloud kernel's image")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    settings = from_environment(os.environ)
    real = real_k3s(os.environ.get("K3S", ""), parser)
    output = settings.source / "dist" / "bench"
    with Progress(output / "bench.log") as progress:
        try:
            rows, drawing = measure(settings, progress, output, options, real)
        except (UserError, CommandError, ConsoleError) as error:
            print(f"bench: error: {error}\nbench: the log is {output}/bench.log", file=sys.stderr)
            return 1
    report(rows, drawing, output, options.runs)
    return 1 if table.missed(rows) else 0


def real_k3s(text: str, parser: argparse.ArgumentParser) -> Path | None:
    """The executable that K3S names; None if it is not set. Exits for anything but a path."""
    if not text:
        return None
    path = Path(text).absolute()
    if not path.is_file() or not os.access(path, os.X_OK):
        parser.error(f"K3S={text}: the bench takes the path of an executable")
    return path


def measure(
    settings: Settings,
    progress: Progress,
    output: Path,
    options: argparse.Namespace,
    real: Path | None = None,
) -> tuple[list[Row], Drawing]:
    """Everything that was requested, as rows. Raises UserError, CommandError, ConsoleError."""
    kernels = ("cloud",) if options.no_generic or real else ("cloud", "generic")
    ours = {kernel: images.build_image(settings, progress, kernel, real) for kernel in kernels}
    cache = Cache(settings.cache / "bench", progress)
    drawing = Drawing()
    rows: list[Row] = []
    with cache.locked():
        theirs = peer.build_peer(settings, progress, cache, real)
        if real or not options.no_boot:
            how = accel.choose(settings.cache, theirs.kernel)
            boots = boot_all(
                progress, output, ours["cloud"], theirs, options.runs, drawing, how, real
            )
            rows += compare_boots(boots, real=real is not None)
        if real:
            return rows, drawing
        rows += sizes.size_rows(ours, theirs)
        tree = unpacked(progress, cache, ours["cloud"])
        with progress.stage("cold starts"):
            rows += cold.cold_rows(tree, theirs.tree)
        with progress.stage("large configuration"):
            rows += large.large_rows()
    if options.build:
        rows += images.build_times(settings, progress)
    return rows, drawing


def unpacked(progress: Progress, cache: Cache, image: images.Image) -> Path:
    """Our root tree, unpacked from the image."""
    stage = cache.stage(
        "tree",
        digest(image.rootfs),
        lambda out: cold.unpack_ours(image.rootfs, out, progress.log),
    )
    return stage / "tree"


@dataclass
class Boots:
    """The measurements: our live ISO; with a real k3s, also our disk; and the peer's disk."""

    live: list[Boot] = field(default_factory=list)
    disk: list[Boot] = field(default_factory=list)
    peer: list[Boot] = field(default_factory=list)


def boot_all(
    progress: Progress,
    output: Path,
    ours: images.Image,
    theirs: peer.Peer,
    runs: int,
    drawing: Drawing,
    how: tuple[str, ...],
    real: Path | None,
) -> Boots:
    """Boot each in turn, `runs` times."""
    boots = Boots()
    for number in range(1, runs + 1):
        with progress.stage(f"k3OS boot {number}"):
            log = output / f"k3os-{number}.log"
            record = None if real else drawing.record
            boots.live.append(boot(our_spec(ours), how, log, record, real=bool(real)))
        if real:
            with progress.stage(f"k3OS disk boot {number}"):
                log = output / f"k3os-disk-{number}.log"
                with first_boot(ours.disk, output / "k3os.qcow2") as overlay:
                    spec = disk_spec(ours, overlay)
                    boots.disk.append(boot(spec, how, log, drawing.record, real=True))
        with progress.stage(f"peer boot {number}"):
            log = output / f"peer-{number}.log"
            with first_boot(theirs.disk, output / "peer.qcow2") as overlay:
                boots.peer.append(boot(peer_spec(theirs, overlay), how, log, real=bool(real)))
    return boots


@contextmanager
def first_boot(disk: Path, overlay: Path) -> Iterator[Path]:
    """A raw disk in the state before its first boot: an overlay that is deleted afterwards."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(disk)]
    run([*command, str(overlay)])
    try:
        yield overlay
    finally:
        overlay.unlink()


def our_spec(image: images.Image) -> VMSpec:
    """Ours: the ISO as a virtio disk; it contains the configuration."""
    return _spec(image, Disk(image.iso, readonly=True))


def disk_spec(image: images.Image, overlay: Path) -> VMSpec:
    """Ours as an installed disk, like the peer; it contains the configuration."""
    return _spec(image, Disk(overlay, format="qcow2"))


def _spec(image: images.Image, disk: Disk) -> VMSpec:
    return VMSpec(
        kernel=image.kernel,
        initrd=image.initrd,
        append=f"{scenario.KERNEL_ARGUMENTS} {NO_SELF_TESTS}",
        disks=(disk,),
        memory=MEMORY_MIB,
        cpus=CPUS,
    )


def peer_spec(theirs: peer.Peer, overlay: Path) -> VMSpec:
    """The peer: its root disk and the seed, both virtio disks."""
    return VMSpec(
        kernel=theirs.kernel,
        initrd=theirs.initrd,
        append=theirs.append,
        disks=(Disk(overlay, format="qcow2"), Disk(theirs.seed, readonly=True)),
        memory=MEMORY_MIB,
        cpus=CPUS,
    )


def compare_boots(boots: Boots, *, real: bool = False) -> list[Row]:
    """The rows of the boots, with the budgets of the project.

    real: until /readyz of k3s, for our installed disk and the peer's; the live ISO has rows of its
    own, without budgets, since it keeps everything in memory.
    """

    def samples(boots: list[Boot], name: str, unit: str) -> Samples:
        return Samples(tuple(getattr(one, name) for one in boots), unit)

    def row(what: str, name: str, unit: str, ours: list[Boot], **budget: Any) -> Row:
        return Row(what, samples(ours, name, unit), samples(boots.peer, name, unit), **budget)

    ours, live = (boots.disk if real else boots.live), ", our live ISO"
    rows = [
        row("time to login:", "login", "s", ours, at_most=0.40, aim=0.30),
        row("time to /readyz of k3s", "k3s", "s", ours, at_most=0.65)
        if real
        else row("time to k3s exec", "k3s", "s", ours),
        row("processor time to login:", "cpu", "s", ours),
        row("memory used at login", "memory", "MiB", ours, at_most=1.0),
        row("memory used 10 s after login and k3s", "settled", "MiB", ours),
    ]
    if real:
        rows += [
            row("processor time to /readyz of k3s", "cpu_k3s", "s", ours),
            row("memory used at /readyz of k3s", "ready", "MiB", ours, at_most=0.95),
            row(f"time to login{live}", "login", "s", boots.live),
            row(f"time to /readyz of k3s{live}", "k3s", "s", boots.live),
            row(f"memory used at /readyz of k3s{live}", "ready", "MiB", boots.live),
        ]
    return rows


def report(rows: list[Row], drawing: Drawing, output: Path, runs: int) -> None:
    """Print the table and write the files."""
    text = table.markdown(rows)
    conditions = (
        f"QEMU {MEMORY_MIB} MiB, {CPUS} CPUs, the same settings for both; {runs} boots of each, "
        f"in turn; medians (min–max); host: {os.cpu_count()} CPUs, Linux {os.uname().release}.\n"
    )
    print(text + "\n" + conditions)
    if drawing.steps:
        print("our quickest boot, seconds since QEMU's start:\n" + timeline.listing(drawing.steps))
        drawn = svg.timeline_svg("k3OS, from power-on to login", drawing.steps, drawing.marks)
        atomic_write(str(output / "timeline.svg"), drawn.encode())
    atomic_write(str(output / "bench.md"), f"{text}\n{conditions}".encode())
    record = {"rows": table.records(rows), "conditions": conditions.strip()}
    atomic_write(str(output / "bench.json"), json.dumps(record, indent=1).encode() + b"\n")
    for name in table.missed(rows):
        print(f"bench: budget MISSED: {name}", file=sys.stderr)
    print(f"written to {output}: bench.md, bench.json, timeline.svg, serial logs")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nbench: interrupted", file=sys.stderr)
        sys.exit(130)
