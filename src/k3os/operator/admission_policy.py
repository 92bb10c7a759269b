"""A ValidatingAdmissionPolicy, made from the schema of config.yaml, with which the API server
itself refuses wrong NodePools. Pure.

Its messages are those of the node's own check (config/check.py), word for word. What CEL cannot
express it leaves out: the operator checks everything again, and is the only check before
Kubernetes 1.30. If an expression fails, the NodePool is accepted; so is every change outside
`config`: a rollout can always be paused.
Formats: admissionregistration.k8s.io/v1 (kubernetes.io, "Validating Admission Policy").
"""

from __future__ import annotations

from typing import Any

from k3os import names
from k3os.config.fields import fields_by_fold
from k3os.config.key import Key
from k3os.config.schema import SECTIONS, TABLE
from k3os.operator.cel import ITEMS, bound, choose, each, is_unset, literal, matches, said, text_of
from k3os.operator.item_rules import ITEM_RULES, PAIR_RULES, Rule
from k3os.operator.scalar_rules import RULES

GROUP = "admissionregistration.k8s.io"
API = f"{GROUP}/v1"
NAME = "k3os-nodepools"
LONGEST = 400  # of a text that a message quotes
# for these the check has a message of its own (templates, shell, logins in addresses, lists in
# quotes), or they are not plain ASCII text
ODD = r"(?s).*([^ -~]|\$|\{\{|\{%|%\{|<%|@|\[[\"']).*"
MANY_LINES = r"(?s)(.*\r.*|.*\n.+)"
# kinds that are lists of single values, and what each item must be
LISTS = {
    "texts": "a text",
    "choices": "a name",
    "taints": "a taint",
    "commands": "a command: a text, or a list of words",
    "certificates": "the text of a certificate",
}


def policy() -> dict[str, Any]:
    """The ValidatingAdmissionPolicy."""
    new, old = "object.spec.config", "oldObject.spec.config"
    conditions = {
        "has-a-configuration": "has(object.spec) && has(object.spec.config)",
        "which-is-new": f"oldObject == null || !has({old}) || {old} != {new}",
        "and-is-wanted": "!has(object.metadata.deletionTimestamp)",
    }
    rule = {
        "apiGroups": [names.GROUP],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": [names.PLURAL],
    }
    return {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Ignore",
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [
                {"name": name, "expression": text} for name, text in conditions.items()
            ],
            "variables": [{"name": name, "expression": text} for name, text in variables().items()],
            "validations": [
                {
                    "expression": "size(variables.problems) == 0",
                    "messageExpression": 'variables.problems.join("; ")',
                    "message": "spec.config has errors: `k3os config check` says which",
                    "reason": "Invalid",
                }
            ],
        },
    }


def binding() -> dict[str, Any]:
    """Puts the policy into effect."""
    return {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }


def variables() -> dict[str, str]:
    """By name; later ones build on earlier ones. problems: of all keys."""
    found = {
        "indices": f"[{', '.join(map(str, range(ITEMS)))}]",
        "config": "dyn(object.spec.config)",
    }
    problems = []
    for section in filter(None, SECTIONS):
        name = section.replace(".", "_")
        parent, _, last = section.rpartition(".")
        given = _given(parent, last)
        is_map = f"{given}.all(v, type(v) == map)"
        found[name] = f"size({given}) == 1 && {is_map} ? {given}[0] : dyn({{}})"
        text = said(f"{section}: must be a map of keys, not a text")
        problem = choose(
            ("type(v) == list", said(f"{section}: must be a map of keys, not a list")),
            ("type(v) == map", '""'),
            other=bound("t", text_of("v"), choose((matches("t", ODD), '""'), other=text)),
        )
        found[f"{name}_shape"] = _reported(given, f"[{problem}]")
        problems.append(f"variables.{name}_shape")
    for key in TABLE:
        section, _, last = key.path.rpartition(".")
        rule = _rule(key)
        if rule:
            name = f"{key.path.replace('.', '_')}_key"
            found[name] = _reported(_given(section, last), rule)
            problems.append(f"variables.{name}")
    found["problems"] = " + ".join(problems)
    return found


def _given(section: str, name: str) -> str:
    """A list with a key's value, empty if the key is not set."""
    where = f"variables.{section.replace('.', '_') or 'config'}"
    return f"({literal(name)} in {where} ? [{where}[{literal(name)}]] : [])"


def _reported(given: str, rule: str) -> str:
    """The messages of a rule, joined. rule: a list of messages about v."""
    messages = f'{given}.filter(v, !{is_unset("v")}).map(v, {rule}.filter(m, m != ""))'
    return f'{messages}.filter(l, size(l) > 0).map(l, l.join("; "))'


def _rule(key: Key) -> str:
    """A list of messages about v, each with its path; "" for a key that is left to the check."""
    if key.kind in RULES:
        return f"[{_with_path(literal(f'{key.path}: '), scalar(key, 'v'))}]"
    if key.kind in LISTS:
        return _list(key)
    if key.kind == "text map":
        return _map(key)
    return _maps(key) if key.kind == "maps" else ""


def _with_path(path: str, message: str) -> str:
    """path: an expression that ends in `: `."""
    return bound("p", message, f'(p == "" ? "" : {path} + p)')


def scalar(key: Key, value: str) -> str:
    """The message about a single value, without its path."""
    wanted, one_line, rule = RULES[key.kind]
    judged = f'(size(t) > {LONGEST} || {matches("t", ODD)} ? "" : {rule(key)})'
    if key.kind in ("lines", "text"):
        judged = '""'
    if one_line:
        judged = choose((matches("t", MANY_LINES), _MANY), other=judged)
    return _shape(value, wanted, bound("t", text_of(value), judged))


_MANY = said("has more than one line; write it in one line")


def _shape(value: str, wanted: str, other: str) -> str:
    """The message about a list or a map in the place of a text."""
    return choose(
        (f"type({value}) == list", said(f"must be {wanted}, not a list")),
        (f"type({value}) == map", said(f"must be {wanted}, not a map")),
        other=other,
    )


def _list(key: Key) -> str:
    path = f'{literal(f"{key.path}[")} + string(i) + "]: "'
    wanted = LISTS[key.kind]
    judged = _judged(ITEM_RULES.get(key.further or key.kind), key)
    if key.kind not in ("commands", "certificates", "choices"):
        judged = choose((matches("t", MANY_LINES), _MANY), other=judged)
    item = choose(
        # a line with a colon in it; CEL cannot say what was meant
        ("type(x) == map && size(x) == 1", '""'),
        *([("type(x) == list", '""')] if key.kind == "commands" else []),
        *([("type(x) == map", '""')] if key.kind == "taints" else []),
        other=_shape("x", wanted, bound("t", text_of("x"), judged)),
    )
    items = each("x", "s", _with_path(path, item), where=f"!{is_unset('x')}")
    whole = said(f"{key.path}: must be a list, not a map; begin each item with `- `")
    return bound(
        "s",
        "type(v) == list ? v : [v]",
        f"(type(v) == map ? [{whole}] : {items})",
    )


def _judged(rule: Rule | None, key: Key) -> str:
    if rule is None:
        return '""'
    return (
        f'(size(t) > {rule.most} || {matches("t", rule.odd or ODD)} ? "" : {rule.expression(key)})'
    )


def _map(key: Key) -> str:
    """A map of names and texts. A map written as a text is left to the check."""
    path = f'{literal(f"{key.path}.")} + n + ": "'
    rule = PAIR_RULES.get(key.further)
    judged = '""'
    if rule is not None:
        odd = f"{matches('t', ODD)} || {matches('n', ODD)} || size(t) + size(n) > {LONGEST}"
        judged = f'({odd} ? "" : {rule.expression(key)})'
    judged = choose((matches("t", MANY_LINES), _MANY), other=judged)
    text = bound("t", f'(v[n] == null ? "" : {text_of("v[n]")})', judged)
    entry = _with_path(path, _shape("v[n]", "a text", text))
    whole = said(f"{key.path}: must be a map, not a text; write `name: value` lines")
    # the check reads a text with a `=` as a pair
    pair = literal("^[^=]+=")
    left = f"{matches('t', ODD)} || t.matches({pair})"
    as_text = bound("t", text_of("v"), f"({left} ? [] : [{whole}])")
    return choose(
        ("type(v) == map", f'v.filter(n, n != "").map(n, {entry})'),
        ("type(v) == list", "[]"),
        other=as_text,
    )


def _maps(key: Key) -> str:
    """A list of maps; one with an error is left out as a whole."""
    entry = f'{literal(f"{key.path}[")} + string(i) + "]"'
    first = key.fields[0].name
    shape = said(f": must be a map, not a text; write `{first}: …` and so on")
    as_list = said(f": must be a map, not a list; write `{first}: …` and so on")
    texts = [field for field in key.fields if field.kind in RULES]
    wrong = " + ".join(_field(key, field) for field in sorted(texts, key=lambda f: f.name))
    missing = choose(
        *(
            (
                f"!({' || '.join(_is_set(name) for name in _spelled(field))})",
                f"{entry} + " + literal(f": has no {field.name}; write `{field.name}: …`"),
            )
            for field in key.fields
            if field.required
        ),
    )
    fields = bound(
        "w",
        wrong,
        choose(
            ("size(w) == 0", missing),
            other=(
                f'w.map(f, {entry} + "." + f[0] + ": " + f[1]).join("; ") + "; " + {entry} + '
                '": is left out because of its " + w.map(f, f[0]).join(", ")'
            ),
        ),
    )
    known = {name for field in texts for name in _spelled(field)}
    item = choose(
        ("type(x) == list", f"{entry} + {as_list}"),
        ("type(x) != map", f"{entry} + {shape}"),
        # another spelling, a key with a hint of its own, or a list as a value: too much for CEL
        (f"!x.all(n, n in {_sorted(known)}) || x.all(n, {is_unset('x[n]')})", '""'),
        other=fields,
    )
    items = each("x", "s", item, where=f"!{is_unset('x')}")
    return bound("s", "type(v) == list ? v : [v]", items)


def _sorted(words: set[str]) -> str:
    return f"[{', '.join(map(literal, sorted(words)))}]"


def _spelled(field: Key) -> tuple[str, ...]:
    return field.name, *field.aliases


def _is_set(name: str) -> str:
    value = f"x[{literal(name)}]"
    return f"({literal(name)} in x && !{is_unset(value)})"


def _field(key: Key, field: Key) -> str:
    """A list with a field's name and what is wrong with it, or an empty list."""
    assert field.name in {each.name for each in fields_by_fold(key).values()}
    found = []
    for name in _spelled(field):
        given = f"({literal(name)} in x ? [x[{literal(name)}]] : []).filter(v, !{is_unset('v')})"
        messages = f'{given}.map(v, {scalar(field, "v")}).filter(m, m != "")'
        # the empty text makes both the same type: CEL refuses lists of mixed types
        found.append(f'{messages}.map(m, [{literal(field.name)}, "" + m])')
    return " + ".join(found)
