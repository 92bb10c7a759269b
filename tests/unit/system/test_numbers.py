"""Numbers from others: every place that parses one copes with any text."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.boot import init, media
from k3os.cluster import duration as of_pools
from k3os.config import duration
from k3os.config.check import check_text
from k3os.errors import UserError
from k3os.generation import manifest, versions
from k3os.generation.grub import consoles
from k3os.generation.installed import read_installed
from k3os.system import http_failure, lvm, memory
from k3os.system.numbers import LARGEST, are_digits, clamped, whole

SRC = Path(__file__).parents[3] / "src" / "k3os"
HUGE = "9" * 5000  # int() accepts 4,300 digits, str.isdigit() any number of them
ODD = ["", "²", "٣", "-1", "+1", " 1", "1_000", "1e3", "0x10", "½", "\udcff", "1\n", HUGE]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_no_numbers(text: str) -> None:
    assert whole(text) is None


@pytest.mark.parametrize(
    ("text", "least", "most", "wanted"),
    [
        ("7", 0, 9, 7),
        ("007", 0, 9, 7),
        ("10", 0, 9, None),
        ("7", 8, 9, None),
        ("0", 0, 9, 0),
        (str(LARGEST), 0, LARGEST, LARGEST),
        (str(LARGEST + 1), 0, LARGEST, None),
    ],
)
def test_limits(text: str, least: int, most: int, wanted: int | None) -> None:
    assert whole(text, least, most) == wanted
    assert whole(text.encode(), least, most) == wanted


@given(st.integers(min_value=0))
def test_every_number_is_itself_or_too_large(number: int) -> None:
    wanted = number if number <= LARGEST else None
    assert whole(str(number)) == wanted
    assert clamped(str(number)) == min(number, LARGEST)


@given(st.text())
def test_no_text_makes_trouble(text: str) -> None:
    found = whole(text)
    assert found is None or (are_digits(text) and found == int(text))


def test_digits_beyond_what_python_takes() -> None:
    assert clamped(HUGE) == LARGEST
    assert clamped("0" * 5000 + "7") == 7


def config(text: str) -> object:
    return check_text(text.encode("utf-8", "surrogatepass"), "config.yaml")


def busy(wait: str) -> HTTPError:
    headers = Message()
    headers["Retry-After"] = wait
    return HTTPError("http://x", 503, "Busy", headers, None)


def refused(call: Callable[[], object]) -> object:
    """The result or the UserError; other exceptions fail the test."""
    try:
        return call()
    except UserError as error:
        return error


PLACES: dict[str, Callable[[str], object]] = {
    "k3os.media_timeout": lambda text: init._wait_seconds({"k3os.media_timeout": text}),
    "k3os.upgrade.timeout": lambda text: config(f"k3os: {{upgrade: {{timeout: '{text}'}}}}"),
    "k3os.shutdown": lambda text: config(f"k3os: {{shutdown: {{grace_period: '{text}h'}}}}"),
    "swap": lambda text: config(f"k3os: {{swap: {{zram: '{text}%'}}}}"),
    "vlan": lambda text: config(f"k3os: {{network: {{eth0.{text}: {{address: dhcp}}}}}}"),
    "mtu": lambda text: config(f"k3os: {{network: {{eth0: {{mtu: '{text}'}}}}}}"),
    "permissions": lambda text: config(f"write_files: [{{path: /a, permissions: {text}}}]"),
    "a duration": lambda text: duration.parse(f"{text}h"),
    "a NodePool's duration": lambda text: refused(lambda: of_pools.seconds(f"{text}h", "spec")),
    "Retry-After": lambda text: http_failure.explain("http://x", busy(text), 1),
    "/proc/meminfo": lambda text: memory.parse(f"MemTotal: {text} kB"),
    "LVM's sequence number": lambda text: lvm.age(f"seqno = {text}"),
    "a version": lambda text: versions.ordered(f"v1.{text}.3+k3s{text}"),
    "a manifest": lambda text: refused(
        lambda: manifest.parse_manifest(b'{"created": "%s"}' % text.encode(errors="replace"), "x")
    ),
    "a console": lambda text: refused(lambda: consoles(f"tty{text}")),
}


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("place", PLACES)
def test_no_place_is_stopped_by_a_number(place: str, text: str) -> None:
    PLACES[place](text)


@pytest.mark.parametrize("text", ODD)
def test_a_generation_with_an_odd_name_is_none(tmp_path: Path, text: str) -> None:
    name = (text.encode(errors="replace").decode() or "x")[:200].strip()
    (tmp_path / "generations" / name).mkdir(parents=True)
    refused(lambda: read_installed(str(tmp_path)))


def test_media_are_waited_for_as_long_as_ever_when_the_number_is_none() -> None:
    assert init._wait_seconds({"k3os.media_timeout": "²"}) == media.WAIT_SECONDS
    assert init._wait_seconds({"k3os.media_timeout": HUGE}) == media.WAIT_SECONDS
    assert init._wait_seconds({"k3os.media_timeout": "7"}) == 7


# these look at digits that are not numbers, or at the program's own text
ELSEWHERE = {"boot/consoles.py", "boot/rescue.py", "cli/run.py", "config/dump.py"}
ELSEWHERE |= {"phases/environment.py"}
BUILDERS = {"image", "vm"}


def test_nobody_else_decides_what_a_number_is() -> None:
    """str.isdigit() and int() do not agree on it; k3os.system.numbers does."""
    found = []
    for path in sorted(SRC.rglob("*.py")):
        name = str(path.relative_to(SRC))
        if name in ELSEWHERE or name == "system/numbers.py" or name.split("/")[0] in BUILDERS:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\.is(digit|decimal|numeric)\(", line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert found == []
