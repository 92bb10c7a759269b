"""Speaking on every console of the machine (VGA, serial, …) and to the kernel log.

/dev/console is only the last `console=` of the command line; a person may look at another.
"""

import os

PREFIX = "k3OS: "


def console_devices() -> list[str]:
    """The active consoles' devices, "/dev/tty1" for the virtual ones. Never empty."""
    try:
        with open("/sys/class/tty/console/active") as file:
            names = file.read().split()
    except OSError:
        names = []
    devices = ["/dev/tty1" if name == "tty0" else f"/dev/{name}" for name in names]
    return [device for device in devices if os.path.exists(device)] or ["/dev/console"]


def say(text: str) -> None:
    """Print lines on every console; also into the kernel log (and so the journal) as debug.

    A console that cannot be written to (a serial port that is not there) is left out.
    """
    for line in text.splitlines():
        for device in console_devices():
            _write(device, f"{PREFIX}{line}\r\n".encode(errors="backslashreplace"))
        # <7>: in the journal, but not a second time on the console
        _write("/dev/kmsg", f"<7>{PREFIX}{line}".encode(errors="backslashreplace")[:900])


def _write(device: str, data: bytes) -> None:
    try:
        descriptor = os.open(device, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        # only the opening must not wait (for a carrier); a slow line gets all of the text
        os.set_blocking(descriptor, True)
        os.write(descriptor, data)
    except OSError:
        return
    finally:
        os.close(descriptor)
