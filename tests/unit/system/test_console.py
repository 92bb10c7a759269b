"""Messages on a console where somebody waits for input; k3os.system.console and its shell twin."""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k3os.system import console

OVERLAY = Path(__file__).parents[3] / "overlay/rootfs"
SCRIPT = OVERLAY / "usr/lib/k3os/say"
PROFILE = OVERLAY / "etc/profile.d/k3os.sh"
SECONDS = 10
Say = Callable[[str, str], None]  # a terminal's device, a text


def by_python(device: str, text: str) -> None:
    console.console_devices = lambda: [device]
    console.show(text)


def on_terminal(number: int) -> list[str]:
    """The PIDs of the processes whose controlling terminal this is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            kernel = os.minor(number) & 0xFF | os.major(number) << 8
            found += [path.parent.name] if int(fields[4]) == kernel else []
    return found


def in_control_group(root: Path, pids: list[str]) -> None:
    slice_ = root / r"fs/cgroup/system.slice/system-k3os\x2dconsole.slice"
    procs = slice_ / "k3os-console@line.service/cgroup.procs"
    procs.parent.mkdir(parents=True)
    procs.write_text("".join(f"{pid}\n" for pid in pids))


def by_shell(root: Path, kind: str) -> Say:
    """kind: "all": it finds all processes; "group": only those in the login's control group;
    "stale": those have left the terminal."""

    def say(device: str, text: str) -> None:
        number = os.stat(device).st_rdev
        directory = root / "class/tty/line"
        directory.mkdir(parents=True)
        (directory.parent / "console").mkdir()
        (directory.parent / "console/active").write_text("line\n")
        (directory / "dev").write_text(f"{os.major(number)}:{os.minor(number)}\n")
        (root / "line").symlink_to(device)
        environment = {"PATH": "/usr/bin:/bin", "K3OS_SYS": str(root), "K3OS_DEV": str(root)}
        if kind == "group":
            pids = on_terminal(number)
            in_control_group(root, pids)
            (root / "proc").mkdir()
            for pid in pids:
                (root / "proc" / pid).symlink_to(f"/proc/{pid}")
            environment["K3OS_PROC"] = f"{root}/proc"
        elif kind == "stale":
            in_control_group(root, ["1"])
        subprocess.run([SCRIPT, "k3OS:", text], env=environment, check=True)

    return say


@pytest.fixture(params=["python", "all", "group", "stale"])
def say(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    monkeypatch.setattr(console, "console_devices", console.console_devices)  # restored later
    return by_python if request.param == "python" else by_shell(tmp_path, request.param)


class Terminal:
    """The user's end of a terminal."""

    def __init__(self, master: int, device: str) -> None:
        self.master, self.device = master, device

    def expect(self, pattern: str) -> str:
        """Wait for a match and return the output so far; the next call only looks at later
        output."""
        os.set_blocking(self.master, False)
        end = time.monotonic() + SECONDS
        seen = ""
        while not re.search(pattern, seen):
            try:
                seen += os.read(self.master, 4096).decode()
            except BlockingIOError:
                assert time.monotonic() < end, f"{pattern!r} does not come; there is {seen!r}"
                time.sleep(0.01)
            seen = seen.replace("\r\r", "\r")  # the terminal adds one
        return seen


@contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    """A terminal, with a program in its foreground if one is given."""
    master, slave = os.openpty()
    environment = {"PS1": "P> ", "TERM": "vt220", "PATH": "/usr/bin:/bin"}
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, master)
        stack.callback(os.close, slave)
        if command:
            program = subprocess.Popen(
                ["setsid", "--ctty", *command],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=environment,
            )
            stack.callback(program.wait)
            stack.callback(program.kill)
        yield Terminal(master, os.ttyname(slave))


def test_below_a_message_the_login_prompt_is_there_again(say: Say, tmp_path: Path) -> None:
    agetty = shutil.copy(shutil.which("cat") or "", tmp_path / "agetty")
    with terminal(str(agetty)) as line:
        os.write(line.master, b"ran\n")
        line.expect("ran\r\nran\r\n")
        host = os.uname().nodename.partition(".")[0]
        say(line.device, "hello")
        assert line.expect("login: ") == f"\r\x1b[Kk3OS: hello\r\n{host} login: "


@pytest.mark.parametrize("device", ["/dev/ttyS0", "/dev/pts/0"])
def test_below_a_message_the_shell_on_a_console_has_its_prompt_and_keeps_what_was_typed(
    say: Say, tmp_path: Path, device: str
) -> None:
    (tmp_path / "tty").write_text(f"#!/bin/sh\necho {device}\n")
    (tmp_path / "tty").chmod(0o755)
    profile = tmp_path / "profile"
    profile.write_text(f"PATH={tmp_path}:/usr/sbin:/usr/bin\n. {PROFILE}\nPS1='P> '\n")
    with terminal("/bin/bash", "--rcfile", str(profile), "-i") as line:
        line.expect("P> $")
        os.write(line.master, b"echo one")
        line.expect("echo one")
        say(line.device, "hello")
        prompt = "P> " if device == "/dev/ttyS0" else ""
        assert line.expect(f"\n{prompt}$") == f"\r\x1b[Kk3OS: hello\r\n{prompt}"
        os.write(line.master, b" two\n")
        line.expect("\rone two\r\n")


def test_where_nobody_reads_there_is_the_message_alone(say: Say) -> None:
    with terminal() as line:
        say(line.device, "hello")
        assert line.expect("hello\r\n").lstrip("\r") == "k3OS: hello\r\n"


@pytest.mark.parametrize(
    ("cmdline", "level"),
    [("console=ttyS0 quiet k3os.mode=disk", "3"), ("k3os.debug", "7"), ("quiet loglevel=7", "7")],
)
def test_drivers_are_silent_where_the_command_line_asks_for_quiet(
    tmp_path: Path, cmdline: str, level: str
) -> None:
    printk = tmp_path / "printk"
    printk.write_text("7")
    console.calm(cmdline, str(printk))
    assert printk.read_text() == level
