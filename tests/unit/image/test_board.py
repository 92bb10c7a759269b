"""The SD card of a board without UEFI: its partition table, and the firmware's files on the FAT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k3os.cli import image as command
from k3os.cli.main import main
from k3os.errors import UserError
from k3os.generation import grub
from k3os.image.board import BOARDS, fat_files, listing, without_driver
from k3os.image.tree import Tree
from k3os.system.run import run
from tests.unit.image.conftest import tiny

RPI = BOARDS["rpi"]
CONFIG = "hostname: x\nk3os: {password: y}\n"
MIB = 1 << 20


def packages() -> Tree:
    tree = Tree()
    for path in RPI.files:
        tree.file(path, path.encode())
    return tree


def kernel(*names: str) -> Tree:
    tree = Tree()
    for name in names:
        tree.file(f"usr/lib/linux-image-6.1/{name}", name.encode())
    return tree


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the board's stage would take from Debian's packages."""
    directory = tmp_path / "files"
    for name, data in fat_files(RPI, packages(), kernel("broadcom/bcm2711-rpi-4-b.dtb")).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    monkeypatch.setattr(command, "_board_files", lambda board: directory)
    for name in ("ARCH", "KERNEL", "BOARD"):
        # undoes what the command sets
        monkeypatch.setenv(name, "")
    return directory


def make(iso: Path, target: Path, *options: str) -> int:
    config = target.with_name("my.yaml")
    config.write_text(CONFIG)
    arguments = ["--iso", str(iso), "--config", str(config), "--size", "512M", "-o", str(target)]
    return main(["image", *arguments, *options])


def test_the_card_begins_with_what_the_firmware_reads(
    tiny_arm_iso: Path, tmp_path: Path, files: Path
) -> None:
    card = tmp_path / "card"
    assert make(tiny_arm_iso, card, "--board", "rpi") == 0
    table = json.loads(run(["sfdisk", "--json", str(card)]))["partitiontable"]
    fat, state = table["partitions"]
    assert (table["label"], fat["type"], state["type"]) == ("dos", "c", "83")
    assert (fat["start"] * 512, fat["size"] * 512) == (4 * MIB, 64 * MIB)
    assert state["start"] * 512 == 68 * MIB
    assert (state["start"] + state["size"]) * 512 == 512 * MIB
    place = f"{card}@@{4 * MIB}"
    for name in (*RPI.files.values(), "config.txt", "bcm2711-rpi-4-b.dtb"):
        assert run(["mtype", "-i", place, f"::/{name}"]) == (files / name).read_bytes()
    assert b"signed BOOTAA64.EFI" in run(["mtype", "-i", place, "::/EFI/BOOT/BOOTAA64.EFI"])
    label = ["blkid", "-p", "-O", str(68 * MIB), "-s", "UUID", "-o", "value", str(card)]
    stub = run(["mtype", "-i", place, "::/EFI/debian/grub.cfg"]).decode()
    uuid = run(label).decode().strip()
    assert stub == grub.efi_stub(uuid)
    menu = run(["debugfs", "-R", "cat /boot/grub/grub.cfg", f"{card}?offset={68 * MIB}"])
    assert grub.with_uuid(grub.menu("", arch="arm64"), uuid).encode() in menu


def test_the_same_inputs_give_the_same_card(
    tiny_arm_iso: Path, tmp_path: Path, files: Path
) -> None:
    for name in ("one", "two"):
        assert make(tiny_arm_iso, tmp_path / name, "--board", "rpi") == 0
    assert run(["cmp", str(tmp_path / "one"), str(tmp_path / "two")]) == b""


def test_config_txt_starts_what_lies_beside_it() -> None:
    found = fat_files(RPI, packages(), kernel("broadcom/bcm2837-rpi-3-b.dtb"))
    lines = dict(
        line.split("=") for line in found["config.txt"].decode().splitlines() if "=" in line
    )
    assert lines["kernel"] in found
    assert lines["arm_64bit"] == "1"


def test_only_the_device_trees_of_the_board_are_taken() -> None:
    names = ("broadcom/bcm2711-rpi-4-b.dtb", "broadcom/bcm4708.dtb", "rockchip/rk3399.dtb")
    found = fat_files(RPI, packages(), kernel(*names))
    assert [name for name in found if name.endswith(".dtb")] == ["bcm2711-rpi-4-b.dtb"]


def test_either_layout_of_the_kernel_package_is_understood_and_the_firmware_s_names_added() -> None:
    tree = kernel("broadcom/bcm2711-rpi-4-b.dtb")
    names = ("bcm2712-rpi-5-b.dtb", "bcm2712-d-rpi-5-b.dtb")
    for name in names:
        tree.file(f"usr/lib/modules/7.1/dtb/broadcom/{name}", name.encode())
    found = fat_files(RPI, packages(), tree)
    trees = sorted(name for name in found if name.endswith(".dtb"))
    assert trees == sorted(["bcm2711-rpi-4-b.dtb", *names, "bcm2712d0-rpi-5-b.dtb"])
    assert found["bcm2712d0-rpi-5-b.dtb"] == b"bcm2712-d-rpi-5-b.dtb"


@pytest.mark.parametrize(
    ("modules", "missing"),
    [
        ("kernel/drivers/mmc/host/sdhci-brcmstb.ko: kernel/drivers/mmc/host/sdhci.ko\n", {}),
        ("kernel/fs/ext4/ext4.ko:\nkernel/drivers/mmc/host/sdhci-brcmstb.ko\n", {}),
        ("kernel/drivers/mmc/host/sdhci-iproc.ko:\n", {"bcm2712": "sdhci-brcmstb"}),
        ("kernel/x.ko: kernel/drivers/mmc/host/not-sdhci-brcmstb.ko\n", RPI.drivers),
    ],
    ids=["module", "builtin", "without", "another"],
)
def test_a_driver_is_a_module_or_built_in(modules: str, missing: dict[str, str]) -> None:
    assert without_driver(RPI, modules) == missing


def test_a_card_has_no_device_trees_for_models_that_its_kernel_does_not_drive(
    tiny_arm_iso: Path, tmp_path: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "bcm2712-rpi-5-b.dtb").write_bytes(b"pi 5")
    assert make(tiny_arm_iso, tmp_path / "card", "--board", "rpi") == 0
    assert (
        "without device trees bcm2712*: the kernel has no driver sdhci" in capsys.readouterr().out
    )
    listed = run(["mdir", "-b", "-i", f"{tmp_path / 'card'}@@{4 * MIB}", "::/"]).decode()
    assert "bcm2711-rpi-4-b.dtb" in listed
    assert "bcm2712" not in listed


def test_the_card_lists_the_packages_on_its_fat() -> None:
    tree = Tree()
    tree.file(
        "packages.txt", b"libc6 2.41 glibc\nraspi-firmware 1:1.2 \nu-boot-rpi 2025.01 u-boot\n"
    )
    assert listing(RPI, tree) == b"raspi-firmware 1:1.2\nu-boot-rpi 2025.01\n"


def test_packages_that_changed_are_an_error() -> None:
    with pytest.raises(UserError, match="no device trees"):
        fat_files(RPI, packages(), kernel("rockchip/rk3399.dtb"))
    fewer = packages()
    fewer.remove("usr/lib/u-boot/*")
    with pytest.raises(UserError, match=r"lack usr/lib/u-boot/rpi_arm64/u-boot\.bin"):
        fat_files(RPI, fewer, kernel("broadcom/bcm2711-rpi-4-b.dtb"))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ARCH": "amd64"}, "ARCH: the board rpi is arm64; leave ARCH=amd64 out"),
        ({"KERNEL": "cloud"}, "KERNEL: the cloud kernel is for virtual machines only"),
        ({"BOARD": "apple"}, "BOARD: unknown board 'apple'; use one of: rpi"),
    ],
)
def test_variables_that_contradict_the_board_are_refused(
    tiny_arm_iso: Path,
    tmp_path: Path,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    message: str,
) -> None:
    for name, value in {"BOARD": "rpi", **variables}.items():
        monkeypatch.setenv(name, value)
    assert make(tiny_arm_iso, tmp_path / "card") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "card").exists()


def test_an_iso_that_cannot_run_on_the_board_is_refused(
    tiny_iso: Path, tmp_path: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(tiny_iso, tmp_path / "card", "--board", "rpi") == 1
    assert "tiny.iso: is for amd64, not for arm64" in capsys.readouterr().err
    directory = tmp_path / "cloud"
    directory.mkdir()
    iso = tiny(directory, "arm64", "6.1-cloud-arm64")
    assert make(iso, tmp_path / "card", "--board", "rpi") == 1
    assert "has the kernel 6.1-cloud-arm64, which is for virtual" in capsys.readouterr().err


def test_an_iso_of_another_architecture_than_asked_for_is_refused(
    tiny_iso: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ARCH", "arm64")
    assert make(tiny_iso, tmp_path / "disk") == 1
    assert "is for amd64, not for arm64; take another ISO" in capsys.readouterr().err
    assert not (tmp_path / "disk").exists()
