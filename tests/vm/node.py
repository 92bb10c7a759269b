"""Asking a booted node: commands that must work, and settling."""

from k3os.vm.machine import VM

BOOT = 120  # seconds; a boot takes 10 to 20 with TCG on an idle machine
LOGIN = r"login: "
K3S = r"k3OS: k3s is running"
HOST = "10.0.2.2"  # this machine's loopback interface, seen from QEMU's user network
RESCUE = r"k3OS rescue # "


def ask(vm: VM, command: str, timeout: float = 60) -> str:
    """What a command prints; it must succeed."""
    code, output = vm.command(command, timeout)
    assert code == 0, f"{command!r} exited with {code}: {output}"
    return output


def wait_until_settled(vm: VM) -> None:
    """Until no job of systemd's is left: all that starts at boot has started or failed."""
    ask(vm, "systemctl is-system-running --wait || true", 120)


def use_data_sources(vm: VM, *names: str) -> None:
    """Let the next `k3os config` ask these; the file is stronger than what they give."""
    directory = "/var/lib/rancher/k3os/config.d"
    text = f"k3os: {{data_sources: [{', '.join(names)}]}}"
    ask(vm, f"sudo -n mkdir -p {directory} && echo '{text}' | sudo -n tee {directory}/sources.yaml")
