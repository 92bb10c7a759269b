"""A phase with twice as much input does twice as much work: counted, not timed."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from k3os.config.check import check_files
from k3os.config.load import load_config

from .conftest import KEY, Machine

TEXTS: dict[str, Callable[[int], str]] = {
    "files": lambda n: (
        "write_files:\n" + "".join(f"- {{path: /etc/a{i}, content: x}}\n" for i in range(n))
    ),
    "files in directories": lambda n: (
        "write_files:\n"
        + "".join(f"- {{path: /etc/a{i}/b, content: x, owner: rancher}}\n" for i in range(n))
    ),
    "keys": lambda n: "ssh_authorized_keys:\n" + "".join(f"- {KEY} number {i}\n" for i in range(n)),
    "labels": lambda n: "k3os:\n  labels:\n" + "".join(f"    a{i}: b\n" for i in range(n)),
    "sysctls": lambda n: "k3os:\n  sysctls:\n" + "".join(f"    a.b{i}: 1\n" for i in range(n)),
    "arguments": lambda n: (
        "k3os:\n  k3s_args:\n  - server\n" + "".join(f"  - --tls-san=a{i}\n" for i in range(n))
    ),
    "what fails, and secrets": lambda n: (
        "k3os:\n  environment:\n"
        + "".join(f"    A{i}: secret-{i}-secret\n" for i in range(n))
        + "write_files:\n"
        + "".join(f"- {{path: /etc/a{i}, owner: nobody-here}}\n" for i in range(n))
    ),
}


def calls(machine: Machine, text: str) -> int:
    """The number of function calls while a phase is applied twice."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        machine.apply("boot", text)
        machine.apply("boot")
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", TEXTS)
def test_a_phase_is_linear(name: str, tmp_path: Path) -> None:
    for count in (1, 25, 100):  # the first one warms up imports
        (tmp_path / str(count)).mkdir()
    _, few, many = (
        calls(Machine(tmp_path / str(count)), TEXTS[name](count)) for count in (1, 25, 100)
    )
    assert many < 4.2 * few


def collections(step: Callable[[], object]) -> int:
    count = 0

    def seen(phase: str, _: dict[str, int]) -> None:
        nonlocal count
        count += phase == "start"

    gc.callbacks.append(seen)
    try:
        step()
    finally:
        gc.callbacks.remove(seen)
    return count


def test_the_collector_does_not_look_through_a_large_configuration(machine: Machine) -> None:
    """It used to scan all of it each time, so that four times the files took nearly five times as
    long."""
    text = TEXTS["files"](1000)
    path = machine.root / "k3os/system/config.yaml"
    machine.put("k3os/system/config.yaml", text)
    assert gc.isenabled()
    assert collections(lambda: check_files([str(path)])) == 0
    assert collections(lambda: load_config(str(machine.root), cmdline="")) == 0
    assert collections(lambda: machine.apply("boot", text)) == 0
    assert gc.isenabled()


def test_the_collector_works_again_after_an_error() -> None:
    from k3os.system.collector import uncollected

    @uncollected
    def fails() -> None:
        assert not gc.isenabled()
        raise ValueError

    with pytest.raises(ValueError):
        fails()
    assert gc.isenabled()
