"""Errors by audience.

A `UserError` is something a user can cause and fix: one line, a remedy, exit code 1,
no traceback. Every other exception is our bug. This module imports nothing, so that
every layer may use it and it costs nothing at boot.
"""


def visible(text: str) -> str:
    """Text of somebody else for a terminal, which it must not steer: controls become escapes as in
    Python, line breaks and tabs stay."""
    if text.isprintable():
        return text
    shown = (each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)
    return "".join(shown)


class UserError(Exception):
    """Something the user can fix.

    message: what is wrong, one line, no trailing period needed.
    hint:    what to do instead, or "".
    where:   "file:line:column: key", the cmdline token, or the URL; "" when there is none.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return visible(f"{text}; {self.hint}" if self.hint else text)
