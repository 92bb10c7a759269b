"""What systemd says about a unit (systemctl(1), show), and commands that it runs later."""

from __future__ import annotations


def properties(unit: str, *names: str, timeout: float = 10) -> dict[str, str]:
    """Name -> value of those properties that this systemd has. Raises CommandError."""
    from k3os.system.run import run

    command = ["systemctl", "show", f"--property={','.join(names)}", unit]
    output = run(command, timeout=timeout).decode(errors="replace")
    return dict(line.partition("=")[::2] for line in output.splitlines())


def run_later(seconds: int, *command: str, unit: str = "") -> None:
    """Have systemd run a command once, whatever happens to this process (systemd-run(1)).

    unit: the name of its timer and service, "" for any. Raises CommandError.
    """
    from k3os.system.run import run

    run(later(seconds, *command, unit=unit), timeout=30)


def later(seconds: int, *command: str, unit: str = "") -> list[str]:
    """The command line for run_later."""
    named = [f"--unit={unit}"] if unit else []
    # by default systemd adds up to a minute: systemd.timer(5), AccuracySec=
    timer = [f"--on-active={seconds}", "--timer-property=AccuracySec=1s"]
    return ["systemd-run", "-q", *named, *timer, *command]
