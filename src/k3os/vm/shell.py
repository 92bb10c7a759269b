"""Running a command in a shell on the console and getting its exit code and output, intact.

The console also carries echoes, prompts and whatever the kernel and units say in between. So
the output travels as base64 in lines that begin with a mark, with an MD5 sum; what was
damaged is asked for again. The mark is typed in two halves: its echo is not the mark.
Any POSIX shell with coreutils or busybox will do.
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
# a terminal's line in the kernel holds 4,095 bytes (termios(3), "Canonical mode")
LONGEST = 3000
# characters of an output that travels in one line: each program costs an emulated machine a
# twentieth of a second, and a line is seldom interrupted
SHORT = 500
OF_NOTHING = hashlib.md5(b"", usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class CommandResult:
    """What a command printed (both streams, without the last newline) and how it ended."""

    code: int
    output: str


def run_command(console: Console, command: str, timeout: float) -> CommandResult:
    """Run command in the shell that waits on the console, its input empty.

    Raises ConsoleError (no answer in time), ValueError (command too long to be typed).
    """
    if len(command.encode()) > LONGEST:
        raise ValueError(f"a command of {len(command)} characters cannot be typed on a terminal")
    mark = f"@{secrets.token_hex(4)}"
    end = time.monotonic() + timeout
    console.skip()
    console.send(f" {begin(mark, command)}; {transmit()}\n")
    for _ in range(TRIES):
        answer = console.expect(
            rf"{mark} (\d+) ([0-9a-f]{{32}})$([\s\S]*?){mark}\.$", end - time.monotonic()
        ).match
        output = decode(mark, answer[3], answer[2])
        if output is not None:
            return CommandResult(int(answer[1]), output.decode(errors="replace"))
        console.send(f" {transmit()}\n")
    raise ConsoleError(console.explain(f"the output of {command!r} came damaged {TRIES} times"))


def begin(mark: str, command: str) -> str:
    """The shell text that runs command and keeps its result in variables."""
    half = len(mark) // 2
    return (
        f'_m={mark[:half]}""{mark[half:]}; _b=; command -v md5sum >/dev/null || _b=busybox; '
        f"_o=$({{ {command}\n}} 2>&1 </dev/null); _c=$?"
    )


def transmit() -> str:
    """The shell text that prints the kept result, each line behind the mark."""
    return (
        f'_s={OF_NOTHING}; [ -z "$_o" ] || _s=$(printf %s "$_o" | $_b md5sum); '
        'echo; echo "$_m $_c ${_s%% *}"; '
        f'if [ ${{#_o}} -gt {SHORT} ]; then printf %s "$_o" | $_b base64 | $_b sed "s/^/$_m:/"; '
        'elif [ "$_o" ]; then echo "$_m:$(printf %s "$_o" | $_b base64 -w0)"; fi; echo "$_m."'
    )


def decode(mark: str, text: str, md5: str) -> bytes | None:
    """The bytes in the marked lines of text, or None when they are not what was sent."""
    lines = re.findall(rf"{mark}:([A-Za-z0-9+/=]+)$", text, re.MULTILINE)
    try:
        data = base64.b64decode("".join(lines), validate=True)
    except binascii.Error:
        return None
    return data if hashlib.md5(data, usedforsecurity=False).hexdigest() == md5 else None
