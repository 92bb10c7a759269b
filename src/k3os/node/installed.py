"""Whether the running system is installed on a disk, and on which."""

from __future__ import annotations

from k3os.errors import UserError
from k3os.paths import BASE


def check_installed() -> None:
    """Raises UserError on a live system. An overlay has no state partition of ours."""
    from k3os.phases.phase_report import booted_mode

    if booted_mode() != "overlay":
        state_device()


def state_device() -> str:
    """The device of the running installed system. Raises UserError on a live one."""
    from k3os.system.mounts import mounted

    for device, target, kind in mounted():
        if target == BASE and kind == "ext4":
            return device
    raise UserError("this system is not installed on a disk", "`sudo k3os install` installs it")
