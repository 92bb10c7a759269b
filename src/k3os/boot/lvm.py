"""Logical volumes, as LVM2's metadata describes them: linear and striped ones.

It only reads. Formats: LVM2's sources, lib/format_text/layout.h (label, header, areas) and
lvm2's own text format, one `name { key = value … }` in another.
"""

import re
import struct

from k3os.system.devicemapper import Target
from k3os.system.numbers import LONGEST, whole

SECTOR = 512
LABEL = b"LABELONE"
TYPE = b"LVM2 001"
AREA_MAGIC = b" LVM2 x[5A%r0N*>"
AREA_HEADER = 512
LARGEST = 16 << 20
UNDERSTOOD = "striped"
_TOKEN = re.compile(r'\s+|#[^\n]*|"((?:[^"\\]|\\.)*)"|(-?\d+(?:\.\d+)?)|([\w.+-]+)|([{}\[\]=,])')


class Volume:
    """name: as the device mapper calls it; uuid; pieces: (length, how much of each stripe in
    sectors, [(physical volume's id, first sector)]). problem: why it cannot be shown, or ""."""

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


def read_physical(device: str) -> tuple[str, str]:
    """The id of a physical volume and the metadata of its group. Raises OSError, ValueError."""
    with open(device, "rb", buffering=0) as file:
        head = file.read(4 * SECTOR)
        for place in range(0, len(head), SECTOR):
            if head[place : place + 8] == LABEL and head[place + 24 : place + 32] == TYPE:
                break
        else:
            raise ValueError(f"{device} has no label of LVM2")
        (offset,) = struct.unpack_from("<I", head, place + 20)
        header = head[place + offset :]
        name = header[:32].decode("ascii")
        for start, size in _areas(header[40:]):
            file.seek(start)
            text = _area_text(file.read(min(size, LARGEST)))
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
    raise ValueError("the list of metadata areas has no end")


def _area_text(area: bytes) -> str:
    if area[4:20] != AREA_MAGIC:
        raise ValueError("a metadata area has no header")
    offset, size = struct.unpack_from("<QQ", area, 40)
    if not offset or not size:
        return ""
    text = area[offset : offset + size]
    # it is a ring behind the header
    text += area[AREA_HEADER : AREA_HEADER + size - len(text)]
    return text.rstrip(b"\0").decode()


def parse(text: str) -> dict[str, object]:
    """The metadata as nested dicts, lists, texts and numbers. Raises ValueError."""
    tokens = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"not understood: {text[place : place + 20]!r}")
        place = match.end()
        if match.lastindex:
            tokens.append((match.lastindex, match[match.lastindex]))
    tokens.append((4, "}"))
    tokens.reverse()
    return _section(tokens)


_TEXT, _NUMBER, _WORD, _SIGN = 1, 2, 3, 4


def _section(tokens: list[tuple[int, str]]) -> dict[str, object]:
    found: dict[str, object] = {}
    while tokens:
        kind, name = tokens.pop()
        if (kind, name) == (_SIGN, "}"):
            return found
        sign = tokens.pop()[1] if tokens else ""
        if kind == _SIGN or sign not in ("{", "="):
            raise ValueError(f"not understood: {name} {sign}")
        found[name] = _section(tokens) if sign == "{" else _value(tokens)
    raise ValueError("it ends in the middle")


def _number(text: str) -> float | int:
    """Raises ValueError for one that is too large to be meant."""
    if "." in text and len(text) <= LONGEST:
        return float(text)
    found = whole(text.removeprefix("-"))
    if found is None:
        raise ValueError(f"no number: {text[:20]}")
    return -found if text.startswith("-") else found


def _value(tokens: list[tuple[int, str]]) -> object:
    if not tokens:
        raise ValueError("it ends in the middle")
    kind, text = tokens.pop()
    if kind == _NUMBER:
        return _number(text)
    if (kind, text) != (_SIGN, "["):
        return text
    found: list[object] = []
    while tokens:
        if tokens[-1] == (_SIGN, "]"):
            tokens.pop()
            return found
        if tokens[-1] == (_SIGN, ","):
            tokens.pop()
            continue
        found.append(_value(tokens))
    raise ValueError("a list has no end")


def age(text: str) -> int:
    """The number of changes that led to a group's metadata."""
    match = re.search(r"\bseqno = ([0-9]+)", text)
    return whole(match[1]) or 0 if match else 0


def volumes(text: str) -> list[Volume]:
    """The volumes of a group that a person sees. Raises ValueError, KeyError, TypeError."""
    (group_name, group), *_ = [
        (name, value) for name, value in parse(text).items() if isinstance(value, dict)
    ]
    extent = group["extent_size"]
    physical = {
        name: (value["id"].replace("-", ""), value["pe_start"])
        for name, value in group["physical_volumes"].items()
    }
    found = []
    for name, value in group.get("logical_volumes", {}).items():
        if "VISIBLE" not in value["status"]:
            continue
        uuid = f"LVM-{group['id']}{value['id']}".replace("-", "").replace("LVM", "LVM-", 1)
        volume = Volume(f"{_doubled(group_name)}-{_doubled(name)}", uuid)
        for number in range(1, value["segment_count"] + 1):
            segment = value[f"segment{number}"]
            if segment["type"] != UNDERSTOOD:
                volume.problem = f"{segment['type']} volumes are not supported"
                break
            stripes = segment["stripes"]
            places = [
                (physical[pv][0], physical[pv][1] + first * extent)
                for pv, first in zip(stripes[::2], stripes[1::2], strict=True)
            ]
            length = segment["extent_count"] * extent
            volume.pieces.append((length, segment.get("stripe_size", 0), places))
        found.append(volume)
    return found


def _doubled(name: str) -> str:
    return name.replace("-", "--")
