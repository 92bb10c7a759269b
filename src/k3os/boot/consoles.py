"""The node's consoles: the banner, the greeting of a live system, and a login on each console."""

import os

from k3os.paths import RUN_UNITS

LIVE_GREETING = """\
This is the live system: nothing is kept over a reboot. To install k3OS to a disk:

  sudo k3os install

"""


def greet() -> None:
    with open("/etc/motd", "a") as file:
        file.write(LIVE_GREETING)


def write_banner() -> None:
    """Write /etc/issue, still without addresses: k3os-issue.service adds them as they appear."""
    from k3os import __version__

    kernel = os.uname().release
    text = f"\nk3OS {__version__}  kernel {kernel}  \\n  \\l\n"
    with open("/run/k3os/banner", "w") as file:
        file.write(text)
    with open("/etc/issue", "w") as file:
        file.write(text + "  no network address yet\n\n")


def autologin_user() -> str:
    """rancher if it has no password; "" if a login is required."""
    with open("/etc/shadow", errors="surrogateescape") as file:
        for line in file:
            name, _, rest = line.rstrip("\n").partition(":")
            if name == "rancher":
                password = rest.partition(":")[0]
                return name if password in ("*", "!", "!*", "") else ""
    return ""


def add(name: str, login: str) -> None:
    """A login on one console. Not systemd's getty units: those wait for udev."""
    wants = f"{RUN_UNITS}/multi-user.target.wants"
    os.makedirs(wants, exist_ok=True)
    unit = f"k3os-console@{name}.service"
    os.symlink("/usr/lib/systemd/system/k3os-console@.service", f"{wants}/{unit}")
    directory = f"{RUN_UNITS}/{unit}.d"
    os.makedirs(directory, exist_ok=True)
    # "tty" and a number is a virtual terminal; everything else is a line to some terminal
    terminal = "linux" if name[3:].isdigit() else "vt220"
    option = f"--autologin {login}" if login else ""
    text = f'[Service]\nEnvironment="TERM={terminal}" "K3OS_LOGIN={option}"\n'
    with open(f"{directory}/k3os.conf", "w") as file:
        file.write(text)
