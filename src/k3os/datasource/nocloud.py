"""NoCloud: a medium labelled cidata with `user-data` and `meta-data`.

https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html (file system source)
"""

from __future__ import annotations

from k3os.datasource.found import Found, attempt
from k3os.datasource.media import first, read_file
from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from k3os.config.value import Node
    from k3os.datasource.query import Query

    Described: TypeAlias = "tuple[str, list[str], str]"  # hostname, ssh keys, instance-id

LABEL = "cidata"


def fetch(query: Query) -> Found:
    return first(LABEL, read, own=query.own_media)


def read(directory: str) -> Found | None:
    """meta-data is optional if there is user-data; without both it is another kind of medium."""
    return both(directory, "nocloud", ("meta-data", "user-data"), described)


def both(
    directory: str,
    name: str,
    files: tuple[str, str],
    describe: Callable[[bytes, str], Described],
) -> Found | None:
    """The contents of a medium's files (meta-data, user-data); a bad one does not affect the other.

    None without either. Raises UserError if there are only problems.
    """
    problems: list[str] = []
    metadata = attempt(lambda: read_file(directory, files[0]), None, problems)
    nothing: Described = ("", [], "")
    hostname, keys, instance = attempt(lambda: describe(metadata or b"", name), nothing, problems)
    userdata = attempt(lambda: read_file(directory, files[1]), None, problems)
    if problems and not (hostname or keys or userdata):
        raise UserError("; ".join(problems))
    if metadata is None and userdata is None:
        return None
    return Found(name, hostname, keys, userdata or b"", problems, instance)


def described(metadata: bytes, name: str) -> Described:
    """Hostname, keys and instance-id of a meta-data file. Raises UserError."""
    from k3os.config.yamltext import read as read_yaml

    root, problems = read_yaml(metadata, "meta-data")
    if errors := [problem for problem in problems if problem.is_error]:
        raise UserError(str(errors[0]), where=name)
    values = {key.text: value for key, value in root.pairs} if root is not None else {}
    hostname = values.get("local-hostname") or values.get("hostname")
    keys = values.get("public-keys")
    instance = values.get("instance-id")
    return (
        hostname.text if hostname is not None else "",
        key_texts(keys) if keys else [],
        instance.text if instance is not None else "",
    )


def key_texts(node: Node) -> list[str]:
    """All keys in a text, a list, or a map of texts or of maps with `openssh-key`."""
    if node.kind == "scalar":
        return [node.text]
    inner = node.items if node.kind == "list" else [value for _, value in node.pairs]
    return [text for each in inner for text in key_texts(each)]
