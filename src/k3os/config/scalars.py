"""The kinds of values that are one text: from a node to a checked value, or Wrong.

Texts stay as the user wrote them. Lists and maps are in kinds.py.
"""

from __future__ import annotations

from k3os.config.value import Node, Value, Wrong
from k3os.errors import discreet
from k3os.system.numbers import LONGEST, are_digits, clamped, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.kinds import Check

TRUE, FALSE = ("true", "yes", "on", "1", "y"), ("false", "no", "off", "0", "n")
# Linux' HOST_NAME_MAX
LONGEST_HOSTNAME = 64
KIND_WORDS = {"scalar": "a text", "list": "a list", "map": "a map", "null": "nothing"}
KIND_WORDS["tag"] = "a value with a tag"


def refuse_template(node: Node) -> None:
    """For YAML, `{{ name }}` is a map in a map."""
    if node.kind == "map" and any(key.kind == "map" for key, _ in node.pairs):
        hint = "fill it in before k3OS reads it, or put it in quotes"
        raise Wrong(node.place, "is a template that nobody filled in", hint)


def items_in(node: Node) -> list[tuple[int, Node]]:
    """The items of a list that are set, each with its original number."""
    if node.kind == "map":
        refuse_template(node)
        raise Wrong(node.place, "must be a list, not a map", "begin each item with `- `")
    nodes = node.items if node.kind == "list" else [node]
    return [(item.place.number, item) for item in nodes if not item.is_unset()]


def refuse_form(item: Node) -> None:
    """Refuse what YAML reads differently from what its author meant."""
    if item.kind == "map" or item.text[:2] in ("['", '["'):
        from k3os.config.unmeant import refuse

        refuse(item)


def scalar_text(node: Node, wanted: str) -> str:
    refuse_template(node)
    if node.kind == "tag":
        raise Wrong(node.place, f"the tag {node.text} is not allowed", "write the value without it")
    if node.kind != "scalar":
        raise Wrong(node.place, f"must be {wanted}, not {KIND_WORDS[node.kind]}")
    if "\0" in node.text:
        raise Wrong(node.place, "contains a NUL character")
    return node.text


# line breaks in some program, or characters that control a terminal; tabs are neither
_CONTROL = tuple(map(chr, (*range(9), *range(10, 32), 127, 0x85, 0x2028, 0x2029)))


def one_line(node: Node, wanted: str, *, any_byte: bool = False) -> str:
    """A text that becomes part of a line in another program's file. A final line break, as from
    YAML's `|`, is removed. any_byte: accept text that is not UTF-8, which a kernel command line may
    contain, but for which systemd and k3s reject a whole file."""
    word = scalar_text(node, wanted)
    word = word[:-1] if word.endswith("\n") else word
    control = next((each for each in word if each in _CONTROL), "")
    if control in ("\n", "\r") and control:
        raise Wrong(node.place, "has more than one line", "write it in one line")
    if control:
        raise Wrong(
            node.place, f"has a control character in it (U+{ord(control):04X})", "remove it"
        )
    if not any_byte and any("\ud800" <= each <= "\udfff" for each in word):
        raise Wrong(node.place, "has a byte in it that is not UTF-8 text", "type it again")
    return word


def lines(check: Check, key: Key, node: Node, path: str) -> Value:
    """A text, unchanged."""
    return Value(scalar_text(node, "a text"), node.place)


# these are hashed, or written as hexadecimal digits
ANY_BYTE = ("k3os.password", "ssid")


def text(check: Check, key: Key, node: Node, path: str) -> Value:
    """A text of one line."""
    return Value(one_line(node, "a text", any_byte=key.path in ANY_BYTE), node.place)


# serial ports have other names on other machines (ttyAMA0, hvc0); kernel-parameters.txt, console=
CONSOLE = r"(/dev/|console=)?[A-Za-z][A-Za-z0-9]{0,30}(,[0-9]{2,8}[noe]?[5-8]?r?)?"


def is_console(word: str) -> bool:
    import re

    return re.fullmatch(CONSOLE, word) is not None


def console(check: Check, key: Key, node: Node, path: str) -> Value:
    word = one_line(node, "a console")
    if word and not is_console(word):
        raise Wrong(node.place, f"`{word}` is not a console", "write e.g. `ttyS0` or `ttyS1,9600`")
    return Value(word, node.place)


def boolean(check: Check, key: Key, node: Node, path: str) -> Value:
    word = scalar_text(node, "true or false").strip().lower()
    if word not in TRUE + FALSE:
        raise Wrong(node.place, f"must be true or false, not `{node.text}`")
    return Value(word in TRUE, node.place)


def number(check: Check, key: Key, node: Node, path: str) -> Value:
    word = scalar_text(node, "a number").strip()
    if not are_digits(word):
        raise Wrong(node.place, f"must be a number, not `{word}`")
    least, most = key.limits
    if whole(word, least, most) is None:
        raise Wrong(node.place, f"{word} is out of range", f"write {least} to {most}")
    return Value(word, node.place)


def duration(check: Check, key: Key, node: Node, path: str) -> Value:
    from k3os.config.duration import parse

    word = one_line(node, "a duration").strip()
    seconds = parse(word)
    if seconds < 0:
        raise Wrong(node.place, f"`{word}` is not a duration", f"write e.g. `{key.example}`")
    least, most = key.limits
    if not least <= seconds <= most:
        raise Wrong(node.place, f"`{word}` is out of range", f"write {least}s to {most}s")
    return Value(word, node.place)


# limits in % of memory, and in MiB
SWAP_UNITS = ("%", "m", "mb", "mib", "g", "gb", "gib")
MOST_PERCENT, LEAST_SWAP, MOST_SWAP = 400, 16, 1 << 20


def swap_size(check: Check, key: Key, node: Node, path: str) -> Value:
    """`auto`, `off`, a percentage, or a size with a unit; as "auto", "off", "50%", "512M"."""
    wanted = "auto, off, a size or a percentage"
    word = scalar_text(node, wanted).replace(" ", "").lower()
    if word in ("auto", *TRUE) and word != "1":
        return Value("auto", node.place)
    if word in FALSE:
        return Value("off", node.place)
    number = word.rstrip("%bgim")
    unit = word[len(number) :]
    if unit not in SWAP_UNITS or not are_digits(number):
        hint = "write `auto`, `off`, `512M`, `2G` or `50%`"
        raise Wrong(node.place, f"must be {wanted}, not `{node.text}`", hint)
    mib = clamped(number) * (1024 if unit[0] == "g" else 1)
    if unit == "%" and whole(number, 1, MOST_PERCENT) is None:
        raise Wrong(node.place, f"{word} is out of range", f"write 1% to {MOST_PERCENT}%")
    if unit != "%" and not LEAST_SWAP <= mib <= MOST_SWAP:
        raise Wrong(node.place, f"{node.text} is out of range", f"write {LEAST_SWAP}M to 1024G")
    return Value(f"{number}{unit[0].upper()}", node.place)


def choice(check: Check, key: Key, node: Node, path: str) -> Value:
    word = scalar_text(node, "a text").lower()
    if word not in key.values:
        known = ", ".join(value for value in key.values if value)
        raise Wrong(node.place, f"`{node.text}` is unknown", f"known: {known}")
    return Value(word, node.place)


def path_text(check: Check, key: Key, node: Node, path: str) -> Value:
    word = one_line(node, "a path")
    if not word.startswith("/"):
        device = key.example.startswith("/dev/") and not word.startswith("dev/")
        hint = f"/dev/{word}" if device else f"/{word}"
        raise Wrong(node.place, f"`{word}` is not an absolute path", f"write `{hint}`")
    if ".." in word.split("/"):
        raise Wrong(node.place, "`..` in a path is not allowed", "write the path it leads to")
    # one canonical spelling, since paths are compared
    names = [name for name in word.split("/") if name not in ("", ".")]
    return Value(f"/{'/'.join(names)}", node.place)


def file_path(check: Check, key: Key, node: Node, path: str) -> Value:
    """The path of a file to write. A relative one is below /, as in the original k3OS."""
    word = one_line(node, "a path")
    for home in ("$HOME/", "${HOME}/", "~/"):
        word = word.replace(home, "~rancher/", 1) if word.startswith(home) else word
    if word.startswith(("~", "$")):
        user, _, rest = word[1:].partition("/")
        hint = f"write `{'' if user == 'root' else '/home'}/{user}/{rest}`"
        hint = hint if word[0] == "~" else "write the path itself: no shell reads it"
        raise Wrong(node.place, f"`{node.text}` is not an absolute path", hint)
    if "\\" in word:
        raise Wrong(node.place, f"`{word}` is not a Linux path", "write e.g. `/etc/motd`")
    if word.endswith(("/", "/.")):
        raise Wrong(node.place, f"`{word}` is a directory", "write the path of the file")
    if not word.startswith("/") and ".." not in word.split("/"):
        absolute = f"/{word.removeprefix('./')}"
        message = f"`{word}` is not an absolute path; it is taken for `{absolute}`"
        check.warn(node.place, path, message, f"write `{absolute}`")
        word = absolute
    if not word.startswith("/"):
        word = f"/{word}"  # the smaller mistake
    return path_text(check, key, Node("scalar", node.place, word), path)


def location(check: Check, key: Key, node: Node, path: str) -> Value:
    """A URL, or an absolute path."""
    if one_line(node, "an address").startswith("/"):
        return path_text(check, key, node, path)
    return url(check, key, node, path)


def url(check: Check, key: Key, node: Node, path: str) -> Value:
    word = one_line(node, "an address")
    scheme, separator, rest = word.partition("://")
    if not separator or not scheme or not rest or " " in word:
        shown = discreet(word, whole=True)  # its login may contain spaces
        raise Wrong(node.place, f"`{shown}` is not a URL", f"write e.g. `{_url_of(word, key)}`")
    return Value(word, node.place)


def _url_of(word: str, key: Key) -> str:
    """The URL that was probably meant, an example if that is not clear."""
    host, _, port = word.partition(":")
    if not host.replace("-", "").replace(".", "").isalnum() or (port and not are_digits(port)):
        return key.example or "https://server/path"
    if host.endswith((".iso", ".yaml", ".yml")):
        return "https://server/path"
    usual = key.example.rpartition(":")[2] if key.example else ""
    return f"https://{host}:{port or usual}".rstrip(":")


def owner(check: Check, key: Key, node: Node, path: str) -> Value:
    word = one_line(node, "`user` or `user:group`")
    user, _, group = word.partition(":")
    if not user or any(character.isspace() or character == "/" for character in word):
        hint = "write `user`, `user:group` or numbers"
        raise Wrong(node.place, f"`{word}` is not an owner", hint)
    return Value(f"{user}:{group}" if group else user, node.place)


def permissions(check: Check, key: Key, node: Node, path: str) -> Value:
    """A mode in octal. A YAML or JSON writer may have turned an unquoted 0644 into 420: of the two
    readings, a sensible mode is chosen."""
    word = scalar_text(node, "permissions")
    digits = word[2:] if word[:2].lower() == "0o" else word
    is_octal = 0 < len(digits) < LONGEST and set(digits) <= set("01234567")
    octal = int(digits, 8) if is_octal else -1
    number = whole(word) if node.plain else None
    decimal = -1 if number is None else number
    mode = octal
    if node.plain and digits == word and not word.startswith("0"):
        mode = octal if _sensible(octal) or not _sensible(decimal) else decimal
        if mode >= 0:
            check.warn(node.place, path, f"`{word}` is read as {mode:04o}", f"write '{mode:04o}'")
    if not 0 <= mode <= 0o7777:
        raise Wrong(node.place, f"`{word}` is not a file mode", "write four octal digits: '0644'")
    return Value(f"{mode:04o}", node.place)


def _sensible(mode: int) -> bool:
    """The owner can read it, and group and others have no rights that the class before lacks."""
    user, group, others = mode >> 6 & 7, mode >> 3 & 7, mode & 7
    return 0 <= mode <= 0o777 and user & 4 != 0 and group | user == user and others | group == group


def hostname(check: Check, key: Key, node: Node, path: str) -> Value:
    from k3os.config.hostnames import is_nobodys

    word = scalar_text(node, "a name")
    labels = word.split(".")
    valid = len(word) <= LONGEST_HOSTNAME and all(
        label.isascii() and label.replace("-", "").isalnum() and label.strip("-") == label
        for label in labels
    )
    if not valid:
        hint = f"use letters, digits, `-` and `.`, at most {LONGEST_HOSTNAME} characters"
        raise Wrong(node.place, f"`{word}` is not a valid host name", hint)
    if is_nobodys(word):
        raise Wrong(node.place, f"`{word}` is what every machine is called", "write another name")
    return Value(word, node.place)
