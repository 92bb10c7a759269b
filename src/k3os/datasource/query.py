"""One question to one data source, with a time limit for an answer and for all of it.

A source runs in a thread, so that nothing it hangs in (a name server, a slow service) can delay
the boot for long: 5 s until something answers, 60 s until everything has arrived.
"""

from __future__ import annotations

import threading
from time import monotonic

from k3os.datasource.found import Found, NotThere
from k3os.datasource.platforms import SOURCES, fetch
from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.system.console import Say

NOT_THERE_SECONDS = 5.0
SLOW_SECONDS = 60.0
ANNOUNCE_SECONDS = 3.0


class Query:
    """What a source gets: addresses: real -> the one to use (tests); silent: addresses that did
    not answer another source; address: the current one; until: when it counts as absent;
    answered, over: events; own_media: only read the machine's own media."""

    __slots__ = ("address", "addresses", "answered", "over", "own_media", "silent", "until")

    def __init__(
        self,
        silent: set[str] | None = None,
        addresses: dict[str, str] | None = None,
        *,
        own_media: bool = False,
    ) -> None:
        self.own_media = own_media
        self.silent = silent if silent is not None else set()
        self.addresses = addresses or {}
        self.address = ""
        self.until = monotonic() + NOT_THERE_SECONDS
        self.answered = threading.Event()
        self.over = threading.Event()


def ask(name: str, query: Query, say: Say) -> Found:
    """The source's result. Raises NotThere, UserError."""
    source = SOURCES[name]
    if source.is_local:
        return fetch(name)(query)
    outcome: list[Found | Exception] = []

    def work() -> None:
        try:
            outcome.append(fetch(name)(query))
        except Exception as error:  # raised in the caller, below
            outcome.append(error)

    started = monotonic()
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join(ANNOUNCE_SECONDS)
    if thread.is_alive():
        say(f"waiting for cloud data from {name} ({source.what}), {SLOW_SECONDS:.0f} s at most")
        query.answered.wait(started + NOT_THERE_SECONDS - monotonic())
        if query.answered.is_set():
            thread.join(max(0.0, started + SLOW_SECONDS - monotonic()))
        else:
            thread.join(max(0.0, started + NOT_THERE_SECONDS - monotonic()))
    query.over.set()
    if not outcome:
        query.silent.add(query.address)  # the next source at this address would wait as long
    if not outcome and not query.answered.is_set():
        raise NotThere(f"no answer in {NOT_THERE_SECONDS:.0f} s", where=query.address)
    if not outcome:
        raise UserError(f"was not done in {SLOW_SECONDS:.0f} s", where=query.address)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
