"""Restart k3s on a running node; pods keep running. It waits until k3s is ready again."""

from __future__ import annotations

from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config

READY_SECONDS = 300


def restart(config: Config, seconds: float) -> str:
    """Returns what is still missing after this many seconds, or "". Pods keep running."""
    from k3os.node import boot_health
    from k3os.system.run import CommandError, run

    try:
        run(["systemctl", "restart", "k3s.service"], timeout=seconds)
    except CommandError as error:
        return str(error)
    return boot_health.wait([lambda: boot_health.k3s_is_ready(config)], seconds)


def restart_for_configuration(config: Config) -> None:
    """For a changed configuration, of a NodePool or of this node. Raises UserError if k3s is not
    ready in time. Pods keep running."""
    missing = restart(config, READY_SECONDS)
    if missing:
        raise UserError(f"k3s did not come back with the new configuration: {missing}")
