"""Reads every source, weakest first, checks each, and merges them into one Config.

A bad source never hides the good ones: its problems are returned beside the Config.
The order of the sources is that of SOURCES.
"""

from __future__ import annotations

import os

from k3os.config.check import (
    CONTRADICTING,
    bug,
    check_cmdline,
    check_text,
    contradictions,
    read_limited,
)
from k3os.config.key import BY_NAME
from k3os.config.merge import merge
from k3os.config.schema import BY_PATH
from k3os.config.value import Place, Problem, Value, texts_of
from k3os.paths import LOCAL_CONFIG, OWN_SYSTEM, STATE
from k3os.system.collector import uncollected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from k3os.config.key import Key

    Read: TypeAlias = "tuple[dict[str, Value], list[Problem]]"

# data source results of this boot or, if they do not answer, of an earlier one
FOUND = f"{STATE}/datasource"
METADATA, USERDATA = f"{FOUND}/metadata.yaml", f"{FOUND}/userdata/"
CLOUD = (METADATA, USERDATA)
SOURCES = (
    "{system}/config.yaml",
    "cmdline",
    LOCAL_CONFIG,
    METADATA,
    USERDATA,
    f"{STATE}/config.d/",
)
BACKUPS = ("~", ".bak", ".swp", ".orig", ".old", ".tmp", ".dpkg-old", ".dpkg-new")


# kinds of values that are complete files
WHOLE_FILES = ("lines", "manifests", "private key", "toml")


class Config:
    """The merged configuration: canonical path -> Value."""

    __slots__ = ("values",)

    def __init__(self, values: dict[str, Value] | None = None) -> None:
        self.values = values or {}

    def get(self, path: str) -> Value | None:
        """The value of a key, None when no source sets it."""
        assert path in BY_PATH, path
        return self.values.get(path)

    def text(self, path: str) -> str:
        """A text, "" when it is not set."""
        value = self.get(path)
        return str(value.data) if value is not None else ""

    def items(self, path: str) -> list[Value]:
        """A list's items with their places."""
        value = self.get(path)
        return value.data if value is not None and isinstance(value.data, list) else []

    def texts(self, path: str) -> list[str]:
        """A list of texts."""
        return [str(item.data) for item in self.items(path)]

    def entries(self, path: str) -> dict[str, Value]:
        """A map's values with their places."""
        value = self.get(path)
        return value.data if value is not None and isinstance(value.data, dict) else {}

    def mapping(self, path: str) -> dict[str, str]:
        """A map of texts."""
        return {name: str(value.data) for name, value in self.entries(path).items()}

    def secrets(self) -> list[str]:
        """Every text that no report may show."""
        found: list[str] = []
        for path, value in self.values.items():
            found += secret_texts(BY_PATH[path], value)
        if "k3os.k3s_args" in self.values:
            from k3os.config.k3s_flags import secrets_in

            found += [value for *_, value in secrets_in(self.texts("k3os.k3s_args"))]
        return [text for text in found if len(text) > 3]


def secret_texts(key: Key, value: Value) -> list[str]:
    """The secret texts in a value; reports are not searched for whole files."""
    if key.secret:
        return [text for text, _ in texts_of(value)] if key.kind not in WHOLE_FILES else []
    data = value.data
    if not key.fields or isinstance(data, (str, bool)):
        return []
    if isinstance(data, list):
        return [text for item in data for text in secret_texts(key, item)]
    entries = list(data.values()) if key.kind in BY_NAME else [value]
    fields = {field.name: field for field in key.fields}
    return [
        text
        for entry in entries
        if isinstance(entry.data, dict)
        for name, item in entry.data.items()
        if name in fields
        for text in secret_texts(fields[name], item)
    ]


@uncollected
def load_config(
    root: str = "/",
    system_dir: str = OWN_SYSTEM,
    cmdline: str | None = None,
    *,
    cloud: bool = False,
    instead: tuple[str, str] = ("", ""),
) -> tuple[Config, list[Problem]]:
    """The merged configuration of a node and all problems of its sources.

    root: where the node's file tree is; cmdline None: the running kernel's. Never raises.
    cloud: include what the data sources found if the other sources name any; for the runtime phase.
    instead: a file of the node, existing or not, and the path of a file to read in its place.
    """
    merged, problems = _merged(root, system_dir, cmdline, CLOUD, instead)
    if cloud and Config(merged).items("k3os.data_sources"):
        merged, problems = _merged(root, system_dir, cmdline, (), instead)
    for key in filter(merged.__contains__, CONTRADICTING):
        try:
            for contradict in contradictions(key):
                problems += contradict(merged)
        except Exception as error:  # only advice
            problems.append(bug(error, key))
    return Config(merged), problems


def _merged(
    root: str,
    system_dir: str,
    cmdline: str | None,
    skipped: tuple[str, ...],
    instead: tuple[str, str],
) -> tuple[dict[str, Value], list[Problem]]:
    merged: dict[str, Value] = {}
    problems: list[Problem] = []
    for source in SOURCES:
        if source in skipped:
            continue
        for name, read, given in _readers(source, root.rstrip("/"), system_dir, cmdline, instead):
            try:
                values, reported = read(*given)
                problems += reported
                merged = merge(merged, values) if merged else values
            except Exception as error:  # a bug triggered by one source must not lose the others
                problems.append(bug(error, name))
    return merged, problems


def _readers(
    source: str, base: str, system_dir: str, cmdline: str | None, instead: tuple[str, str]
) -> Iterator[tuple[str, Callable[..., Read], tuple[object, ...]]]:
    """For one of SOURCES, or each file if it is a directory: its name, its reader and the reader's
    arguments."""
    place, other = instead
    if source == "cmdline":
        yield source, _cmdline, (cmdline,)
    elif source.endswith("/"):
        names, notes = _directory(base, source)
        if place.startswith(source):
            names = sorted({*names, place.removeprefix(source)})
        yield source, lambda: ({}, notes), ()
        read = _userdata if source == USERDATA else _file
        for name in names:
            path = source + name
            yield path, *((_file, ("", other)) if path == place else (read, (base, path)))
    else:
        # wherever the medium is mounted now: people know the file's place on the node
        path, known = (source.format(system=each) for each in (system_dir.rstrip("/"), OWN_SYSTEM))
        yield known, _file, ("", other) if known == place else (base, path, known)


def _cmdline(given: str | None) -> Read:
    return check_cmdline(_kernel_cmdline() if given is None else given)


def _userdata(base: str, path: str) -> Read:
    from k3os.config.cloud_init import too_late

    values, problems = _file(base, path)
    return values, problems + too_late(values)


def _file(base: str, path: str, name: str = "") -> tuple[dict[str, Value], list[Problem]]:
    if not os.path.lexists(base + path):
        return {}, []
    data, unreadable = read_limited(base + path)
    if unreadable is not None:
        unreadable.place = Place(name or path)
        return {}, [unreadable]
    return check_text(data, name or path)


def _directory(base: str, path: str) -> tuple[list[str], list[Problem]]:
    try:
        names = sorted(os.listdir(base + path))
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [Problem(Place(path), "", f"cannot be read: {error.strerror}")]
    used, notes = [], []
    for name in names:
        if name.startswith((".", "#")) or name.endswith(BACKUPS):
            message = "is skipped: a hidden file or an editor's backup"
            notes.append(Problem(Place(path + name), "", message, is_error=False))
        elif os.path.isdir(base + path + name):
            message = "is skipped: a directory"
            notes.append(Problem(Place(path + name), "", message, is_error=False))
        else:
            used.append(name)
    return used, notes


def _kernel_cmdline() -> str:
    try:
        with open("/proc/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""  # no /proc: a chroot, where no kernel told us anything
