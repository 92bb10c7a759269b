"""A client of QEMU's machine protocol, with what is needed to stop a machine cleanly.

Protocol: https://www.qemu.org/docs/master/interop/qmp-spec.html.
"""

from __future__ import annotations

import json
import socket
from typing import Any


class QMPError(Exception):
    """QEMU refused a command, or has ended."""


class QMP:
    """One connection; `execute` sends a command and waits for its answer."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lines = link.makefile("rb")
        self._ready = False

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command, e.g. "quit", "system_powerdown", "system_reset".

        Raises QMPError, also when there is no answer within 5 s.
        """
        self._link.settimeout(5)
        if not self._ready:
            self._answer("QMP")  # the greeting, which must be answered first
            self._call("qmp_capabilities", {})
            self._ready = True
        return self._call(command, arguments)

    def _call(self, command: str, arguments: dict[str, Any]) -> Any:
        try:
            self._link.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        except OSError as error:
            raise QMPError(f"{command}: {error}") from error
        return self._answer("return")

    def _answer(self, key: str) -> Any:
        while True:
            try:
                line = self._lines.readline()
            except OSError as error:
                raise QMPError(f"QEMU does not answer: {error}") from error
            if not line:
                raise QMPError("QEMU is gone")
            message = json.loads(line)
            if "error" in message:
                raise QMPError(message["error"].get("desc", "refused"))
            if key in message:  # everything else is an event
                return message[key]

    def close(self) -> None:
        self._lines.close()
        self._link.close()
