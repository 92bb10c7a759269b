import re
import socket
import threading
import time

import pytest

from k3os.vm.console import Console, ConsoleError


@pytest.fixture
def link(tmp_path):
    """A console and the machine's end of its line."""
    ours, machine = socket.socketpair()
    with machine:
        console = Console(ours, tmp_path / "serial.log")
        with console:
            yield console, machine
            machine.close()


def log_text(console):
    return re.sub(r"^\[ *[0-9.]+\] ", "", console.log.read_text(), flags=re.MULTILINE)


def test_expect_finds_what_comes_in_pieces(link):
    console, machine = link
    for piece in (b"host lo", b"gin", b": "):
        machine.sendall(piece)
        time.sleep(0.02)
    assert console.expect(r"^(\w+) login: ", 2).match[1] == "host"


def test_expect_goes_on_behind_the_last_match(link):
    console, machine = link
    machine.sendall(b"one two one")
    console.expect("one", 2)
    console.expect("two", 2)
    console.expect("one", 2)
    with pytest.raises(ConsoleError):
        console.expect("one", 0.05)


@pytest.mark.parametrize("text", [b"one two three", b"two one three", b"one two", b"two one"])
def test_what_comes_in_any_order_is_found_and_the_search_goes_on_behind_it(link, text):
    console, machine = link
    machine.sendall(b"two " + text)
    console.expect("two", 2)
    console.expect_all(("one", "two"), 2)
    with pytest.raises(ConsoleError):
        console.expect("one|two", 0.05)


def test_what_is_missing_of_several_is_named(link):
    console, machine = link
    machine.sendall(b"one")
    with pytest.raises(ConsoleError, match="'two' did not come"):
        console.expect_all(("one", "two"), 0.05)


def test_a_timeout_says_what_was_waited_for_and_shows_the_end_of_the_log(link):
    console, machine = link
    machine.sendall(b"kernel: out of cheese\r\n")
    console.expect("cheese", 2)
    with pytest.raises(ConsoleError) as error:
        console.expect("login:", 0.05)
    assert "'login:' did not come in 0.05 s" in str(error.value)
    assert "out of cheese" in str(error.value)
    assert str(console.log) in str(error.value)


def test_the_end_of_the_machine_is_told_at_once(link):
    console, machine = link
    machine.sendall(b"reboot: Power down\r\n")
    machine.close()
    start = time.monotonic()
    with pytest.raises(ConsoleError, match="the machine ended before"):
        console.expect("login:", 30)
    assert time.monotonic() - start < 5


def test_escape_sequences_are_removed_also_when_cut_in_two(link):
    console, machine = link
    for piece in (b"\x1b[0;32mgre", b"en\x1b[", b"0m \x1b]0;title\x07d", b"one\x1b(B\n"):
        machine.sendall(piece)
        time.sleep(0.02)
    console.expect("^green done$", 2)


def test_a_menu_that_moves_the_cursor_is_read_as_lines(link):
    console, machine = link
    machine.sendall(b"\x1b[5;3H*k3OS live\x1b[6;3H Install\x1b[7;3H")
    console.expect(r"^\*k3OS live\n Install$", 2)


def test_the_log_has_one_stamped_line_for_each_line(tmp_path, link):
    console, machine = link
    machine.sendall(b"first\r\nsec")
    time.sleep(0.05)
    machine.sendall(b"ond\r\nlast")
    console.expect("last", 2)
    machine.close()
    with pytest.raises(ConsoleError):
        console.expect("never", 5)
    lines = console.log.read_text().splitlines()
    assert [re.sub(r"^\[ *\d+\.\d{3}\] ", "", line) for line in lines] == [
        "first",
        "second",
        "last",
    ]


def test_a_match_carries_the_time_it_was_complete(link):
    console, machine = link
    machine.sendall(b"one\n")
    time.sleep(0.3)
    machine.sendall(b"two\n")
    one, two = console.expect("one", 2).seconds, console.expect("two", 2).seconds
    assert 0.2 < two - one < 2
    assert console.when("one") == one
    assert console.when("three") is None


def test_bytes_that_are_no_text_do_not_stop_the_reading(link):
    console, machine = link
    machine.sendall(bytes(range(256)) + b"\nafter")
    console.expect("after", 2)


def test_a_full_line_never_stops_the_machine_while_nobody_waits(link):
    console, machine = link
    machine.settimeout(10)
    machine.sendall(b"x" * 5_000_000 + b"end")
    console.expect("end", 5)


def test_a_viewer_that_went_away_does_not_stop_the_reading(tmp_path):
    def broken(data):
        raise BrokenPipeError

    ours, machine = socket.socketpair()
    with machine, Console(ours, tmp_path / "log", broken) as console:
        machine.sendall(b"one")
        console.expect("one", 2)
        machine.sendall(b"two")
        console.expect("two", 2)
        machine.close()


def test_what_is_sent_arrives(link):
    console, machine = link
    console.send("ls\n")
    assert machine.recv(100) == b"ls\n"


def test_reading_goes_on_beside_the_one_who_waits(link):
    console, machine = link
    timer = threading.Timer(0.1, machine.sendall, [b"late"])
    timer.start()
    assert console.expect("late", 5).seconds >= 0.1
    timer.join()
