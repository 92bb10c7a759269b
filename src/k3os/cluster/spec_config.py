"""What is wrong with the configuration in a NodePool's spec: `config`, `overrides`, `secrets`.

For `config` it says the same as the API server (operator/admission_policy.py). What depends on the
node is left to the check of each node's own (target.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from k3os.cluster import placeholders
from k3os.cluster.fragments import told
from k3os.cluster.impact import check
from k3os.cluster.objects import inside, text
from k3os.cluster.selector import is_selector
from k3os.cluster.target import too_large
from k3os.config.dump import as_tree
from k3os.config.load import Config
from k3os.config.schema import BY_PATH
from k3os.config.value import Value, field_text, numbered
from k3os.errors import UserError

# kubernetes.io, "Object Names and IDs"; "Secrets", "Restrictions on secret names and data"
SECRET = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
SECRET_KEY = r"[-._a-zA-Z0-9]{1,253}"
OPEN = "everybody on the node could read a secret in it; write permissions such as '0600'"
SHELL = (
    "a shell would run what is in the annotation; write the command as a list, or the annotation "
    "into k3os.environment and its variable in quotes here"
)
SHOWN = (
    "is shown by commands and in messages, so it cannot contain a secret; these can: passwords, "
    "tokens, passphrases, logins of registries, variables, contents of files"
)


def config_problems(spec: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """config: of the spec, a map. Raises UserError for what does not have the schema's form."""
    known = _secrets(spec.get("secrets"))
    found = _problems(config, "spec.config", known)
    for where, override in _overrides(spec.get("overrides")):
        of_config = override.get("config")
        if of_config is not None and not isinstance(of_config, Mapping):
            raise UserError("must be a map", "", f"{where}.config")
        found += [
            problem if problem.startswith(where) else f"{where}.config: {problem}"
            for problem in _problems(of_config or {}, f"{where}.config", known)
        ]
    # a revision keeps everything in one Secret
    whole = [config, *(dict(each) for _, each in _overrides(spec.get("overrides")))]
    large = "" if found else too_large(*whole)
    return [*found, f"spec.config: {large}"] if large else found


def _overrides(listed: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Raises UserError for an invalid one."""
    for where, each in _maps(listed, "spec.overrides"):
        if not is_selector(each.get("nodeSelector")):
            raise UserError("is not a valid LabelSelector", "", f"{where}.nodeSelector")
        yield where, each


def _secrets(listed: object) -> set[str]:
    """The names in spec.secrets. Raises UserError for an invalid reference."""
    found: set[str] = set()
    for where, each in _maps(listed, "spec.secrets"):
        name, ref = text(each.get("name")), inside(each, "valueFrom", "secretKeyRef")
        fields = (
            ("name", name, placeholders.NAME),
            ("valueFrom.secretKeyRef.name", text(inside(ref, "name")), SECRET),
            ("valueFrom.secretKeyRef.key", text(inside(ref, "key")), SECRET_KEY),
        )
        for field, value, form in fields:
            if not re.fullmatch(form, value):
                what = f"{value!r} is none" if value else "is missing"
                hint = "write {name: NAME, valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}}"
                raise UserError(what, hint, f"{where}.{field}")
        if name in found:
            raise UserError(f"{name!r} is given twice", "", f"{where}.name")
        found.add(name)
    return found


def _maps(listed: object, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Raises UserError."""
    if listed is None:
        return
    if not isinstance(listed, (list, tuple)):
        raise UserError("must be a list", "", where)
    for index, each in enumerate(listed):
        if not isinstance(each, Mapping):
            raise UserError("must be a map", "", f"{where}[{index}]")
        yield f"{where}[{index}]", each


def _problems(config: Mapping[str, Any], where: str, known: set[str]) -> list[str]:
    """What is wrong with a configuration on any node. known: names of secrets."""
    errors = [each for each in check(dict(config), where)[1] if each.is_error]
    found = [told(each) if each.key else f"{where}: {told(each)}" for each in errors]
    try:
        odd = [f"{key}: {message}" for key, message in placeholders.wrong(config)]
        if not odd and found and placeholders.has_any(config):
            # errors that exist both with marks and without them exist with any value
            fixed = {told(each) for each in check(placeholders.without(config), where)[1]}
            found = [each for each in found if each in fixed]
        return [*odd, *_misplaced(config, known), *_in_shells(config), *found]
    except RecursionError:  # the check has reported it
        return found


def _in_shells(config: Mapping[str, Any]) -> Iterator[str]:
    """Annotations in shell commands: no quotes there are safe for any text."""
    for path, value in check(dict(config))[0].items():
        if BY_PATH[path].kind != "commands" or not isinstance(value.data, list):
            continue
        for number, item in numbered(value):
            used = placeholders.of_node(item.data) if isinstance(item.data, str) else ()
            if any(kind == "annotations" for kind, _ in used):
                yield f"{path}[{number}]: {SHELL}"


def _misplaced(config: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    """Secrets that are not declared, or that would be visible."""
    used = placeholders.secrets_in(config)
    for name, key in used.items():
        if name not in known:
            yield f"{key}: `$(secret.{name})` is in no entry of spec.secrets"
    if not used:
        return
    marked = placeholders.marked(dict(config))
    values = check(marked)[0]
    whole = json.dumps(as_tree(Config(values), show_secrets=True))
    seen = json.dumps(as_tree(Config(values)))
    for name, key in used.items():
        mark = placeholders.mark(name)
        if mark in seen:
            yield f"{key}: {SHOWN}"
        elif mark not in whole:
            yield f"{key}: a secret is not allowed here, or the text around it is wrong"
    for entry in _entries(values.get("write_files")):
        is_secret = placeholders.has_mark(field_text(entry, "content"))
        if is_secret and not _is_closed(field_text(entry, "permissions")):
            yield f"write_files: {field_text(entry, 'path')}: {OPEN}"


def _entries(value: Value | None) -> Iterator[dict[str, Value]]:
    listed = value.data if value is not None and isinstance(value.data, list) else []
    yield from (each.data for each in listed if isinstance(each.data, dict))


def _is_closed(permissions: str) -> bool:
    """Whether others have no access."""
    digits = permissions.removeprefix("0o").removeprefix("0O")
    return re.fullmatch(r"[0-7]+", digits) is not None and int(digits, 8) & 0o007 == 0
