"""Starting programs: what comes back, and that nothing is left behind."""

import os
import select
import signal
import time
from pathlib import Path

import pytest

from k3os.system.run import CommandError, Stream, attached, run


def sh(text, **options):
    return run(["/bin/sh", "-c", text], **options)


def alive(pid):
    """A zombie counts as not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_output_and_errors_come_back_in_their_order():
    assert sh("echo a; echo b >&2; echo c") == b"a\nb\nc\n"


def test_a_program_is_fed_from_bytes_and_else_reads_nothing():
    assert run(["cat"], stdin=b"secret") == b"secret"
    assert run(["cat"]) == b""


def test_a_program_is_fed_from_a_file_descriptor(tmp_path):
    (tmp_path / "f").write_bytes(b"from a file")
    with open(tmp_path / "f", "rb") as file:
        assert run(["cat"], stdin=file.fileno()) == b"from a file"


def test_variables_are_added_changed_and_removed(monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("GONE", "1")
    text = 'echo "$KEPT ${GONE-unset} $NEW"'
    assert sh(text, env={"GONE": None, "NEW": "2"}) == b"1 unset 2\n"


def test_a_log_gets_the_output_instead(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        assert sh("echo a; echo b >&2", log=log.fileno()) == b""
    assert (tmp_path / "log").read_bytes() == b"a\nb\n"


@pytest.mark.parametrize(
    ("text", "returncode", "message"),
    [
        ("echo no luck; exit 3", 3, "/bin/sh exited with 3\n  no luck"),
        ("kill -9 $$", -9, "/bin/sh was killed by signal 9"),
    ],
)
def test_a_failure_says_how_it_ended_and_what_was_printed(text, returncode, message):
    with pytest.raises(CommandError) as caught:
        sh(text)
    assert (caught.value.returncode, str(caught.value)) == (returncode, message)


def test_a_failure_can_be_allowed():
    assert sh("echo x; exit 3", check=False) == b"x\n"


def test_a_program_that_does_not_exist_is_not_installed():
    with pytest.raises(CommandError, match="no-such-program is not installed"):
        run(["no-such-program"])


def test_a_timeout_kills_the_whole_group_and_keeps_what_was_printed(tmp_path):
    pid_file = tmp_path / "pid"
    with pytest.raises(CommandError, match="timed out\n  so far") as caught:
        sh(f"echo so far; sleep 100 & echo $! >{pid_file}; wait", timeout=0.3)
    assert caught.value.returncode == 124
    child = int(pid_file.read_text())
    wait_until(lambda: not alive(child))


def test_an_interrupted_caller_leaves_no_child(tmp_path):
    pid_file = tmp_path / "pid"

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            sh(f"sleep 100 & echo $! >{pid_file}; wait")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    child = int(pid_file.read_text())
    wait_until(lambda: not alive(child))


def test_only_the_last_lines_of_a_long_output_are_in_the_message():
    with pytest.raises(CommandError) as caught:
        sh("seq 100; exit 1")
    assert str(caught.value).splitlines()[1:] == [f"  {number}" for number in range(86, 101)]
    assert caught.value.output.startswith(b"1\n2\n")


def test_our_own_process_group_is_not_the_programs():
    group = int(sh("ps -o pgid= -p $$"))
    assert group != os.getpgid(0)


def test_a_watcher_is_called_while_the_program_runs_and_not_after_its_end(tmp_path):
    calls = []

    def watch(elapsed):
        calls.append(elapsed)
        return 0.1

    with open(tmp_path / "log", "wb") as log:
        sh("sleep 1", log=log.fileno(), watch=watch)
    assert 3 <= len(calls) <= 12
    assert calls == sorted(calls)
    assert calls[-1] < 1.5


def test_a_watched_program_is_killed_when_its_time_is_up(tmp_path):
    started = time.monotonic()
    with open(tmp_path / "log", "wb") as log, pytest.raises(CommandError) as caught:
        sh("sleep 100", log=log.fileno(), watch=lambda elapsed: 10.0, timeout=0.3)
    assert caught.value.how == "timed out"
    assert time.monotonic() - started < 5


def test_a_daemon_that_escaped_its_group_does_not_hold_up_the_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr("k3os.system.run.REAP_SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(CommandError, match="timed out"):
        sh("echo so far; setsid sleep 8 & wait", timeout=0.3)
    assert time.monotonic() - started < 5


def lines_of(stream: Stream, seconds: float = 10) -> list[bytes]:
    found: list[bytes] = []
    end = time.monotonic() + seconds
    while not stream.over:
        assert time.monotonic() < end
        select.select([stream], [], [], 0.1)
        found += stream.read()
    return found


def test_errors_apart_do_not_mix_with_what_a_program_says() -> None:
    text = ["sh", "-c", "echo warning >&2; echo answer"]
    assert run(text, errors_apart=True) == b"answer\n"
    with pytest.raises(CommandError) as caught:
        run(["sh", "-c", "echo half; echo why >&2; exit 3"], errors_apart=True)
    assert (caught.value.returncode, caught.value.output) == (3, b"why\n")


def test_a_stream_gives_lines_as_they_come() -> None:
    stream = Stream(["sh", "-c", "echo one; printf tw; sleep 0.4; echo o; sleep 30"])
    try:
        time.sleep(0.2)
        assert stream.read() == [b"one"]
        assert stream.read() == []
        time.sleep(0.5)
        assert stream.read() == [b"two"]
        assert not stream.over
    finally:
        stream.close()


def test_a_stream_gives_a_long_line_in_one_piece_and_the_last_one_without_its_end() -> None:
    stream = Stream(["sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x; echo; printf end"])
    assert [len(line) for line in lines_of(stream)] == [5_000_000, 3]
    stream.check()
    stream.close()
    stream.close()


def test_a_stream_that_failed_says_why() -> None:
    stream = Stream(["sh", "-c", "echo out; echo why >&2; exit 4"])
    assert lines_of(stream) == [b"out"]
    with pytest.raises(CommandError) as caught:
        stream.check()
    assert (caught.value.returncode, caught.value.output) == (4, b"why\n")
    stream.close()


def test_a_stream_of_a_program_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="is not installed"):
        Stream(["k3os-no-such-program"])


def test_a_closed_stream_leaves_no_program(tmp_path: Path) -> None:
    stream = Stream(["sh", "-c", f"echo $$ >{tmp_path}/pid; sleep 60 & echo; wait"])
    while not stream.read():
        time.sleep(0.05)
    stream.close()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_a_stream_tells_how_it_ended_and_keeps_the_errors_apart() -> None:
    stream = Stream(["sh", "-c", "echo a; echo b >&2; exit 3"])
    lines = []
    while not stream.over:
        select.select([stream], [], [], 5)
        lines += stream.read()
    assert lines == [b"a"]
    assert stream.end() == (3, b"b\n")
    stream.close()


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_an_attached_program_has_our_terminal_and_hands_on_how_it_ended(
    script: str, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert attached(["sh", "-c", f"echo to you; echo too >&2; {script}"]) == code
    assert capfd.readouterr() == ("to you\n", "too\n")


def test_an_attached_program_that_is_not_there() -> None:
    with pytest.raises(CommandError) as error:
        attached(["/no/such/program"])
    assert error.value.returncode == 127
