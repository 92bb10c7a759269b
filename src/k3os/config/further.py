"""What the programs that read our values reject, by key: k3s and its kubelet, systemd, connman.

Each function gets what the key's kind has accepted, and returns the part that is usable. Labels and
taints: kubernetes.io/docs/concepts/overview/working-with-objects/labels; what a kubelet may set:
kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction.
"""

from __future__ import annotations

from k3os.config.hostnames import is_domain
from k3os.config.value import Node, Problem, Value, Wrong
from k3os.system.numbers import are_digits, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from k3os.config.kinds import Check

LONGEST_NAME, LONGEST_PREFIX = 63, 253
# a kubelet exits if it is told to set one of Kubernetes' own labels, except for these
RESERVED = ("kubernetes.io", "k8s.io")
ALLOWED_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
ALLOWED = (
    *("kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"),
    *("beta.kubernetes.io/os", "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type"),
    *("topology.kubernetes.io/zone", "topology.kubernetes.io/region"),
    *("failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"),
)
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORDS = f"letters, digits, `-`, `_` and `.`, at most {LONGEST_NAME}, between letters or digits"


def apply(name: str, check: Check, value: Value, path: str) -> Value:
    """Call the function of this name, and return what it leaves of a value. MODULE.NAME is in
    k3os.config.MODULE, which is imported only if a source has such a key."""
    module, _, own = name.rpartition(".")
    source = vars(__import__(f"k3os.config.{module}", fromlist=[own])) if module else globals()
    function: Callable[[Check, Value, str], Value] = source[own]
    return function(check, value, path)


def wrong_name(text: str) -> str:
    """Why a text is not a qualified name of Kubernetes, "" if it is one."""
    prefix, slash, name = text.rpartition("/")
    if not name:
        return f"has no name: write {WORDS}"
    if not _is_word(name):
        return f"`{name}` is not a valid Kubernetes name: write {WORDS}"
    parts = prefix.split(".")
    fine = all(_is_word(part) and "_" not in part and part == part.lower() for part in parts)
    if slash and not (fine and len(prefix) <= LONGEST_PREFIX):
        return (
            f"`{prefix}` is not a valid Kubernetes prefix: write a DNS name in lower-case letters"
        )
    return ""


def wrong_value(text: str) -> str:
    """Why a text is not a valid label value, "" if it is one."""
    fine = not text or _is_word(text)
    return "" if fine else f"`{text}` is not a valid Kubernetes value: write {WORDS}"


def wrong_label(text: str) -> str:
    """Why a kubelet would not set a label with this name, "" if it would."""
    prefix = text.rpartition("/")[0]
    if not _below(prefix, RESERVED) or _below(prefix, ALLOWED_PREFIXES) or text in ALLOWED:
        return ""
    return "is one of Kubernetes' own labels, and a kubelet that is to set it does not start"


def _below(prefix: str, domains: tuple[str, ...]) -> bool:
    return any(prefix == domain or prefix.endswith(f".{domain}") for domain in domains)


def _is_word(text: str) -> bool:
    plain = text.replace("-", "").replace("_", "").replace(".", "")
    ends = text[:1].isalnum() and text[-1:].isalnum()
    return text.isascii() and len(text) <= LONGEST_NAME and ends and plain.isalnum()


def labels(check: Check, value: Value, path: str) -> Value:
    def wrong(name: str, text: str) -> tuple[str, str]:
        if why := wrong_label(name):
            hint = f"`kubectl label node NAME {name}={text}` from a computer, or in a server's"
            return why, f"{hint} ready_cmd"
        message, _, hint = (wrong_name(name) or wrong_value(text)).partition(": ")
        return message, hint

    return _each_pair(check, value, path, wrong)


def taints(check: Check, value: Value, path: str) -> Value:
    def wrong(text: str) -> tuple[str, str]:
        name, _, rest = text.rpartition(":")[0].partition("=")
        message, _, hint = (wrong_name(name) or wrong_value(rest)).partition(": ")
        return message, hint

    return each_item(check, value, path, wrong)


def variables(check: Check, value: Value, path: str) -> Value:
    def wrong(name: str, text: str) -> tuple[str, str]:
        if name.isascii() and name.isidentifier():
            return "", ""
        meant = name.removeprefix("export ").strip().replace("-", "_").replace(".", "_")
        hint = f"write {meant}" if meant.isidentifier() else "write letters, digits and `_`"
        return "is not a valid variable name", hint

    assert isinstance(value.data, dict)
    if "$" in str(value.data["PATH"].data if "PATH" in value.data else ""):
        value = _with_search_path(check, value, path)
    return _each_pair(check, value, path, wrong)


def k3s_sums(check: Check, value: Value, path: str) -> Value:
    def wrong(name: str, text: str) -> tuple[str, str]:
        if not _is_k3s_version(name):
            return "is not a version of k3s", "write it like v1.33.1+k3s1"
        sums = text.split()
        if not sums or any(len(each) != 64 or not _is_hex(each) for each in sums):
            return "is not a SHA-256", "write 64 hex digits, or several with spaces in between"
        return "", ""

    return _each_pair(check, value, path, wrong)


def _is_k3s_version(text: str) -> bool:
    number, plus, build = text.removeprefix("v").partition("+k3s")
    parts = number.partition("-")[0].split(".")
    digits = all(map(are_digits, [*parts, build]))
    return text.startswith("v") and bool(plus) and len(parts) == 3 and digits


def _with_search_path(check: Check, value: Value, path: str) -> Value:
    """`$PATH` replaced by the usual directories: without them, no program would be found."""
    assert isinstance(value.data, dict)
    item = value.data["PATH"]
    text = str(item.data).replace("${PATH}", "$PATH").replace("$PATH", SEARCH_PATH)
    others = {name: each for name, each in value.data.items() if name != "PATH"}
    if "$" in text:
        wrong = Wrong(item.place, "has a `$` in it, and no shell reads it", "write it in full")
        check.error(f"{path}.PATH", wrong)
        return Value(others, value.place)
    message, hint = f"`$PATH` is taken for {SEARCH_PATH}", "write that"
    check.warn(item.place, f"{path}.PATH", message, hint)
    return Value({**others, "PATH": Value(text, item.place)}, value.place)


def server(check: Check, value: Value, path: str) -> Value:
    """k3s joins only by https. The value is kept: without one, the node would be a server."""
    url = str(value.data)
    scheme, _, rest = url.partition("://")
    if scheme.lower() != "https":
        message = f"k3s joins a server by https only, not by {scheme}"
        check.problems.append(Problem(value.place, path, message, f"write https://{rest}"))
    elif any(sign in rest for sign in ("<", ">", "{{", "{%")):
        message = "has a place in it that nobody filled in"
        check.problems.append(Problem(value.place, path, message, "write the server's name"))
    return value


def name_servers(check: Check, value: Value, path: str) -> Value:
    def wrong(text: str) -> tuple[str, str]:
        if _is_address(text):
            return "", ""
        words = text.partition("#")[0].replace(",", " ").replace(";", " ").split() or [text]
        meant = words[0].strip("[]") if _is_address(words[0].strip("[]")) else ""
        meant = meant or words[0].partition(":")[0]
        if not _is_address(meant) and len(words) == 1:
            return f"`{text}` is not an IP address", "write an address, e.g. `1.1.1.1`"
        return f"`{text}` is not an IP address", _item_hint(words, meant)

    return each_item(check, value, path, wrong)


def domains(check: Check, value: Value, path: str) -> Value:
    def wrong(text: str) -> tuple[str, str]:
        if is_domain(text):
            return "", ""
        words = text.replace(",", " ").replace(";", " ").split() or [text]
        return f"`{text}` is not a domain", _item_hint(words, "example.com")

    return each_item(check, value, path, wrong)


def time_servers(check: Check, value: Value, path: str) -> Value:
    def wrong(text: str) -> tuple[str, str]:
        plain = text.replace("-", "").replace(".", "").replace("_", "")
        if _is_address(text) or (plain.isalnum() and plain.isascii()):
            return "", ""
        words = text.partition("#")[0].replace(",", " ").replace(";", " ").split()
        words = [each for each in words if each not in ("server", "pool", "iburst")] or [text]
        meant = words[0].partition("://")[2] or words[0]
        inner = meant[1:].partition("]")[0] if meant.startswith("[") else ""
        meant = inner if _is_address(inner) else meant.partition(":")[0].strip("/")
        return f"`{text}` is not a time server", _item_hint(words, meant)

    return each_item(check, value, path, wrong)


LOCAL = 255


def routing_table(check: Check, value: Value, path: str) -> Value:
    """A rule or route in the kernel's table `local` would cut the node off from itself."""
    if int(str(value.data)) == LOCAL:
        raise Wrong(value.place, f"{LOCAL} is the kernel's own table", "write e.g. `table: 100`")
    return value


def bond(check: Check, value: Value, path: str) -> Value:
    _made().check_bond(value)
    return value


def bridge(check: Check, value: Value, path: str) -> Value:
    _made().check_bridge(value)
    return value


def _made() -> Any:
    """Imported only if a source has such a key; by name as in kinds.py, which it builds on."""
    return __import__("k3os.config.made", fromlist=["made"])


def _item_hint(words: list[str], meant: str) -> str:
    return "write each server as an item of a list" if len(words) > 1 else f"write `{meant}`"


def _is_address(text: str) -> bool:
    """An approximation without ipaddress, whose import costs a boot 10 ms."""
    if ":" in text:
        plain, _, zone = text.partition("%")
        groups = plain.split(":")
        fine = all(len(each) <= 4 and _is_hex(each) for each in groups[:-1])
        last = groups[-1]
        ends = _is_address(last) if "." in last else len(last) <= 4 and _is_hex(last)
        return 2 < len(groups) < 10 and fine and ends and (not zone or zone.isalnum())
    numbers = text.split(".")
    return len(numbers) == 4 and all(whole(each, most=255) is not None for each in numbers)


def _is_hex(text: str) -> bool:
    return set(text.lower()) <= set("0123456789abcdef")


def each_item(
    check: Check, value: Value, path: str, wrong: Callable[[str], tuple[str, str]]
) -> Value:
    assert isinstance(value.data, list)
    kept = []
    for item in value.data:
        message, hint = wrong(str(item.data))
        if message:
            node = Node("scalar", item.place, str(item.data))
            check.error(f"{path}[{item.place.number}]", Wrong(item.place, message, hint), node)
        else:
            kept.append(item)
    return Value(kept, value.place)


def _each_pair(
    check: Check, value: Value, path: str, wrong: Callable[[str, str], tuple[str, str]]
) -> Value:
    assert isinstance(value.data, dict)
    kept = {}
    for name, item in value.data.items():
        message, hint = wrong(name, str(item.data))
        if message:
            node = Node("scalar", item.place, str(item.data))
            check.error(f"{path}.{name}", Wrong(item.place, message, hint), node)
        else:
            kept[name] = item
    return Value(kept, value.place)
