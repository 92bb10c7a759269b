"""k3os.k3s_args as k3s will read them: unknown flags, words that are neither flag nor value.

k3s parses its words as urfave/cli does: it stops at the first word that is neither a flag nor a
flag's value. Imported only by the check; a node passes on what is written and shows k3s' errors.
"""

from __future__ import annotations

from k3os.config import k3s_table, tokens
from k3os.config.further import wrong_label, wrong_name
from k3os.config.hostnames import RULES, WRONG_NODE, is_node_name
from k3os.config.k3s_flags import SECRETS
from k3os.config.kinds import TYPOGRAPHIC
from k3os.config.value import Problem, Value

KEY = "k3os.k3s_args"
ROLES = ("server", "agent")
QUOTES = ("'", '"')
TRUE_OR_FALSE = ("true", "false", "yes", "no")


class _Reader:
    def __init__(self, items: list[Value], role: str, version: str) -> None:
        self.items = items
        self.words = [str(item.data).translate(TYPOGRAPHIC) for item in items]
        self.version = version
        self.minor = k3s_table.minor(version)
        self.role = role
        self.flags = k3s_table.flags(role)
        self.problems: list[Problem] = []
        self.last: k3s_table.Flag | None = None

    def say(self, index: int, message: str, hint: str = "", *, is_error: bool = False) -> None:
        item = self.items[index]
        # the original number: one item may have been split into several words
        key = f"{KEY}[{item.place.number}]"
        self.problems.append(Problem(item.place, key, message, hint, is_error=is_error))

    def read(self, start: int) -> None:
        index = start
        while index < len(self.words):
            word = self.words[index]
            if word[:1] in QUOTES and word == str(self.items[index].data):
                message = "has quotes in it that k3s treats as part of the word"
                self.say(index, message, "leave them out")
            word = word.strip("'\"")
            index += self.flag(index, word) if word.startswith("-") else self.bare(index, word)

    def flag(self, index: int, word: str) -> int:
        """The number of words that the flag and its value take."""
        written, equals, value = word.lstrip("-").partition("=")
        name, _, rest = written.partition(" ")
        value = value or rest
        flag = self.flags.get(name)
        following = self.words[index + 1] if index + 1 < len(self.words) else None
        is_in_one = bool(equals) or name != written
        if flag is None:
            self.unknown(index, name)
            return 2 if not is_in_one and following and not following.startswith("-") else 1
        self.last = flag
        self.check_version(index, flag, value or following or "")
        if flag.kind == "?" or is_in_one:
            self.check_value(index, flag, value)
            return 1
        if following is None or following.startswith("--"):
            hint = f"write --{flag.name}=VALUE"
            self.say(index, f"--{flag.name} has no value", hint, is_error=following is None)
            return 1
        self.check_value(index, flag, following)
        return 2

    def unknown(self, index: int, name: str) -> None:
        from k3os.config.spelling import nearest

        likely = nearest(name, [each for each in self.flags if len(each) > 1])
        hint = f"did you mean --{likely}?" if likely else "k3s does not start with it"
        self.say(index, f"--{name} is not a flag of `k3s {self.role}`", hint)

    def check_version(self, index: int, flag: k3s_table.Flag, value: str) -> None:
        if flag.is_server and self.role == "agent":
            message = f"--{flag.name} is a flag of servers, and an agent does not start with it"
            self.say(index, message, "leave it out", is_error=True)
        elif flag.until != (0, 0):
            gone = self.minor >= flag.until
            until = f"v{flag.until[0]}.{flag.until[1]}"
            what = f"k3s {self.version} does not have" if gone else f"k3s from {until} on lacks"
            shown = value if flag.name not in SECRETS else "VALUE"
            hint = k3s_table.SUCCESSORS[flag.name].format(shown)
            self.say(index, f"{what} --{flag.name}", hint, is_error=gone)
        elif (0, 0) < self.minor < flag.since:
            came = f"it came with v{flag.since[0]}.{flag.since[1]}"
            self.say(index, f"k3s {self.version} does not have --{flag.name}", came, is_error=True)
        elif flag.name in k3s_table.USELESS:
            message, hint = k3s_table.USELESS[flag.name]
            self.say(index, f"--{flag.name}: {message}", hint)

    def check_value(self, index: int, flag: k3s_table.Flag, value: str) -> None:
        if flag.name == "flannel-backend":
            name = value.partition("=")[0]
            until, hint = k3s_table.FORMER_BACKENDS.get(name, ((0, 0), ""))
            if until != (0, 0) and self.minor >= until:
                message = f"k3s {self.version} does not have the backend {name}"
                self.say(index, message, hint, is_error=True)
            elif not until[0] and name not in k3s_table.BACKENDS:
                known = f"known: {', '.join(k3s_table.BACKENDS)}"
                self.say(index, f"`{name}` is not a backend of flannel", known)
        elif flag.name == "node-label" and value:
            label = value.partition("=")[0]
            if why := wrong_label(label):
                self.say(index, f"{label} {why}", "use `kubectl label node`", is_error=True)
            elif why := wrong_name(label):
                message, _, hint = why.partition(": ")
                self.say(index, message, hint, is_error=True)
        elif flag.name == "node-name" and not is_node_name(value):
            self.say(index, f"`{value}` {WRONG_NODE}", RULES, is_error=True)
        elif flag.name in tokens.FLAGS and tokens.is_wrong(value):
            self.say(index, f"the token {tokens.MESSAGE}", tokens.HINT, is_error=True)
        elif flag.name == "server" and value and not value.startswith("https://"):
            message = "k3s joins a server by https only"
            self.say(index, message, "write https://NAME:6443", is_error=True)

    def is_option(self, word: str) -> bool:
        """Whether a word is `name=value` after one for a component, such as --kubelet-arg: many of
        these have the same names as flags of k3s."""
        return "=" in word and self.last is not None and self.last.name.endswith("-arg")

    def bare(self, index: int, word: str) -> int:
        if word.startswith(("server ", "agent ")) or " --" in word:
            return 1  # several words in one are handled elsewhere
        message = f"`{word}` is neither a flag nor a value, and k3s ignores everything after it"
        if self.last is not None and self.last.name in SECRETS:
            message = "is neither a flag nor a value, and k3s ignores everything after it"
        known = self.flags.get(word.partition("=")[0])
        hint = "leave it out"
        if word in ROLES:
            hint = f"write {word} first, and only once"
        elif known is not None and not self.is_option(word):
            hint = f"write --{word}"
        elif self.last is not None and self.last.kind == "*":
            hint = f"write --{self.last.name}={word}"
        elif self.last is not None and self.last.kind == "?" and word.lower() in TRUE_OR_FALSE:
            hint = f"write --{self.last.name}={word.lower()}"
        self.say(index, message, hint)
        return 1


def check(items: list[Value], version: str, *, joins: bool = False) -> list[Problem]:
    """What k3s of this version ("": unknown) would reject. joins: k3os.server_url is set."""
    first = str(items[0].data).translate(TYPOGRAPHIC).strip("'\"") if items else ""
    given = first if first in ROLES else ""
    reader = _Reader(items, given or ("agent" if joins else "server"), version)
    reader.read(1 if given else 0)
    return reader.problems
