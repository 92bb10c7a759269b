"""A Config as YAML or JSON text: `k3os config --dump`. Secrets are masked by default.

The YAML emitter is our own few lines: importing one would cost more than the whole command.
Reading the text again gives the same Config.
"""

from __future__ import annotations

from k3os.config.k3s_flags import MASK
from k3os.config.key import BY_NAME
from k3os.config.schema import BY_PATH, TABLE
from k3os.config.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.load import Config
    from k3os.config.value import Plain

ADDRESSES = ("url", "location")  # kinds of keys that may contain user:password@
PLAIN_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/0123456789")
PLAIN = PLAIN_FIRST | frozenset("-_./+=@,()~ ")
# what a YAML 1.1 reader would not take as a string
WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n", "~")
INDICATORS = frozenset("{}[],&*#?|-<>=!%@`\"' ")


def dump_yaml(config: Config, *, show_secrets: bool = False, provenance: bool = False) -> str:
    """Every key that is set, in schema order."""
    lines: list[str] = []
    section = ""
    for key in TABLE:
        value = config.values.get(key.path)
        if value is None:
            continue
        parents = key.path.split(".")[:-1]
        known = section.split(".") if section else []
        for depth, parent in enumerate(parents):
            if known[: depth + 1] != parents[: depth + 1]:
                lines.append(f"{'  ' * depth}{parent}:")
        section = ".".join(parents)
        shown = value if show_secrets else masked(key, value)
        _pair(lines, "  " * len(parents), key.name, shown, provenance)
    return "\n".join(lines) + "\n" if lines else "{}\n"


def value_lines(key: Key, value: Value) -> list[str]:
    """One value, masked, without its name."""
    lines: list[str] = []
    _pair(lines, "", key.name, masked(key, value), provenance=False)
    head = lines[0].removeprefix(f"{scalar(key.name)}:").lstrip()
    return [head, *lines[1:]] if head else lines[1:]


def _pair(lines: list[str], indent: str, name: str, value: Value, provenance: bool) -> None:
    data = value.data
    head = f"{indent}{scalar(name)}:"
    note = f"  # {value.place}" if provenance else ""
    if isinstance(data, dict):
        lines.append(head if data else f"{head} {{}}{note}")
        for inner, item in data.items():
            _pair(lines, indent + "  ", inner, item, provenance)
    elif isinstance(data, list):
        lines.append(head if data else f"{head} []{note}")
        for item in data:
            _item(lines, indent, item, provenance)
    elif isinstance(data, str) and (block := _block(data, indent + "  ")):
        lines.append(f"{head} {block[0]}{note}")
        lines.extend(block[1:])
    else:
        lines.append(f"{head} {scalar(data)}{note}")


def _item(lines: list[str], indent: str, value: Value, provenance: bool) -> None:
    data = value.data
    note = f"  # {value.place}" if provenance else ""
    if isinstance(data, dict) and data:
        start = len(lines)
        for name, item in data.items():
            _pair(lines, indent + "  ", name, item, provenance)
        lines[start] = f"{indent}- {lines[start][len(indent) + 2 :]}"
    elif isinstance(data, dict):
        lines.append(f"{indent}- {{}}{note}")
    elif isinstance(data, list):
        words = ", ".join(double_quoted(str(word.data)) for word in data)
        lines.append(f"{indent}- [{words}]{note}")
    elif isinstance(data, str) and (block := _block(data, indent + "  ")):
        lines.append(f"{indent}- {block[0]}{note}")
        lines.extend(block[1:])
    else:
        lines.append(f"{indent}- {scalar(data)}{note}")


def scalar(data: str | bool) -> str:
    """A text, quoted if necessary, so that a YAML reader returns exactly this text."""
    if isinstance(data, bool):
        return "true" if data else "false"
    if (
        data
        and data[0] in PLAIN_FIRST
        and data[-1] != " "
        and PLAIN.issuperset(data)
        and data.lower() not in WORDS
        and not data[0].isdigit()
    ):
        return data
    return double_quoted(data)


def double_quoted(text: str) -> str:
    """Double-quoted, in the form that YAML 1.1, 1.2 and JSON readers all understand."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.isprintable():
        escaped = "".join(
            character if character.isprintable() else _escape(ord(character))
            for character in escaped
        )
    return f'"{escaped}"'


def json_for_yaml(tree: object) -> bytes:
    """JSON that YAML readers accept, too: some (Go's) reject surrogate pairs, which JSON's escapes
    use beyond 16 bits, and unprintable characters."""
    import json

    text = json.dumps(tree, indent=1, ensure_ascii=False)
    if not text.replace("\n", "").isprintable():
        text = "".join(c if c.isprintable() or c == "\n" else _escape(ord(c)) for c in text)
    return f"{text}\n".encode()


NAMED = {9: "\\t", 10: "\\n", 13: "\\r"}


def _escape(code: int) -> str:
    if code in NAMED:
        return NAMED[code]
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _block(text: str, indent: str) -> list[str]:
    """A literal block for a text of several lines, [] if only quotes would preserve it."""
    lines = text.split("\n")
    if len(lines) < 2 or text[0] in " \t\n" or text.endswith("\n\n"):
        return []
    if not text.replace("\n", "").replace("\t", "").isprintable():
        return []
    keep = "" if lines[-1] == "" else "-"
    body = lines[:-1] if lines[-1] == "" else lines
    return [f"|{keep}", *(f"{indent}{line}" if line else "" for line in body)]


def masked(key: Key, value: Value) -> Value:
    """The value with secrets replaced by MASK, and addresses without their passwords."""
    if key.fields:
        return _masked_fields(key, value)
    if key.kind in ADDRESSES and "@" in str(value.data):
        from k3os.errors import discreet
        from k3os.system.http import shown

        return Value(discreet(shown(str(value.data)), whole=True), value.place)
    if key.kind == "arguments" and isinstance(value.data, list):
        from k3os.config.k3s_flags import masked as masked_words

        shown_words = masked_words([str(item.data) for item in value.data])
        places = [item.place for item in value.data]
        return Value([Value(*pair) for pair in zip(shown_words, places, strict=True)], value.place)
    if not key.secret:
        return _discreet(value)
    if isinstance(value.data, dict):
        return Value({name: Value(MASK, v.place) for name, v in value.data.items()}, value.place)
    return Value(MASK, value.place)


def _discreet(value: Value) -> Value:
    """The value with logins removed from its addresses."""
    from k3os.errors import discreet

    data = value.data
    if isinstance(data, str):
        return Value(discreet(data, whole="\n" not in data), value.place)
    if isinstance(data, list):
        return Value([_discreet(item) for item in data], value.place)
    if isinstance(data, dict):
        return Value({name: _discreet(item) for name, item in data.items()}, value.place)
    return value


def _masked_fields(key: Key, value: Value) -> Value:
    if isinstance(value.data, list):
        return Value([_masked_fields(key, item) for item in value.data], value.place)
    assert isinstance(value.data, dict)
    entries = value.data.items()
    if key.kind in BY_NAME:
        return Value({name: _masked_entry(key, entry) for name, entry in entries}, value.place)
    return _masked_entry(key, value)


def _masked_entry(key: Key, entry: Value) -> Value:
    assert isinstance(entry.data, dict)
    fields = {field.name: field for field in key.fields}
    return Value(
        {name: masked(fields[name], item) for name, item in entry.data.items()}, entry.place
    )


def as_tree(config: Config, *, show_secrets: bool = False) -> dict[str, Plain]:
    """Nested maps of plain values, for JSON."""
    from k3os.config.value import plain

    tree: dict[str, Plain] = {}
    for key in TABLE:
        value = config.values.get(key.path)
        if value is None:
            continue
        branch = tree
        *parents, name = key.path.split(".")
        for parent in parents:
            inner = branch.setdefault(parent, {})
            assert isinstance(inner, dict)
            branch = inner
        branch[name] = plain(value if show_secrets else masked(key, value))
    return tree


def provenance_lines(config: Config) -> list[str]:
    """`key: place`, one line for each key that is set."""
    return [f"{path}: {config.values[path].place}" for path in BY_PATH if path in config.values]
