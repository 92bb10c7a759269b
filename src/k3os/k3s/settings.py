"""The settings of this node's k3s: its configuration files and arguments, merged like k3s does.

It only reads. The format: docs.k3s.io/installation/configuration, "Configuration File": a file
and those in FILE.d in order of their names, the last one that has a key wins, `key+` appends;
arguments win over files, and add to their lists.
"""

from __future__ import annotations

import os

from k3os.config.k3s_data import DATA, VARIABLE, absolute
from k3os.config.k3s_flags import FILE
from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config

# k3s' short flags, docs.k3s.io/cli/server
SHORT = {"d": "data-dir", "t": "token", "s": "server", "i": "node-ip", "o": "write-kubeconfig"}
SHORT |= {"c": "config", "l": "log"}

# environment variables of flags, as far as we need them
VARIABLES = {
    VARIABLE: "data-dir",
    "K3S_DATASTORE_ENDPOINT": "datastore-endpoint",
    "K3S_KUBECONFIG_OUTPUT": "write-kubeconfig",
    "K3S_NODE_NAME": "node-name",
    "AWS_ACCESS_KEY_ID": "etcd-s3-access-key",
    "AWS_SECRET_ACCESS_KEY": "etcd-s3-secret-key",
}

Settings = dict[str, list[str]]


def of_node(config: Config) -> Settings:
    """Those of this node's k3s. Raises UserError."""
    from k3os.phases.environment import of_k3s
    from k3os.phases.k3s import arguments
    from k3os.phases.node import Node

    return read(arguments(config), of_k3s(config, Node()))


def read(arguments: list[str], environment: dict[str, str], *, root: str = "") -> Settings:
    """Flag (without dashes) -> its values. arguments: what follows `k3s`. Raises UserError."""
    given = of_arguments(arguments)
    main = environment.get("K3S_CONFIG_FILE") or last(given, "config") or FILE
    variables = {key: [environment[name]] for name, key in VARIABLES.items() if name in environment}
    files = of_files(f"{root}{main}")
    # k3s puts a file's settings before its own arguments
    both = {name: files.get(name, []) + given.get(name, []) for name in (*files, *given)}
    return variables | both


def of_files(main: str, *, lenient: bool = False) -> Settings:
    """Those of a configuration file and of the ones beside it. lenient: a file that cannot be
    read counts as empty. Raises UserError."""
    found: Settings = {}
    for path in _files(main):
        try:
            settings = _of_file(path)
        except UserError:
            if not lenient:
                raise
            continue
        for key, values in settings.items():
            name = SHORT.get(key.removesuffix("+"), key.removesuffix("+"))
            found[name] = found.get(name, []) + values if key.endswith("+") else values
    return found


def last(settings: Settings, name: str) -> str:
    """The effective value of a flag that takes one, "" if it is not set."""
    values = settings.get(name)
    return values[-1] if values else ""


def is_true(settings: Settings, name: str) -> bool:
    """A switch, as parsed by Go's strconv.ParseBool, and by YAML in a configuration file."""
    return last(settings, name).lower() in ("1", "t", "true", "y", "yes", "on")


def data_directory(settings: Settings) -> str:
    """Where k3s keeps its data, without a trailing slash."""
    given = last(settings, "data-dir").strip()
    return absolute(given) if given else DATA


def of_arguments(arguments: list[str]) -> Settings:
    """The flags of a command line; a switch is "true"."""
    found: Settings = {}
    words = iter(arguments[1:])
    following = next(words, None)
    while following is not None:
        flag, equals, value = following.partition("=")
        following = next(words, None)
        if not flag.startswith("-"):
            continue
        if not equals:
            value = "true"
            if following is not None and not following.startswith("-"):
                value, following = following, next(words, None)
        name = flag.lstrip("-")
        found.setdefault(SHORT.get(name, name), []).append(value)
    return found


def _files(main: str) -> list[str]:
    beside = f"{main}.d"
    names = sorted(os.listdir(beside)) if _listable(beside) else []
    files = [f"{beside}/{name}" for name in names if name.lower().endswith((".yaml", ".yml"))]
    return [path for path in (main, *files) if os.path.isfile(path)]


def _listable(path: str) -> bool:
    return os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK)


def _of_file(path: str) -> Settings:
    from k3os.config.check import read_limited
    from k3os.config.yamltext import read as read_yaml

    data, unreadable = read_limited(path)
    root, problems = (None, [unreadable]) if unreadable else read_yaml(data, path)
    if wrong := next((each for each in problems if each.is_error), None):
        # do not quote the text, which may be a secret
        line = (
            f"there is a mistake in line {wrong.place.line}" if wrong.place.line else wrong.message
        )
        raise UserError(f"cannot be read: {line}", "k3s cannot read it, either", path)
    return {
        key.text: [item.text for item in value.items] if value.kind == "list" else [value.text]
        for key, value in (root.pairs if root is not None else [])
    }
