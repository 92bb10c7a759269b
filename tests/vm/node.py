"""Running commands on a booted node, on its console and by ssh; serving files to it."""

import functools
import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k3os.system.run import run
from k3os.vm.machine import VM
from tests.serving import serving

# The host may be several times slower than the one a test was written on, and run three machines at
# once: time limits are for what must have failed, not for what is slower than usual.
PATIENCE = 2
BOOT = 120 * PATIENCE  # seconds; a boot takes 10 to 20 with TCG on an idle machine
LOGIN = r"login: "
K3S = r"k3OS: k3s is running"
HOST = "10.0.2.2"  # the host's loopback interface, seen from QEMU's user network
# works like the down arrow in GRUB's menu, of whose three bytes a busy firmware may lose some
MENU_DOWN = "v"
RESCUE = r"k3OS rescue # "
BOOTING = ": early boot"
IDENTITY = "cat /etc/machine-id; sudo sh -c 'cat /var/lib/rancher/k3os/ssh/*.pub'"


def ask(vm: VM, command: str, timeout: float = 60) -> str:
    """Run a command on the console and return its output; it must succeed."""
    code, output = vm.command(command, timeout * PATIENCE)
    assert code == 0, f"{command!r} exited with {code}: {output}"
    return output


def wait_until_settled(vm: VM) -> None:
    """Wait until systemd has no jobs left: everything that starts at boot has started or failed."""
    ask(vm, "systemctl is-system-running --wait || true", 120)


def put(path: str) -> str:
    """A command that writes its stdin to a file owned by root, and makes its directory."""
    return f"sudo -n install -Dm644 /dev/stdin {path}"


def use_data_sources(vm: VM, *names: str) -> None:
    """Make the next `k3os config` ask these data sources; the file takes precedence over them."""
    text = f"k3os: {{data_sources: [{', '.join(names)}]}}"
    ask(vm, f"echo '{text}' | {put('/var/lib/rancher/k3os/config.d/sources.yaml')}")


def over_ssh(vm: VM, key: Path, command: str, timeout: float = 120, *, login: bool = False) -> str:
    """Run a command as rancher by ssh and return its output; it must succeed.

    All calls during a boot share one connection, because a login takes an emulated machine
    seconds; login=True opens one for this call only.
    """
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    options += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR"]
    options += ["-i", str(key), "-p", str(vm.ssh_port)]
    if login or not connection(vm, key).exists():
        # not with an open connection: sshd has started then, and the check takes 0.1 s
        command = f"until systemctl is-active -q ssh.socket; do sleep 1; done; {command}"
    options += [] if login else one_connection(vm, key)
    command_line = ["ssh", *options, "rancher@127.0.0.1", command]
    return run(command_line, timeout=timeout * PATIENCE).decode().strip()


def connection(vm: VM, key: Path) -> Path:
    """The ssh(1) ControlPath of the connection that all calls during a boot share."""
    # one per boot: a connection left over from the previous boot would never answer
    boots = vm.console.text.count(BOOTING)
    return Path(f"{key}.{vm.pid}.{boots}")


def one_connection(vm: VM, key: Path) -> list[str]:
    """The ssh(1) options for sharing one connection during a boot."""
    return [
        *("-oControlMaster=auto", "-oControlPersist=yes"),
        f"-oControlPath={connection(vm, key)}",
    ]


def stop(vm: VM, key: Path) -> None:
    over_ssh(vm, key, "sudo systemctl --no-block poweroff")
    vm.wait_for_end(90)


@contextmanager
def serve(directory: Path) -> Iterator[str]:
    """A web server for a directory. Yields its URL, as the guest sees it."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving(server):
        yield f"http://{HOST}:{server.server_port}"
