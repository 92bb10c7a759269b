"""How much space a grown disk has to offer: read from sysfs and superblocks, never guessed."""

from pathlib import Path

import pytest

from k3os.boot import grow
from k3os.system import blockdev
from k3os.system.run import run

MIB = 1 << 20


@pytest.fixture
def sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk "nvme0n1" of 10 GiB whose second partition ends at 4 GiB; the third comes before."""
    disk = tmp_path / "devices" / "nvme0n1"
    block = tmp_path / "block"
    block.mkdir()
    partitions = {"nvme0n1p2": (2, 1 << 21, 6 << 20), "nvme0n1p3": (3, 2048, 1 << 20)}
    for name, (number, start, size) in partitions.items():
        (disk / name).mkdir(parents=True)
        for file, value in (("partition", number), ("start", start), ("size", size)):
            (disk / name / file).write_text(f"{value}\n")
        (block / name).symlink_to(disk / name)
    (disk / "size").write_text(f"{10 << 21}\n")
    (block / "nvme0n1").symlink_to(disk)
    monkeypatch.setattr(grow, "SYS", str(block))
    monkeypatch.setattr(grow, "has_gpt", lambda disk: True)
    return tmp_path


def test_the_disk_of_a_partition_comes_from_sysfs(sys: Path) -> None:
    assert grow.disk_of("/dev/nvme0n1p2") == ("nvme0n1", 2)
    assert grow.disk_of("/dev/nvme0n1") == ("nvme0n1", 0)


def test_only_the_last_partition_has_something_to_gain(sys: Path) -> None:
    assert grow.partition_gain("/dev/nvme0n1p2") == (6 << 30) - grow.RESERVED
    assert grow.partition_gain("/dev/nvme0n1p3") == 0


def test_a_disk_whose_table_we_do_not_know_is_left_alone(
    sys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grow, "has_gpt", lambda disk: False)
    monkeypatch.setattr(grow, "has_simple_mbr", lambda disk: False)
    assert grow.partition_gain("/dev/nvme0n1p2") == 0


def test_a_partition_of_an_mbr_grows_as_far_as_an_mbr_can_count(
    sys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grow, "has_gpt", lambda disk: False)
    monkeypatch.setattr(grow, "has_simple_mbr", lambda disk: True)
    assert grow.partition_gain("/dev/nvme0n1p2") == (6 << 30) - grow.RESERVED
    assert grow.partition_gain("/dev/nvme0n1p3") == 0
    (sys / "devices/nvme0n1/size").write_text(f"{5000 << 21}\n")
    assert grow.partition_gain("/dev/nvme0n1p2") == (2044 << 30)


@pytest.mark.parametrize(
    ("script", "known"),
    [
        ("label: dos\nsize=1MiB, type=c\ntype=83\n", True),
        ("label: dos\nsize=1MiB, type=c\ntype=5\n", False),
        ("label: gpt\n,\n", False),
        ("", False),
    ],
)
def test_only_an_mbr_with_nothing_but_primary_partitions_is_known(
    tmp_path: Path, script: str, known: bool
) -> None:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(8 * MIB)
    if script:
        run(["sfdisk", "-q", str(image)], stdin=script.encode())
    assert grow.has_simple_mbr(str(image)) == known


def test_the_size_of_a_real_file_system_is_read(tmp_path: Path) -> None:
    image = tmp_path / "image"
    run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", str(image), "40M"])
    assert grow.file_system_size(str(image)) == 40 * MIB


def test_what_cannot_be_read_gains_nothing(sys: Path) -> None:
    assert grow.gain("/dev/nvme9n9") == 0


def test_a_real_gpt_is_recognised(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(b"")
    with image.open("r+b") as file:
        file.truncate(8 * MIB)
    assert not grow.has_gpt(str(image))
    run(["sfdisk", "-q", str(image)], stdin=b"label: gpt\n,\n")
    assert grow.has_gpt(str(image))


def test_what_lies_in_the_new_tail_is_wiped_and_nothing_else(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    run(["sh", "-c", f"head -c {16 * MIB} /dev/zero | tr '\\0' x >{disk}"])
    run(["sfdisk", "-q", str(disk)], stdin=b"label: gpt\nstart=2048, size=8MiB\n")
    before = disk.read_bytes()
    end = grow.usable_end(str(disk), 16 * MIB, 512)
    assert end == 16 * MIB - 33 * 512
    grow.wipe_tail(str(disk), 9 * MIB, end)
    after = disk.read_bytes()
    assert after[end:] == before[end:], "the second partition table"
    assert after[: end - grow.TAIL] == before[: end - grow.TAIL]
    assert set(after[end - grow.TAIL : end]) == {0}
    grow.wipe_tail(str(disk), end - 4096, end)
    assert disk.read_bytes() == after
    run(["sfdisk", "--verify", str(disk)])


def test_an_array_that_ended_where_the_partition_will_end_is_forgotten(tmp_path: Path) -> None:
    """A mirror whose metadata is at the end of the partition, before the partition grew."""
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(64 * MIB)
    run(["sfdisk", "-q", str(disk)], stdin=b"label: gpt\nstart=2048, size=8MiB\n")
    end = grow.usable_end(str(disk), 64 * MIB, 512)
    # sfdisk ends a partition there, or at the last multiple of 1 MiB before it
    for last in (end, end // MIB * MIB):
        size = last - MIB
        with disk.open("r+b") as file:
            for place in (blockdev.at_end(size), size // 65536 * 65536 - 65536):
                file.seek(MIB + place)
                file.write(blockdev.RAID_MAGIC)
    grow.wipe_tail(str(disk), 9 * MIB, end)
    assert blockdev.RAID_MAGIC[:4] not in disk.read_bytes()
