"""The kernel's parameters in a GRUB menu: what --cmdline adds, and its quoting.

It only works on text. GRUB's quoting: its manual, "Quoting"; the kernel's: lib/cmdline.c,
next_arg. GRUB itself puts double quotes around a word with a space when it starts a kernel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from k3os.config.cmdline import split
from k3os.errors import UserError

# a command that starts a kernel, in a line of its own
_LINUX = re.compile(r"\s*linux(?:16|efi)?\s+\S*/vmlinuz(?:\s|$)")
_ENTRY = re.compile(r"\s*menuentry\s.*--id[= ]+'?\"?([\w.-]+)")
_LIVE = re.compile(r"(?<=menuentry \")k3OS live(?=\")")
_DEFAULT = re.compile(r"^(\s*set\s+default=).*$", re.MULTILINE)
# what else may stand in such a line, where words at its end would not be the kernel's
_NOT_ALONE = re.compile(r"[;{}#]|\s--(\s|$)|\\$")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SERIAL = re.compile(r"^if serial .*\n(?:    .*\n)+fi\n", re.MULTILINE)
_CONSOLE = re.compile(r"^(set console=).*$", re.MULTILINE)
MODE, FALLBACK = "k3os.mode", "k3os.fallback_mode"
# the kernel's limit on x86 is 2,047; the menu's $console is longer than its name
LONGEST = 1980


@dataclass(frozen=True)
class Change:
    """A menu with words added. names: the parameters, without values; entries: to how many.

    default: the entry that is the default one now, because its mode was asked for, or "".
    """

    text: str
    names: tuple[str, ...]
    entries: int
    default: str = ""


def quoted(cmdline: str) -> list[str]:
    """Kernel parameters as words for GRUB's menu, in single quotes. Raises UserError.

    No quote can go through both GRUB and the kernel: GRUB gives a backslash to each.
    """
    parameters = split(cmdline)
    if "--" in cmdline.split():
        raise UserError("-- ends the kernel's parameters", "leave it out", "--cmdline")
    words = []
    for name, value in parameters:
        word = name if value is None else f"{name}={value}"
        if not word.isprintable() or re.search(r"['\"\\]", word):
            raise UserError(
                f"the parameter {name} has a quote, a backslash or a control character in it, "
                "which cannot go through GRUB to the kernel",
                "put it into a config.yaml, with --config",
                "--cmdline",
            )
        words.append(f"'{word}'")
    return words


def for_firmware_consoles(text: str) -> str:
    """A menu for machines whose firmware says where the console is (SPCR of ACPI, stdout-path of
    a device tree): the kernel listens to it where no `console=` is given, and GRUB uses UEFI's."""
    text, count = _SERIAL.subn("", text)
    text, consoles = _CONSOLE.subn(r'\1""', text)
    assert (count, consoles) == (1, 1)
    return text


def add_parameters(menu: str, cmdline: str) -> Change:
    """Add kernel parameters to every entry; of two for one thing the later, ours, counts.

    A k3os.mode that an entry of the menu has makes that entry the default: an entry that says
    "live" is not to install. A fallback mode counts only where no mode is given, so it takes
    `k3os.mode=live` out. Raises UserError.
    """
    words = quoted(cmdline)
    names = tuple(name for name, _ in split(cmdline))
    mode = dict(split(cmdline)).get(MODE)
    lines = menu.splitlines(keepends=True)
    if FALLBACK in names and MODE not in names:
        lines = [_LIVE.sub("k3OS", _without_live(line)) for line in lines]
    default = _entry_of_mode(lines, mode) if mode else ""
    if default and not _DEFAULT.search(menu):
        default = ""
    if default:
        words = [word for word in words if not word.startswith(f"'{MODE}=")]
        lines = _DEFAULT.sub(rf"\g<1>{default}", menu).splitlines(keepends=True)
    count = 0
    for number, line in enumerate(lines):
        if _LINUX.match(line) and words:
            lines[number] = _extended(line, words, number + 1)
            count += 1
    if words and not count:
        raise UserError(
            "the menu of this ISO has no line `linux …/vmlinuz …`",
            "edit boot/grub/grub.cfg by hand, see docs/how-to/remaster.md#by-hand",
            "--cmdline",
        )
    return Change("".join(lines), names, count, default)


def _without_live(line: str) -> str:
    return line.replace(f" {MODE}=live", "") if _LINUX.match(line) else line


def _entry_of_mode(lines: list[str], mode: str) -> str:
    """The id of the entry that boots in a mode, "" when there is none."""
    entry = ""
    for line in lines:
        if match := _ENTRY.match(line):
            entry = match[1]
        if _LINUX.match(line) and f"{MODE}={mode}" in line.split():
            return entry
    return ""


def _extended(line: str, words: list[str], number: int) -> str:
    body = line.rstrip()
    if _NOT_ALONE.search(_QUOTED.sub("", body.partition("vmlinuz")[2])):
        raise UserError(
            f"line {number} of the ISO's grub.cfg has more than one `linux` command in it",
            "edit boot/grub/grub.cfg by hand, see docs/how-to/remaster.md#by-hand",
            "--cmdline",
        )
    extended = " ".join([body, *words])
    if len(extended.encode()) > LONGEST:
        raise UserError(
            f"the kernel's command line would have {len(extended.encode())} bytes; "
            f"it takes about {LONGEST}",
            "put the configuration into a config.yaml, with --config",
            "--cmdline",
        )
    return f"{extended}\n"
