"""The fuzzing harness finds what it should, says how to reproduce it, and ends in time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import __main__ as program
from tests.fuzz.mutation import LONGEST, mutate
from tests.fuzz.reached import Reached
from tests.fuzz.session import Session, Stage, check
from tests.fuzz.target import Target
from tests.fuzz.workers import fuzz


def breaks(data: bytes) -> None:
    if b"x" in data:
        raise KeyError("x")


def computes(data: bytes) -> None:
    while True:
        pass


def hoards(data: bytes) -> None:
    bytearray(1 << 30)


def survives_everything(data: bytes) -> None:
    while True:
        try:
            computes(data)
        except Exception:
            continue


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (breaks, "KeyError in test_harness.py:"),
        (computes, "TooSlow"),
        (survives_everything, "TooSlow"),
        (hoards, "TooLarge"),
    ],
)
def test_what_a_target_did_not_promise_is_a_fault(
    call: Callable[[bytes], object], what: str
) -> None:
    fault = check(Target("t", call), b"x")
    assert fault is not None
    assert fault.what.startswith(what)


def test_what_a_target_promised_is_none() -> None:
    assert check(Target("t", breaks, (KeyError,)), b"x") is None


def corpus(directory: Path, data: bytes) -> Path:
    (directory / "t").mkdir(parents=True)
    (directory / "t" / "seed").write_bytes(data)
    return directory


def test_a_fault_is_made_small_and_written_down_once(tmp_path: Path) -> None:
    said: list[str] = []
    where = corpus(tmp_path / "corpus", b"abcdefgh x ijklmnop")
    session = Session([Target("t", breaks)], 1, tmp_path / "found", said.append, corpus=where)
    assert session.run(0.2) == 1
    (path,) = (tmp_path / "found" / "t").iterdir()
    assert path.read_bytes() == b"x"
    assert said[-1] == f"again: make fuzz ARGS={path}\n"


def test_the_same_seed_gives_the_same_inputs(tmp_path: Path) -> None:
    where = corpus(tmp_path, b'{"a": [1, "b"], "c": {"d": "e\\nf"}}')

    def inputs(seed: int) -> list[bytes]:
        stage = Stage(Target("t", lambda data: None, words=(b"w",)), seed, where)
        return [data for _ in range(200) if not stage.step(data := stage.next())]

    assert inputs(7) == inputs(7) != inputs(8)


def test_changes_are_many_and_end_in_time() -> None:
    random, data = Random(1), b'{"a": [1, "b"], "c": {"d": "e\\nf"}}\nk: v\n- x'
    found = {mutate(random, data, [b"other"], [b"word"]) for _ in range(2000)}
    assert len(found) > 1000
    assert max(map(len, found)) <= LONGEST


def test_an_input_that_reaches_a_new_line_of_ours_is_kept() -> None:
    from k3os.system.numbers import whole

    reached = Reached()
    assert reached.of(lambda: whole("x"))
    assert not reached.of(lambda: whole("y"))
    assert reached.of(lambda: whole("1"))


def sleeps(data: bytes) -> None:
    if data == b"x":
        time.sleep(60)  # uses no processor time


def dies(data: bytes) -> None:
    if data == b"x":
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("call", "said"), [(sleeps, "no end within 1 s"), (dies, "the process died (-9)")]
)
def test_what_hangs_or_dies_is_found_and_the_other_targets_go_on(
    call: Callable[[bytes], object], said: str, tmp_path: Path
) -> None:
    where = corpus(tmp_path / "corpus", b"x")
    lines: list[str] = []
    targets = [Target("t", call), Target("other", lambda data: None)]
    began = time.monotonic()
    found = tmp_path / "found"
    tried, faults = fuzz(targets, 3, 1, found, say=lines.append, hangs=1, corpus=where)
    assert time.monotonic() - began < 10
    assert faults == 1
    assert tried > 100
    (path,) = (tmp_path / "found" / "t").iterdir()
    assert path.read_bytes() == b"x"
    assert lines == [f"t: {said}\nagain: make fuzz ARGS={path}\n"]


def test_a_file_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(program.TARGETS, "t", Target("t", breaks))
    for name, data in (("bad", b"x"), ("good", b"y")):
        (tmp_path / "t").mkdir(exist_ok=True)
        (tmp_path / "t" / name).write_bytes(data)
    assert program.main([str(tmp_path / "t" / "good")]) == 0
    assert program.main([str(tmp_path / "t" / "bad")]) == 1
    assert "KeyError in test_harness.py:" in capsys.readouterr().out
    assert program.main([str(tmp_path / "t")]) == 2


def test_the_exit_code_says_whether_something_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, call in (("t", breaks), ("fine", lambda data: None)):
        monkeypatch.setitem(program.TARGETS, name, Target(name, call, words=(b"x",)))
    options = ["--seconds", "1", "--jobs", "1", "--seed", "1", "--found", str(tmp_path)]
    assert program.main([*options, "--only", "fine"]) == 0
    assert program.main([*options, "--only", "t"]) == 1
    assert "--seed 1" in capfd.readouterr().out
