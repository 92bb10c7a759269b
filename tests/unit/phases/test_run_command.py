"""Commands: real processes, their output as it arrives, their end in time."""

import os
import time
from pathlib import Path

import pytest

from k3os.config.load import Config
from k3os.config.value import Place, Value
from k3os.errors import UserError
from k3os.phases import commands, run_command
from k3os.phases.actions import DONE, FAILED, LATER, UNCHANGED
from k3os.phases.apply import succeeded
from k3os.phases.node import Node
from k3os.phases.phase_report import ActionResult, PhaseReport, write_status
from k3os.phases.run_command import MOST_LINES, MOST_OUTPUT, Output, RunCommand

DROPPED = "run_cmd[0]: the rest is dropped: it is more than 1 MiB or 10000 lines"
HERE = Place("config.yaml", 1, 1)


class Journal:
    """The lines of a command and the console messages, with their times."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.lines: list[str] = []
        self.times: list[float] = []
        self.said: list[str] = []

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.times.append(time.monotonic() - self.start)

    def run(self, text: str | list[str], *, limit: float = 60, phase: str = "runtime") -> str:
        node = Node("/", phase, "live", self.add, self.said.append)
        node.environment = {"FROM_CONFIG": "yes $x"}
        return RunCommand("run_cmd", HERE, "run_cmd[0]", text, limit).perform(node)


@pytest.fixture
def journal() -> Journal:
    return Journal()


def test_a_string_runs_in_a_shell_with_the_configured_environment(journal: Journal) -> None:
    assert journal.run('echo "$FROM_CONFIG" | tr a-z A-Z; echo two >&2') == DONE
    assert journal.lines == ["run_cmd[0]: YES $X", "run_cmd[0]: two"]


def test_what_has_succeeded_does_not_run_again_when_only_the_rest_is_tried(
    journal: Journal, tmp_path: Path
) -> None:
    good, bad = (RunCommand("run_cmd", HERE, "run_cmd[0]", word, 60) for word in ("true", "false"))
    report = PhaseReport("runtime", "live", [])
    report.results = [
        ActionResult(each.key, each.describe(), HERE, result)
        for each, result in ((good, DONE), (bad, FAILED))
    ]
    write_status(str(tmp_path / "status.json"), report)
    node = Node("/", "runtime", "live", journal.add, journal.said.append)
    node.ran = succeeded(str(tmp_path / "status.json"), "runtime")
    assert good.perform(node) == UNCHANGED
    with pytest.raises(UserError):
        bad.perform(node)
    assert succeeded(str(tmp_path / "none.json"), "runtime") == frozenset()


def test_a_list_runs_as_it_is(journal: Journal) -> None:
    assert journal.run(["printf", "%s|", "$FROM_CONFIG", "a b"]) == DONE
    assert journal.lines == ["run_cmd[0]: $FROM_CONFIG|a b|"]


def test_a_line_is_passed_on_while_the_command_still_runs(journal: Journal) -> None:
    journal.run("echo first; sleep 2; echo second")
    assert journal.lines == ["run_cmd[0]: first", "run_cmd[0]: second"]
    assert journal.times[1] - journal.times[0] > 1


def test_half_a_line_waits_for_its_other_half(journal: Journal) -> None:
    journal.run("printf 'one '; sleep 0.5; echo line; printf 'no end'")
    assert journal.lines == ["run_cmd[0]: one line", "run_cmd[0]: no end"]


def test_bytes_that_are_no_text_are_shown_as_such(journal: Journal) -> None:
    journal.run(r"printf 'a\377b\n\303'")
    assert journal.lines == ["run_cmd[0]: a\ufffdb", "run_cmd[0]: \ufffd"]


def test_a_command_that_opens_its_output_anew_loses_nothing(
    journal: Journal,
) -> None:
    journal.run("echo a; sleep 0.5; echo b >/dev/stderr; sleep 0.5; echo c")
    assert journal.lines == [f"run_cmd[0]: {each}" for each in "abc"]


@pytest.mark.parametrize("anew", [False, True])
def test_what_is_written_while_we_look_is_told_once(
    monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    told: list[str] = []
    output = Output(told.append)
    read = os.pread

    def write(text: bytes) -> None:
        time.sleep(0.02)  # file times have the resolution of the kernel's ticks
        os.write(output.file, text)

    def read_late(*arguments: int) -> bytes:
        monkeypatch.undo()
        write(b"late\n")
        return read(*arguments)

    write(b"soon\n")
    if anew:
        output.pass_on()
        os.ftruncate(output.file, 0)
    monkeypatch.setattr(os, "pread", read_late)
    for _ in range(3):
        output.pass_on()
    output.finish()
    assert told == ["soon", "late"]


def test_what_is_too_much_is_dropped_and_said_to_be_and_takes_no_memory(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0
    pass_on = run_command.Output.pass_on

    def spy(self: run_command.Output) -> float:
        nonlocal largest
        wait = pass_on(self)
        largest = max(largest, os.fstat(self.file).st_blocks * 512)
        return wait

    monkeypatch.setattr(run_command.Output, "pass_on", spy)
    line = "x" * 999
    # it waits for room in the file: how quickly a busy host makes some is not tested here
    room = f'[ "$(stat -L -c %b /proc/$$/fd/1)" -lt {8 * MOST_OUTPUT // 512} ]'
    wait = f"for n in $(seq 20); do {room} && break; sleep 0.05; done"
    with pytest.raises(UserError, match="exited with 1: the reason"):
        journal.run(
            f"for i in $(seq 60); do yes {line} | head -n 600; {wait}; done; "
            "echo the reason; exit 1"
        )
    assert journal.lines[-1] == DROPPED
    assert len(journal.lines) < 1.1 * MOST_OUTPUT / len(line)
    assert largest < 16 * MOST_OUTPUT  # out of 35


def test_a_flood_that_ends_before_it_is_looked_at_is_cut_off_as_well(journal: Journal) -> None:
    with pytest.raises(UserError, match="exited with 1: the reason"):
        journal.run(f"yes {'x' * 999} | head -n 4000; echo the reason; exit 1")
    assert journal.lines[-1] == DROPPED


@pytest.mark.parametrize(("count", "dropped"), [(MOST_LINES, False), (MOST_LINES + 1, True)])
def test_short_lines_have_a_limit_of_their_own(journal: Journal, count: int, dropped: bool) -> None:
    journal.run(["seq", str(count)])
    assert (journal.lines[-1] == DROPPED) == dropped
    assert len(journal.lines) == MOST_LINES + dropped


def test_a_failing_command_tells_its_exit_code_and_its_last_words(journal: Journal) -> None:
    with pytest.raises(UserError, match="exited with 3: last words"):
        journal.run("echo first; echo last words; exit 3")
    assert journal.lines == ["run_cmd[0]: first", "run_cmd[0]: last words"]


def test_a_limit_of_the_users_own_is_not_taken_for_ours(journal: Journal) -> None:
    with pytest.raises(UserError, match="exited with 124"):
        journal.run("timeout 0.1 sleep 5")


def test_a_program_that_is_not_there_is_said_to_be(journal: Journal) -> None:
    with pytest.raises(UserError, match="is not there"):
        journal.run(["k3os-no-such-program"])


def test_a_daemon_that_a_command_leaves_behind_does_not_stop_the_boot(journal: Journal) -> None:
    started = time.monotonic()
    assert journal.run("sleep 20 & echo started") == DONE
    assert time.monotonic() - started < 10


def test_a_command_that_hangs_is_killed_with_its_children_and_reported(
    journal: Journal, tmp_path: Path
) -> None:
    started = time.monotonic()
    child = f"(sleep 2; touch {tmp_path}/alive) & echo waiting; wait"
    with pytest.raises(UserError, match=r"was killed after 0\.5 s: waiting; .*unit of its own"):
        journal.run(child, limit=0.5)
    assert time.monotonic() - started < 2
    time.sleep(2)
    assert not (tmp_path / "alive").exists()


def test_each_phase_gives_its_commands_their_time() -> None:
    value = Value([Value("true", HERE)], HERE)
    config = Config(dict.fromkeys(("init_cmd", "boot_cmd", "run_cmd"), value))
    limits = {}
    for phase in ("initrd", "boot", "runtime"):
        (action,) = commands.plan(config, Node("/", phase))
        assert isinstance(action, RunCommand)
        limits[phase] = action.limit
    assert limits == {"initrd": 300, "boot": 300, "runtime": 900}


@pytest.mark.parametrize(("phase", "times"), [("initrd", 1), ("boot", 1), ("runtime", 0)])
def test_a_slow_command_that_holds_up_the_boot_is_announced_once_by_its_key(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, phase: str, times: int
) -> None:
    monkeypatch.setattr(run_command, "ANNOUNCE_SECONDS", 0.2)
    journal.run("sleep 1 # secret", phase=phase)
    assert journal.said == ["run_cmd[0] is still running, at most 60 s"] * times


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("curl -H 'Authorization: x' http://y", "curl …"),
        ("sync", "sync"),
        ("K3S_TOKEN=secret curl -s https://y", "K3S_TOKEN= …"),
        ("K3S_TOKEN='se cret' curl", "K3S_TOKEN= …"),
        ("A=$(echo secret)", "A= …"),
        ("pw;K3S_TOKEN=secret curl", "…"),
        ("echo${IFS}secret", "…"),
        ("sh<<<secret", "…"),
        ("http://u:secret@h", "…"),
        (["/usr/bin/env", "K3S_TOKEN=secret"], "/usr/bin/env …"),
        (["a b secret"], "…"),
        ("", ""),
    ],
)
def test_a_description_shows_no_argument(command: str | list[str], shown: str) -> None:
    action = RunCommand("run_cmd", HERE, "run_cmd[0]", command, 1)
    assert action.describe() == f"run run_cmd[0]: {shown}"


def test_commands_are_left_alone_in_a_directory(tmp_path: Path) -> None:
    node = Node(str(tmp_path))
    assert RunCommand("run_cmd", HERE, "run_cmd[0]", "exit 1", 1).perform(node) == LATER
