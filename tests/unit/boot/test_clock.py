"""Which times the early boot trusts, and what it records if it trusts none."""

import os
import time
from pathlib import Path

import pytest

from k3os.boot import clock

BUILT = 1_800_000_000.0
DAY = 86400.0
YEAR = 365.25 * DAY


@pytest.mark.parametrize(
    ("now", "last_known", "right"),
    [
        (BUILT, 0, BUILT),
        (BUILT + YEAR, 0, BUILT + YEAR),
        (0, 0, BUILT),
        (BUILT - 1, 0, BUILT),
        # the journal of a node that ran before is newer than its image
        (BUILT + DAY, BUILT + YEAR, BUILT + YEAR),
        (BUILT + 2 * YEAR, BUILT + YEAR, BUILT + 2 * YEAR),
        # an upgraded image may be newer than the journal
        (0, BUILT - DAY, BUILT),
    ],
)
def test_no_time_before_the_image_or_the_last_boot_is_believed(
    now: float, last_known: float, right: float
) -> None:
    assert clock.corrected(now, BUILT, last_known) == right


def test_the_far_future_is_not_believed_neither_of_the_clock_nor_of_the_journal() -> None:
    future = BUILT + 70 * YEAR
    assert clock.corrected(future, BUILT, BUILT + DAY) == BUILT + DAY
    assert clock.corrected(0, BUILT, future) == BUILT


def test_an_image_without_a_date_leaves_the_clock_alone() -> None:
    assert clock.corrected(5.0, 0, 0) == 5.0


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[object]]:
    """A node with an image from BUILT and a journal from a day later; returns what was done to
    it."""
    done: dict[str, list[object]] = {"set": [], "said": []}
    for name, constant, when in (
        ("epoch", "BUILT", BUILT),
        ("journal-{}", "JOURNAL", BUILT + DAY),
    ):
        path = tmp_path / name
        monkeypatch.setattr(clock, constant, str(path))
        path = tmp_path / name.format("id")
        path.touch()
        os.utime(path, (when, when))
    monkeypatch.setattr(clock, "CLOCK_WRONG", str(tmp_path / "wrong"))
    monkeypatch.setattr(clock, "say", done["said"].append)
    monkeypatch.setattr(time, "clock_settime", lambda _, seconds: done["set"].append(seconds))
    return done


def test_an_impossible_clock_is_set_said_and_left_for_the_unit(
    machine: dict[str, list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 946684800.0)
    clock.check("id")
    assert machine["set"] == [BUILT + DAY]
    assert machine["said"] == [
        "the clock says 2000-01-01 00:00 UTC, which cannot be right; "
        "set to 2027-01-16 08:00 UTC for now"
    ]
    assert (tmp_path / "wrong").read_text() == "2000-01-01 00:00 UTC\n"


def test_a_clock_that_is_a_little_slow_is_set_but_not_waited_for(
    machine: dict[str, list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: BUILT + DAY - 30)
    clock.check("id")
    assert machine == {"set": [BUILT + DAY], "said": []}
    assert not (tmp_path / "wrong").exists()


def test_a_right_clock_is_left_alone(
    machine: dict[str, list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: BUILT + YEAR)
    clock.check("id")
    assert machine == {"set": [], "said": []}
    assert not (tmp_path / "wrong").exists()
