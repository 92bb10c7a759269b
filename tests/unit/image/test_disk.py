"""A disk image's partitions, files and owners; booting is tested in a VM."""

from __future__ import annotations

import json
import struct
import uuid
from pathlib import Path

import pytest

from k3os.cli.main import main
from k3os.generation import grub
from k3os.image.disk import menu_for
from k3os.image.diskformat import FORMATS, _name_vmdk
from k3os.system.run import run
from tests.unit.image.conftest import files_of

CONFIG = "hostname: x\nk3os: {password: y, install: {tty: ttyS1}}\n"
SIZE = 512 << 20


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(CONFIG)
    return path


def make(iso: Path, target: Path, *options: str, kind: str = "raw", size: str = "512M") -> int:
    command = ["image", "--iso", str(iso), "--format", kind, "--size", size, "-o", str(target)]
    return main([*command, *options])


def starts(disk: Path) -> dict[str, int]:
    """Where the partitions begin, in bytes."""
    table = json.loads(run(["sfdisk", "--json", str(disk)]))["partitiontable"]
    return {part["name"]: part["start"] * 512 for part in table["partitions"]}


def test_the_disk_is_what_the_installer_makes(
    tiny_iso: Path, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk.raw"
    assert make(tiny_iso, disk, "--config", str(config)) == 0
    # with other sectors the firmware would not find the partition table
    assert "for a disk with sectors of 512 bytes" in capsys.readouterr().out
    assert disk.stat().st_size == SIZE
    assert disk.stat().st_blocks * 512 < SIZE // 10
    assert disk.stat().st_mode & 0o777 == 0o600
    places = starts(disk)
    assert [*places] == ["k3os-bios", "k3os-efi", "k3os-state"]

    state = f"{disk}?offset={places['k3os-state']}"
    (tmp_path / "state").mkdir()
    run(["debugfs", "-R", f"rdump / {tmp_path / 'state'}", state])
    root, iso = tmp_path / "state", files_of(tiny_iso, tmp_path / "iso")
    system = root / "k3os/system"
    assert (system / "config.yaml").read_text() == CONFIG
    for path in (iso / "k3os/system/kernel/6.1").iterdir():
        assert (system / "current/kernel" / path.name).read_bytes() == path.read_bytes()
    place = ["-p", "-O", str(places["k3os-state"]), "-s", "UUID", "-o", "value", str(disk)]
    uuid = run(["blkid", *place]).decode().strip()
    menu = (root / "boot/grub/grub.cfg").read_text()
    assert menu == grub.with_uuid(grub.menu("ttyS1"), uuid)
    assert menu.count(f" k3os.medium_uuid={uuid}\n") == menu.count("vmlinuz $console")
    assert list((root / "k3os/data").iterdir()) == []
    for path in ("/k3os/system/config.yaml", "/k3os/system/current", "/k3os/data", "/"):
        status = run(["debugfs", "-R", f"stat {path}", state]).decode()
        assert "User:     0   Group:     0" in status
    assert "Mode:  0600" in run(["debugfs", "-R", "stat /k3os/system/config.yaml", state]).decode()
    label = [
        "blkid",
        "-p",
        "-O",
        str(places["k3os-state"]),
        "-s",
        "LABEL",
        "-o",
        "value",
        str(disk),
    ]
    assert run(label) == b"K3OS_STATE\n"

    efi = f"{disk}@@{places['k3os-efi']}"
    stub = run(["mtype", "-i", efi, "::/EFI/debian/grub.cfg"]).decode()
    assert stub == grub.efi_stub(uuid_of(disk, places["k3os-state"]))
    signed = run(["mtype", "-i", efi, "::/EFI/BOOT/BOOTX64.EFI"])
    assert signed == b"signed BOOTX64.EFI" * 100
    with open(disk, "rb") as file:
        head = file.read(places["k3os-bios"] + 512)
    assert struct.unpack_from("<Q", head, 0x5C) == (places["k3os-bios"] // 512,)
    assert head[-512:-12] == b"c" * 500


def uuid_of(disk: Path, start: int) -> str:
    output = run(["blkid", "-p", "-O", str(start), "-s", "UUID", "-o", "value", str(disk)])
    return output.decode().strip()


def same_disk(one: Path, two: Path, kind: str) -> bool:
    driver = {"vhd": "vpc"}.get(kind, kind)
    compare = ["qemu-img", "compare", "-f", "raw", "-F", driver, str(one), str(two)]
    return b"identical" in run(compare)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_has_the_same_disk_and_the_same_bytes_each_time(
    tiny_iso: Path, tmp_path: Path, config: Path, kind: str
) -> None:
    for name in ("one", "two"):
        assert make(tiny_iso, tmp_path / name, "--config", str(config), kind=kind) == 0
    if kind == "raw":  # sparse
        assert same_disk(tmp_path / "one", tmp_path / "two", "raw")
        return
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert make(tiny_iso, tmp_path / "raw", "--config", str(config)) == 0
    assert same_disk(tmp_path / "raw", tmp_path / "one", kind)


@pytest.mark.parametrize("number", [b"f", b"1234567", b"12345678"])
def test_a_vmdk_is_named_whatever_number_it_had(tmp_path: Path, number: bytes) -> None:
    head = b"KDMV".ljust(512, b"\1") + b"# Disk DescriptorFile\nversion=1\nCID=" + number
    path = tmp_path / "disk.vmdk"
    path.write_bytes((head + b"\nparentCID=ffffffff\n").ljust(4096, b"\0") + b"data")
    _name_vmdk(path, uuid.UUID(int=0x1234))
    named = head.removesuffix(number) + b"00001234\nparentCID=ffffffff\n"
    assert path.read_bytes() == named.ljust(4096, b"\0") + b"data"


def test_the_file_system_is_made_for_a_disk_that_grows(
    tiny_iso: Path, tmp_path: Path, config: Path
) -> None:
    assert make(tiny_iso, tmp_path / "disk", "--config", str(config)) == 0
    with open(tmp_path / "disk", "rb") as file:
        file.seek(starts(tmp_path / "disk")["k3os-state"] + 1024)
        block = file.read(1024)
    assert 1024 << struct.unpack_from("<I", block, 0x18)[0] == 4096
    blocks_per_group, inodes_per_group = struct.unpack_from("<I4xI", block, 0x20)
    # by default, mke2fs gives a small file system four times as many inodes
    assert 16384 <= blocks_per_group * 4096 // inodes_per_group < 20000


@pytest.mark.parametrize(
    ("config_text", "options", "message"),
    [
        ("hostname: [a\n", [], "the configuration has 1 error"),
        ("hostname: a\n", [], "nobody could log in"),
        (CONFIG, ["--size", "100M"], "--size: a disk of 105 MB is too small: 3"),
        (CONFIG, ["-o", "nowhere/disk"], "nowhere is not a directory"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    tiny_iso: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config_text: str,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(config_text)
    assert make(tiny_iso, Path("disk"), "--config", "my.yaml", *options) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["my.yaml"]


def test_configuration_and_archives_of_a_remastered_iso_are_installed(
    tiny_iso: Path, tmp_path: Path, config: Path
) -> None:
    iso, disk, archive = tmp_path / "new.iso", tmp_path / "disk", tmp_path / "my images.tar"
    archive.write_bytes(b"images")
    options = ["--config", str(config), "--airgap", str(archive)]
    assert main(["remaster", str(tiny_iso), str(iso), *options]) == 0
    assert make(iso, disk) == 0
    state = f"{disk}?offset={starts(disk)['k3os-state']}"
    for name, text in (("config.yaml", CONFIG.encode()), ("airgap/my images.tar", b"images")):
        assert text in run(["debugfs", "-R", f'cat "/k3os/system/{name}"', state])


def test_without_a_configuration_nothing_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "--format", "raw"]) == 1
    assert "nobody could log in" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["0", "1K", "1000000", "x", "-1G"])
def test_a_size_is_a_whole_number_of_mebibytes(tiny_iso: Path, tmp_path: Path, size: str) -> None:
    with pytest.raises(SystemExit):
        make(tiny_iso, tmp_path / "disk", size=size)


def test_the_menu_is_the_installers() -> None:
    assert menu_for(b"hostname: x\n", "amd64") == grub.menu("")
    assert 'set console=""' in menu_for(b"hostname: x\n", "arm64")


def test_a_flag_that_the_k3s_of_the_iso_lacks_is_refused(
    tiny_iso: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its k3s, v1.1.1, is older than the flag."""
    (tmp_path / "my.yaml").write_text("k3os: {password: y, k3s_args: [--embedded-registry]}\n")
    assert make(tiny_iso, tmp_path / "a.raw", "--config", str(tmp_path / "my.yaml")) == 1
    assert "k3s v1.1.1+k3s1 does not have --embedded-registry" in capsys.readouterr().out
