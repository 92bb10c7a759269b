"""A generation's kernel arguments: what GRUB reads, and what the menu does with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.config.kernel_args import wrong
from k3os.errors import UserError
from k3os.generation import adding, grub, grubenv, kernel_args, trial
from k3os.generation.layout import LINKS, MENU

ARGUMENTS = ("hugepages=64", "intel_iommu=on", "mitigations=off")
WORDS = st.from_regex(r"[a-z][0-9A-Za-z_.]{0,8}(=[0-9A-Za-z_.,:/+@%!$#-]{1,8})?", fullmatch=True)


def variables(data: bytes) -> dict[str, str]:
    """Parse an environment block like GRUB's envblk.c: any size, from its first line on."""
    assert data.startswith(grubenv.HEADER)
    lines = data[len(grubenv.HEADER) :].decode().split("\n")
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def add(system: Path, number: int, *arguments: str) -> Path:
    record = json.loads((system / "generations/1/manifest.json").read_text())
    links = {name: f"{name}/{record[name]}" for name in ("kernel", "k3os", "k3s")}
    adding.add_generation(str(system), number, kernel_args.into(record, arguments), links)
    return system / "generations" / str(number)


def point(system: Path, name: str, number: int) -> None:
    (system / name).unlink(missing_ok=True)
    (system / name).symlink_to(f"generations/{number}")


def test_the_manifest_and_grubs_file_have_them(system: Path) -> None:
    generation = add(system, 2, *ARGUMENTS)
    assert kernel_args.of(json.loads((generation / "manifest.json").read_text())) == ARGUMENTS
    text = f"{' '.join(ARGUMENTS)} k3os.args_of=2"
    assert variables((generation / "grubenv").read_bytes()) == {"k3os_args": text}


def test_a_generation_without_any_has_no_file(system: Path) -> None:
    generation = add(system, 2)
    assert sorted(os.listdir(generation)) == ["k3os", "k3s", "kernel", "manifest.json"]
    assert "kernel_args" not in json.loads((generation / "manifest.json").read_text())


@given(st.lists(WORDS.filter(lambda word: not any(wrong(word))), min_size=1, max_size=40))
def test_what_the_check_takes_reaches_grub_as_it_is(words: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        kernel_args.write(directory, 7, tuple(words))
        found = variables(Path(directory, "grubenv").read_bytes())
    assert found["k3os_args"].split() == [*words, "k3os.args_of=7"]


@pytest.mark.parametrize("record", [{}, {"kernel_args": None}, {"kernel_args": "a"}])
def test_a_manifest_that_says_nothing_has_none(record: dict[str, object]) -> None:
    assert kernel_args.of(record) == ()


def linux_lines(menu: str) -> list[list[str]]:
    """Each menu entry's lines up to the one that starts the kernel."""
    return [
        [line.strip() for line in found.splitlines()]
        for found in re.findall(r"menuentry [^\n]*\n(.*?vmlinuz[^\n]*)", menu, re.DOTALL)
    ]


MENUS = {
    "new": grub.menu(arguments=True),
    "serial": grub.menu("ttyS1,9600", arguments=True),
    "with a uuid": grub.menu(uuid="0a0b-1", arguments=True),
    "debug": grub.menu(debug=True, arguments=True),
}
# the menu of a disk that never had kernel arguments, and of an older release
OLD = grub.menu("ttyS0")


@pytest.mark.parametrize("name", [*MENUS, "old"])
def test_every_entry_hands_over_what_its_own_generation_has(name: str) -> None:
    menu = MENUS[name] if name in MENUS else grub.with_arguments(OLD)
    entries = linux_lines(menu)
    assert len(entries) == 5
    for *before, linux in entries:
        generation = next(each for each in LINKS if f"/{each}/" in linux)
        path = f"/k3os/system/{generation}/grubenv"
        assert before == [
            "set k3os_args=",  # they may be from an entry that failed
            f"if [ -s {path} ]; then",
            f"load_env --file {path} k3os_args",
            "fi",
        ]
        assert linux.split().count("$k3os_args") == 1


def test_an_old_menu_had_none_of_it() -> None:
    assert "k3os_args" not in OLD
    assert "menuentry" in OLD


@pytest.mark.parametrize("menu", [*MENUS.values(), grub.with_arguments(OLD)])
def test_a_menu_learns_it_once_and_keeps_it_when_it_is_named(menu: str) -> None:
    assert grub.with_arguments(menu) == menu
    named = grub.with_uuid(menu, "0a0b-2")
    assert grub.with_arguments(named) == named
    assert named.count("$k3os_args") == menu.count("$k3os_args") == 5


def test_an_old_menu_becomes_the_new_one() -> None:
    assert grub.with_arguments(OLD) == grub.menu("ttyS0", arguments=True)


@pytest.mark.parametrize("menu", [*MENUS.values(), grub.with_arguments(OLD)])
def test_grub_understands_the_menu(menu: str, tmp_path: Path) -> None:
    (tmp_path / "grub.cfg").write_text(menu)
    subprocess.run(["grub-script-check", tmp_path / "grub.cfg"], check=True)


def test_another_systems_menu_stays_as_it_is() -> None:
    text = "menuentry 'Debian' {\n  linux /boot/vmlinuz-6.1 root=/dev/vda1 ro\n}\n"
    assert grub.with_arguments(text) == text


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(grub, "flush_journal", found.append)
    return found


def test_the_menu_of_a_disk_learns_it_before_it_is_needed(
    tmp_path: Path, flushed: list[str]
) -> None:
    (tmp_path / MENU).parent.mkdir(parents=True)
    (tmp_path / MENU).write_text(OLD)
    said: list[str] = []
    for _ in range(2):
        grub.pass_arguments(str(tmp_path), said.append)
        assert (tmp_path / MENU).read_text() == grub.menu("ttyS0", arguments=True)
    assert (len(said), flushed) == (1, [str(tmp_path)])


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "menuentry 'x' {\n  linux /vmlinuz\n}\n",
        OLD.replace("linux /k3os/system/previous", "linux $prefix/previous"),
    ],
)
def test_a_disk_that_another_loader_starts_is_told(
    tmp_path: Path, flushed: list[str], text: str | None
) -> None:
    (tmp_path / MENU).parent.mkdir(parents=True)
    if text is not None:
        (tmp_path / MENU).write_text(text)
    with pytest.raises(UserError, match="another boot loader") as caught:
        grub.pass_arguments(str(tmp_path), lambda _: None)
    assert caught.value.hint
    assert flushed == []


def test_arguments_that_did_not_come_up_are_remembered(system: Path) -> None:
    root = system.parents[1]
    add(system, 2, *ARGUMENTS)
    point(system, "current", 2)
    point(system, "previous", 1)
    trial.begin(str(root), "generations/2", 90)
    trial.fail(str(root), "k3s is not ready")
    trial.go_back(str(root))
    record = kernel_args.refused(str(system))
    assert (record["kernel_args"], record["reason"]) == (list(ARGUMENTS), "k3s is not ready")
    told = json.loads((system / "rollback.json").read_text())
    assert told["kernel_args"] == list(ARGUMENTS)
    kernel_args.forget_refusal(str(root))
    assert kernel_args.refused(str(system)) == {}


def test_a_version_that_did_not_come_up_says_nothing_of_the_arguments(system: Path) -> None:
    root = system.parents[1]
    add(system, 2, *ARGUMENTS)
    add(system, 3, *ARGUMENTS)
    point(system, "current", 3)
    point(system, "previous", 2)
    trial.begin(str(root), "generations/3", 90)
    trial.go_back(str(root))
    assert kernel_args.refused(str(system)) == {}
    assert "kernel_args" not in json.loads((system / "rollback.json").read_text())


def test_what_a_configuration_asks_for() -> None:
    config = b"k3os: {kernel_args: [nosmt, hugepages=2]}\n"
    assert kernel_args.of_config(config) == ("nosmt", "hugepages=2")
    assert kernel_args.of_config(b"") == kernel_args.of_config(b"hostname: a\n") == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("panic=10", "panic=10 # as the vendor says"),
        ("panic=10", "panic=10 \\\n       "),
        ("$trial\n", "$trial; echo started\n"),
        ("linux /k3os/system/current", "linux /k3os/system/current/../current"),
        ("    linux ", "    linuxefi "),
        ("    linux ", "    echo; linux "),
    ],
)
def test_a_menu_in_which_an_entry_would_stay_without_them_is_refused_whole(
    tmp_path: Path, old: str, new: str
) -> None:
    """Otherwise that entry would start the previous generation, and the requested one would fail
    its trial."""
    edited = grub.menu().replace(old, new, 1)
    assert edited != grub.menu()
    (tmp_path / MENU).parent.mkdir(parents=True)
    (tmp_path / MENU).write_text(edited)
    with pytest.raises(UserError, match="somebody changed it"):
        grub.pass_arguments(str(tmp_path), lambda _: None)
    assert (tmp_path / MENU).read_text() == edited


def test_a_line_that_goes_on_in_the_next_is_not_added_to() -> None:
    edited = grub.menu().replace("panic=10", "panic=10 \\\n       ", 1)
    for changed in (grub.with_arguments(edited), grub.with_uuid(edited, "1-2")):
        assert "panic=10 \\\n" in changed


def test_a_menu_that_is_written_anew_serves_the_generations_that_are_there(system: Path) -> None:
    root = system.parents[1]
    grub.write_menu(str(root), OLD, "")
    assert (root / MENU).read_text() == OLD
    add(system, 2, *ARGUMENTS)
    grub.write_menu(str(root), OLD, "")
    assert (root / MENU).read_text() == grub.with_arguments(OLD)
