"""`k3os config try`: a configuration for a few minutes, taken back unless it is kept.

A systemd timer takes it back, whatever happens to this command and its session; so does a restart
of the machine (k3os.boot.init), and this command itself if something cannot be applied, or the
address that the session is connected to is gone.
"""

from __future__ import annotations

import os
import time

from k3os.config import tried
from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.node.configure import Sources

UNIT = "k3os-config-back"
# seconds
SHORTEST, LONGEST = 10, 24 * 3600
NETWORK_SECONDS = 30.0
POLL = 1.0


def begin(path: str, place: str, seconds: int, sources: Sources, *, restart: bool) -> int:
    """Returns the exit code after saying what was done. Raises UserError."""
    data = _checked(path)
    if old := tried.known():
        hint = "`sudo k3os config keep` or `sudo k3os config back` first"
        raise UserError("another configuration is being tried", hint, old["place"])
    address = session_address()
    arm(seconds)
    tried.begin(place, data, restart=restart)
    reason = _apply(sources, place, restart)
    if not reason and address and not _stays(address, local_addresses):
        reason = f"the address {address}, which you are logged in to, is gone"
    if reason:
        back(sources, reason)
        return 1
    at = time.strftime("%H:%M:%S UTC", time.gmtime(time.time() + seconds))
    print(f"{path} is tried as {place} until {at}, or until the machine restarts")
    print("`sudo k3os config keep` keeps it, `sudo k3os config back` takes it back at once")
    return 0


def keep() -> int:
    place = tried.keep()
    disarm()
    print(f"{place} stays as it is now" if place else "no configuration is being tried")
    return 0 if place else 1


def back(sources: Sources, reason: str = "") -> int:
    """reason: "" if a person asks for it."""
    from k3os.system.console import say

    restart = bool(tried.known().get("restart"))
    place = tried.restore()
    disarm()
    if not place:
        print("no configuration is being tried")
        return 1
    why = f": {reason}" if reason else ""
    # on the consoles, too: the session may be gone
    said = f"the configuration tried as {place} is taken back{why}"
    say(said)
    print(said)
    failed = _apply(sources, place, restart)
    if failed:
        say(f"the former configuration: {failed}")
    return 1 if failed else 0


def _checked(path: str) -> bytes:
    """The file, if it has no errors. Raises UserError."""
    from k3os.config.check import check_data, read_limited

    data, unreadable = read_limited(path)
    if unreadable is not None:
        raise UserError(unreadable.message, unreadable.hint, path)
    problems = check_data(data, path)
    for problem in problems:
        print(problem)
    if any(problem.is_error for problem in problems):
        raise UserError("it has errors, so nothing was changed", "correct them", path)
    return data


def _apply(sources: Sources, place: str, restart: bool) -> str:
    """What failed of the file at place, "" for nothing. Failures of other files do not count."""
    from k3os.node import configure
    from k3os.node.status import collect
    from k3os.node.status_text import failures_from
    from k3os.system.run import CommandError, run

    try:
        # in a separate process: whatever happens there, this one continues
        output = run(["k3os", "config"], check=False, timeout=LONGEST)
        print(output.decode(errors="replace"), end="")
        failed = failures_from(collect(), place)
        if restart and not failed:
            configure.tell_k3s(sources, restart=True)
    except (UserError, CommandError, OSError) as error:
        return str(error)
    return "; ".join(failed)


def arm(seconds: int) -> None:
    """Raises UserError: without the timer nothing is tried."""
    from k3os.system.run import CommandError
    from k3os.system.units import run_later

    disarm()
    try:
        run_later(seconds, "k3os", "config", "back", "--expired=yes", unit=UNIT)
    except CommandError as error:
        raise UserError(f"the timer that takes it back does not start: {error}") from error


def disarm() -> None:
    from k3os.system.run import run

    # leave the service alone: it may be what runs this
    run(["systemctl", "stop", f"{UNIT}.timer"], check=False, timeout=30)
    run(["systemctl", "reset-failed", f"{UNIT}.service"], check=False, timeout=30)


def session_address(proc: str = "/proc") -> str:
    """The address of this machine that the ssh session is connected to, "" for other sessions.

    sudo drops the variable, so look for it in the parent processes. SSH_CONNECTION: ssh(1).
    """
    pid = os.getpid()
    while pid > 1:
        try:
            with open(f"{proc}/{pid}/environ", "rb") as file:
                variables = file.read().split(b"\0")
            with open(f"{proc}/{pid}/stat", "rb") as file:
                # proc_pid_stat(5): the name may contain anything
                parent = file.read().rpartition(b")")[2].split()[1]
        except OSError:
            return ""
        for variable in variables:
            if variable.startswith(b"SSH_CONNECTION="):
                words = variable.partition(b"=")[2].split()
                return words[2].decode(errors="replace") if len(words) == 4 else ""
        pid = int(parent)
    return ""


def local_addresses() -> set[str]:
    from k3os.phases.ip_output import links_in
    from k3os.system.run import run

    links = links_in(run(["ip", "-json", "address", "show", "up"], timeout=10))
    found = {address["local"] for link in links for address in link["addr_info"]}
    # sshd's form for an IPv4 connection to an IPv6 socket
    return found | {f"::ffff:{address}" for address in found}


def _stays(address: str, addresses: Callable[[], set[str]]) -> bool:
    """Whether it is there, or comes back soon: a changed interface is down for a while."""
    end = time.monotonic() + NETWORK_SECONDS
    address = address.partition("%")[0]
    while address not in addresses():
        if time.monotonic() > end:
            return False
        time.sleep(POLL)
    return True
