"""Whether a time server has answered since the boot.

connman is the node's NTP client and says so over D-Bus (net.connman.Clock, TimeserverSynced),
once it has set the clock. adjtimex(2) tells the same at first, but the kernel calls a clock
unsynchronised again after some hours without a network: it would raise a doubt that is none.
"""

from k3os.system.run import CommandError, run


def answered() -> bool:
    """False also while connman cannot be asked: it is not there yet, or no longer."""
    try:
        output = run(["connmanctl", "clock"], timeout=10)
    except CommandError:
        return False
    return b"TimeserverSynced = True" in output
