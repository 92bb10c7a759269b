"""What a data source returns: hostname, ssh keys, userdata; and how it reports that it is absent.

It fetches nothing and writes nothing.
"""

from __future__ import annotations

from k3os.config.hostnames import valid_hostname
from k3os.config.ssh_keys import is_key
from k3os.datasource.beside import LARGEST as LARGEST
from k3os.errors import UserError
from k3os.system.plural import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    T = TypeVar("T")


MOST_LINES = 10_000


class NotThere(UserError):
    """This machine has no such platform or medium: the search goes on, nothing is wrong. status:
    the HTTP status if a service refused to answer, else 0."""

    def __init__(self, message: str, hint: str = "", where: str = "", *, status: int = 0) -> None:
        super().__init__(message, hint, where)
        self.status = status


class LeftOut(NotThere):
    """There is a medium, but it is read only if its source is named explicitly."""


class Found:
    """source: its name in k3os.data_sources, or several; userdata: unchanged, or b""; problems:
    what the source has, but could not return; instance: a medium's instance-id."""

    __slots__ = ("hostname", "instance", "problems", "source", "ssh_keys", "userdata")

    def __init__(
        self,
        source: str,
        hostname: object = "",
        ssh_keys: Iterable[object] = (),
        userdata: bytes = b"",
        problems: Iterable[str] = (),
        instance: object = "",
    ) -> None:
        self.source = source
        self.instance = str(instance or "")
        self.hostname = clean_hostname(hostname)
        self.ssh_keys = clean_keys(ssh_keys)
        self.userdata = userdata
        self.problems = list(problems)

    def __str__(self) -> str:
        parts = [f"hostname {self.hostname}"] if self.hostname else []
        if self.ssh_keys:
            parts.append(counted(len(self.ssh_keys), "ssh key"))
        parts.append(f"{len(self.userdata)} bytes of userdata" if self.userdata else "no userdata")
        return ", ".join(parts)


def attempt(get: Callable[[], T], otherwise: T, problems: list[str], what: str = "") -> T:
    """The result of get; if it fails, otherwise, and a line in problems: one part of an answer
    never hides the others. what: names the part if the error does not. Raises NotThere."""
    try:
        return get()
    except NotThere:
        raise
    except UserError as error:
        problems.append(f"{what}: {error}" if what else str(error))
        return otherwise


def clean_hostname(name: object) -> str:
    """The first word, as a host name; if it is too long, only the part before the first dot."""
    words = str(name or "").split()
    return valid_hostname(words[0]) if words else ""


def clean_keys(lines: Iterable[object]) -> list[str]:
    """The ssh public keys in the first MOST_LINES lines, without duplicates."""
    from itertools import islice

    every = (line.strip() for text in lines for line in str(text).splitlines())
    keys = islice(every, MOST_LINES)
    return list(dict.fromkeys(key for key in keys if is_key(key) and key.isprintable()))


def combine(found: list[Found]) -> Found:
    """The first hostname, all keys, the first userdata."""
    return Found(
        ", ".join(each.source for each in found),
        next((each.hostname for each in found if each.hostname), ""),
        [key for each in found for key in each.ssh_keys],
        next((each.userdata for each in found if each.userdata), b""),
        [problem for each in found for problem in each.problems],
    )
