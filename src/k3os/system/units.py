"""What systemd says of a unit (systemctl(1), show)."""

from __future__ import annotations


def properties(unit: str, *names: str, timeout: float = 10) -> dict[str, str]:
    """Name -> value of those properties that this systemd has. Raises CommandError."""
    from k3os.system.run import run

    command = ["systemctl", "show", f"--property={','.join(names)}", unit]
    output = run(command, timeout=timeout).decode(errors="replace")
    return dict(line.partition("=")[::2] for line in output.splitlines())
