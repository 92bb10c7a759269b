"""Logical volumes, as described by LVM2's metadata: linear and striped ones.

It only reads, within limits, since the metadata may be malicious. Anything unusable is a BadHeader.
Formats: LVM2's sources, lib/format_text/layout.h (label, header, areas) and lvm2's own text format,
nested `name { key = value … }` sections.
"""

import os
import re
import struct

from k3os.system.blockdev import BadHeader
from k3os.system.devicemapper import LONGEST_NAME, Target
from k3os.system.numbers import LONGEST, whole

SECTOR = 512
LABEL = b"LABELONE"
TYPE = b"LVM2 001"
AREA_MAGIC = b" LVM2 x[5A%r0N*>"
AREA_HEADER = 512
UNDERSTOOD = "striped"
# LVM2 itself creates an area of 1 MiB, for two copies of this text
LARGEST = 1 << 20
MOST_AREAS = 2
MOST_WORDS = 60_000  # some 800 volumes
DEEPEST = 8  # a segment is in a volume, in the volumes, in a group
MOST_SECTORS = 2**54
# whitespace and comments are part of the next token's match: one match per token, for any input
_TOKEN = re.compile(
    r"(?:\s++|#[^\n]*+)*+"
    r'(?:"((?:[^"\\]|\\.)*+)"|(-?[0-9]+(?:\.[0-9]+)?)|([\w.+-]++)|([{}\[\]=,])|\Z)',
    re.ASCII,
)
_IDENTITY = re.compile(r"[\w!#-]{32,38}", re.ASCII)


class Volume:
    """name: in the device mapper's form; uuid; pieces: (length, stripe size in sectors,
    [(physical volume's id, first sector)]). problem: why it cannot be activated, or ""."""

    __slots__ = ("name", "uuid", "pieces", "problem")

    def __init__(self, name: str, uuid: str) -> None:
        self.name = name
        self.uuid = uuid
        self.pieces: list[tuple[int, int, list[tuple[str, int]]]] = []
        self.problem = ""

    def targets(self, devices: dict[str, str]) -> list[Target]:
        """For the device mapper. devices: a physical volume's id to its path. Raises KeyError."""
        found = []
        for length, chunk, stripes in self.pieces:
            where = " ".join(f"{devices[name]} {start}" for name, start in stripes)
            if len(stripes) == 1:
                found.append(Target(length, "linear", where))
            else:
                found.append(Target(length, "striped", f"{len(stripes)} {chunk} {where}"))
        return found

    def begin(self, devices: dict[str, str]) -> tuple[str, int]:
        """The device and the byte offset of its start. Raises KeyError."""
        name, start = self.pieces[0][2][0]
        return devices[name], start * SECTOR


def read_physical(device: str) -> tuple[str, str]:
    """The id of a physical volume and the metadata of its group. Raises OSError, BadHeader."""
    with open(device, "rb", buffering=0) as file:
        head = os.pread(file.fileno(), 4 * SECTOR, 0)
        for place in range(0, len(head), SECTOR):
            if head[place : place + 8] == LABEL and head[place + 24 : place + 32] == TYPE:
                break
        else:
            raise BadHeader(f"{device} has no label of LVM2")
        (offset,) = struct.unpack_from("<I", head, place + 20)
        header = head[place + offset :]
        name = header[:32].decode("ascii", "replace")
        if not _IDENTITY.fullmatch(name):
            raise BadHeader("the physical volume has no id")
        for start, size in _areas(header[40:])[:MOST_AREAS]:
            text = _area_text(file.fileno(), start, size)
            if text:
                return name, text
    return name, ""


def _areas(data: bytes) -> list[tuple[int, int]]:
    """The metadata areas: the second of two lists of (offset, size), each ending in zeros."""
    lists: list[list[tuple[int, int]]] = [[]]
    for start, size in struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]):
        if start:
            lists[-1].append((start, size))
        elif len(lists) == 2:
            return lists[1]
        else:
            lists.append([])
    raise BadHeader("the list of metadata areas has no end")


def _area_text(descriptor: int, start: int, size: int) -> str:
    """The text in an area of the device: a ring buffer after the area's header."""
    if start + size >= 2**63:
        raise BadHeader(f"a metadata area is said to begin at {start}")
    header = os.pread(descriptor, AREA_HEADER, start)
    if len(header) < AREA_HEADER or header[4:20] != AREA_MAGIC:
        raise BadHeader("a metadata area has no header")
    offset, length = struct.unpack_from("<QQ", header, 40)
    if not offset or not length:
        return ""
    if length > min(LARGEST, size) or not AREA_HEADER <= offset < size:
        raise BadHeader(f"its metadata are said to be {length} bytes at {offset} of {size}")
    text = os.pread(descriptor, min(length, size - offset), start + offset)
    text += os.pread(descriptor, length - len(text), start + AREA_HEADER)
    try:
        return text.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise BadHeader("its metadata are not text") from None


_TEXT, _NUMBER, _WORD, _SIGN = 1, 2, 3, 4


def parse(text: str) -> dict[str, object]:
    """The metadata as nested dicts, lists, texts and numbers. Raises BadHeader."""
    if len(text) > LARGEST:
        raise BadHeader(f"its metadata have {len(text)} characters")
    tokens = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise BadHeader(f"not understood: {text[place : place + 20]!r}")
        place = match.end()
        if match.lastindex:
            tokens.append((match.lastindex, match[match.lastindex]))
            if len(tokens) > MOST_WORDS:
                raise BadHeader(f"its metadata have more than {MOST_WORDS} words")
    tokens.append((_SIGN, "}"))
    tokens.reverse()
    return _section(tokens, 0)


def _section(tokens: list[tuple[int, str]], depth: int) -> dict[str, object]:
    if depth > DEEPEST:
        raise BadHeader("its metadata have sections in sections without an end")
    values: dict[str, object] = {}
    while tokens:
        kind, name = tokens.pop()
        if (kind, name) == (_SIGN, "}"):
            return values
        sign = tokens.pop()[1] if tokens else ""
        if kind == _SIGN or sign not in ("{", "="):
            raise BadHeader(f"not understood: {name[:20]!r} {sign[:20]!r}")
        values[name] = _section(tokens, depth + 1) if sign == "{" else _value(tokens)
    raise BadHeader("it ends in the middle")


def _number(text: str) -> float | int:
    """Raises BadHeader if it is unreasonably large."""
    if "." in text and len(text) <= LONGEST:
        return float(text)
    number = whole(text.removeprefix("-"))
    if number is None:
        raise BadHeader(f"no number: {text[:20]}")
    return -number if text.startswith("-") else number


def _value(tokens: list[tuple[int, str]]) -> object:
    """A text, a number, or a list of both."""
    if not tokens:
        raise BadHeader("it ends in the middle")
    kind, text = tokens.pop()
    if kind == _NUMBER:
        return _number(text)
    if (kind, text) != (_SIGN, "["):
        return text
    items: list[object] = []
    while tokens:
        kind, text = tokens.pop()
        if (kind, text) == (_SIGN, "]"):
            return items
        if kind == _SIGN and text != ",":
            raise BadHeader(f"{text} in a list")
        if kind != _SIGN:
            items.append(_number(text) if kind == _NUMBER else text)
    raise BadHeader("a list has no end")


def age(text: str) -> int:
    """The sequence number of a group's metadata: how often it was changed."""
    match = re.search(r"\bseqno = ([0-9]+)", text)
    return whole(match[1]) or 0 if match else 0


def volumes(text: str) -> list[Volume]:
    """The visible volumes of a group. Raises BadHeader."""
    groups = [(name, value) for name, value in parse(text).items() if isinstance(value, dict)]
    if not groups:
        raise BadHeader("there is no volume group in its metadata")
    group_name, group = groups[0]
    identity = _identity(group)
    extent = _count(group, "extent_size")
    physical = {}
    for name, value in _map(group, "physical_volumes").items():
        if not isinstance(value, dict):
            raise BadHeader(f"{name[:20]!r} is not a physical volume")
        physical[name] = (_identity(value), _count(value, "pe_start"))
    found = []
    for name, value in _map(group, "logical_volumes", {}).items():
        if not isinstance(value, dict) or not isinstance(value.get("status"), list):
            raise BadHeader(f"{name[:20]!r} is not a logical volume")
        if "VISIBLE" in value["status"]:
            full = f"{_doubled(group_name)}-{_doubled(name)}"
            if len(full) > LONGEST_NAME:
                raise BadHeader(f"the name {full[:20]!r}… of a volume is too long")
            volume = Volume(full, f"LVM-{identity}{_identity(value)}")
            _add_pieces(volume, value, physical, extent)
            found.append(volume)
    return found


def _add_pieces(
    volume: Volume,
    described: dict[str, object],
    physical: dict[str, tuple[str, int]],
    extent: int,
) -> None:
    """Set a volume's pieces, or its problem."""
    for number in range(1, _count(described, "segment_count") + 1):
        segment = _map(described, f"segment{number}")
        if (kind := segment.get("type")) != UNDERSTOOD:
            volume.problem = f"{str(kind)[:20]} volumes are not supported"
            return
        stripes = segment.get("stripes")
        if not isinstance(stripes, list) or not stripes or len(stripes) % 2:
            raise BadHeader(f"{volume.name} has a segment without stripes")
        places = []
        for name, first in zip(stripes[::2], stripes[1::2], strict=True):
            if name not in physical or not isinstance(first, int) or not 0 <= first < 2**32:
                raise BadHeader(f"{volume.name} has a stripe that is nowhere")
            identity, start = physical[name]
            places.append((identity, _sectors(start + first * extent)))
        length = _sectors(_count(segment, "extent_count") * extent)
        if not length:
            raise BadHeader(f"{volume.name} has a segment of no length")
        chunk = _count(segment, "stripe_size", 0)
        volume.pieces.append((length, chunk, places))
    if not volume.pieces:
        volume.problem = "it has no segments"


def _sectors(number: int) -> int:
    if number > MOST_SECTORS:
        raise BadHeader(f"{number} sectors are more than any disk has")
    return number


def _map(section: dict[str, object], name: str, default: object = None) -> dict[str, object]:
    value = section.get(name, default)
    if not isinstance(value, dict):
        raise BadHeader(f"{name} is missing in its metadata")
    return value


def _count(section: dict[str, object], name: str, default: object = None) -> int:
    """A number of extents or sectors."""
    value = section.get(name, default)
    if not isinstance(value, int) or not 0 <= value < 2**40:
        raise BadHeader(f"{name} is not a possible number")
    return value


def _identity(section: dict[str, object]) -> str:
    value = section.get("id")
    if not isinstance(value, str) or not _IDENTITY.fullmatch(value):
        raise BadHeader("an id is missing in its metadata")
    return value.replace("-", "")


def _doubled(name: str) -> str:
    return name.replace("-", "--")
