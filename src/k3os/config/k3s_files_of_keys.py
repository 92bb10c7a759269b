"""Files of k3s that our keys write, and what else in a configuration affects them.

Only warnings: if write_files writes the same file, the user's is used.
"""

from __future__ import annotations

from k3os.config.k3s_data import directory
from k3os.config.k3s_files import MANIFEST_ENDINGS, MANIFESTS
from k3os.config.k3s_flags import FILE as SETTINGS
from k3os.config.k3s_flags import flags
from k3os.config.value import Problem, Value, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

REGISTRIES = ("k3os.registries.mirrors", "k3os.registries.configs")
# where k3s' registry settings are, unless this flag names another file
REGISTRIES_FILE = "/etc/rancher/k3s/registries.yaml"
MANIFESTS_KEY = "k3os.manifests"
KUBELET = "k3os.kubelet"
CONTAINERD = "k3os.containerd"
CONTAINERD_FILES = "agent/etc/containerd"
EMBEDDED = "k3os.embedded_registry"
FLAG = "private-registry"


def contradictions(key: str, values: dict[str, Value]) -> list[Problem]:
    """A warning if something else decides what k3s reads. values: of all sources."""
    if key in REGISTRIES:
        first = next(each for each in REGISTRIES if each in values)
        return [*_registries(values)] if key == first else []
    if key == EMBEDDED:
        return [*_nothing_shared(values)]
    if key == KUBELET:
        return [*_arguments(values)]
    if key == CONTAINERD:
        files = [
            f"{directory(values)}/{CONTAINERD_FILES}/{name}"
            for name in ("config.toml.tmpl", "config-v3.toml.tmpl")
        ]
        return [*written(values, dict.fromkeys(files, key))]
    if key == MANIFESTS_KEY:
        names = values[key].data
        assert isinstance(names, dict)
        files = [f"{directory(values)}{MANIFESTS}{name}.yaml" for name in names]
        same = dict(zip(files, (f"{key}.{name}" for name in names), strict=True))
        return [*written(values, same), *_same_addon(values, names, files)]
    return []


def _registries(values: dict[str, Value]) -> Iterator[Problem]:
    yield from written(values, {REGISTRIES_FILE: "k3os.registries"})
    message = f"k3s reads the file of {FLAG}, and k3os.registries has no effect"
    for index, item, value in _given(values, FLAG):
        if value != REGISTRIES_FILE:
            where = f"k3os.k3s_args[{index}]"
            yield Problem(item.place, where, message, "leave it out", is_error=False)
    for index, path, content in _plain_files(values):
        if path == SETTINGS or path.startswith(f"{SETTINGS}.d/"):
            from k3os.config.k3s_files import top_level

            if top_level(str(content.data)).get(FLAG, [REGISTRIES_FILE]) != [REGISTRIES_FILE]:
                where = f"write_files[{index}].content"
                yield Problem(content.place, where, message, "leave it out", is_error=False)


def _nothing_shared(values: dict[str, Value]) -> Iterator[Problem]:
    """k3s shares only images of registries that are in its file."""
    own = [
        item.data["path"].data
        for _, item in numbered(values.get("write_files"))
        if isinstance(item.data, dict)
    ]
    if values[EMBEDDED].data and REGISTRIES[0] not in values and REGISTRIES_FILE not in own:
        message = "shares nothing: k3os.registries.mirrors lists no registry"
        hint = 'write `"*": {}` there for all of them'
        yield Problem(values[EMBEDDED].place, EMBEDDED, message, hint, is_error=False)


def _arguments(values: dict[str, Value]) -> Iterator[Problem]:
    """Arguments of the kubelet have the same names as its fields, and override them."""
    from k3os.config.kubelet_values import fitting
    from k3os.config.spelling import fold

    fields = values[KUBELET].data
    assert isinstance(fields, dict)
    for field, why, hint in fitting(fields)[1]:
        message = f"is left out: {why}"
        yield Problem(fields[field].place, f"{KUBELET}.{field}", message, hint, is_error=False)
    folded = {fold(name): name for name in fields}
    for index, item, argument in _given(values, "kubelet-arg"):
        name = folded.get(fold(argument.partition("=")[0]))
        if name is not None:
            message = f"is what the kubelet takes, and not {KUBELET}.{name}"
            where = f"k3os.k3s_args[{index}]"
            yield Problem(item.place, where, message, "say it once", is_error=False)


def _given(values: dict[str, Value], flag: str) -> Iterator[tuple[int, Value, str]]:
    """Number, item and value of each k3s argument with this flag."""
    items = numbered(values.get("k3os.k3s_args"))
    for position, name, value in flags([str(item.data) for _, item in items]):
        if name == flag:
            yield *items[position], value


def written(values: dict[str, Value], ours: dict[str, str]) -> Iterator[Problem]:
    """A warning for each file of write_files that a key of ours also writes. ours: path -> key."""
    for index, item in numbered(values.get("write_files")):
        path = item.data.get("path") if isinstance(item.data, dict) else None
        key = ours.get(str(path.data)) if path is not None else None
        if path is not None and key is not None:
            message = f"is written instead of what {key} says, which has no effect"
            where = f"write_files[{index}].path"
            yield Problem(path.place, where, message, "say it once", is_error=False)


def _same_addon(
    values: dict[str, Value], names: Container[str], ours: list[str]
) -> Iterator[Problem]:
    """k3s names an addon after the file or its directory, up to the first dot."""
    for index, item in numbered(values.get("write_files")):
        path = item.data.get("path") if isinstance(item.data, dict) else None
        file = str(path.data) if path is not None else ""
        where = directory(values) + MANIFESTS
        name = file.removeprefix(where).partition("/")[0].partition(".")[0]
        is_manifest = file.startswith(where) and file.endswith(MANIFEST_ENDINGS)
        if path is not None and is_manifest and name in names and file not in ours:
            message = f"is the same AddOn to k3s as {MANIFESTS_KEY}.{name}"
            hint, where = "take another name", f"write_files[{index}].path"
            yield Problem(path.place, where, message, hint, is_error=False)


def _plain_files(values: dict[str, Value]) -> Iterator[tuple[int, str, Value]]:
    """Number, path and content of the files whose content is not encoded."""
    for index, item in numbered(values.get("write_files")):
        fields = item.data if isinstance(item.data, dict) else {}
        if "path" in fields and "content" in fields and "encoding" not in fields:
            yield index, str(fields["path"].data), fields["content"]
