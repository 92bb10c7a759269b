"""k3os.containerd: tables to add to what k3s writes for its containerd, and your own templates in
write_files: whether this k3s' containerd, 1 or 2, reads them (docs.k3s.io, "Configuring
containerd"; toml.io). k3s generates that file from a template, in which `base` is k3s' own.

containerd 1 and 2 name their plugins differently (containerd's CRI configuration guide), and
neither starts if a table is given twice; so both are checked here.
"""

from __future__ import annotations

import re

from k3os.config.scalars import scalar_text
from k3os.config.value import Place, Problem, Value, Wrong, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from k3os.config.key import Key
    from k3os.config.kinds import Check
    from k3os.config.value import Node

    Version = tuple[int, int, int]

KEY = "k3os.containerd"
# Python's parser takes minutes for a key with many parts
LARGEST, LONGEST_LINE = 1 << 16, 2000
DIRECTORY = "agent/etc/containerd"
# k3s uses the second only if the first is missing; before containerd 2 there was only the second
TEMPLATES = {3: "config-v3.toml.tmpl", 2: "config.toml.tmpl"}
BASE = '{{ template "base" . }}'
CRI_2, CRI_3 = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1"
RUNTIME_3, IMAGES_3 = f"{CRI_3}.runtime", f"{CRI_3}.images"
# plugins that k3s configures, and its tables below them
PLUGINS = (CRI_2, RUNTIME_3, IMAGES_3, "io.containerd.internal.v1.opt")
OF_K3S = (
    *((), ("cni",), ("containerd",), ("containerd", "runtimes", "runc"), ("registry",)),
    ("containerd", "runtimes", "runc", "options"),
)
# what k3s' own templates (its pkg/agent/templates) always contain, as far as known
_BASE = f"""
[grpc]
[plugins."io.containerd.internal.v1.opt"]
[plugins."{CRI_2}"]
"""
_BASES = {
    2: f"""{_BASE}
[plugins."{CRI_2}".cni]
[plugins."{CRI_2}".containerd.runtimes.runc.options]
[plugins."{CRI_2}".registry]
""",
    3: f"""{_BASE}
[plugins."{RUNTIME_3}".cni]
[plugins."{RUNTIME_3}"]
[plugins."{RUNTIME_3}".containerd.runtimes.runc.options]
[plugins."{IMAGES_3}"]
[plugins."{IMAGES_3}".pinned_images]
[plugins."{IMAGES_3}".registry]
""",
}
# the first k3s of each minor release that has containerd 2; that has the template `base`
SECOND = ((1, 31, 6), (1, 32, 2), (1, 33, 0))
LAST = 9999
HAS_BASE = ((1, 24, 17), (1, 25, 13), (1, 26, 8), (1, 27, 5), (1, 28, 1))


def toml(check: Check, key: Key, node: Node, path: str) -> Value:
    text = scalar_text(node, "tables in TOML")
    if "{{" in text:
        hint = "write the tables that are to be added: k3OS writes the template"
        # without the path: it would be reported as a template that was not filled in
        place = Place(node.place.source, node.place.line, node.place.column)
        raise Wrong(place, "is a template", hint)
    try:
        found = parsed(text)
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        raise Wrong(node.place, message, hint) from None
    if not found:
        raise Wrong(node.place, "has no table in it", "leave it out")
    return Value(text, node.place)


def parsed(text: str) -> dict[str, Any]:
    """Raises ValueError with what containerd would not accept."""
    import tomllib

    if len(text) > LARGEST:
        raise ValueError(f"is larger than {LARGEST} characters; leave comments out")
    if max(map(len, text.split("\n"))) > LONGEST_LINE:
        raise ValueError(f"has a line that is longer than {LONGEST_LINE} characters; break it")
    try:
        found = tomllib.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"is not TOML: {error}") from None
    for name, value in found.items():
        if not isinstance(value, dict):
            hint = "leave it out: k3s writes it" if name == "version" else "write it into a table"
            raise ValueError(f"`{name}` is outside of a table; {hint}")
    forms = _forms(found)
    if len(forms) > 1:
        message = f"has the names of containerd 1 ({CRI_2}) and of containerd 2 ({CRI_3}) in it"
        raise ValueError(f"{message}; write one of them")
    for header in re.findall(r"(?m)^\s*\[([^\[\]\n]+)\]\s*(?:#.*)?$", text):
        if _is_of_k3s(header):
            raise ValueError(f"k3s has a table [{header}] of its own; add to tables below it")
    for each in forms or _BASES:
        try:
            tomllib.loads(f"{_BASES[each]}{text}")
        except tomllib.TOMLDecodeError:
            message = "repeats what k3s writes itself, and containerd refuses duplicates"
            raise ValueError(f"{message}; add to tables below k3s' own") from None
    return found


def _forms(found: dict[str, Any]) -> set[int]:
    plugins = found.get("plugins", {})
    forms = {2} if CRI_2 in plugins else set()
    return forms | ({3} if {RUNTIME_3, IMAGES_3} & set(plugins) else set())


def form(text: str) -> int:
    """The version of containerd's configuration format, 2 or 3; 0: either."""
    return next(iter(_forms(parsed(text))), 0)


def _is_of_k3s(header: str) -> bool:
    import tomllib

    path: list[str] = []
    inner = tomllib.loads(f"[{header}]")
    while inner:
        name, inner = next(iter(inner.items()))
        path.append(name)
    is_cri = path[:1] == ["plugins"] and path[1:2] != [] and path[1] in PLUGINS
    return is_cri and tuple(path[2:]) in OF_K3S


def version(text: str) -> Version | None:
    """(1, 33, 1) for v1.33.1+k3s1; for 1.33, higher than all its patch releases; None for anything
    else."""
    match = re.fullmatch(r"v?([0-9]{1,4})\.([0-9]{1,4})(\.([0-9]{1,4})([+-].*)?)?", text)
    return (int(match[1]), int(match[2]), int(match[4] or LAST)) if match else None


def is_since(known: Version, firsts: tuple[Version, ...]) -> bool:
    """Whether a version has a feature that was introduced in these patch releases."""
    for first in firsts:
        if first[:2] == known[:2]:
            return known >= first
    return known >= firsts[-1]


def template(text: str, known: Version | None) -> int:
    """The key of TEMPLATES to use. Raises ValueError if this k3s (None: unknown) has none."""
    wanted = form(text)
    if known is None:
        return wanted or 2
    name = "k3s v{}.{}.{}".format(*known).removesuffix(f".{LAST}")
    if not is_since(known, HAS_BASE):
        message = f"{name} has no template that can be added to"
        raise ValueError(f"{message}; take a newer k3s, or write config.toml.tmpl by write_files")
    second = is_since(known, SECOND)
    if wanted == 3 and not second:
        message = f"{name} brings containerd 1, which does not know {CRI_3}"
        raise ValueError(f'{message}; write plugins."{CRI_2}"')
    return wanted or (3 if second else 2)


def problems(values: dict[str, Value], k3s_version: str) -> Iterator[Problem]:
    """What this k3s ("": unknown) would reject of key or files. values: of one source, or all."""
    value = values.get(KEY)
    if value is not None:
        try:
            template(str(value.data), version(k3s_version))
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            yield Problem(value.place, KEY, message, hint)
    yield from _templates(values, k3s_version)


def _templates(values: dict[str, Value], k3s_version: str) -> Iterator[Problem]:
    """Problems of complete templates in write_files with this k3s ("": unknown)."""
    known = version(k3s_version)
    second = known is None or is_since(known, SECOND)
    for index, item in numbered(values.get("write_files")):
        fields = item.data if isinstance(item.data, dict) else {}
        content = fields.get("content")
        path = str(fields["path"].data) if "path" in fields else ""
        if content is None or "encoding" in fields or f"/{DIRECTORY}/" not in path:
            continue
        text, where = str(content.data), f"write_files[{index}].content"
        if path.endswith(TEMPLATES[3]) and not second:
            message = f"k3s {k3s_version} reads {TEMPLATES[2]} only"
            yield Problem(content.place, where, message, "write that", is_error=False)
        if not path.endswith(TEMPLATES[2]) or not second or 'template "base"' in text:
            continue
        if not re.search(r"(?m)^\s*version\s*=\s*[23]\s*$", text):
            message = "is in the first form of containerd's file, which containerd 2 does not read"
            hint = f"begin with `{BASE}`, or write {KEY}"
            yield Problem(content.place, where, message, hint, is_error=known is not None)
        elif known is not None:
            message = "is all of a configuration as containerd 1 had it, and nothing of k3s' own"
            hint = f"begin with `{BASE}`, or write {KEY}"
            yield Problem(content.place, where, message, hint, is_error=False)
