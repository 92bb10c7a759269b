"""Run a command in a shell on the console, and get its exit code and output intact.

The console also carries echoes, prompts and messages of the kernel and units. So the output travels
as base64 in lines that begin with a mark, with an MD5 sum; damaged output is requested again. The
mark is typed in two halves, so its echo is not the mark. Any POSIX shell with coreutils or busybox
will do.

On an emulated machine, starting a program takes a twentieth of a second, so a short line of
harmless characters travels unencoded, with its length. Each typed character takes a third of a
millisecond: an interrupt, a turn of the line editor, an echo. So what all commands have in common
is typed once per shell, as functions, and the shell's line editor is turned off.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import time
from dataclasses import dataclass

from k3os.vm.console import Console, ConsoleError

TRIES = 4
# a terminal's line buffer in the kernel holds 4,095 bytes (termios(3), "Canonical mode")
LONGEST = 3000
# output up to this many characters travels in one line, which is rarely interrupted
SHORT = 500
SIGNS = " ./:=,_+@%()"  # with letters, digits and -: characters that no shell or terminal changes
FUNCTIONS = (
    '[ -z "$BASH_VERSION" ] || set +o emacs +o vi; '
    "_begin() { _m=$1$2; _b=; command -v md5sum >/dev/null || _b=busybox; }; "
    "_transmit() { _c=${1:-$_c}; _p=; "
    f'[ ${{#_o}} -gt {SHORT} ] || case $_o in *[!A-Za-z0-9"{SIGNS}"-]*) ;; '
    "*) _p=1 ;; esac; echo; "
    'if [ "$_p" ]; then echo "$_m $_c =${#_o}"; echo "$_m:=$_o"; '
    'else _s=$(printf %s "$_o" | $_b md5sum); echo "$_m $_c ${_s%% *}"; '
    f'if [ ${{#_o}} -gt {SHORT} ]; then printf %s "$_o" | $_b base64 | $_b sed "s/^/$_m:/"; '
    'else echo "$_m:$(printf %s "$_o" | $_b base64 -w0)"; fi; fi; echo "$_m."; }'
)
# what a shell without the functions says
UNKNOWN = r"\b_transmit: (?:command )?not found"


@dataclass(frozen=True)
class CommandResult:
    """A command's output (both streams, without the last newline) and its exit code."""

    code: int
    output: str


def run_command(console: Console, command: str, timeout: float) -> CommandResult:
    """Run command in the shell that waits on the console, with empty standard input.

    Raises ConsoleError (no answer in time), ValueError (command too long to type).
    """
    if len(command.encode()) > LONGEST:
        raise ValueError(f"a command of {len(command)} characters cannot be typed on a terminal")
    mark = f"@{secrets.token_hex(4)}"
    end = time.monotonic() + timeout
    console.skip()
    typed = f" {begin(mark, command)}; {transmit()} $?\n"
    # a line of its own: busybox accepts 1,023 characters
    console.send(typed if console.has_functions else f" {FUNCTIONS}\n{typed}")
    console.has_functions = True
    answered = rf"{mark} (\d+) (=\d+|[0-9a-f]{{32}})$([\s\S]*?){mark}\.$"
    for _ in range(TRIES):
        answer = console.expect(rf"{answered}|{UNKNOWN}", end - time.monotonic()).match
        if answer[1] is None:  # a different shell than before: nothing was run
            console.send(f" {FUNCTIONS}\n{typed}")
            answer = console.expect(answered, end - time.monotonic()).match
        output = decode(mark, answer[3], answer[2])
        if output is not None:
            return CommandResult(int(answer[1]), output.decode(errors="replace"))
        console.send(f" {transmit()}\n")
    raise ConsoleError(console.explain(f"the output of {command!r} came damaged {TRIES} times"))


def begin(mark: str, command: str) -> str:
    """Shell code that runs command and keeps its output in a variable."""
    half = len(mark) // 2
    return f"_begin {mark[:half]} {mark[half:]} && _o=$({{ {command}\n}} 2>&1 </dev/null)"


def transmit() -> str:
    """Shell code that prints the kept output, each line after the mark; after that the exit code,
    if it is new."""
    return "_transmit"


def decode(mark: str, text: str, check: str) -> bytes | None:
    """The bytes in the marked lines of text, or None if they are not what was sent.

    check: the MD5 sum of base64 data, or = and the length of unencoded data.
    """
    if check[0] == "=":
        found = re.search(rf"{mark}:=([A-Za-z0-9{SIGNS}-]*)$", text, re.MULTILINE)
        plain = found[1] if found else ""
        return plain.encode() if found and check == f"={len(plain)}" else None
    lines = re.findall(rf"{mark}:([A-Za-z0-9+/=]+)$", text, re.MULTILINE)
    try:
        data = base64.b64decode("".join(lines), validate=True)
    except binascii.Error:
        return None
    return data if hashlib.md5(data, usedforsecurity=False).hexdigest() == check else None
