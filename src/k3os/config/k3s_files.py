"""Files in write_files that k3s reads or overwrites: advice.

Manifests: docs.k3s.io, "Packaged Components"; configuration: "Configuration File". Only warnings,
since each of these files may be intended as it is.
"""

from __future__ import annotations

from k3os.config.k3s_flags import FILE as SETTINGS
from k3os.config.k3s_flags import flags
from k3os.config.value import Problem, Value, numbered
from k3os.system.numbers import are_digits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "write_files"
ARGUMENTS = "k3os.k3s_args"
# below k3s' data, wherever that is
MANIFESTS = "/server/manifests/"
MANIFEST_ENDINGS = (".yaml", ".yml", ".json")
# What k3s deploys by itself -> its name for --disable, or "" if that does not accept it.
PACKAGED = {
    "ccm": "",
    "coredns": "coredns",
    "local-storage": "local-storage",
    "metrics-server": "metrics-server",
    "rolebindings": "",
    "runtimes": "runtimes",
    "traefik": "traefik",
}
# what k3OS adds there -> the key that turns it off
OURS = {"k3os-operator": "k3os.operator: false"}
# our file if somebody writes SETTINGS; k3s reads this directory after it, in name order
BESIDE = f"{SETTINGS}.d/50-k3os.yaml"
# our lists, in addition to the user's
LAST = f"{SETTINGS}.d/zz-k3os.yaml"
# k3s and its containerd read these only when they start
READ_AT_START = "/etc/rancher/k3s/"
# the same, below k3s' data
OF_AGENT = "/agent/etc/"
# k3s gets the variables in it
LOGINS = "/etc/environment"
# a setting of k3s -> the key of ours that sets it, too
SCALARS = {"server": "k3os.server_url", "token": "k3os.token"}
SHORT = {"s": "server", "t": "token"}
LISTS = {"node-label": "k3os.labels", "node-taint": "k3os.taints"}


def read_at_start(files: Value | None) -> dict[str, Value]:
    """Path -> its entries of write_files, for files that k3s reads only when it starts."""
    entries = files.data if files is not None and isinstance(files.data, list) else []
    found: dict[str, list[Value]] = {}
    for entry in entries:
        path = str(entry.data["path"].data) if isinstance(entry.data, dict) else ""
        if path.startswith(READ_AT_START) or OF_AGENT in path or path == LOGINS:
            found.setdefault(path, []).append(entry)
    return {path: Value(several, several[0].place) for path, several in found.items()}


def variables(text: str) -> tuple[dict[str, str], list[str]]:
    """The variables in a text in the format of LOGINS, pam_env(8), and the names of those that only
    a shell could set: nothing reads these."""
    found: dict[str, str] = {}
    left_out = []
    for line in text.split("\n"):
        name, equals, word = line.strip().removeprefix("export ").partition("=")
        name, word = name.strip(), word.strip()
        is_name = name.isascii() and name.replace("_", "a").isalnum() and not are_digits(name[0])
        if not equals or not is_name:
            continue  # a comment, or something that a login ignores
        quote = word[:1] if word[:1] in ("'", '"') and word[:1] in word[1:] else ""
        word = word[1:].partition(quote)[0] if quote else word.partition(" #")[0].rstrip()
        if "$" in word and quote != "'":
            left_out.append(name)
        else:
            found[name] = word
    return found, left_out


def is_settings(path: str) -> bool:
    """Whether k3s reads this file as its configuration."""
    beside = path.startswith(f"{SETTINGS}.d/") and path.endswith((".yaml", ".yml"))
    return path == SETTINGS or (beside and "/" not in path.removeprefix(f"{SETTINGS}.d/"))


def overwritten(values: dict[str, Value]) -> list[Problem]:
    """A warning for each manifest that something else writes, too, and for variables that k3s does
    not get. values: of one source."""
    problems = []
    for index, path, content in _entries(values):
        text = str(path.data)
        if text == LOGINS and content is not None:
            for name in variables(str(content.data))[1]:
                message = f"k3s does not get {name}: no shell expands the `$` in it"
                key, hint = f"{KEY}[{index}].content", "write the value itself"
                problems.append(Problem(content.place, key, message, hint, is_error=False))
        name = text.partition(MANIFESTS)[2]
        if name.endswith(MANIFEST_ENDINGS):
            message, hint = _about(name)
            if message:
                key = f"{KEY}[{index}].path"
                problems.append(Problem(path.place, key, message, hint, is_error=False))
    return problems


def _about(name: str) -> tuple[str, str]:
    """What is wrong with a manifest of this name, and what to do; "" for nothing."""
    # k3s names an addon after the file or its directory, up to the first dot
    addon = name.split("/")[0].partition(".")[0]
    if addon in OURS:
        return "is written by k3OS itself", f"set `{OURS[addon]}`, or take another name"
    if addon not in PACKAGED:
        return "", ""
    message = f"k3s has a manifest {addon} of its own and overwrites this one at each start"
    hint = "write a file of another name"
    if addon == "traefik":
        hint += ", with a HelmChartConfig, to change k3s' own"
    if PACKAGED[addon]:
        hint += f"; to replace k3s' own add `--disable={PACKAGED[addon]}` to k3os.k3s_args"
    return message, hint


def contradictions(values: dict[str, Value]) -> list[Problem]:
    """A warning if a k3s configuration file and a key of ours differ.

    values: of all sources.
    """
    problems = []
    entries = list(_entries(values))
    ours = BESIDE if SETTINGS in [str(path.data) for _, path, _ in entries] else SETTINGS
    for index, path, content in entries:
        if content is None or not is_settings(str(path.data)):
            continue
        winner = "wins" if str(path.data) == SETTINGS or str(path.data) < ours else "loses"
        for name, theirs in top_level(str(content.data)).items():
            message = _contradiction(name, theirs, values, winner)
            hint = "say it once"
            if name in LISTS and str(path.data) > LAST:
                message = f"k3s reads this after {LAST} and takes no other {name}"
                hint = f"write {name}+"
            if message:
                where = f"{KEY}[{index}].content"
                problems.append(Problem(content.place, where, message, hint, is_error=False))
    return problems


def contradicting(values: dict[str, Value]) -> list[Problem]:
    """A warning if a k3s argument and a key of ours differ: k3s reads its arguments after its
    files. values: of all sources."""
    problems = []
    for item, flag, value in argued(values.get(ARGUMENTS)):
        message = _contradiction(flag, [value], values, "loses", is_argument=True)
        if message:
            where = f"{ARGUMENTS}[{item.place.number}]"
            problems.append(Problem(item.place, where, message, "say it once", is_error=False))
    return problems


def argued(arguments: Value | None) -> Iterator[tuple[Value, str, str]]:
    """Item, flag and value of arguments that a key of ours sets, too."""
    items = [item for _, item in numbered(arguments)]
    for position, flag, value in flags([str(item.data) for item in items]):
        name = SHORT.get(flag, flag)
        if name in SCALARS or name in LISTS:
            yield items[position], name, value


def _contradiction(
    name: str, theirs: list[str], values: dict[str, Value], wins: str, *, is_argument: bool = False
) -> str:
    """How our key differs from a setting of k3s; wins: what our key does for a single value."""
    plain = name.removesuffix("+")
    if plain in SCALARS and SCALARS[plain] in values:
        ours = str(values[SCALARS[plain]].data)
        return f"{SCALARS[plain]} sets {plain}, too, and {wins}" if theirs != [ours] else ""
    if plain not in LISTS or LISTS[plain] not in values:
        return ""
    known = dict(_pair(each) for each in _texts(values[LISTS[plain]]))
    twice = [pair for pair in map(_pair, theirs) if known.get(pair[0], pair[1]) != pair[1]]
    # our labels are in the last file; a taint can exist only once, and ours is left out
    wins = "loses" if is_argument or plain == "node-taint" else "wins"
    listed = ", ".join(pair[0] for pair in twice)
    return (
        f"{LISTS[plain]} sets the {plain} {listed} to something else, and {wins}" if twice else ""
    )


def _texts(value: Value) -> list[str]:
    if isinstance(value.data, dict):
        return [f"{name}={item.data}" for name, item in value.data.items()]
    return [str(item.data) for item in value.data] if isinstance(value.data, list) else []


def taint_name(text: str) -> str:
    """The part of a taint that must be unique on a node: key and effect."""
    return _pair(text)[0]


def _pair(text: str) -> tuple[str, str]:
    """(name, value); for a taint the effect is part of the name."""
    name, _, value = text.partition("=")
    value, colon, effect = value.partition(":")
    return (f"{name}:{effect}" if colon else name), value


def top_level(text: str) -> dict[str, list[str]]:
    """The settings in a configuration file; {} if it is not YAML that we understand."""
    from k3os.config.yamltext import read

    root, _ = read(text.encode(errors="surrogateescape"), "")
    pairs = root.pairs if root is not None else []
    return {
        key.text: [item.text for item in node.items] if node.kind == "list" else [node.text]
        for key, node in pairs
    }


def _entries(values: dict[str, Value]) -> Iterator[tuple[int, Value, Value | None]]:
    """Number, path and (if it is not encoded) content of each entry."""
    for index, item in numbered(values.get(KEY)):
        fields = item.data if isinstance(item.data, dict) else {}
        yield index, fields["path"], None if "encoding" in fields else fields.get("content")
