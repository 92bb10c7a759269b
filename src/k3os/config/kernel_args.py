"""k3os.kernel_args: kernel arguments that the boot menu of an installed system adds.

GRUB reads them from a file as the value of a variable and puts them, unquoted, into the command
line (k3os.generation.kernel_args): it splits at blanks, expands * ? [ and escapes quotes and
backslashes; nothing else in a value is parsed again. Names: the kernel's
admin-guide/kernel-parameters; systemd's kernel-command-line(7).
"""

from __future__ import annotations

import re
from itertools import pairwise

from k3os.config.value import Problem, Value, Wrong, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from k3os.config.kinds import Check

KEY = "k3os.kernel_args"
TTY = "k3os.install.tty"
# COMMAND_LINE_SIZE is 2048 with the final zero, on x86 and arm64; the rest is for the menu's own
# arguments, for what GRUB adds, and for a person's `e`
LONGEST = 1536
_FINE = re.compile(r"[0-9A-Za-z_.,:=/+@%!$#-]+")
_CHARACTER = re.compile(r"[^0-9A-Za-z_.,:=/+@%!$#-]")
WHAT_BOOTS = "the boot menu and the initrd of k3OS say what boots"
OTHER_TARGET = "with this argument systemd would not start k3OS"
LEAVE_OUT = "leave it out"
QUOTE = "put both in quotes, as one item: a comma separates the items of [ ]"
# name, with - as _ -> why it is not the user's to set, and what to do instead
_OURS = {
    **dict.fromkeys(
        (
            *("root", "rootfstype", "rootflags", "rootdelay", "rootwait", "ro", "rw", "nfsroot"),
            *("init", "rdinit", "initrd", "noinitrd", "BOOT_IMAGE", "load_ramdisk"),
        ),
        (WHAT_BOOTS, LEAVE_OUT),
    ),
    **dict.fromkeys(
        (
            *("systemd.unit", "systemd.mask", "systemd.run", "systemd.volatile"),
            *("single", "emergency", "s", "S", "1", "2", "3", "4", "5"),
        ),
        (OTHER_TARGET, LEAVE_OUT),
    ),
    "panic": (
        "a kernel that panics restarts the machine, on which each trial relies",
        "write `kernel.panic` into k3os.sysctls",
    ),
}
_PREFIXES = {
    "rd.": ("it is for other initrds than that of k3OS", LEAVE_OUT),
    "systemd.run_": (OTHER_TARGET, LEAVE_OUT),
}


def usable(check: Check, value: Value, path: str) -> Value:
    """The items of a list that can be in the menu. Raises Wrong if they exceed the limit."""
    from k3os.config.further import each_item

    kept = each_item(check, value, path, wrong)
    assert isinstance(kept.data, list)
    size = len(" ".join(str(item.data) for item in kept.data))
    if size > LONGEST:
        message = f"has {size} characters, and a command line has room for {LONGEST} beside ours"
        raise Wrong(value.place, message, "write fewer; sysctls and modules have keys of their own")
    return kept


def wrong(word: str) -> tuple[str, str]:
    """Why a word cannot be used as a kernel argument here, and what to do; ("", "") if it can be
    used."""
    if len(words := word.split()) > 1:
        return "has blanks in it", f"write [{', '.join(words)}]"
    if not _FINE.fullmatch(word):
        sign = _CHARACTER.findall(word)[0]
        shown = f"`{sign}`" if sign.isprintable() else repr(sign)
        hint = "write letters, digits and `_ . , : = / + @ % ! $ # -`"
        return f"has {shown} in it, which GRUB might not hand to the kernel as it is", hint
    name = word.partition("=")[0]
    if not name or name.startswith("-"):
        return "has no name", "write NAME or NAME=VALUE"
    if name == word and word[0] in "0123456789":
        return "is a value without a name", f"if it belongs to what stands before it, {QUOTE}"
    folded = name.replace("-", "_")
    for prefix, answer in _PREFIXES.items():
        if folded.startswith(prefix):
            return _about(name, answer)
    return _about(name, _OURS[folded]) if folded in _OURS else _of_the_configuration(name)


def _about(name: str, answer: tuple[str, str]) -> tuple[str, str]:
    why, hint = answer
    return f"`{name}` is not yours to set: {why}", hint


def _of_the_configuration(name: str) -> tuple[str, str]:
    from k3os.config.cmdline import key_of
    from k3os.config.schema import BOOT_OPTIONS

    if name in BOOT_OPTIONS:
        return _about(name, ("the boot reads it, for one boot", "press `e` in the boot menu"))
    if key := key_of(name):
        return f"`{name}` is not a kernel argument, but a key", f"write it as {key}"
    return "", ""


def _touches(item: Value, following: Value) -> bool:
    """Whether two items without quotes are separated by a comma without a blank."""
    one, two = item.place, following.place
    end = one.column + len(str(item.data))
    return 0 < one.line == two.line and two.column == end + 1


def advice(values: dict[str, Value]) -> Iterator[Problem]:
    """Advice on arguments that are used unchanged."""
    items = [item for _, item in numbered(values.get(KEY))]
    for item, following in pairwise(items):
        if _touches(item, following) and "=" in str(item.data) and "=" not in str(following.data):
            whole = f"{item.data},{following.data}"
            message = "is an argument of its own: a comma separates the items of [ ]"
            hint = f"write `'{whole}'` for a single one, or a blank behind the comma for two"
            where = f"{KEY}[{following.place.number}]"
            yield Problem(following.place, where, message, hint, is_error=False)
    for item in items:
        if str(item.data).startswith("console="):
            message = (
                f"comes after the consoles of the menu ({TTY}): the last one is the machine's "
                "main console, and all have a login"
            )
            hint = f"a new installation has {TTY} for it"
            where = f"{KEY}[{item.place.number}]"
            yield Problem(item.place, where, message, hint, is_error=False)
