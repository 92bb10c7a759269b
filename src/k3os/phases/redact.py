"""Secrets in what others say: the last words of a command, the message of a server.

What an action says of itself never holds one, so nothing is taken out of that: where a password is
a plain word, every `***` in the place of that word would give it away.
"""

from __future__ import annotations

MASK = "***"
SHORTEST, SHORTEST_OF_LETTERS = 8, 16


def redact(text: str, secrets: list[str]) -> str:
    """text without the secrets that stand in it as values, between spaces, quotes, `=` or `@`."""
    # of thousands few are in it
    for secret in sorted([each for each in secrets if each in text], key=len, reverse=True):
        if is_unmistakable(secret):
            text = _masked(text, secret)
    return text


def is_unmistakable(secret: str) -> bool:
    """Whether nobody would write it by chance, as one does with `rancher` or `true`."""
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
    """Whether a value ends at this character; "" is the begin or end of the text."""
    return not (character.isalnum() or character in tuple("-_/"))
