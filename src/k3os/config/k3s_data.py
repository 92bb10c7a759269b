"""Where a node's k3s keeps its data, according to its configuration, and advice on that.

docs.k3s.io/cli/server, "data-dir": an argument overrides k3s' configuration files, and these the
variable. It does not move /var/lib/kubelet, /etc/rancher and /run/k3s.
"""

from __future__ import annotations

import os

from k3os.config.contents import decode
from k3os.config.k3s_files import BESIDE, LAST, LOGINS, is_settings, top_level, variables
from k3os.config.k3s_flags import FILE, flags
from k3os.config.value import Problem, Value, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = "/var/lib/rancher/k3s"
VARIABLE = "K3S_DATA_DIR"
# k3s expands these in a path
HOME = ("~", "$HOME", "${HOME}")
FLAGS = ("data-dir", "d")
# the first k3s whose commands read the variable and the files beside FILE (k3s#10589)
OF_TOOLS = (1, 30)
ARGUMENTS, FILES, ENVIRONMENT = "k3os.k3s_args", "write_files", "k3os.environment"
# everything below these, and below mount points of the keys in MOUNTS, persists
PERSISTENT = ("/var", "/home", "/opt", "/usr/local", "/k3os/data")
FRESH = ("/var/run", "/var/lock")
MOUNTS = {"k3os.disks": "mount", "k3os.mounts": "where"}


def directory(values: dict[str, Value]) -> str:
    """An absolute path without a trailing slash."""
    said = [path for _, _, path in _said(values)]
    return said[-1] if said else DATA


def absolute(path: str) -> str:
    """The path as k3s, which runs in /, reads it; links are not followed."""
    return f"/{os.path.normpath(f'/{path.strip()}').strip('/')}"


def of_arguments(values: dict[str, Value]) -> list[Problem]:
    """A warning for an argument that moves k3s' data to a place that does not persist."""
    return [*_fresh(ARGUMENTS, values)]


def of_environment(values: dict[str, Value]) -> list[Problem]:
    """The same for an environment variable."""
    return [*_fresh(ENVIRONMENT, values)]


def of_files(values: dict[str, Value]) -> list[Problem]:
    """The same for files, and for files that k3s does not look at. values: of all sources."""
    return [*_fresh(FILES, values), *_lost(values)]


def _fresh(key: str, values: dict[str, Value]) -> Iterator[Problem]:
    for item, where, path in _said(values):
        if not where.startswith(key):
            continue
        if home := next((sign for sign in HOME if sign in path), ""):
            message = f"k3s takes `{home}` for a home directory, which its service does not have"
            yield Problem(item.place, where, message, "write the whole path", is_error=False)
        elif not _persists(path, values):
            message = f"k3s' data does not persist: {path} is new at each boot"
            hint = f"leave it out, or mount a disk at {path} (k3os.disks, k3os.mounts)"
            yield Problem(item.place, where, message, hint, is_error=False)


def _lost(values: dict[str, Value]) -> Iterator[Problem]:
    data = directory(values)
    for index, entry in numbered(values.get(FILES)) if data != DATA else []:
        written = _path(entry)
        if written.startswith(f"{DATA}/"):
            message = f"k3s does not look there: its data is in {data}"
            hint = f"write it to {data}{written.removeprefix(DATA)}"
            yield Problem(entry.place, f"{FILES}[{index}].path", message, hint, is_error=False)


def of_tools(values: dict[str, Value], k3s_version: str) -> Iterator[Problem]:
    """A warning if kubectl, crictl and ctr of this k3s ("": unknown) do not find the service's
    data: if the user writes FILE, ours is beside it, and they do not read that."""
    from k3os.config.k3s_table import minor

    own = [(index, entry) for index, entry in numbered(values.get(FILES)) if _path(entry) == FILE]
    data = directory(values)
    if not own or data == DATA or not (0, 0) < minor(k3s_version) < OF_TOOLS:
        return
    index, entry = own[-1]
    if not any(flag in top_level(_text(entry)) for flag in FLAGS):
        message = f"kubectl, crictl and ctr of k3s {k3s_version} look for data-dir here alone"
        where, hint = f"{FILES}[{index}].content", f"write `data-dir: {data}` in it, too"
        yield Problem(entry.place, where, message, hint, is_error=False)


def _said(values: dict[str, Value]) -> Iterator[tuple[Value, str, str]]:
    """Item, its name, and the directory it sets; the one that takes effect comes last."""
    for item, where, path in (*_of_variables(values), *_of_files(values), *_of_arguments(values)):
        if path.strip():
            yield item, where, absolute(path)


def _of_variables(values: dict[str, Value]) -> Iterator[tuple[Value, str, str]]:
    for index, entry in numbered(values.get(FILES)):
        if _path(entry) == LOGINS and (path := variables(_text(entry))[0].get(VARIABLE)):
            yield entry, f"{FILES}[{index}].content", path
    given = values.get(ENVIRONMENT)
    if given is not None and isinstance(given.data, dict) and VARIABLE in given.data:
        item = given.data[VARIABLE]
        yield item, f"{ENVIRONMENT}.{VARIABLE}", str(item.data)


def _of_files(values: dict[str, Value]) -> Iterator[tuple[Value, str, str]]:
    """In the order in which k3s reads the files."""
    entries = [
        (_path(entry), index, entry)
        for index, entry in numbered(values.get(FILES))
        if is_settings(_path(entry)) and _path(entry) not in (BESIDE, LAST)
    ]
    for _, index, entry in sorted(entries, key=lambda each: each[:2]):
        assert isinstance(entry.data, dict)
        found = top_level(_text(entry))
        for flag in FLAGS:
            if found.get(flag):
                item = entry.data.get("content", entry)
                yield item, f"{FILES}[{index}].content", found[flag][-1]


def _of_arguments(values: dict[str, Value]) -> Iterator[tuple[Value, str, str]]:
    items = [item for _, item in numbered(values.get(ARGUMENTS))]
    for position, name, value in flags([str(item.data) for item in items]):
        if name in FLAGS:
            yield items[position], f"{ARGUMENTS}[{items[position].place.number}]", value


def _persists(path: str, values: dict[str, Value]) -> bool:
    from k3os.config.storage import is_below

    mounts = [
        str(item.data[field].data)
        for key, field in MOUNTS.items()
        for _, item in numbered(values.get(key))
        if isinstance(item.data, dict) and field in item.data
    ]
    kept = any(is_below(path, each) for each in PERSISTENT)
    fresh = any(is_below(path, each) for each in FRESH)
    return (kept and not fresh) or any(is_below(path, each) for each in mounts)


def _path(entry: Value) -> str:
    return str(entry.data["path"].data) if isinstance(entry.data, dict) else ""


def _text(entry: Value) -> str:
    """ "" if it cannot be decoded, which is reported elsewhere."""
    fields = entry.data if isinstance(entry.data, dict) else {}
    content, encoding = (fields.get(name) for name in ("content", "encoding"))
    try:
        data = decode(*(str(each.data) if each is not None else "" for each in (content, encoding)))
    except ValueError:
        return ""
    return data.decode(errors="surrogateescape")
