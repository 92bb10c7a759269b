"""Our boot as a list of steps, from the node's own records.

Sources: /run/k3os/timeline.json (PID 1's steps, written by k3os.boot.timeline) and
`systemctl show` (the *Monotonic timestamps of systemd.unit(5), org.freedesktop.systemd1(5)).
All are seconds since the kernel's start; `shift` makes them relative to the start of QEMU.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

# Run on the node; the parsers below read their output.
STEPS_COMMAND = "cat /run/k3os/timeline.json"
KERNEL_COMMAND = "sudo dmesg | grep -E 'Unpacking initramfs|rootfs image|initrd memory|Run /init'"
MANAGER_COMMAND = "systemctl show -p '*TimestampMonotonic'"
UNITS_COMMAND = (
    "systemctl show '*' -p Id -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic"
)
UNIT_KINDS = (".service", ".socket", ".mount", ".target")


@dataclass(frozen=True)
class Step:
    """Something that took place from start to end (seconds); group determines the colour."""

    group: str
    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def early_steps(text: str) -> list[Step]:
    """PID 1's own steps."""
    return [Step("init", row["name"], row["start"], row["end"]) for row in json.loads(text)]


def kernel_steps(text: str) -> list[Step]:
    """The kernel until it starts /init, including the unpacking of the initrd (printk(9))."""
    times: dict[str, float] = {}
    for line in text.splitlines():
        stamp, _, message = line.partition("]")
        try:
            seconds = float(stamp.strip().lstrip("[").strip())
        except ValueError:
            continue  # a line of another program in between
        if "unpack" in message.lower():
            times.setdefault("unpack", seconds)
        elif "initrd memory" in message:
            times["unpacked"] = seconds
        elif "Run /init" in message:
            times["init"] = seconds
    steps = []
    if "init" in times:
        steps.append(Step("kernel", "kernel", 0.0, times["init"]))
    if "unpack" in times and "unpacked" in times:
        steps.append(Step("kernel", "unpack initrd", times["unpack"], times["unpacked"]))
    return steps


def properties(text: str) -> dict[str, str]:
    """`systemctl show` output, one object: name=value lines."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def manager_steps(text: str) -> list[Step]:
    """systemd's own start: loading, generators, units."""
    found = {name: int(value) / 1e6 for name, value in properties(text).items() if value.isdigit()}
    pairs = (
        ("systemd starts", "UserspaceTimestampMonotonic", "GeneratorsStartTimestampMonotonic"),
        ("generators", "GeneratorsStartTimestampMonotonic", "GeneratorsFinishTimestampMonotonic"),
        ("load units", "UnitsLoadStartTimestampMonotonic", "UnitsLoadFinishTimestampMonotonic"),
    )
    return [
        Step("systemd", name, found[start], found[end])
        for name, start, end in pairs
        if found.get(start) and found.get(end)
    ]


def unit_steps(text: str, *, at_least: float = 0.0) -> list[Step]:
    """Units that became active, ordered by start; at_least: minimum duration in seconds."""
    steps = []
    for block in text.split("\n\n"):
        unit = properties(block)
        name = unit.get("Id", "")
        start = int(unit.get("InactiveExitTimestampMonotonic") or 0) / 1e6
        end = int(unit.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        if start and end >= start and name.endswith(UNIT_KINDS) and end - start >= at_least:
            steps.append(Step("unit", name, start, end))
    return sorted(steps, key=lambda step: (step.start, step.end))


def shift(steps: Sequence[Step], seconds: float) -> list[Step]:
    """The steps, shifted by a number of seconds."""
    return [replace(step, start=step.start + seconds, end=step.end + seconds) for step in steps]


def listing(steps: Sequence[Step]) -> str:
    """The steps as text, for a terminal."""
    return "".join(
        f"  {step.start:7.2f} {step.end:7.2f} {step.seconds:7.2f} s  {step.group:<8} {step.name}\n"
        for step in steps
    )
