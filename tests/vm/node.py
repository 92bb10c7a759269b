"""Asking a booted node, on its console and by ssh; serving files to it."""

import functools
import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k3os.system.run import run
from k3os.vm.machine import VM
from tests.serving import serving

# A machine may be several times slower than the one on which a test was written, and three machines
# share it: waits end when they must fail, not when they are longer than usual.
PATIENCE = 2
BOOT = 120 * PATIENCE  # seconds; a boot takes 10 to 20 with TCG on an idle machine
LOGIN = r"login: "
K3S = r"k3OS: k3s is running"
HOST = "10.0.2.2"  # this machine's loopback interface, seen from QEMU's user network
# GRUB's menu takes it for the arrow, of whose three bytes a busy firmware may lose some
MENU_DOWN = "v"
RESCUE = r"k3OS rescue # "
BOOTING = ": early boot"
IDENTITY = "cat /etc/machine-id; sudo sh -c 'cat /var/lib/rancher/k3os/ssh/*.pub'"


def ask(vm: VM, command: str, timeout: float = 60) -> str:
    """What a command prints; it must succeed."""
    code, output = vm.command(command, timeout * PATIENCE)
    assert code == 0, f"{command!r} exited with {code}: {output}"
    return output


def wait_until_settled(vm: VM) -> None:
    """Until no job of systemd's is left: all that starts at boot has started or failed."""
    ask(vm, "systemctl is-system-running --wait || true", 120)


def put(path: str) -> str:
    """The command that writes its input to a file of root's, and makes the directory for it."""
    return f"sudo -n install -Dm644 /dev/stdin {path}"


def use_data_sources(vm: VM, *names: str) -> None:
    """Let the next `k3os config` ask these; the file is stronger than what they give."""
    text = f"k3os: {{data_sources: [{', '.join(names)}]}}"
    ask(vm, f"echo '{text}' | {put('/var/lib/rancher/k3os/config.d/sources.yaml')}")


def over_ssh(vm: VM, key: Path, command: str, timeout: float = 120, *, login: bool = False) -> str:
    """What a command prints when rancher runs it by ssh; it must succeed.

    A boot's calls share one connection, since a login costs an emulated machine seconds; with
    login there is one for this call.
    """
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    options += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR"]
    options += ["-i", str(key), "-p", str(vm.ssh_port)]
    if login or not connection(vm, key).exists():
        # whoever has a connection has waited for it, and each question costs a tenth of a second
        command = f"until systemctl is-active -q ssh.socket; do sleep 1; done; {command}"
    options += [] if login else one_connection(vm, key)
    command_line = ["ssh", *options, "rancher@127.0.0.1", command]
    return run(command_line, timeout=timeout * PATIENCE).decode().strip()


def connection(vm: VM, key: Path) -> Path:
    """ssh(1)'s ControlPath of the connection that the calls of a boot share."""
    # one that was left from the boot before would never answer
    boots = vm.console.text.count(BOOTING)
    return Path(f"{key}.{vm.pid}.{boots}")


def one_connection(vm: VM, key: Path) -> list[str]:
    """ssh(1)'s options with which the calls of a boot share one."""
    return [
        *("-oControlMaster=auto", "-oControlPersist=yes"),
        f"-oControlPath={connection(vm, key)}",
    ]


def stop(vm: VM, key: Path) -> None:
    over_ssh(vm, key, "sudo systemctl --no-block poweroff")
    vm.wait_for_end(90)


@contextmanager
def serve(directory: Path) -> Iterator[str]:
    """A web server that shows a directory: its address as the guest sees it."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving(server):
        yield f"http://{HOST}:{server.server_port}"
