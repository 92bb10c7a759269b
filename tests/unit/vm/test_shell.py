"""The shell protocol, with a real shell on a noisy terminal."""

import os
import pty
import re
import select
import socket
import subprocess
import threading

import pytest

from k3os.vm.console import Console, ConsoleError
from k3os.vm.shell import LONGEST, CommandResult, begin, decode, run_command, transmit


class Terminal:
    """A shell on a pseudo-terminal, bridged to a socket like a machine's serial port."""

    def __init__(self, argv, spoil):
        self.ours, self.machine = socket.socketpair()
        master, slave = pty.openpty()
        self.master, self.spoil = master, spoil
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._bridge)
        self.thread.start()

    def _bridge(self):
        while not self.done.is_set():
            ready, _, _ = select.select([self.master, self.machine], [], [], 0.1)
            if self.machine in ready:
                os.write(self.master, self.machine.recv(65536))
            if self.master in ready:
                self.machine.sendall(self.spoil(os.read(self.master, 65536)))

    def close(self):
        self.done.set()
        self.thread.join()
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        self.machine.close()


SHELLS = {"bash": ["bash", "--norc", "-i"], "sh": ["sh", "-i"], "busybox": ["busybox", "sh", "-i"]}


@pytest.fixture(params=list(SHELLS.values()), ids=list(SHELLS))
def shell(request):
    return request.param


@pytest.fixture
def run_in(tmp_path):
    opened = []

    def start(argv, spoil=lambda data: data):
        terminal = Terminal(argv, spoil)
        console = Console(terminal.ours, tmp_path / "log")
        console.__enter__()
        opened.append((terminal, console))
        return console

    yield start
    for terminal, console in opened:
        terminal.close()
        console.__exit__(None, None, None)


def test_output_and_exit_code_come_back(run_in, shell):
    console = run_in(shell)
    assert run_command(console, "echo hello; exit 3", 10) == CommandResult(3, "hello")
    assert run_command(console, "true", 10) == CommandResult(0, "")


def test_quotes_lines_and_signs_of_the_protocol_come_back_as_they_are(run_in, shell):
    console = run_in(shell)
    command = "printf '%s\\n' 'a\"b $HOME' '@@ @.' \"it's\"\necho two # a comment"
    assert run_command(console, command, 10).output.splitlines() == [
        *('a"b $HOME', "@@ @.", "it's", "two")
    ]


def test_errors_are_part_of_the_output(run_in, shell):
    assert "nothere" in run_command(run_in(shell), "ls /nothere", 10).output


def test_a_command_that_reads_its_input_finds_none(run_in, shell):
    assert run_command(run_in(shell), "cat; echo end", 10).output == "end"


def test_long_output_is_complete(run_in, shell):
    output = run_command(run_in(shell), "seq 1 20000", 30).output
    assert output.split() == [str(number) for number in range(1, 20001)]


def test_text_that_is_not_ascii_comes_back(run_in, shell):
    assert run_command(run_in(shell), "printf '\\303\\244 \\342\\200\\246'", 10).output == "ä …"


def test_a_kernel_message_in_the_middle_of_the_output_is_left_out(run_in):
    pieces = []

    def noise(data):
        pieces.append(data)
        # between two lines, as printk writes them, and within one, once
        data = data.replace(b"\r\n", b"\r\n[   12.3] usb 1-1: new device\r\n")
        if b"NDA" in data and len(pieces) < 60 and not damaged:
            damaged.append(1)
            data = data.replace(b"NDA", b"N[ 9.9] eth0: link up\r\nDA", 1)
        return data

    damaged: list[int] = []
    console = run_in(["bash", "--norc", "-i"], noise)
    output = run_command(console, "seq 100 400", 20).output
    assert output.split() == [str(number) for number in range(100, 401)]
    assert damaged, "nothing was damaged: the test proves nothing"


@pytest.mark.parametrize("text", ["", "active", "a b/c:d=e,f_g+h@i%j(k)-l", "x" * 500])
def test_one_line_of_harmless_characters_costs_no_program(run_in, shell, text):
    """md5sum(1) and base64(1) would be missing there."""
    console = run_in(shell)
    run_command(console, "true", 10)
    console.send("_begin() { _m=$1$2; _b=/nothere/; }\n")
    assert run_command(console, f"printf %s '{text}'", 10) == CommandResult(0, text)


@pytest.mark.parametrize(
    "text", ["two\nlines", "*", r"a\tb", "$HOME", "'", "ä", "~", "[!x]", "x" * 501, " x ", "=5"]
)
def test_whatever_else_an_output_has_comes_back_as_well(run_in, shell, text):
    quoted = text.replace("'", "'\\''")
    printed = text.replace(r"\t", "\t")
    assert run_command(run_in(shell), f"printf %b '{quoted}'", 10) == CommandResult(0, printed)


def test_a_message_in_a_line_that_travels_as_it_is_is_noticed(run_in, shell):
    spoiled: list[int] = []

    def spoil(data):
        if b":=abcdef" in data and not spoiled:
            spoiled.append(1)
            data = data.replace(b":=abc", b":=abc[ 9.9] eth0: link up\r\n")
        return data

    assert run_command(run_in(shell, spoil), "echo abcdef", 10).output == "abcdef"
    assert spoiled


@pytest.mark.parametrize("sign", [" ", ":", "."], ids=["result", "output", "end"])
def test_a_prompt_that_a_message_has_redrawn_hides_no_line(run_in, sign):
    """Whatever writes to the console redraws the prompt, maybe before the next line of output."""
    redrawn = []

    def redraw(data):
        found = re.search(rb"^@[0-9a-f]{8}" + re.escape(sign.encode()), data, re.MULTILINE)
        if not found:
            return data
        redrawn.append(found)
        return (
            data[: found.start()] + b"k3OS: k3s is running\r\nrancher@n:~$ " + data[found.start() :]
        )

    assert run_command(run_in(["sh", "-i"], redraw), "echo n", 5) == CommandResult(0, "n")
    assert redrawn, "no line of the answer was met: the test proves nothing"


def test_what_every_command_needs_is_typed_once(run_in, shell, monkeypatch):
    """Each character takes an emulated machine a third of a millisecond."""
    console, typed = run_in(shell), []
    send = console.send
    monkeypatch.setattr(console, "send", lambda text: (typed.append(text), send(text)))
    for number in range(3):
        assert run_command(console, f"echo {number}", 10).output == str(number)
    assert [len(text) < 100 for text in typed] == [False, True, True]


def test_another_shell_in_its_place_runs_the_command_all_the_same_and_once(run_in, shell, tmp_path):
    console = run_in(shell)
    assert run_command(console, "echo first", 10).output == "first"
    console.send("exec sh -i\n")
    command = f"echo ran >>{tmp_path}/ran; cat {tmp_path}/ran; exit 4"
    assert run_command(console, command, 10) == CommandResult(4, "ran")
    assert run_command(console, "echo again", 10).output == "again"


def test_a_line_editor_is_done_without(run_in):
    console = run_in(["bash", "--norc", "-i"])
    run_command(console, "true", 10)
    assert "emacs off" in " ".join(run_command(console, "set -o", 10).output.split())


def test_no_answer_in_time_is_an_error_that_shows_the_console(run_in):
    with pytest.raises(ConsoleError, match="did not come"):
        run_command(run_in(["sh", "-i"]), "sleep 5", 0.5)


def test_a_command_too_long_for_a_terminal_is_refused(run_in):
    with pytest.raises(ValueError, match="cannot be typed"):
        run_command(run_in(["sh", "-i"]), "x" * (LONGEST + 1), 1)


def test_the_typed_text_never_has_the_mark_in_it():
    assert "@abcdefgh" not in begin("@abcdefgh", "true") + transmit()


def test_damaged_output_is_noticed():
    assert decode("@m", "@m:aGVsbG8=\n", "5d41402abc4b2a76b9719d911017c592") == b"hello"
    assert decode("@m", "@m:aGVsbG8\n", "5d41402abc4b2a76b9719d911017c592") is None
    assert decode("@m", "@m:aGVsbGE=\n", "5d41402abc4b2a76b9719d911017c592") is None
    assert decode("@m", "@m:=hello\n", "=5") == b"hello"
    assert decode("@m", "@m:=hell\n", "=5") is None
    assert decode("@m", "@m:=hell[ 1.2] o\n", "=5") is None
    assert decode("@m", "@m.\n", "=0") is None
