"""The marker with which an installation asks the next boot to finish a takeover.

install/takeover.py leaves it, boot/takeover.py acts on it: JSON with what to do "then" and the
"menu" that stays.
"""

from __future__ import annotations

import json

from k3os.errors import UserError
from k3os.generation.layout import MENU, SYSTEM
from k3os.system.json_text import an_object

MARKER = f"{SYSTEM}/takeover"
# the menu of the former system
BACKUP = f"{MENU}.before-k3os"
REBOOT, POWER_OFF = "reboot", "power off"


def marker(menu: str, then: str) -> bytes:
    """The marker's bytes. menu: the grub.cfg that stays; then: REBOOT or POWER_OFF."""
    return json.dumps({"then": then, "menu": menu}).encode()


def read(path: str) -> tuple[str, bytes]:
    """What to do then, and the menu that stays. Raises UserError, OSError."""
    try:
        with open(path, "rb") as file:
            wanted = an_object(file.read())
        return str(wanted["then"]), str(wanted["menu"]).encode()
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{MARKER} cannot be read, so nothing is deleted: {error!r}",
            "in the boot menu choose the system that was here, and take it over again",
        ) from error
