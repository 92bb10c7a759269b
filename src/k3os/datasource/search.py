"""The search through the data sources, in the order given, until one provides userdata.

Results of the sources before it (hostname, keys) count, too. Nothing is written here.
"""

from __future__ import annotations

from time import monotonic

from k3os.datasource.found import Found, LeftOut, NotThere
from k3os.datasource.query import Query, ask
from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.system.console import Say


class Answer:
    """The result of asking one source: found, or the reason why not; is_broken: it is there, but
    did not work."""

    __slots__ = ("found", "is_broken", "name", "reason", "seconds")

    def __init__(
        self, name: str, found: Found | None, reason: str = "", is_broken: bool = False
    ) -> None:
        self.name = name
        self.found = found
        self.reason = reason
        self.is_broken = is_broken
        self.seconds = 0.0


def search(
    names: list[str],
    say: Say,
    addresses: dict[str, str] | None = None,
    *,
    ask_all: bool = False,
    by_auto: frozenset[str] = frozenset(),
) -> list[Answer]:
    """One answer per source that was asked. ask_all: do not stop at the userdata; by_auto: sources
    that nobody named, which read only the machine's own media."""
    answers: list[Answer] = []
    silent: set[str] = set()
    for name in names:
        started = monotonic()
        answer = _answer(name, Query(silent, addresses, own_media=name in by_auto), say)
        answer.seconds = monotonic() - started
        answers.append(answer)
        if answer.found is not None and answer.found.userdata and not ask_all:
            break
    return answers


def _answer(name: str, query: Query, say: Say) -> Answer:
    try:
        found = ask(name, query, say)
        found.source = name  # several names may share a module
        return Answer(name, found)
    except NotThere as error:
        if isinstance(error, LeftOut):
            say(f"cloud data: {error}")
        return Answer(name, None, str(error))
    except (UserError, OSError) as error:
        return Answer(name, None, str(error), is_broken=True)
    except Exception as error:  # an unforeseen answer must not hide the other sources
        from k3os.system.bug import report

        return Answer(name, None, report(error), is_broken=True)
