"""Of two generations with the same files, the boot uses the one whose arguments the kernel got:
GRUB reads links without the journal, and right after a power cut it may have seen old ones."""

from pathlib import Path

import pytest

from k3os.boot import init, media
from k3os.system.blockdev import FileSystem

FILES = {"kernel": "kernel/6", "k3os": "k3os/1", "k3s": "k3s/1"}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(init, "say", lines.append)
    return lines


def generation(root: Path, link: str, number: int, *, arguments: bool, k3s: str = "k3s/1") -> None:
    system = root / "k3os/system"
    directory = system / f"generations/{number}"
    directory.mkdir(parents=True)
    for name, target in {**FILES, "k3s": k3s}.items():
        (directory / name).symlink_to(f"../../{target}")
    if arguments:
        (directory / "grubenv").touch()
    (system / link).symlink_to(f"generations/{number}")


def boots(root: Path, number: str, asked: str = "current") -> str:
    medium = media.Medium("disk", FileSystem("/dev/vda1", "ext4", "K3OS_STATE"), str(root), asked)
    init.boot_generation_of_these_arguments(medium, number)
    return medium.generation


@pytest.mark.parametrize(
    ("current", "previous", "number", "asked", "boots_"),
    [
        # GRUB and the boot see the same links
        (True, False, "3", "current", "current"),
        (True, False, "", "previous", "previous"),
        (False, True, "", "current", "current"),
        (False, True, "2", "previous", "previous"),
        (True, True, "3", "current", "current"),
        (False, False, "", "current", "current"),
        # GRUB has seen the old link `current`, which led to 2
        (True, False, "", "current", "previous"),
        (False, True, "2", "current", "previous"),
        (True, True, "2", "current", "previous"),
        # somebody edited the menu: no generation matches, so the requested one boots
        (True, True, "", "current", "current"),
        (False, False, "9", "current", "current"),
    ],
)
def test_the_generation_of_the_kernels_arguments_boots(
    said: list[str],
    tmp_path: Path,
    current: bool,
    previous: bool,
    number: str,
    asked: str,
    boots_: str,
) -> None:
    generation(tmp_path, "current", 3, arguments=current)
    generation(tmp_path, "previous", 2, arguments=previous)
    assert boots(tmp_path, number, asked) == boots_
    assert bool(said) == (boots_ != asked)


def test_no_other_version_boots_because_of_arguments(said: list[str], tmp_path: Path) -> None:
    generation(tmp_path, "current", 3, arguments=True)
    generation(tmp_path, "previous", 2, arguments=False, k3s="k3s/0")
    assert boots(tmp_path, "") == "current"


def test_a_disk_with_one_generation_boots_it(said: list[str], tmp_path: Path) -> None:
    generation(tmp_path, "current", 1, arguments=True)
    assert boots(tmp_path, "") == boots(tmp_path, "1") == boots(tmp_path, "7") == "current"
    assert said == []
