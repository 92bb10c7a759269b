"""What is read from a booted machine, and from QEMU's process."""

import os
import time

import pytest

from bench.__main__ import compare_boots
from bench.boot import Boot, check_settings, cpu_seconds, used_memory
from bench.scenario import EXPECTED
from k3os.errors import UserError

MEMINFO = "MemTotal:        2020544 kB\nMemFree: 1 kB\nMemAvailable:    1800136 kB\n"


class Guest:
    """A machine that answers commands from a table."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def command(self, command: str, timeout: float) -> tuple[int, str]:
        return (0, self.answers[command]) if command in self.answers else (127, "not found")


def test_used_memory_is_total_less_available() -> None:
    assert used_memory(MEMINFO) == (2020544 - 1800136) * 1024


def test_the_processor_time_of_a_process_grows_with_its_work() -> None:
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert 0.05 < cpu_seconds(os.getpid()) - before < 5


def test_settings_that_arrived_are_accepted() -> None:
    check_settings(Guest({command: f"{wanted}\n" for command, wanted in EXPECTED.items()}))  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", list(EXPECTED))
def test_a_setting_that_did_not_arrive_stops_the_bench(broken: str) -> None:
    with pytest.raises(UserError, match="did not arrive"):
        check_settings(Guest({**EXPECTED, broken: "something else"}))  # type: ignore[arg-type]


def test_the_budgets_of_the_boot_are_the_projects() -> None:
    ours = Boot(login=4.0, k3s=6.0, cpu=5.0, memory=100.0, settled=100.0, offset=1.0)
    theirs = Boot(login=10.0, k3s=9.0, cpu=9.0, memory=99.0, settled=100.0, offset=1.0)
    rows = {row.name: row for row in compare_boots([ours], [theirs])}
    assert rows["time to login:"].within is True
    assert rows["memory used at login"].within is False
    assert rows["time to k3s exec"].ratio == pytest.approx(2 / 3)
