"""Runs another k3os command in its own process, and reports its error as the caller's."""

from __future__ import annotations

from k3os.errors import ERROR_FILE, UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def run_k3os(
    arguments: list[str],
    error_file: str,
    *,
    timeout: float,
    env: Mapping[str, str | None] | None = None,
) -> str:
    """The output of `k3os` with these arguments. Raises UserError with its error.

    error_file: where it leaves that (cli.main.hand_over); timeout: seconds.
    """
    from k3os.system import run
    from k3os.system.files import durable_remove

    durable_remove(error_file)  # from an earlier run
    environment: dict[str, str | None] = {**(env or {}), ERROR_FILE: error_file}
    try:
        output = run.run(["k3os", *arguments], env=environment, timeout=timeout)
    except run.CommandError as error:
        raise handed_over(error_file) or UserError(str(error)) from error
    return output.decode(errors="replace")


def handed_over(path: str) -> UserError | None:
    """The error that cli.main.hand_over left there; None if none, after a bug or a kill."""
    from k3os.system.files import read_object

    error = read_object(path)
    texts = {name: str(error.get(name, "")) for name in ("message", "hint", "where")}
    return UserError(**texts) if texts["message"] else None
