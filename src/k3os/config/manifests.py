"""k3os.manifests: Kubernetes objects that a k3s server creates (docs.k3s.io, "Auto-Deploying
Manifests"): name -> YAML, or where it is.

k3s names what it creates from a file after the file, up to the first dot (RFC 1123, unique in the
cluster), and reports errors only in the cluster; so they are checked here.
"""

from __future__ import annotations

from k3os.config import fetched
from k3os.config.k3s_files import MANIFEST_ENDINGS, OURS, PACKAGED
from k3os.config.scalars import KIND_WORDS, scalar_text
from k3os.config.value import Value, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from k3os.config.key import Key
    from k3os.config.kinds import Check
    from k3os.config.value import Node

LONGEST_NAME = 63
MOST_OBJECTS = 1000


def manifests(check: Check, key: Key, node: Node, path: str) -> Value:
    if node.kind != "map":
        hint = "write `NAME: |`, and the manifest below it"
        raise Wrong(node.place, f"must be a map, not {KIND_WORDS[node.kind]}", hint)
    found: dict[str, Value] = {}
    for name, item in node.pairs:
        entry_path = f"{path}.{name.text}"
        try:
            short = _name(name)
            if short in found:
                first = found[short].place.as_first()
                message = f"is given twice{first}; this one counts"
                check.warn(name.place, entry_path, message, "remove one")
            found[short] = Value(_content(item), item.place)
        except Wrong as wrong:
            check.error(entry_path, wrong)
    return Value(found, node.place)


def _name(node: Node) -> str:
    word = scalar_text(node, "a name").strip()
    for ending in MANIFEST_ENDINGS:
        word = word.removesuffix(ending)
    plain = word.replace("-", "")
    fine = plain.isascii() and plain.isalnum() and word == word.lower() and word.strip("-") == word
    if not fine or len(word) > LONGEST_NAME:
        hint = f"use lower-case letters, digits and `-`, at most {LONGEST_NAME} characters"
        raise Wrong(node.place, f"`{word}` is not a valid AddOn name", hint)
    if word in OURS:
        hint = f"take another name, or set `{OURS[word]}` and write that file by write_files"
        raise Wrong(node.place, "is written by k3OS itself", hint)
    if word in PACKAGED:
        message = f"k3s has a manifest {word} of its own and overwrites this one at each start"
        raise Wrong(node.place, message, "take another name")
    return word


def _content(node: Node) -> str:
    if node.kind == "map":
        hint = "write `|` behind the name, so that what is below it is a text"
        raise Wrong(node.place, "is a map, not the text of a manifest", hint)
    text = scalar_text(node, "the text of a manifest, a URL or a path")
    if fetched.is_elsewhere(text):
        return fetched.check(node, text)
    try:
        check_objects(text)
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        raise Wrong(node.place, message, hint) from None
    return text


def check_objects(text: str) -> None:
    """Raises ValueError with what k3s would reject in a manifest's text."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    count = 0
    try:
        for root in yaml.compose_all(text, Loader=loader):
            if root.tag.endswith(":null"):
                continue
            count += 1
            _check_object(root)
            if count > MOST_OBJECTS:
                raise ValueError(f"has more than {MOST_OBJECTS} objects; write several manifests")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise ValueError(f"line {line} of it is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not count:
        raise ValueError("has no object in it; leave it out")


def _check_object(root: Any) -> None:
    line = root.start_mark.line + 1
    pairs = root.value if root.id == "mapping" else []
    fields = {key.value: value for key, value in pairs if isinstance(key.value, str)}
    missing = [name for name in ("apiVersion", "kind") if name not in fields]
    if missing:
        what = " and no ".join(missing)
        raise ValueError(f"what begins in line {line} of it is not an object: it has no {what}")
    kind = str(fields["kind"].value)
    if kind.endswith("List") and "items" in fields:
        return
    metadata: Any = fields.get("metadata")
    is_map = getattr(metadata, "id", "") == "mapping"
    if "name" not in [key.value for key, _ in (metadata.value if is_map else [])]:
        message = f"the {kind} that begins in line {line} of it has no name"
        raise ValueError(f"{message}; write metadata.name")
