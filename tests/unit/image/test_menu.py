"""Kernel parameters in GRUB's menu: quoted so that they pass through GRUB and the kernel."""

from __future__ import annotations

import pytest

from k3os.config.cmdline import split
from k3os.errors import UserError
from k3os.image.menu import add_parameters, for_firmware_consoles, quoted
from tests.unit.image.conftest import MENU

ISO_MENU = MENU.read_text()


def entry(text: str, name: str) -> str:
    """The `linux` line of an entry."""
    return text.partition(f"--id {name} {{\n")[2].partition("\n")[0].strip()


def test_every_entry_gets_the_words_in_single_quotes() -> None:
    change = add_parameters(ISO_MENU, 'hostname=a "k3os.environment.A=b c;$d" debug')
    words = "'hostname=a' 'k3os.environment.A=b c;$d' 'debug'"
    assert change.names == ("hostname", "k3os.environment.A", "debug")
    assert change.entries == 3
    for name in ("live", "install", "rescue"):
        assert entry(change.text, name).endswith(f" {words}")
    assert change.text.replace(f" {words}", "") == ISO_MENU


@pytest.mark.parametrize(
    "text", ['a="b c"', '"a=b c"', "a=$6$x/y", "a=b;c,d", "bare", "a=", 'a="b  c=d" e={f}#g']
)
def test_what_the_kernel_reads_is_what_was_meant(text: str) -> None:
    """GRUB removes the single quotes, and puts double quotes around words with spaces."""
    stripped = [word[1:-1] for word in quoted(text)]
    line = " ".join(f'"{word}"' if " " in word else word for word in stripped)
    assert split(line) == split(text)


@pytest.mark.parametrize("text", ["a='b'", 'a=b"c"', "a=b\\c", 'a="b\nc"'])
def test_what_cannot_go_through_grub_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="cannot go through GRUB"):
        add_parameters(ISO_MENU, text)


def test_words_can_be_added_again() -> None:
    once = add_parameters(ISO_MENU, 'hostname=a "x=;{}#"').text
    assert entry(add_parameters(once, "hostname=b").text, "live").endswith(" 'hostname=b'")


def test_a_mode_of_the_menu_becomes_the_default_and_no_other_entry_gets_it() -> None:
    change = add_parameters(ISO_MENU, "k3os.mode=install k3os.install.silent")
    assert change.default == "install"
    assert "set default=install\n" in change.text
    assert entry(change.text, "live").endswith("k3os.mode=live 'k3os.install.silent'")
    assert "'k3os.mode" not in change.text
    alone = add_parameters(ISO_MENU, "k3os.mode=install")
    assert alone.text == ISO_MENU.replace("set default=0", "set default=install")


def test_a_mode_that_no_entry_has_goes_to_all() -> None:
    change = add_parameters(ISO_MENU, "k3os.mode=disk")
    assert change.default == ""
    assert change.text.count("'k3os.mode=disk'") == 3


def test_a_fallback_mode_is_not_hidden_by_the_mode_live() -> None:
    change = add_parameters(ISO_MENU, "k3os.fallback_mode=install")
    assert entry(change.text, "live").endswith(
        "$console cryptomgr.notests quiet 'k3os.fallback_mode=install'"
    )
    assert 'menuentry "k3OS" --id live' in change.text


@pytest.mark.parametrize(
    "line", ["linux /vmlinuz a; echo b", "linux /vmlinuz a \\", "linux /vmlinuz a -- b"]
)
def test_a_line_that_would_not_give_the_words_to_the_kernel_is_refused(line: str) -> None:
    with pytest.raises(UserError, match="line 2"):
        add_parameters(f"menuentry x {{\n{line}\n}}\n", "a=b")


def test_a_menu_without_a_kernel_and_a_line_that_is_too_long_are_refused() -> None:
    with pytest.raises(UserError, match="no line `linux"):
        add_parameters("set timeout=5\n", "a=b")
    with pytest.raises(UserError, match="would have 2"):
        add_parameters(ISO_MENU, f"a={'b' * 2000}")


def test_where_the_firmware_knows_the_console_the_menu_names_none() -> None:
    changed = for_firmware_consoles(ISO_MENU)
    assert "serial" not in changed
    assert 'set console=""\n' in changed
    assert changed.count("menuentry") == ISO_MENU.count("menuentry") == 3
