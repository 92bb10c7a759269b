"""`k3os clock wait`: how long it waits, what it says, and what `k3os status` shows."""

from pathlib import Path

import pytest

from k3os.cli import clock as command
from k3os.cli.options import Usage
from k3os.node import clock, status, status_text
from k3os.system import timeserver
from k3os.system.run import CommandError

SAID = "2000-01-01 00:00 UTC"


class Time:
    """A clock that advances only in sleep()."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The console messages of a node whose clock was wrong."""
    lines: list[str] = []
    (tmp_path / "wrong").write_text(f"{SAID}\n")
    for each in (clock, command):
        monkeypatch.setattr(each, "CLOCK_WRONG", str(tmp_path / "wrong"))
    monkeypatch.setattr(clock, "say", lines.append)
    return lines


def answer(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    monkeypatch.setattr(timeserver, "answered", lambda: known)


def test_the_wait_ends_with_the_answer() -> None:
    time = Time()
    answers = iter([False, False, False, True])
    assert clock.wait(60, lambda: next(answers), monotonic=time.monotonic, sleep=time.sleep)
    assert time.now == 103


def test_the_wait_ends_without_an_answer() -> None:
    time = Time()
    assert not clock.wait(60, lambda: False, monotonic=time.monotonic, sleep=time.sleep)
    assert time.now == 160


def test_an_answer_removes_the_doubt(
    said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, True)
    assert command.main(["wait"]) == 0
    assert [line.partition(":")[0] for line in said] == ["a time server answered"]
    assert not (tmp_path / "wrong").exists()
    assert clock.doubt(str(tmp_path / "wrong")) == ""


def test_without_an_answer_both_ends_of_the_wait_are_said_and_the_node_goes_on(
    said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, False)
    assert command.main(["wait", "0"]) == 0
    assert said[0] == "waiting up to 0 s for a time server, because the clock was wrong"
    assert said[1].startswith("no time server answered in 0 s: the clock (")
    assert clock.doubt(str(tmp_path / "wrong")) == SAID


def test_a_late_answer_ends_the_doubt_as_well(
    said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, False)
    command.main(["wait", "0"])
    answer(monkeypatch, True)
    assert clock.doubt(str(tmp_path / "wrong")) == ""


def test_nothing_is_asked_where_the_clock_was_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> bool:
        raise AssertionError("asked")

    monkeypatch.setattr(timeserver, "answered", never)
    for each in (clock, command):
        monkeypatch.setattr(each, "CLOCK_WRONG", str(tmp_path / "wrong"))
    assert command.main(["wait"]) == 0
    assert clock.doubt(str(tmp_path / "wrong")) == ""


@pytest.mark.parametrize("arguments", [[], ["set"], ["wait", "soon"], ["wait", "1", "2"]])
def test_wrong_usage_is_answered_with_the_right_one(
    arguments: list[str],
) -> None:
    with pytest.raises(Usage, match="`k3os clock --help` explains it"):
        command.main(arguments)


def test_status_names_a_clock_in_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, False)
    (tmp_path / "run/k3os").mkdir(parents=True)
    (tmp_path / "run/k3os/clock-was-wrong").write_text(f"{SAID}\n")
    found = status.collect(str(tmp_path))
    assert found.clock_in_doubt == SAID
    assert f"clock      said {SAID} at the start" in "\n".join(status_text.lines(found))


@pytest.mark.parametrize(
    ("printed", "known"),
    [
        (b"  TimeUpdates = auto\n  TimeserverSynced = True\n", True),
        (b"  TimeUpdates = auto\n  TimeserverSynced = False\n", False),
        (b"Error getting VPN connections: The name is not provided\n", False),
    ],
)
def test_connman_is_believed(monkeypatch: pytest.MonkeyPatch, printed: bytes, known: bool) -> None:
    monkeypatch.setattr(timeserver, "run", lambda *_, **__: printed)
    assert timeserver.answered() is known


def test_a_connman_that_cannot_be_asked_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(argv: list[str], **_: object) -> bytes:
        raise CommandError(argv, 1)

    monkeypatch.setattr(timeserver, "run", fail)
    assert not timeserver.answered()
