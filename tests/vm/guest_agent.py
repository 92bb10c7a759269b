"""The hypervisor's side of QEMU's guest agent, as in libvirt and Proxmox.

Protocol: https://www.qemu.org/docs/master/interop/qemu-ga-ref.html.
"""

import json
import socket
import time
from pathlib import Path
from typing import Any

NAME = "org.qemu.guest_agent.0"
ANSWER_SECONDS = 60


def channel(path: Path) -> tuple[str, ...]:
    """QEMU's arguments for a machine whose agent is reached through a socket."""
    return (
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,path={path},server=on,wait=off"),
        *("-device", f"virtserialport,chardev=agent,name={NAME}"),
    )


class GuestAgent:
    """A connection to the agent of a machine with `channel(path)`."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        # discard leftovers in the channel until our number comes back
        number = time.monotonic_ns()
        self.send("guest-sync", id=number)
        while self._answer() != number:
            pass

    def call(self, command: str, **arguments: object) -> Any:
        """Return the agent's answer. Raises AssertionError with its message if it refuses."""
        self.send(command, **arguments)
        return self._answer()

    def send(self, command: str, **arguments: object) -> None:
        """Send a command without waiting; some commands get no answer when they succeed."""
        text = json.dumps({"execute": command, "arguments": arguments})
        self._socket.sendall(text.encode() + b"\n")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _answer(self) -> Any:
        message = json.loads(self._lines.readline())
        assert "return" in message, message
        return message["return"]
