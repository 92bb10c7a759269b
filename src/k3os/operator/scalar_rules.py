"""What is wrong with a single value, by kind: CEL expressions for the messages of
config/scalars.py. Pure.

Each sees the value's text as the variable t and yields the message, "" for a valid value. What CEL
cannot say word for word is left to the operator's own check.
"""

from __future__ import annotations

from collections.abc import Callable

from k3os.config import scalars
from k3os.config.hostnames import NOBODYS
from k3os.config.key import Key
from k3os.operator.cel import bound, choose, listed, literal, matches, said

TRIMMED, LOWER = "t.trim()", "t.trim().lowerAscii()"
# longer numbers are left to the operator
FEW_DIGITS = 9
LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
HOST_AND_PORT = r"[A-Za-z0-9.-]*[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?"
PARENT = r"(.*/)?\.\.(/.*)?"


def boolean(key: Key) -> str:
    known = listed([*scalars.TRUE, *scalars.FALSE])
    return choose((f"!({LOWER} in {known})", said("must be true or false, not `{t}`")))


def number(key: Key) -> str:
    least, most = key.limits
    return bound(
        "w",
        TRIMMED,
        choose(
            (f"!{matches('w', '[0-9]+')}", said("must be a number, not `{w}`")),
            (
                f"size(w) > {FEW_DIGITS} || int(w) < {least} || int(w) > {most}",
                said(f"{{w}} is out of range; write {least} to {most}"),
            ),
        ),
    )


def duration(key: Key) -> str:
    least, most = key.limits
    time = f"({matches('w', '[0-9]+')} ? duration(w + 's') : duration(w))"
    return bound(
        "w",
        TRIMMED,
        choose(
            (
                f'!{matches("w", "[0-9]+|([0-9]+h)?([0-9]+m)?([0-9]+s)?")} || w == ""',
                said(f"`{{w}}` is not a duration; write e.g. `{key.example}`"),
            ),
            (f"size(w) > {FEW_DIGITS}", '""'),
            (
                f'{time} < duration("{least}s") || {time} > duration("{most}s")',
                said(f"`{{w}}` is out of range; write {least}s to {most}s"),
            ),
        ),
    )


def choice(key: Key) -> str:
    known = ", ".join(value for value in key.values if value)
    wrong = f"!(t.lowerAscii() in {listed(key.values)})"
    return choose((wrong, said(f"`{{t}}` is unknown; known: {known}")))


def console(key: Key) -> str:
    text = said("`{t}` is not a console; write e.g. `ttyS0` or `ttyS1,9600`")
    return choose((f"!{matches('t', scalars.CONSOLE)}", text))


def swap_size(key: Key) -> str:
    words = listed([*(each for each in scalars.TRUE if each != "1"), *scalars.FALSE, "auto"])
    text, least = "must be auto, off, a size or a percentage, not `{t}`; ", scalars.LEAST_SWAP
    digits = 'w.replace("%", "").replace("i", "").replace("b", "").replace("m", "")'
    digits += '.replace("g", "")'
    mib = f'(w.contains("g") ? int({digits}) * 1024 : int({digits}))'
    percent = f"(int({digits}) < 1 || int({digits}) > {scalars.MOST_PERCENT})"
    return bound(
        "w",
        't.replace(" ", "").lowerAscii()',
        choose(
            (f"w in {words}", '""'),
            (
                f"!{matches('w', '[0-9]+(%|[mg](i?b)?)')}",
                said(f"{text}write `auto`, `off`, `512M`, `2G` or `50%`"),
            ),
            (f"size(w) > {FEW_DIGITS}", '""'),
            (
                f'w.endsWith("%") && {percent}',
                said(f"{{w}} is out of range; write 1% to {scalars.MOST_PERCENT}%"),
            ),
            (
                f'!w.endsWith("%") && ({mib} < {least} || {mib} > {scalars.MOST_SWAP})',
                said(f"{{t}} is out of range; write {least}M to 1024G"),
            ),
        ),
    )


def path(key: Key) -> str:
    plain = said("`{t}` is not an absolute path; write `/{t}`")
    device = said("`{t}` is not an absolute path; write `/dev/{t}`")
    if key.example.startswith("/dev/"):
        plain = choose(('t.startsWith("dev/")', plain), other=device)
    return choose(('!t.startsWith("/")', plain), other=_parents())


def _parents() -> str:
    text = said("`..` in a path is not allowed; write the path it leads to")
    return choose((matches("t", PARENT), text))


def file_path(key: Key) -> str:
    return choose(
        (matches("t", "[~$].*"), '""'),
        (
            f"t.contains({literal(chr(92))})",
            said("`{t}` is not a Linux path; write e.g. `/etc/motd`"),
        ),
        (matches("t", r".*/\.?"), said("`{t}` is a directory; write the path of the file")),
        other=_parents(),
    )


def url(key: Key) -> str:
    """Also the message for a relative path as a location."""
    example = literal(key.example or "https://server/path")
    usual = key.example.rpartition(":")[2] if key.example else ""
    whole = f't.contains(":") || {literal(usual)} == ""'
    host = f'({whole} ? "https://" + t : "https://" + t + {literal(f":{usual}")})'
    hint = choose(
        (f"!{matches('t', HOST_AND_PORT)}", example),
        (matches("t", r".*\.(iso|ya?ml)(:[0-9]+)?"), '"https://server/path"'),
        other=host,
    )
    wrong = bound("h", hint, said("`{t}` is not a URL; write e.g. `{h}`"))
    return choose((f"!{matches('t', '[^ :]+://[^ ]+')}", wrong))


def location(key: Key) -> str:
    return choose(('t.startsWith("/")', _parents()), other=url(key))


def owner(key: Key) -> str:
    text = said("`{t}` is not an owner; write `user`, `user:group` or numbers")
    fine = matches("t", r"[^:/\s]+(:[^/\s]*)?")
    return choose((f"!{fine}", text))


def permissions(key: Key) -> str:
    """A number without quotes can be read in two ways; that is left to the operator."""
    text = said("`{t}` is not a file mode; write four octal digits: '0644'")
    return choose((f"!{matches('t', '(0[oO])?0*[0-7]{1,4}|[0-9]+')}", text))


def hostname(key: Key) -> str:
    most = scalars.LONGEST_HOSTNAME
    hint = f"use letters, digits, `-` and `.`, at most {most} characters"
    nobodys = "|".join(name for name in NOBODYS if name.isalnum())
    fine = matches("t", rf"{LABEL}(\.{LABEL})*")
    return choose(
        (
            f"size(t) > {most} || !{fine}",
            said(f"`{{t}}` is not a valid host name; {hint}"),
        ),
        (
            matches("t.lowerAscii()", rf"({nobodys})(\..*)?"),
            said("`{t}` is what every machine is called; write another name"),
        ),
    )


def nothing(key: Key) -> str:
    return '""'


# kind: what it must be, for a message; whether it must be one line; the rule
RULES: dict[str, tuple[str, bool, Callable[[Key], str]]] = {
    "text": ("a text", True, nothing),
    "lines": ("a text", False, nothing),
    "console": ("a console", True, console),
    "boolean": ("true or false", False, boolean),
    "number": ("a number", False, number),
    "duration": ("a duration", True, duration),
    "swap size": ("auto, off, a size or a percentage", False, swap_size),
    "choice": ("a text", False, choice),
    "path": ("a path", True, path),
    "file path": ("a path", True, file_path),
    "url": ("an address", True, url),
    "location": ("an address", True, location),
    "owner": ("`user` or `user:group`", True, owner),
    "permissions": ("permissions", False, permissions),
    "hostname": ("a name", False, hostname),
}
