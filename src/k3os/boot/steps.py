"""Optional steps of the boot: if one fails, the boot continues without it."""

from collections.abc import Callable, Mapping

from k3os.system.console import Say, say


def try_each(steps: Mapping[str, Callable[[], object]], say: Say = say) -> None:
    """Perform optional steps: one that fails is reported, and the others still run."""
    for what, step in steps.items():
        try:
            step()
        except OSError as error:
            say(f"could not {what}: {error}; the boot continues")
        except Exception as error:
            from k3os.system.bug import report

            say(f"could not {what}: {report(error)}; the boot continues")
