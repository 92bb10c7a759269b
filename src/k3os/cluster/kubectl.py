"""Talks to a cluster's API through kubectl, which knows its address and our credentials.

`kubectl get --raw` passes on what the API server answers: a list as one object, a watch as one
event per line (kubernetes.io, "Kubernetes API Concepts", "Efficient detection of changes"). Nothing
is decided here.
"""

from __future__ import annotations

import select
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k3os import names
from k3os.cluster.objects import inside, maps, text
from k3os.errors import UserError
from k3os.system.json_text import repaired
from k3os.system.run import CommandError, Stream, run

NODES = "/api/v1/nodes"
POOLS = f"/apis/{names.GROUP}/{names.VERSION}/{names.PLURAL}"
ANSWER_SECONDS = 20
# after a watch ended, or without an answer: the API server may be on the node that restarts
RETRIES = (1, 2, 5, 10)
RIGHTS = "the rights that each command needs: docs/how-to/fleet.md#rights"
GATHER = 0.1  # seconds: changes that come together are shown together

Objects = dict[str, Mapping[str, Any]]


class NotThere(UserError):
    """The API has no such object or kind."""


class Forbidden(UserError):
    """The user lacks a permission; kubectl's message says which verb on what."""


class Conflict(UserError):
    """The object has changed since it was read."""


class NotNow(UserError):
    """The API server refuses for now: a budget forbids the eviction."""


@dataclass(frozen=True)
class Kubectl:
    """options: those that select the cluster, as kubectl takes them."""

    options: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        return ["kubectl", *arguments, *self.options]

    def listing(self, path: str) -> list[str]:
        return self.command("get", "--raw", path, f"--request-timeout={ANSWER_SECONDS}s")

    def watching(self, path: str, version: str) -> list[str]:
        return self.command("get", "--raw", f"{path}?watch=true&resourceVersion={version}")

    def inside(self, pod: str, container: str, program: Sequence[str], *flags: str) -> list[str]:
        """The command that runs a program in a container of our namespace."""
        where = (f"--namespace={names.NAMESPACE}", f"--container={container}")
        return self.command("exec", *flags, pod, *where) + ["--", *program]

    def run(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Returns kubectl's output. Raises UserError with its message."""
        try:
            argv = self.command(*arguments, f"--request-timeout={ANSWER_SECONDS}s")
            seconds = 3 * ANSWER_SECONDS
            return run(argv, errors_apart=True, timeout=seconds, stdin=stdin).decode(
                errors="replace"
            )
        except CommandError as error:
            raise as_user_error(error) from error

    def objects(self, path: str) -> Objects:
        """The objects at a path of the API, by name. Raises UserError, NotThere."""
        return _by_name(parsed(self.run("get", "--raw", path).encode()))

    def listed(self, path: str) -> list[Mapping[str, Any]]:
        """The objects at a path of the API, across namespaces. Raises UserError, NotThere."""
        return list(maps(parsed(self.run("get", "--raw", path).encode()).get("items")))

    def object(self, path: str) -> Mapping[str, Any]:
        """The object at a path of the API. Raises UserError, NotThere."""
        return parsed(self.run("get", "--raw", path).encode())


# InternalError also means that two budgets select the same pod
REASONS = {"Conflict": Conflict, "TooManyRequests": NotNow, "InternalError": NotNow}


def as_user_error(error: CommandError) -> UserError:
    """kubectl's own message, and what to check."""
    if error.returncode == 127:
        return UserError("there is no kubectl", "install it: kubernetes.io, `Install Tools`")
    lines = error.output.decode(errors="replace").strip().splitlines()
    words = lines[-1] if lines else error.how
    if "(Forbidden): " in words:
        refused = words.partition("(Forbidden): ")[2]
        return Forbidden(f"the API server refuses it: {refused}", RIGHTS)
    for reason, kind in REASONS.items():
        if f"({reason}): " in words:
            return kind(words.partition(f"({reason}): ")[2])
    if "(NotFound)" in words:
        return NotThere(words.partition("(NotFound): ")[2] or words)
    return UserError(f"kubectl: {words}", "does `kubectl get nodes` work?")


def parsed(text: bytes) -> dict[str, Any]:
    """An object that kubectl printed; broken characters are repaired so that the rest stays usable.
    Raises UserError."""
    try:
        return repaired(text)
    except ValueError as error:
        raise UserError(
            f"kubectl answered no JSON: {text[:80].decode(errors='replace')!r}",
            "does `kubectl get --raw /api/v1/nodes` work?",
        ) from error


def _by_name(answer: Mapping[str, Any]) -> Objects:
    """The objects of a list, without those that have no name."""
    return {name: each for each in maps(answer.get("items")) if (name := _name(each))}


def _name(item: object) -> str:
    return text(inside(item, "metadata", "name"))


class Collection:
    """The objects at one path, kept up to date: a list, then a watch of later changes; both start
    over whenever the watch ends.

    known: they were listed once. trouble: why they are not available now, "" if they are.
    """

    def __init__(self, kubectl: Kubectl, path: str) -> None:
        self.kubectl = kubectl
        self.path = path
        self.objects: Objects = {}
        self.known = False
        self.trouble = ""
        self.stream: Stream | None = None
        self._lists = False
        self._tries = 0
        self._again = 0.0

    def begin(self, now: float) -> None:
        """Ask if nothing is running and it is time. now: of a monotonic clock."""
        if self.stream is None and now >= self._again:
            self._lists = True
            self._open(self.kubectl.listing(self.path))

    def update(self, now: float) -> None:
        """Process the answers. Raises UserError if the very first one is an error."""
        if self.stream is None:
            return
        try:
            lines = self.stream.read()
            if self._lists:
                self._listed(lines)
            elif not all(map(self._changed, lines)) or self.stream.over:
                self._retry(now)
        except (CommandError, UserError) as error:
            told = as_user_error(error) if isinstance(error, CommandError) else error
            if not self.known:
                raise told from error
            self.trouble = told.message
            self._retry(now)

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def _open(self, argv: list[str]) -> None:
        self.close()
        try:
            self.stream = Stream(argv)
        except CommandError as error:
            raise as_user_error(error) from error
        self._text: list[bytes] = []

    def _listed(self, lines: list[bytes]) -> None:
        assert self.stream is not None
        self._text += lines
        if not self.stream.over:
            return
        self.stream.check()
        answer = parsed(b"\n".join(self._text))
        self.objects = _by_name(answer)
        self.known, self.trouble, self._tries = True, "", 0
        self._lists = False
        version = text(inside(answer, "metadata", "resourceVersion"))
        self._open(self.kubectl.watching(self.path, version))

    def _changed(self, line: bytes) -> bool:
        """False if the watch cannot continue: its resourceVersion has expired."""
        if not line.strip():
            return True
        event = parsed(line)
        kind, item = event.get("type"), event.get("object")
        if kind == "ERROR":
            return False
        if kind in ("ADDED", "MODIFIED") and isinstance(item, dict) and (name := _name(item)):
            self.objects[name] = item
        elif kind == "DELETED":
            self.objects.pop(_name(item), None)
        return True

    def _retry(self, now: float) -> None:
        self.close()
        self._again = now + RETRIES[min(self._tries, len(RETRIES) - 1)]
        self._tries += 1


def follow(
    kubectl: Kubectl, paths: Sequence[str], tick: float = 1.0
) -> Generator[dict[str, Collection]]:
    """The collections at these paths, again whenever something changed, and each tick (seconds).

    Raises UserError, NotThere. Close it to end the programs that it runs.
    """
    collections = {path: Collection(kubectl, path) for path in paths}
    try:
        while True:
            for each in collections.values():
                each.begin(time.monotonic())
            running = [each.stream for each in collections.values() if each.stream]
            if select.select(running, [], [], tick)[0]:
                time.sleep(GATHER)
            for each in collections.values():
                each.update(time.monotonic())
            if all(each.known for each in collections.values()):
                yield collections
    finally:
        for each in collections.values():
            each.close()
