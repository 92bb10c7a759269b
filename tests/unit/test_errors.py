"""Errors are shown on terminals: text from others in them cannot control the terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from k3os.config.check import check_text
from k3os.errors import UserError, discreet, visible
from k3os.system import console

EVIL = "a\x1b[2J\x1b]0;x\x07\u202eb\udcff\x9bc"
SHOWN = r"a\x1b[2J\x1b]0;x\x07\u202eb\udcff\x9bc"


def test_controls_become_escapes_and_the_rest_stays() -> None:
    assert visible(EVIL) == SHOWN
    assert visible("Grüße: €\tx\ny") == "Grüße: €\tx\ny"


@pytest.mark.parametrize("place", ["message", "hint", "where"])
def test_no_part_of_an_error_steers_a_terminal(place: str) -> None:
    text = str(UserError(**{"message": "m", place: EVIL}))
    assert SHOWN in text
    assert "\x1b" not in text


def test_a_value_that_is_quoted_in_a_problem_does_not() -> None:
    problems = check_text(b'k3os: {upgrade: {timeout: "\\e[2J"}, "x\\e": 1}\n', "config.yaml")[1]
    assert len(problems) == 2
    assert all(str(each).isprintable() for each in problems)


@pytest.mark.parametrize("speak", [console.say, console.show])
def test_a_message_on_a_console_does_not(
    monkeypatch: pytest.MonkeyPatch, speak: Callable[[str], None]
) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(console, "_write", lambda device, data: written.append(data))
    speak(f"{EVIL}\nmore")
    assert written
    text = b"".join(written).decode().replace(console.ERASE_LINE, "")
    assert SHOWN in text
    assert all(each.isprintable() or each in "\r\n" for each in text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@h/x", "http://***@h/x"),
        ("at https://token@h:1/x, again", "at https://***@h:1/x, again"),
        ("'http://u:p@ss@h' is none", "'http://***@h' is none"),
        ("mysql://u:p@tcp(h:3306)/db", "mysql://***@tcp(h:3306)/db"),
        ("http://u:a/b?c#d@h/x", "http://***@h/x"),
        ("http://a, ftp://u:p@h", "http://a, ftp://***@h"),
        ("http://h/pkg@1.2 and me@h", "http://h/pkg@1.2 and me@h"),
        ("http://h:80/pkg@1.2", "http://h:80/pkg@1.2"),
        ("write http://user:password@host:port", "write http://user:password@host:port"),
        ("`https://u:a b@h/x` is none: http://h", "`https://***@h/x` is none: http://h"),
        ("`a`, `https://u:a`b@h/x`", "`a`, `https://***@h/x`"),
        ("no address", "no address"),
    ],
)
def test_an_address_is_shown_without_its_login(text: str, shown: str) -> None:
    assert discreet(text) == shown
    error = UserError(text, text, text)
    assert [error.message, error.hint, error.where] == [shown] * 3
    assert str(error) == f"{shown}: {shown}; {shown}"


def test_a_whole_address_may_have_a_space_in_its_password() -> None:
    assert discreet("--x=http://u:a b@h", whole=True) == "--x=http://***@h"
