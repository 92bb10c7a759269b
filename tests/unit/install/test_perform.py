"""Copying and switching, in plain directories: the states that a power cut may leave."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.generation import adding, install_medium, layout
from k3os.install import perform
from k3os.install.formatting import script
from k3os.install.plan import LAYOUT
from k3os.system import digest
from tests.unit.install.conftest import FILES


def lay_down(
    medium: Path, target: Path, config: bytes = b"hostname: x\n"
) -> install_medium.InstallMedium:
    what = install_medium.read_medium(str(medium))
    target.mkdir(exist_ok=True)
    adding.lay_down(what, config, str(target), lambda _: None)
    return what


def test_all_is_copied_and_nothing_boots_before_the_switch(medium: Path, tmp_path: Path) -> None:
    what = lay_down(medium, tmp_path / "disk")
    system = tmp_path / "disk/k3os/system"
    assert {name: (system / name).read_bytes() for name in FILES} == FILES
    assert (system / "k3s/v1/k3s").stat().st_mode & 0o777 == 0o755
    assert (system / "config.yaml").stat().st_mode & 0o777 == 0o600
    assert not os.path.lexists(system / "current")
    adding.from_medium(what, str(system))
    assert (system / "current/k3os/rootfs.squashfs").read_bytes() == FILES[
        "k3os/0.2/rootfs.squashfs"
    ]
    assert json.loads((system / "current/manifest.json").read_text())["k3os"] == "0.2"
    assert not os.path.lexists(system / "previous")


def test_what_was_installed_becomes_the_previous_generation(medium: Path, tmp_path: Path) -> None:
    system = tmp_path / "disk/k3os/system"
    for _ in range(2):
        adding.from_medium(lay_down(medium, tmp_path / "disk"), str(system))
    assert (system / "current").readlink() == Path("generations/2")
    assert (system / "previous").readlink() == Path("generations/1")
    assert json.loads((system / "current/manifest.json").read_text())["generation"] == 2


def test_a_power_cut_before_the_rename_leaves_the_old_generation(
    medium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "disk/k3os/system"
    adding.from_medium(lay_down(medium, tmp_path / "disk"), str(system))
    renames: list[str] = []
    real = os.rename

    def rename(old: str, new: str) -> None:
        renames.append(os.path.basename(new))
        if renames[-1] == "current":
            raise KeyboardInterrupt
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        adding.from_medium(lay_down(medium, tmp_path / "disk"), str(system))
    assert renames[-1] == "current"
    assert (system / "current").readlink() == Path("generations/1")


def test_a_file_that_is_not_the_manifests_is_found(medium: Path) -> None:
    what = install_medium.read_medium(str(medium))
    (medium / "k3os/system/kernel/6.1/vmlinuz").write_bytes(b"kerneL")
    with pytest.raises(UserError, match="vmlinuz is damaged"):
        install_medium.verify(what, f"{medium}/k3os/system", lambda _: None)


@pytest.mark.parametrize("name", ["boot/grub/k3os/core.img", "k3os/system/k3s/v1/k3s"])
def test_a_medium_that_lacks_something_is_refused(medium: Path, name: str) -> None:
    (medium / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        install_medium.read_medium(str(medium))


def test_a_manifest_that_leads_outside_is_refused(medium: Path) -> None:
    path = medium / "k3os/system/generations/1/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sha256"]["../../etc/shadow"] = "0"
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="a file outside"):
        install_medium.read_medium(str(medium))


def test_the_table_has_the_three_partitions_in_their_order() -> None:
    lines = script(LAYOUT).splitlines()
    assert lines[0] == "label: gpt"
    assert [line.partition("name=")[2] for line in lines[1:]] == [
        '"k3os-bios"',
        '"k3os-efi"',
        '"k3os-state"',
    ]
    assert "size" not in lines[3]  # uses the rest of the disk


def listing(medium: Path, *paths: str) -> install_medium.InstallMedium:
    """The medium, with these files' checksums in its manifest."""
    manifest = medium / "k3os/system/current/manifest.json"
    sums = {path: digest.file_sha256(str(medium / path)) for path in paths}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "medium": sums}))
    return install_medium.read_medium(str(medium))


LOADER, MENU = f"{layout.LOADERS}/core.img", "boot/grub/grub.cfg"


def test_a_boot_loader_that_is_not_the_manifests_is_found(medium: Path) -> None:
    what = listing(medium, LOADER)
    install_medium.verify_medium(what)
    (medium / LOADER).write_bytes(b"another")
    with pytest.raises(UserError, match=r"core.img is damaged"):
        install_medium.verify_medium(what)


def test_a_menu_of_ones_own_on_ones_own_medium_is_welcome(medium: Path) -> None:
    (medium / MENU).write_text("menu")
    what = listing(medium, MENU, LOADER)
    (medium / MENU).write_text("my menu")
    (medium / "k3os/system/airgap").mkdir()
    (medium / "k3os/system/airgap/mine.tar").write_bytes(b"mine")
    install_medium.verify_medium(install_medium.read_medium(str(medium)))
    with pytest.raises(UserError, match=r"grub.cfg is damaged"):
        install_medium.verify_medium(what, strict=True)


def test_an_image_archive_is_read_back_like_everything_else(
    medium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = "k3os/system/airgap/images.tar"
    (medium / archive).parent.mkdir()
    (medium / archive).write_bytes(b"images")
    listing(medium, archive)
    lay_down(medium, tmp_path / "good")
    copy = adding.copy_file

    def failing(path: str, target: str, progress: object = None) -> None:
        copy(path, target)
        if target.endswith(".tar"):
            Path(target).write_bytes(b"rotten")

    monkeypatch.setattr(adding, "copy_file", failing)
    with pytest.raises(UserError, match=r"images.tar is damaged"):
        lay_down(medium, tmp_path / "bad")


def test_a_loader_that_is_there_stays_until_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, target = tmp_path / "new.efi", tmp_path / "BOOTX64.EFI"
    new.write_bytes(b"new")
    target.write_bytes(b"old")

    def cut(*_: object) -> None:
        raise OSError("the machine ends here")

    with monkeypatch.context() as patch:
        patch.setattr(perform.shutil, "copyfileobj", cut)
        with pytest.raises(OSError, match="ends here"):
            perform._copy(str(new), str(target))
    assert target.read_bytes() == b"old"
    perform._copy(str(new), str(target))
    assert target.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["BOOTX64.EFI", "new.efi"]


@pytest.mark.parametrize("value", [5, "text", [1], [["a", "b"]], {"../x": "0"}, {"/x": "0"}])
def test_a_manifest_whose_medium_is_nonsense_is_refused(medium: Path, value: object) -> None:
    manifest = medium / "k3os/system/current/manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "medium": value}))
    with pytest.raises(UserError):
        install_medium.read_medium(str(medium))
