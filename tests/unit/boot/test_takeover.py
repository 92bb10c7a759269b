"""The deletion in plain directories: what is removed, what stays, and what a power cut leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from k3os.boot import takeover
from k3os.boot.media import Medium
from k3os.errors import UserError
from k3os.generation import takeover_marker
from k3os.system.blockdev import FileSystem


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps, in their order; setting the label is faked because it needs a real ext4."""
    steps: list[str] = []

    def noted(name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: str, *rest: object, **options: object) -> None:
            if not str(path).endswith(".new"):  # the temporary file of a rewrite
                steps.append(f"{name} {os.path.basename(path)}")
            real(path, *rest, **options)

        return call

    monkeypatch.setattr(os, "unlink", noted("unlink", os.unlink))
    monkeypatch.setattr(os, "rmdir", noted("rmdir", os.rmdir))
    monkeypatch.setattr(takeover, "set_label", lambda root, label: steps.append(f"label {label}"))
    return steps


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A miniature Debian with k3OS next to it."""
    root = tmp_path / "root"
    for name in ("etc/ssh/keys", "usr/bin/sh", "boot/vmlinuz-6", "boot/grub/grub.cfg.before-k3os"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("debian")
    for name in ("boot/grub/grub.cfg", "boot/grub/i386-pc/normal.mod", "k3os/system/config.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("kept")
    (root / "lost+found").mkdir()
    (root / "lost+found/#12").write_text("debian")
    (root / "bin").symlink_to("usr/bin")
    (root / takeover_marker.MARKER).write_bytes(
        takeover_marker.marker("the menu", takeover_marker.POWER_OFF)
    )
    return root


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


KEPT = ["boot/grub/grub.cfg", "boot/grub/i386-pc/normal.mod", "k3os/system/config.yaml"]


def test_only_k3os_and_grub_stay(root: Path, done: list[str]) -> None:
    assert takeover.carry_out(str(root), lambda _: None) == "power off"
    assert left(root) == KEPT
    assert sorted(os.listdir(root)) == ["boot", "k3os", "lost+found"]
    assert (root / "boot/grub/grub.cfg").read_text() == "the menu"


def test_the_old_menu_goes_first_and_the_marker_last(root: Path, done: list[str]) -> None:
    takeover.carry_out(str(root), lambda _: None)
    assert done[0] == "unlink grub.cfg.before-k3os"
    assert done[-2:] == ["label K3OS_STATE", "unlink takeover"]


def test_a_power_cut_at_any_moment_is_made_good(
    root: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each boot gets one deletion further than the one before it."""
    real_unlink, real_rmdir = os.unlink, os.rmdir
    for allowed in range(1, 100):
        count = 0

        def counted(real: Callable[..., None]) -> Callable[..., None]:
            def call(*path: object, **options: object) -> None:
                nonlocal count
                count += 1
                if count > allowed:  # noqa: B023
                    raise KeyboardInterrupt
                real(*path, **options)

            return call

        monkeypatch.setattr(os, "unlink", counted(real_unlink))
        monkeypatch.setattr(os, "rmdir", counted(real_rmdir))
        try:
            takeover.carry_out(str(root), lambda _: None)
            break
        except KeyboardInterrupt:
            assert (root / takeover_marker.MARKER).exists()
    assert left(root) == KEPT
    assert allowed > 2


def test_links_are_deleted_and_not_followed(root: Path, done: list[str], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/precious").write_text("not ours")
    (root / "home").symlink_to(outside)
    (root / "usr/out").symlink_to(outside / "deep")
    (root / "lost+found/out").symlink_to(outside / "deep/precious")
    takeover.carry_out(str(root), lambda _: None)
    assert left(root) == KEPT
    assert (outside / "deep/precious").read_text() == "not ours"


def test_another_file_system_is_not_entered(
    root: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstat
    foreign = (root / "usr").stat().st_ino

    def fstat(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        if status.st_ino != foreign:
            return status
        return os.stat_result((*status[:2], status.st_dev + 1, *status[3:10]))

    monkeypatch.setattr(os, "fstat", fstat)
    assert takeover.delete_others(str(root)) > 0
    assert left(root) == sorted(
        [*KEPT, takeover_marker.BACKUP, takeover_marker.MARKER, "usr/bin/sh"]
    )


def test_without_the_marker_nothing_is_deleted(root: Path, done: list[str]) -> None:
    medium = Medium("disk", FileSystem("/dev/vda1", "ext4", "K3OS_STATE"), str(root))
    assert takeover.is_wanted(medium)
    assert not takeover.is_wanted(Medium("iso", medium.file_system, str(root)))
    (root / takeover_marker.MARKER).unlink()
    done.clear()
    before = left(root)
    assert not takeover.is_wanted(medium)
    with pytest.raises(FileNotFoundError):
        takeover.carry_out(str(root), lambda _: None)
    assert left(root) == before
    assert done == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"then": "reboot"}'])
def test_a_marker_that_cannot_be_read_deletes_nothing(
    root: Path, done: list[str], text: str
) -> None:
    (root / takeover_marker.MARKER).write_text(text)
    before = left(root)
    with pytest.raises(UserError, match="nothing is deleted"):
        takeover.carry_out(str(root), lambda _: None)
    assert left(root) == before
    assert done == []
