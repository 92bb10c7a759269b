"""Kernel parameters in a GRUB menu: adding those of --cmdline, and quoting.

It only works on text. GRUB's quoting: its manual, "Quoting"; the kernel's: lib/cmdline.c, next_arg.
When GRUB starts a kernel, it puts double quotes around a word with a space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from k3os.config.cmdline import split
from k3os.errors import UserError

# a command that starts a kernel, on a line of its own
_LINUX = re.compile(r"\s*linux(?:16|efi)?\s+\S*/vmlinuz(?:\s|$)")
_ENTRY = re.compile(r"\s*menuentry\s.*--id[= ]+'?\"?([\w.-]+)")
_LIVE = re.compile(r"(?<=menuentry \")k3OS live(?=\")")
_DEFAULT = re.compile(r"^(\s*set\s+default=).*$", re.MULTILINE)
# what may also be in such a line, so that words at its end would not be kernel parameters
_NOT_ALONE = re.compile(r"[;{}#]|\s--(\s|$)|\\$")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SERIAL = re.compile(r"^if serial .*\n(?:    .*\n)+fi\n", re.MULTILINE)
_CONSOLE = re.compile(r"^(set console=).*$", re.MULTILINE)
MODE, FALLBACK = "k3os.mode", "k3os.fallback_mode"
# the kernel's limit on x86 is 2,047; the menu's $console expands to more than its name
LONGEST = 1980


@dataclass(frozen=True)
class Change:
    """A menu with added words. names: the parameters, without values; entries: how many changed.

    default: the entry that has become the default because its mode was requested, or "".
    """

    text: str
    names: tuple[str, ...]
    entries: int
    default: str = ""


def quoted(cmdline: str) -> list[str]:
    """Kernel parameters as words in single quotes for GRUB's menu. Raises UserError.

    A quote character cannot pass through both GRUB and the kernel: GRUB adds a backslash to it.
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
    """A menu for machines whose firmware knows the console (ACPI's SPCR, stdout-path in a device
    tree): without `console=` the kernel uses that one, and GRUB uses UEFI's."""
    text, count = _SERIAL.subn("", text)
    text, consoles = _CONSOLE.subn(r'\1""', text)
    assert (count, consoles) == (1, 1)
    return text


def add_parameters(menu: str, cmdline: str) -> Change:
    """Add kernel parameters to every entry; they come last, so they override the menu's.

    If a menu entry has the given k3os.mode, that entry becomes the default: an entry named "live"
    must not install. A fallback mode only applies without a mode, so it removes `k3os.mode=live`.
    Raises UserError.
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
    """The id of the entry that boots in a mode, "" for none."""
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
