"""Hurry, which presses Enter in GRUB's menu for tests that boot machines."""

import pytest

from tests.vm.conftest import Hurry

MENU = b"\x1b[19;1H   The highlighted entry will be executed automatically in 5s.   \x1b[m"


class Machine:
    def __init__(self) -> None:
        self.typed = ""

    def send(self, text: str) -> None:
        self.typed += text


@pytest.fixture
def hurry() -> Hurry:
    found = Hurry()
    found.vm = Machine()
    return found


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_a_menu_is_answered_once_in_whatever_pieces_it_comes(hurry: Hurry, size: int) -> None:
    text = b"Booting from Hard Disk...\r\n" + MENU + MENU.replace(b"5s", b"4s")
    for start in range(0, len(text), size):
        hurry.look(text[start : start + size])
    assert hurry.vm.typed == "\n"


def test_each_boot_has_its_menu_and_an_error_is_answered_too(hurry: Hurry) -> None:
    for text in (MENU, b"error: not found.\r\n\nPress any key to continue...", MENU):
        hurry.look(text)
    assert hurry.vm.typed == "\n\n\n"


def test_nothing_else_is_answered(hurry: Hurry) -> None:
    hurry.look(b"k3OS: version 0.1.0: early boot\r\nlogin: " * 100)
    assert hurry.vm.typed == ""
    assert len(hurry.seen) < 100, "a console of hours is not kept"
