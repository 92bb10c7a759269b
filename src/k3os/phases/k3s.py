"""k3os.server_url, token, labels, k3s_args, taints: what k3s is started with.

Everything but the arguments goes into a configuration file of k3s (docs.k3s.io, "Configuration
File"); the arguments go into an EnvironmentFile, and the unit splits them into words. If
write_files writes that configuration file itself, the user's is used, and ours goes beside it.

kubectl, crictl and ctr read the file, too, whoever calls them: so neither it nor the arguments
contain a secret. Each secret is in a file of its own that the configuration names, or in the
EnvironmentFile.
"""

from __future__ import annotations

from k3os import names
from k3os.config import k3s_data
from k3os.config.hostnames import RULES, WRONG_NODE, is_node_name, node_name
from k3os.config.k3s_files import BESIDE, LAST, argued, is_settings, taint_name
from k3os.config.k3s_flags import FILE, OF_AGENTS, SECRETS, flags, without_secrets
from k3os.config.value import Place
from k3os.paths import K3S_DATA, NODE_NAME
from k3os.phases import resolv
from k3os.phases.actions import Action, Link, OwnFile, Refused, Remove, WriteFile
from k3os.phases.environment import of_k3s, quote
from k3os.phases.write_files import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from k3os.config.load import Config
    from k3os.phases.node import Node

ARGS = "/run/k3os/k3s.args"
# the file with the secret of a flag
SECRET = "/run/k3os/k3s.{}"
# contains this node's name if it joins others; k3os-join.service runs if it exists
JOINS = "/run/k3os/joins"
COMMANDS = ("server", "agent")
DATA = k3s_data.DATA
# the kernel's cgroup v2; k3s exits at once without these
CONTROLLERS = "/sys/fs/cgroup/cgroup.controllers"
NEEDED = ("cpu", "cpuset", "memory", "pids")


def plan(config: Config, node: Node) -> list[Action]:
    own = paths(config)
    argv, secrets = without_secrets(arguments(config))
    if config.text("k3os.token"):
        secrets.setdefault("token", config.text("k3os.token"))
    place = _place(config)
    actions = _kernel_problem(node)
    name = node.read(NODE_NAME).strip()
    if not is_node_name(name) or name != name.lower():
        name = ""  # from an older k3OS; no cluster ever accepted it
    given = given_name(config, node)
    if given and not is_node_name(given):
        what, message = "name the node", f"`{given}` {WRONG_NODE}"
        actions.append(Refused("k3os.k3s_args", place, what, message, RULES))
    if not name and node.phase == "runtime" and not given:
        name = node_name(node.read("/etc/hostname").strip())
        if name:
            # fixed before k3s first registers: a later rename must not orphan a node
            actions.append(WriteFile("k3os.k3s_args", place, NODE_NAME, f"{name}\n".encode()))
    settings = k3s_settings(config, node.mode)
    settings["node-label"] = [*_operator_label(config, node), *settings["node-label"]]
    if name and not given:
        settings["node-name"] = name
    if (directory := data_directory(config)) != DATA:
        # kubectl, crictl and ctr do not get the service's arguments and variables
        settings["data-dir"] = directory
    actions.append(Link("k3os.k3s_args", place, K3S_DATA, directory))
    variables = {"K3S_ARGS": " ".join(word(each) for each in argv)}
    for flag, (variable, file_flag) in SECRETS.items():
        path = SECRET.format(flag)
        if flag in secrets and file_flag and (argv[0] == "server" or flag in OF_AGENTS):
            data = f"{secrets[flag]}\n".encode(errors="surrogateescape")
            actions.append(WriteFile("k3os.token", place, path, data, 0o600))
            settings[file_flag] = path
            continue
        if flag in secrets:
            variables[variable] = secrets[flag]
        if node.exists(path):
            actions.append(Remove("k3os.token", place, path))
    actions += _lists_last(own, node, place, settings)
    text = to_yaml(settings).encode(errors="surrogateescape")
    write, path = (OwnFile, BESIDE) if FILE in own else (WriteFile, FILE)
    actions.append(write("k3os.k3s_args", place, path, text))
    lines = "".join(f"{variable}={quote(value)}\n" for variable, value in variables.items())
    data = lines.encode(errors="surrogateescape")
    actions.append(WriteFile("k3os.k3s_args", place, ARGS, data, 0o600))
    joins = argv[0] == "agent" or "server" in settings or _flag(argv, "server", "s")
    if joins or "K3S_URL" in of_k3s(config, node):
        data = f"{given.lower() or name}\n".encode(errors="surrogateescape")
        actions.append(WriteFile("k3os.server_url", place, JOINS, data))
    elif node.exists(JOINS):
        actions.append(Remove("k3os.server_url", place, JOINS))
    actions.append(resolv.Write(place))
    return actions


def _lists_last(
    own: set[str], node: Node, place: Place, settings: dict[str, str | list[str]]
) -> list[Action]:
    """If the user has configuration files, our lists go into a file after them, as additions: k3s
    takes a list from the last file that sets it. These lists are removed from settings."""
    if not any(is_settings(path) for path in own - {BESIDE, LAST}):
        return [Remove("k3os.labels", place, LAST)] if node.exists(LAST) else []
    names = [name for name, value in settings.items() if isinstance(value, list)]
    text = to_yaml({f"{name}+": settings.pop(name) for name in names})
    data = text.encode(errors="surrogateescape")
    return [WriteFile("k3os.labels", place, LAST, data)]


def _kernel_problem(node: Node) -> list[Action]:
    """A foreign kernel (overlay) may lack cgroup controllers that containers need."""
    known = node.read(CONTROLLERS).split()
    missing = [name for name in NEEDED if name not in known]
    if node.phase != "runtime" or not known or not missing:
        return []
    message = f"the kernel has no control group for: {', '.join(missing)}; k3s does not start"
    hint = "start a kernel that has it"
    if "memory" in missing:
        hint = (
            "add cgroup_enable=memory to its command line (Raspberry Pi OS: cmdline.txt on the FAT "
            "partition, in the same line), and reboot"
        )
    return [Refused("k3os.k3s_args", Place("kernel"), "look at the kernel", message, hint)]


def _operator_label(config: Config, node: Node) -> list[str]:
    """The label with either value: k3s changes labels of a registered node, but deletes none."""
    from k3os.phases.operator_room import IMAGE, runs_here

    if not node.exists(IMAGE):
        return []
    return [f"{names.OPERATOR_LABEL}={str(runs_here(config, node)).lower()}"]


def _place(config: Config) -> Place:
    for path in ("k3os.k3s_args", "k3os.server_url", "k3os.token", "k3os.labels", "k3os.taints"):
        value = config.get(path)
        if value is not None:
            return value.place
    return Place("default")


def given_name(config: Config, node: Node) -> str:
    """The node's name in k3s' settings by the user; "" for none."""
    return given(config, node, "K3S_NODE_NAME", "node-name")


def given(config: Config, node: Node, variable: str, *flags: str) -> str:
    """The user's value for a flag (its long name comes first): from an argument, from a k3s
    configuration file, or from a variable, which is also k3s' order of precedence. "" for none."""
    return (
        _flag(arguments(config), *flags)
        or _given_in_files(config, *flags)
        or of_k3s(config, node).get(variable, "")
    )


def _given_in_files(config: Config, *flags: str) -> str:
    found = [
        settings[name]
        for settings in _settings_files(config, *flags)
        for name in flags
        if settings.get(name)
    ]
    return found[-1][-1] if found else ""


def data_directory(config: Config) -> str:
    """Where this node's k3s keeps its data, without a trailing slash."""
    return k3s_data.directory(config.values)


def _settings_files(config: Config, *keys: str) -> Iterator[dict[str, list[str]]]:
    """Files of write_files that contain one of the keys, parsed, in the order in which k3s reads
    them."""
    from k3os.phases.write_files import KEY, content_of

    found = {}
    for item in config.items(KEY):
        path = str(item.data["path"].data) if isinstance(item.data, dict) else ""
        if is_settings(path) and path not in (BESIDE, LAST):
            found[path] = content_of(item)
    for path in sorted(found):
        if any(key in found[path] for key in keys):
            from k3os.config.k3s_files import top_level

            yield top_level(found[path])


def _flag(argv: list[str], *wanted: str) -> str:
    """The value of a flag with any of these names, in one word or in two; "" if it is missing. The
    last occurrence counts."""
    values = [value for _, name, value in flags(argv) if name in wanted]
    return values[-1] if values else ""


def arguments(config: Config) -> list[str]:
    """What follows `k3s`, starting with server or agent. With a server to join it is an agent,
    unless the arguments say otherwise."""
    args = [each.replace("\n", " ") for each in config.texts("k3os.k3s_args")]
    if args and args[0] in COMMANDS:
        return args
    return ["agent" if config.text("k3os.server_url") else "server", *args]


def k3s_settings(config: Config, mode: str) -> dict[str, str | list[str]]:
    """k3s' configuration file as a map, without settings that name a secret's file."""
    from k3os import __version__

    settings: dict[str, str | list[str]] = {}
    if config.text("k3os.server_url"):
        settings["server"] = config.text("k3os.server_url")
    labels = {names.MODE_LABEL: mode, names.VERSION_LABEL: label_value(__version__)}
    labels.update(config.mapping("k3os.labels"))
    settings["node-label"] = [f"{name}={value}" for name, value in labels.items()]
    if taints := _taints(config):
        settings["node-taint"] = taints
    return settings


def _taints(config: Config) -> list[str]:
    """For each key and effect only the last taint, and none that k3s gets from elsewhere: the API
    server rejects a node with duplicates, so it would never register."""
    ours = {taint_name(text): text for text in config.texts("k3os.taints")}
    if not ours:
        return []
    given = argued(config.get("k3os.k3s_args"))
    theirs = [value for _, flag, value in given if flag == "node-taint"]
    for settings in _settings_files(config, "node-taint"):
        theirs += [*settings.get("node-taint", []), *settings.get("node-taint+", [])]
    taken = {taint_name(text) for text in theirs}
    return [text for name, text in ours.items() if name not in taken]


def label_value(text: str) -> str:
    """Converted to valid characters of a label value, e.g. for a version with a `+`."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text)[:63]


def to_yaml(settings: dict[str, str | list[str]]) -> str:
    """A map of texts and lists of texts; every text is quoted, so that none becomes a number."""
    lines = ["# written by k3os from its configuration at each boot"]
    for name, value in settings.items():
        if isinstance(value, list):
            lines += [f"{name}:", *(f"  - {_quoted(item)}" for item in value)]
        else:
            lines.append(f"{name}: {_quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    from k3os.config.dump import double_quoted

    return double_quoted(text)


def word(text: str) -> str:
    """One word, quoted for systemd's splitting of `$K3S_ARGS` (systemd.service(5), "Command
    lines")."""
    if text and all(c.isalnum() or c in "-_=.,:/@+%" for c in text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
