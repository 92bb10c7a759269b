"""Convert a config.yaml that was written for the original k3OS, by editing its text.

What is not edited stays unchanged to the byte, including comments. The new text means the same;
removed flags of k3s get their replacements, and labels for the old upgrades become comments.
Places are PyYAML's marks, see yaml.compose.
"""

from __future__ import annotations

import yaml

from k3os.config.arguments import several
from k3os.config.check import check_text
from k3os.config.dump import double_quoted
from k3os.config.fields import fields_by_fold
from k3os.config.scalars import FALSE, TRUE, permissions
from k3os.config.schema import BY_PATH, CHILDREN, SECTIONS
from k3os.config.spelling import fold
from k3os.config.upgrades import LABELS, NODEPOOL, is_for_upgrades
from k3os.config.value import Node, Place, Wrong, plain
from k3os.config.yamltext import read
from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.value import Plain, Value

# as in k3s_table, which has the versions
FLAGS = {"no-deploy": "disable", "cluster-secret": "token"}
WORDS = {
    "--no-flannel": "--flannel-backend=none",
    "--flannel-backend=wireguard": "--flannel-backend=wireguard-native",
}
ARGUMENTS = "k3os.k3s_args"
SAFE = frozenset("abcdefghijklmnopqrstuvwxyz")


def migrate(data: bytes, source: str) -> tuple[str, list[str]]:
    """The new text, and a line per change. Raises UserError if it is not a configuration."""
    root, problems = read(data, source)
    if root is None:
        said = problems[0] if problems else None
        what = said.message if said else "there is nothing in it"
        raise UserError(what, said.hint if said else "", str(said.place if said else source))
    text = data.decode("utf-8-sig")
    edits = _Edits(text, source)
    # the pure Python loader: libyaml's marks count bytes
    try:
        for top in yaml.compose_all(text, Loader=yaml.SafeLoader):
            if isinstance(top, yaml.MappingNode):  # an empty document may precede it
                edits.section("", top)
                break
    except (yaml.YAMLError, RecursionError) as error:  # libyaml accepts some tabs
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        what = getattr(error, "problem", None) or "it is nested too deeply"
        raise UserError(f"cannot be rewritten: {what}", "write it in another way", where) from None
    new = edits.result()
    before, after = meaning(data, source), meaning(new.encode(), source)
    if after != before:
        changed = [path for path in before if after.get(path) != before[path]]
        key = min(changed or after.keys() - before.keys(), default="")
        raise _another(text, key, check_text(data, source)[0].get(key), source)
    return new, [line for _, line in sorted(edits.said, key=lambda each: each[0])]


def _another(text: str, key: str, value: Value | None, source: str) -> UserError:
    """The error if the new form of a key would mean something else."""
    line = value.place.line if value is not None else 0
    hint = f"rewrite {key} by hand"
    if key == ARGUMENTS:
        hint = "write it by hand, as a list with an item for each flag: --FLAG=VALUE"
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    if any(isinstance(each, yaml.AliasEvent) for each in events):
        hint = "write the values themselves where it has anchors (&name)"
    where = f"{source}:{line}" if line else source
    return UserError(f"the new form of {key} would not say the same", hint, where)


def meaning(data: bytes, source: str) -> dict[str, Plain]:
    """What a text configures, with the intended changes already made."""
    values = {path: plain(value) for path, value in check_text(data, source)[0].items()}
    words, labels = values.get(ARGUMENTS), values.pop(LABELS, {})
    if isinstance(words, list):
        values[ARGUMENTS] = list(successors([str(word) for word in words]))
    if isinstance(labels, dict):
        kept = {name: text for name, text in labels.items() if not is_for_upgrades(name)}
        values.update({LABELS: kept} if kept else {})
    return values


def successor(word: str) -> str:
    """A k3s argument in its current form."""
    flag, equals, value = word.partition("=")
    name = flag.lstrip("-")
    if flag.startswith("-") and name in FLAGS:
        word = f"--{FLAGS[name]}{equals}{value}"
    return WORDS.get(word, word)


def successors(words: list[str], before: str = "") -> list[str]:
    """The same for several; also for a flag and its value. before: the word before them."""
    new = []
    for word in words:
        pair = f"{before}={word}"
        new.append(WORDS[pair].partition("=")[2] if pair in WORDS else successor(word))
        before = word
    return new


class _Edits:
    """Replacements in a text, collected while walking its nodes."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.edits: list[tuple[int, int, str]] = []
        self.said: list[tuple[int, str]] = []
        self.seen: set[int] = set()

    def result(self) -> str:
        text = self.text
        for start, end, new in sorted(self.edits, reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def say(self, node: yaml.Node, what: str) -> None:
        line = node.start_mark.line + 1
        self.said.append((line, f"{self.source}:{line}: {what}"))

    def replace(self, node: yaml.Node, new: str, what: str) -> None:
        start, end = node.start_mark.index, node.end_mark.index
        if self.text[start] in "&!":  # an anchor or a tag, which must stay
            self.say(node, f"fix this by hand: {what}")
            return
        if self.text[start:end].endswith("\n"):  # a block includes its line break
            new += "\r\n" if self.text[start:end].endswith("\r\n") else "\n"
        self.edits.append((start, end, new))
        self.say(node, what)

    def is_new(self, node: yaml.Node) -> bool:
        """Once per node: an alias is the same node as its anchor."""
        known = id(node) in self.seen
        self.seen.add(id(node))
        return not known

    def section(self, section: str, node: yaml.Node) -> None:
        for name, value in _pairs(node):
            path = CHILDREN[section].get(fold(name.value))
            if path is None:
                continue
            self.rename(node, name, path.rpartition(".")[2])
            if path in SECTIONS:
                self.section(path, value)
            elif self.is_new(value):
                self.value(BY_PATH[path], value)

    def rename(self, node: yaml.Node, name: yaml.ScalarNode, canonical: str) -> None:
        others = [other.value for other, _ in _pairs(node)]
        if name.value != canonical and canonical not in others and self.is_new(name):
            self.replace(name, canonical, f"{name.value} is called {canonical}")

    def value(self, key: Key, node: yaml.Node) -> None:
        if key.path == LABELS:
            self.labels(node)
        elif key.kind == "maps":
            fields = fields_by_fold(key)
            for entry in node.value if isinstance(node, yaml.SequenceNode) else [node]:
                for name, value in _pairs(entry):
                    field = fields.get(fold(name.value))
                    if field is not None:
                        self.rename(entry, name, field.name)
                        self.value(field, value)
        elif key.kind == "arguments":
            self.arguments(node)
        elif isinstance(node, yaml.ScalarNode) and node.value:
            self.scalar(key, node)

    def scalar(self, key: Key, node: yaml.ScalarNode) -> None:
        text = node.value
        if key.kind == "boolean" and text.lower() in TRUE + FALSE:
            word = "true" if text.lower() in TRUE else "false"
            if text.lower() != word:
                self.replace(node, word, f"{key.name}: {text} is {word}")
        elif key.kind == "file path" and text[0] not in "/~":
            absolute = f"/{text.removeprefix('./')}"
            new = double_quoted(absolute) if node.style else absolute
            self.replace(node, new, f"{text} is {absolute}")
        elif key.kind == "permissions" and node.style is None:
            mode = _mode(key, text)
            if mode and mode != text:
                self.replace(node, f"'{mode}'", f"permissions {text} are '{mode}'")

    def arguments(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.ScalarNode):
            words = several(node.value)
            if words:
                listed = f"[{', '.join(map(_word, successors(words)))}]"
                self.replace(node, listed, "k3s_args is a list")
            return
        if not isinstance(node, yaml.SequenceNode):
            return
        before = ""
        for item in node.value:
            if not isinstance(item, yaml.ScalarNode) or not self.is_new(item):
                continue
            words = several(item.value, before) or [item.value]
            new = successors(words, before)
            before = words[-1]
            if len(new) > 1:
                separator = ", " if node.flow_style else self.dash(item)
                what = "each argument is an item of its own"
                self.replace(item, separator.join(map(_word, new)), what)
            elif new != words:
                flag, now = words[0], new[0]
                if flag.partition("=")[0].lstrip("-") in FLAGS:  # its value may be a secret
                    flag, now = flag.partition("=")[0], now.partition("=")[0]
                self.replace(item, _word(new[0]), f"{flag} is {now}")

    def dash(self, item: yaml.Node) -> str:
        """The separator between items of a list with one line per item."""
        dash = self.text.rfind("-", 0, item.start_mark.index)
        newline = "\r\n" if "\r\n" in self.text else "\n"
        return f"{newline}{' ' * (dash - self.text.rfind(chr(10), 0, dash) - 1)}- "

    def labels(self, node: yaml.Node) -> None:
        found = False
        is_flow = isinstance(node, yaml.CollectionNode) and node.flow_style
        for name, value in _pairs(node):
            if not is_for_upgrades(name.value):
                continue
            found = True
            start = name.start_mark.index
            line = self.text.rfind("\n", 0, start) + 1
            alone = not is_flow and not self.text[line:start].strip()
            if alone and value.start_mark.line == value.end_mark.line == name.start_mark.line:
                self.edits.append((start, start, "# "))
                self.say(name, f"the label {name.value} is a comment: nothing reads it")
            else:
                self.say(name, f"remove the label {name.value}: nothing reads it")
        if found:
            self.say(node, "\n  ".join(("a NodePool does this now:", *NODEPOOL)))


def _pairs(node: yaml.Node) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return [pair for pair in pairs if isinstance(pair[0], yaml.ScalarNode)]


def _mode(key: Key, text: str) -> str:
    from k3os.config.kinds import Check

    try:
        node = Node("scalar", Place(""), text, plain=True)
        return str(permissions(Check(), key, node, "").data)
    except Wrong:
        return ""


def _word(text: str) -> str:
    return text if SAFE.issuperset(text) and text else double_quoted(text)
