"""What a node recorded about its boot becomes steps."""

import pytest

from bench.timeline import (
    Step,
    early_steps,
    kernel_steps,
    listing,
    manager_steps,
    shift,
    unit_steps,
)
from k3os.boot import timeline as node_timeline

UNITS = """\
Id=connman.service
InactiveExitTimestampMonotonic=7000000
ActiveEnterTimestampMonotonic=7500000

Id=never.service
InactiveExitTimestampMonotonic=0
ActiveEnterTimestampMonotonic=0

Id=sysinit.target
InactiveExitTimestampMonotonic=6000000
ActiveEnterTimestampMonotonic=6000000

Id=dev-vda.device
InactiveExitTimestampMonotonic=5000000
ActiveEnterTimestampMonotonic=5000000

Id=failed.service
InactiveExitTimestampMonotonic=8000000
ActiveEnterTimestampMonotonic=0
"""

DMESG = """\
[    0.913274] Trying to unpack rootfs image as initramfs...
[    2.100000] Freeing initrd memory: 16972K
not a kernel line
[    3.250000] Run /init as init process
"""


def test_what_the_node_writes_is_what_the_bench_reads() -> None:
    with node_timeline.step("find the medium"):
        pass
    steps = early_steps(node_timeline.dump().decode())
    assert steps[-1].name == "find the medium"
    assert 0 < steps[-1].start <= steps[-1].end


def test_units_come_in_the_order_of_their_start_without_devices_and_failures() -> None:
    steps = unit_steps(UNITS)
    assert [step.name for step in steps] == ["sysinit.target", "connman.service"]
    assert steps[1].seconds == pytest.approx(0.5)


def test_short_units_can_be_left_out() -> None:
    assert [step.name for step in unit_steps(UNITS, at_least=0.1)] == ["connman.service"]


def test_the_kernel_log_gives_the_kernel_and_the_unpacking() -> None:
    kernel, unpack = kernel_steps(DMESG)
    assert (kernel.start, kernel.end) == (0.0, 3.25)
    assert unpack.seconds == pytest.approx(1.186726)


def test_a_kernel_log_without_the_lines_gives_no_step() -> None:
    assert kernel_steps("[    1.0] something else\n") == []


def test_the_manager_gives_its_start_and_generators() -> None:
    text = (
        "UserspaceTimestampMonotonic=4000000\nGeneratorsStartTimestampMonotonic=4500000\n"
        "GeneratorsFinishTimestampMonotonic=4750000\nUnitsLoadStartTimestampMonotonic=0\n"
    )
    assert [(step.name, step.start, step.end) for step in manager_steps(text)] == [
        ("systemd starts", 4.0, 4.5),
        ("generators", 4.5, 4.75),
    ]


def test_shifting_moves_start_and_end() -> None:
    assert shift([Step("unit", "a", 1.0, 2.0)], 0.5) == [Step("unit", "a", 1.5, 2.5)]


def test_the_listing_has_a_line_per_step() -> None:
    assert "1.00    3.00    2.00 s  unit     a.service" in listing(
        [Step("unit", "a.service", 1.0, 3.0)]
    )
