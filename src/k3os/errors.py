"""Errors by audience.

A `UserError` is something a user can cause and fix: one line, a remedy, exit code 1, no traceback.
Every other exception is our bug. This module imports nothing: every layer may use it, at no cost to
the boot.
"""


def visible(text: str) -> str:
    """Foreign text, safe for a terminal: control characters become escapes as in Python; line
    breaks and tabs stay."""
    if text.isprintable():
        return text
    shown = (each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)
    return "".join(shown)


HIDDEN = "***"
# the example in our own hints, which is not hidden
EXAMPLE = "user:password"


def discreet(text: str, *, whole: bool = False) -> str:
    """text without the login (a name, password or token before the host) of each address in it.
    whole: the text is one address, so spaces do not end it; the same for text in backquotes."""
    if "://" not in text or "@" not in text:
        return text
    if whole:
        return _without_logins(text, "\n")
    pieces = _without_logins(text, " \t\n").split("`")
    pieces[1::2] = [_without_logins(each, "\n") for each in pieces[1::2]]
    return "`".join(pieces)


def _without_logins(text: str, ends: str) -> str:
    """ends: the characters that end an address."""
    head, *rest = text.split("://")
    return "://".join([head, *(_without_login(each, ends) for each in rest)])


def _without_login(address: str, ends: str) -> str:
    """address: what follows `://`, to the end of the text."""
    end = min((at for at in map(address.find, ends) if at >= 0), default=len(address))
    word = address[:end]
    host = min((at for at in map(word.find, "/?#") if at >= 0), default=len(word))
    port = word[:host].rpartition(":")[2]
    if "@" in word[:host]:
        login = word[:host].rpartition("@")[0]
    elif ":" in word[:host] and port.strip("0123456789"):
        login = word.rpartition("@")[0]  # a password that contains a slash
    else:
        return address
    return address if login in ("", EXAMPLE) else HIDDEN + address[len(login) :]


# environment variable: the file in which a k3os command leaves its UserError, as JSON, for the
# k3os that called it
ERROR_FILE = "K3OS_ERROR_FILE"


class UserError(Exception):
    """Something the user can fix.

    message: what is wrong, one line, no trailing period needed.
    hint:    what to do instead, or "".
    where:   "file:line:column: key", the cmdline token, or the URL; "" when there is none.

    A login in an address is removed from all three.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", where: str = "") -> None:
        self.message = discreet(message)
        self.hint = discreet(hint)
        self.where = discreet(where)
        super().__init__(self.message)

    def as_dict(self) -> dict[str, str]:
        """The arguments by name."""
        return {"message": self.message, "hint": self.hint, "where": self.where}

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return visible(f"{text}; {self.hint}" if self.hint else text)
