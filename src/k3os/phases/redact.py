"""Secrets in foreign text: the last output of a command, the message of a server.

An action's own description never contains a secret, so nothing is removed from it: if a password is
a common word, each `***` in place of that word would reveal it.
"""

from __future__ import annotations

MASK = "***"
SHORTEST, SHORTEST_OF_LETTERS = 8, 16


def redact(text: str, secrets: list[str]) -> str:
    """text without the secrets that stand alone in it, between spaces, quotes, `=` or `@`."""
    # few of thousands occur in it
    for secret in sorted([each for each in secrets if each in text], key=len, reverse=True):
        if is_unmistakable(secret):
            text = _masked(text, secret)
    return text


def is_unmistakable(secret: str) -> bool:
    """Whether it is unlikely to occur by chance, unlike `rancher` or `true`."""
    return len(secret) >= (SHORTEST_OF_LETTERS if secret.isalpha() else SHORTEST)


def _masked(text: str, secret: str) -> str:
    begin = text.find(secret)
    while begin >= 0:
        end = begin + len(secret)
        if _ends(text[begin - 1 : begin]) and _ends(text[end : end + 1]):
            text = text[:begin] + MASK + text[end:]
            end = begin + len(MASK)
        begin = text.find(secret, end)
    return text


def _ends(character: str) -> bool:
    """Whether a value ends at this character; "" is the start or end of the text."""
    return not (character.isalnum() or character in tuple("-_/"))
