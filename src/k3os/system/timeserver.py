"""Whether a time server has answered since the boot.

connman is the node's NTP client and reports over D-Bus (net.connman.Clock, TimeserverSynced) once
it has set the clock. adjtimex(2) says the same at first, but after some hours without a network the
kernel calls the clock unsynchronised again: that would be a false alarm.
"""

from k3os.system.run import CommandError, run


def answered() -> bool:
    """Also False while connman cannot be asked: it is not up yet, or has ended."""
    try:
        output = run(["connmanctl", "clock"], timeout=10)
    except CommandError:
        return False
    return b"TimeserverSynced = True" in output
