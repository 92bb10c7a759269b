"""Text that is redrawn; tests/unit/cli/test_kubectl.py does it on a real terminal."""

import io
import re

import pytest

from k3os.system.screen import SHOW, Screen, can_redraw, printable


@pytest.fixture
def small(monkeypatch):
    """A terminal of 20 columns and 5 lines."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "5")
    return io.StringIO()


def drawn(stream):
    """The lines of the last frame, and how many lines up it started."""
    frame = stream.getvalue().rpartition("\r")[2].partition("\x1b[J")[0]
    up = re.findall(r"\x1b\[(\d+)A\r[^\r]*$", stream.getvalue())
    return re.sub(r"\x1b\[[\d;]*[mK]", "", frame).splitlines(), int(up[0]) if up else 0


def test_what_is_too_high_or_too_wide_is_cut(small):
    Screen(small).draw([(f"{number}{'x' * 50}", "") for number in range(9)])
    lines, _ = drawn(small)
    assert [line[0] for line in lines] == ["0", "1", "2", "3"]
    assert {len(line) for line in lines} == {19}


def test_the_next_frame_begins_where_the_last_one_began(small, monkeypatch):
    screen = Screen(small)
    screen.draw([("a", ""), ("b" * 19, "bad"), ("c", "")])
    screen.draw([("a", "")])
    assert drawn(small) == (["a"], 3)


def test_a_terminal_that_became_narrower_has_wrapped_lines(small, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    screen = Screen(small)
    screen.draw([("a", ""), ("b" * 39, "")])
    monkeypatch.setenv("COLUMNS", "20")
    screen.draw([("a", "")])
    assert drawn(small)[1] == 3


def test_colours_are_left_out_when_somebody_wants_none(small, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    with Screen(small) as screen:
        screen.draw([("a", "bad")])
    assert not re.search(r"\x1b\[[\d;]*m", small.getvalue())
    assert small.getvalue().endswith(SHOW)


def test_controls_become_spaces():
    assert printable("a\x1b[2J\tb\u202ec…") == "a [2J b c…"


@pytest.mark.parametrize("term", ["", "dumb"])
def test_a_dumb_terminal_is_no_place_to_redraw(small, monkeypatch, term):
    monkeypatch.setattr(small, "isatty", lambda: True)
    monkeypatch.setenv("TERM", term)
    assert not can_redraw(small)
    monkeypatch.setenv("TERM", "linux")
    assert can_redraw(small)
