"""Malicious headers: each reader returns, or raises its own error, within limits on bytes and
time."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.boot import beside, grow
from k3os.system import blockdev, lvm, raid
from k3os.system.blockdev import BadHeader
from tests.unit.system.test_volumes import (
    FIRST,
    METADATA,
    ROOT_PLACE,
    ext4_head,
    physical_volume,
    superblock,
)

# how long a boot may spend on one disk
SECONDS = 1.0
# 2 areas of metadata, and the headers before them
MOST_READ = 3 << 20
FAR = 2**64 - 1


def readers(path: str) -> dict[str, Callable[[], object]]:
    """Everything that the initrd reads from an unknown disk."""
    return {
        "probe": lambda: blockdev.probe(path),
        "peek": lambda: blockdev.peek(path, 0),
        "RAID": lambda: raid.read_member(path),
        "LVM": lambda: [lvm.volumes(text) for text in (lvm.read_physical(path)[1],) if text],
        "GPT": lambda: grow.has_gpt(path),
        "MBR": lambda: grow.has_simple_mbr(path),
        "size": lambda: grow.file_system_size(path),
    }


def check(path: Path) -> dict[str, str]:
    """Run all readers on it. Returns reader -> what it complained about."""
    read = 0
    pread = os.pread

    def counting(descriptor: int, size: int, place: int) -> bytes:
        nonlocal read
        assert 0 <= place < 2**63
        data = pread(descriptor, size, place)
        read += len(data)
        return data

    complaints = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", counting)
        for name, reader in readers(str(path)).items():
            read, started = 0, time.process_time()
            try:
                reader()
            except BadHeader as error:
                assert len(str(error)) < 300
                if "has no label of LVM2" not in str(error):
                    complaints[name] = str(error)
            except ValueError as error:
                assert name == "size", error  # its callers catch that
            assert time.process_time() - started < SECONDS, name
            assert read <= MOST_READ, name
    return complaints


def lvm_disk(path: Path, text: str = METADATA, **fields: int) -> None:
    """A physical volume with some header fields replaced: start of the header; start and size of
    the metadata area; offset and length of the text."""
    physical_volume(path, FIRST, METADATA)
    image = bytearray(path.read_bytes())
    data = text.encode(errors="surrogateescape")
    area = 4096
    size = max(8192, len(data) + 512)
    image = image[: area + 512] + data.ljust(size - 512, b"\0")
    struct.pack_into("<I", image, 512 + 20, fields.get("header", 32))
    place = 544 + 40 + 32
    values = fields.get("start", area), fields.get("size", size)
    struct.pack_into("<QQ", image, place, *values)
    text_place = fields.get("offset", 512), fields.get("length", len(data))
    struct.pack_into("<QQ", image, area + 40, *text_place)
    path.write_bytes(image)


def test_a_good_one_is_no_complaint(tmp_path: Path) -> None:
    lvm_disk(tmp_path / "disk")
    assert check(tmp_path / "disk") == {}


LINES = {
    "sections in sections": "a {\n" * 200_000,
    "lists in lists": "g {\na = " + "[" * 400_000,
    "sections that end": "g {" + "a {" * 50_000 + "}" * 50_001,
    "a number of 5,000 digits": METADATA.replace("seqno = 7", "seqno = " + "9" * 5000),
    "an extent of 5,000 digits": METADATA.replace("= 8192", "= " + "9" * 5000),
    "many extents": METADATA.replace("extent_count = 10", "extent_count = 9000000000000"),
    "a far extent": METADATA.replace('"pv0", 5', '"pv0", 99999999999'),
    "a negative extent": METADATA.replace('"pv0", 5', '"pv0", -5'),
    "a text for an extent": METADATA.replace('"pv0", 5', '"pv0", "5"'),
    "a text for a size": METADATA.replace(
        "extent_size = 8192", 'extent_size = "' + "A" * 9999 + '"'
    ),
    "a fraction for a size": METADATA.replace("extent_size = 8192", "extent_size = 8192.5"),
    "a list for an id": METADATA.replace('id = "root00', 'id = ["root00'),
    "an id with a path": METADATA.replace('"root00-0000', '"../../../00'),
    "a volume without a disk": METADATA.replace('"pv0", 5', '"pv9", 5'),
    "half a stripe": METADATA.replace('"pv0", 5', '"pv0"'),
    "many segments": METADATA.replace("segment_count = 2", "segment_count = 999999999"),
    "a long name": METADATA.replace("root {", "r" * 300 + " {"),
    "no end of a text": 'g { a = "' + "\\x" * 500_000,
    "a word for a section": "g { physical_volumes = 5 }",
    "nothing in it": "\n" * 500_000,
    "no group": "contents = 5",
    "words": "a b c d e f",
    "many words": "g {\n" + "a = 1\n" * 170_000,
    "one word": "a" * 1_000_000,
    "comments": "#\n" * 500_000,
}


@pytest.mark.parametrize("text", LINES.values(), ids=LINES)
def test_metadata_of_lvm_that_cannot_be_used_are_one_error_in_time(
    tmp_path: Path, text: str
) -> None:
    lvm_disk(tmp_path / "disk", text)
    complaints = check(tmp_path / "disk")
    assert set(complaints) <= {"LVM"}
    if "seqno" not in text or "9" * 5000 not in text:
        assert complaints


FIELDS = {
    "header": (33, 1500, 2**31, 2**32 - 1),
    "start": (1, 4095, 2**62, 2**63 - 4096, 2**63, FAR),
    "size": (0, 1, 511, 2**63, FAR),
    "offset": (1, 511, 2**40, 2**63, FAR),
    "length": (2**20 + 1, 2**40, 2**63, FAR),
}


@pytest.mark.parametrize(
    ("field", "value"), [(name, value) for name, values in FIELDS.items() for value in values]
)
def test_offsets_and_sizes_beyond_the_end_are_one_error(
    tmp_path: Path, field: str, value: int
) -> None:
    lvm_disk(tmp_path / "disk", **{field: value})
    assert set(check(tmp_path / "disk")) == {"LVM"}


def raid_disk(path: Path, **fields: tuple[str, int, int]) -> None:
    block = bytearray(superblock(data=16))
    for kind, place, value in fields.values():
        struct.pack_into(kind, block, place, value)
    path.write_bytes(bytes(4096) + block + bytes(1 << 16))


@pytest.mark.parametrize(
    "fields",
    [
        {"data": ("<Q", 128, FAR)},
        {"data": ("<Q", 128, 2**55)},
        {"data": ("<Q", 128, 10**6)},
        {"roles": ("<I", 220, 0)},
    ],
)
def test_a_raid_that_cannot_be_is_one_error(
    tmp_path: Path, fields: dict[str, tuple[str, int, int]]
) -> None:
    raid_disk(tmp_path / "disk", **fields)
    assert set(check(tmp_path / "disk")) == {"RAID"}


@pytest.mark.parametrize("fields", [{"roles": ("<I", 220, 2**32 - 1)}, {"level": ("<i", 72, -9)}])
def test_a_raid_with_strange_numbers_is_read_within_limits(
    tmp_path: Path, fields: dict[str, tuple[str, int, int]]
) -> None:
    raid_disk(tmp_path / "disk", **fields)
    assert check(tmp_path / "disk") == {}


def whole_disks(directory: Path) -> dict[str, bytes]:
    """A disk of each kind, as short as possible to still be recognized."""
    lvm_disk(directory / "lvm")
    raid_disk(directory / "raid")
    gpt = (
        bytes(510) + b"\x55\xaaEFI PART" + struct.pack("<4I4Q", 1 << 16, 92, 0, 0, 1, FAR, FAR, FAR)
    )
    iso = bytes(32768) + b"\x01CD001\x01".ljust(40, b"\0") + b"K3OS".ljust(2008, b" ")
    fat = bytearray(bytes(510) + b"\x55\xaa" + bytes(3584))
    fat[82:87], fat[71:82] = b"FAT32", b"\xff" * 11
    ext4 = bytearray(ext4_head())
    ext4[1024:2048] = bytes(b or 0xFF for b in ext4[1024:2048])
    return {
        "lvm": (directory / "lvm").read_bytes(),
        "raid": (directory / "raid").read_bytes(),
        "gpt": gpt,
        "iso9660": iso,
        "vfat": bytes(fat),
        "ext4": bytes(ext4),
    }


@pytest.mark.parametrize("kind", ["lvm", "raid", "gpt", "iso9660", "vfat", "ext4"])
def test_a_header_that_is_cut_off_anywhere_stops_nobody(tmp_path: Path, kind: str) -> None:
    data = whole_disks(tmp_path)[kind]
    path = tmp_path / "disk"
    ends = {0, 1, 511, 512, 513, 1023, 1082, 1159, 1160, 1363, 1364, 2048, 4096, 4104, 4350}
    ends |= {
        *range(480, 700, 7),
        *range(1020, 1400, 11),
        *range(4090, 4400, 9),
        *range(4600, 5200, 97),
    }
    ends |= {32767, 32768, 32774, 32800, 33600, len(data)}
    for end in sorted(each for each in ends if each <= len(data)):
        path.write_bytes(data[:end])
        check(path)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disks")


@pytest.fixture(scope="module")
def disks(scratch: Path) -> dict[str, bytes]:
    return whole_disks(scratch)


@given(
    st.sampled_from(["lvm", "raid", "gpt", "iso9660", "vfat", "ext4"]),
    st.lists(
        st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=16)), min_size=1, max_size=8
    ),
    st.integers(0, 40000),
)
def test_headers_with_any_bytes_changed_stop_nobody(
    scratch: Path, disks: dict[str, bytes], kind: str, changes: list[tuple[int, bytes]], end: int
) -> None:
    data = bytearray(disks[kind])
    base = 32768 if kind == "iso9660" else 0
    for place, new in changes:
        data[base + place : base + place + len(new)] = new
    path = scratch / "changed"
    path.write_bytes(data[: max(end, base)])
    check(path)


WORDS = st.sampled_from(
    [
        *("{", "}", "[", "]", "=", ",", '"pv0"', "5", "-1", "1.5", "9" * 30, "\n", "#x\n"),
        *("extent_size", "physical_volumes", "logical_volumes", "status", '"VISIBLE"', "id"),
        *("segment_count", "segment1", "stripes", "extent_count", "pe_start", "type", '"striped"'),
    ]
)


@given(st.lists(st.one_of(WORDS, st.text(max_size=5)), max_size=60))
def test_any_words_are_metadata_or_one_error(words: list[str]) -> None:
    for text in (" ".join(words), METADATA.replace("seqno = 7", " ".join(words))):
        try:
            lvm.volumes(text)
        except BadHeader:
            continue


@given(st.integers(0, len(METADATA)), st.integers(0, 40), st.one_of(WORDS, st.text(max_size=5)))
def test_metadata_with_anything_in_the_place_of_something_are_usable_or_one_error(
    place: int, length: int, text: str
) -> None:
    changed = METADATA[:place] + text + METADATA[place + length :]
    try:
        found = lvm.volumes(changed)
    except BadHeader:
        return
    for volume in found:
        if not volume.problem:
            devices = {name: "/dev/a" for _, _, stripes in volume.pieces for name, _ in stripes}
            assert volume.targets(devices)
            assert volume.begin(devices)[1] >= 0


def test_the_beginning_of_a_volume_is_where_the_metadata_say() -> None:
    root, _ = lvm.volumes(METADATA)
    assert root.begin({FIRST: "/dev/vde1"}) == ("/dev/vde1", ROOT_PLACE)


def test_a_partition_with_a_broken_header_does_not_hide_the_cloud_data_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sda1", "sda2", "sda3"):
        (tmp_path / "sda" / name).mkdir(parents=True)
        (tmp_path / "sda" / name / "partition").write_text("1\n")

    def probe(device: str) -> blockdev.FileSystem:
        if device == "/dev/sda1":
            raise OSError(5, "Input/output error")
        if device == "/dev/sda2":
            raise struct.error("unpack_from requires a buffer")
        return blockdev.FileSystem(device, "vfat", "CIDATA")

    monkeypatch.setattr(beside, "probe", probe)
    said: list[str] = []
    found = beside.partitions("/dev/sda", str(tmp_path), said.append)
    assert [each.device for each in found] == ["/dev/sda3"]
    assert said == ["/dev/sda2 is left out: error('unpack_from requires a buffer')"]
