"""Prints on every console of the machine (VGA, serial, …) and to the kernel log.

/dev/console is only the last `console=` of the command line; the user may look at another one. A
prompt that waits for input there is shown again below the message, as in /usr/lib/k3os/say.
"""

import os
from collections.abc import Callable

from k3os.errors import discreet, visible
from k3os.system.numbers import are_digits

# takes a line for a person
Say = Callable[[str], None]
# name of a file, bytes so far, total bytes
Progress = Callable[[str, int, int], None]

PREFIX = "k3OS: "
PRINTK = "/proc/sys/kernel/printk"
CRITICAL = "3"  # emergencies, alerts and critical messages, but no errors: syslog(2)
ERASE_LINE = "\r\x1b[K"  # console_codes(4)


def console_devices() -> list[str]:
    """The active consoles' devices, "/dev/tty1" for the virtual ones. Never empty."""
    try:
        with open("/sys/class/tty/console/active", errors="replace") as file:
            names = file.read().split()
    except OSError:
        names = []
    devices = ["/dev/tty1" if name == "tty0" else f"/dev/{name}" for name in names]
    return [device for device in devices if os.path.exists(device)] or ["/dev/console"]


def say(text: str) -> None:
    """Print lines on every console; also to the kernel log (and so the journal) as debug.

    A console that cannot be written to (a missing serial port) is skipped.
    """
    show(text)
    for line in visible(discreet(text)).splitlines():
        # <7>: in the journal, but not a second time on the console
        _write("/dev/kmsg", f"<7>{PREFIX}{line}".encode()[:900])


def show(text: str) -> None:
    """Print lines on every console only."""
    lines = "".join(f"{PREFIX}{line}\r\n" for line in visible(discreet(text)).splitlines())
    groups = readers()
    for device in console_devices():
        group, prompt = groups.get(_number(device), 0), ""
        if group and _first_line(f"/proc/{group}/comm") == "agetty":
            prompt = f"{visible(os.uname().nodename.partition('.')[0])} login: "
        _write(device, f"{ERASE_LINE if group else ''}{lines}{prompt}".encode())
        if group and not prompt:
            draw_again(group)


def readers(proc: str = "/proc") -> dict[int, int]:
    """By a terminal's number (st_rdev): the process group that gets its input."""
    found: dict[int, int] = {}
    if os.getpid() == 1:
        return found  # the early boot, which is alone and in a hurry
    try:
        names = [name for name in os.listdir(proc) if are_digits(name)]
    except OSError:
        return found
    for name in names:
        # proc_pid_stat(5): after the name, which may contain anything, tty_nr and tpgid
        fields = _first_line(f"{proc}/{name}/stat").rpartition(")")[2].split()
        if len(fields) > 5 and int(fields[4]) and int(fields[5]) > 0:
            found[int(fields[4])] = int(fields[5])
    return found


def _number(device: str) -> int:
    try:
        return os.stat(device).st_rdev
    except OSError:
        return 0


def _first_line(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""  # it has ended in the meantime


def draw_again(group: int) -> None:
    """Editors redraw their screen when a terminal's size changes, and our shells
    (/etc/profile.d/k3os.sh) their prompt; others ignore the signal."""
    import signal

    try:
        os.killpg(group, signal.SIGWINCH)
    except ProcessLookupError:
        return


def calm(cmdline: str, printk: str = PRINTK) -> None:
    """If the command line asks for quiet, keep kernel messages below "critical" in the log
    (`dmesg`): drivers' messages would scroll away what a person must know."""
    words = cmdline.split()
    if "quiet" not in words or any(word.startswith("loglevel=") for word in words):
        return
    with open(printk, "w") as file:
        file.write(CRITICAL)


def _write(device: str, data: bytes) -> None:
    try:
        descriptor = os.open(device, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        # only open() must not wait (for a carrier); a slow line still gets the whole text
        os.set_blocking(descriptor, True)
        os.write(descriptor, data)
    except OSError:
        return
    finally:
        os.close(descriptor)
