"""Asking a booted node: commands that must work, and settling."""

from k3os.vm.machine import VM

BOOT = 120  # seconds; a boot takes 10 to 20 with TCG on an idle machine
LOGIN = r"login: "
K3S = r"k3OS: k3s is running"
RESCUE = r"k3OS rescue # "


def ask(vm: VM, command: str, timeout: float = 60) -> str:
    """What a command prints; it must succeed."""
    code, output = vm.command(command, timeout)
    assert code == 0, f"{command!r} exited with {code}: {output}"
    return output


def wait_until_settled(vm: VM) -> None:
    """Until no job of systemd's is left: all that starts at boot has started or failed."""
    ask(vm, "systemctl is-system-running --wait || true", 120)
