"""New inputs out of old ones: bytes that change, lines that move, and trees of JSON whose values
become what nobody thought of. The same Random gives the same inputs.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

LONGEST = 1 << 16
# limits of types and of parsers, and what has a meaning in one grammar or another
NUMBERS = (0, 1, 127, 128, 255, 256, 65535, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
WORDS = (
    *(b"", b"\0", b"\n", b"\r\n", b"\t", b" ", b'"', b"'", b"\\", b"`", b"$", b"%", b"#", b";"),
    *(b"{", b"}", b"[", b"]", b"{{", b"}}", b": ", b"- ", b", ", b"=", b"==", b"|", b"|-", b">"),
    *(b"&a ", b"*a", b"<<: *a", b"!!binary ", b"!x ", b"? ", b"---\n", b"...\n", b"%YAML 1.1\n"),
    *(b"null", b"true", b"~", b"NaN", b"-Infinity", b"1e999", b"0x10", b"-1", b"1_000", b".5"),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\xb2", b"\x1b[2J"),
    *(b"9" * 25, b"9" * 5000, b"[" * 2000, b"{" * 500, b'{"a":' * 1500, b"../" * 40, b"a" * 5000),
)


def mutate(random: Random, data: bytes, others: list[bytes], words: list[bytes]) -> bytes:
    """One to a few changes. others: inputs to take pieces from; words: the target's own."""
    tree = _parsed(data) if random.random() < 0.6 else None
    if tree is not None:
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            tree = _other_tree(random, tree)
        try:
            return json.dumps(tree).encode()[:LONGEST]
        except (RecursionError, ValueError):
            return data
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        data = random.choice(CHANGES)(random, data, others, words)
    return data[:LONGEST]


def _place(random: Random, data: bytes) -> int:
    return random.randint(0, len(data))


def _piece(random: Random, data: bytes) -> tuple[int, int]:
    start = _place(random, data)
    return start, min(len(data), start + random.choice((1, 1, 2, 4, 8, 32, 200, len(data))))


def _flip(random: Random, data: bytes, *_: list[bytes]) -> bytes:
    if not data:
        return b"\0"
    place = random.randrange(len(data))
    return data[:place] + bytes([random.randrange(256)]) + data[place + 1 :]


def _number(random: Random, data: bytes, *_: list[bytes]) -> bytes:
    """A field of a header."""
    width, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    number = random.choice(NUMBERS) + random.choice((0, 0, 1, -1))
    field = (number % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
    place = _place(random, data)
    return data[:place] + field + data[place + width :]


def _insert(random: Random, data: bytes, _: list[bytes], words: list[bytes]) -> bytes:
    place = _place(random, data)
    return data[:place] + random.choice(words or WORDS) + data[place:]


def _insert_any(random: Random, data: bytes, *_: list[bytes]) -> bytes:
    place = _place(random, data)
    return data[:place] + random.choice(WORDS) + data[place:]


def _remove(random: Random, data: bytes, *_: list[bytes]) -> bytes:
    start, end = _piece(random, data)
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes, *_: list[bytes]) -> bytes:
    start, end = _piece(random, data)
    times = random.choice((2, 2, 3, 50, 2000))
    return data[:start] + data[start:end] * min(times, LONGEST // max(1, end - start)) + data[end:]


def _splice(random: Random, data: bytes, others: list[bytes], *_: list[bytes]) -> bytes:
    other = random.choice(others) if others else b""
    start, end = _piece(random, other)
    place = _place(random, data)
    return data[:place] + other[start:end] + data[place:]


def _lines(random: Random, data: bytes, *_: list[bytes]) -> bytes:
    """A line goes, comes twice, is indented, or changes places."""
    found = data.split(b"\n")
    one, two = random.randrange(len(found)), random.randrange(len(found))
    match random.randrange(4):
        case 0:
            del found[one]
        case 1:
            found.insert(two, found[one])
        case 2:
            found[one] = random.choice((b" ", b"  ", b"    ", b"\t", b"- ")) + found[one]
        case _:
            found[one], found[two] = found[two], found[one]
    return b"\n".join(found)


CHANGES = (_flip, _number, _insert, _insert_any, _remove, _repeat, _splice, _lines, _lines)


def _parsed(data: bytes) -> Any:
    if data[:1] not in b"{[" or not data:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _odd(random: Random) -> Any:
    """A value of another type, or one at the edge of its own."""
    deep: Any = random.choice(([], {}, "x"))
    for _ in range(random.choice((1, 3, 60))):
        deep = random.choice(([deep], {"a": deep}))
    return random.choice(
        (
            *(None, True, False, 0, -1, 1, 1 << 63, -(1 << 70), 10**400, 0.5, 1e300, float("nan")),
            *(
                "",
                " ",
                "x",
                "0",
                "-1",
                "9" * 5000,
                "a" * 70,
                "\n",
                "\0",
                "\ud800",
                "²",
                "%",
                "$(id)",
            ),
            *([], {}, [None], [[]], {"": ""}, {"a": None}, ["x"] * 300, deep),
            *("True", "False", "2026-01-01T00:00:00Z", "10.0.0.1", "::1", "1h", "25%", "a=b:c"),
        )
    )


def _other_tree(random: Random, tree: Any) -> Any:
    """The tree with one of its values replaced, removed, or put elsewhere."""
    places = list(_places(tree))
    if not places:
        return _odd(random)
    holder, key = random.choice(places)
    match random.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[random.choice(("", "x", "name", "\0", "a" * 300))] = holder.pop(key)
        case 1:
            holder.insert(key, _odd(random))
        case 2:
            other_holder, other_key = random.choice(places)
            try:
                holder[key] = json.loads(json.dumps(other_holder[other_key]))
            except (LookupError, RecursionError, ValueError):
                holder[key] = None
        case 3 if isinstance(holder[key], str):
            text = holder[key].encode(errors="replace")
            holder[key] = mutate(random, text, [], []).decode(errors="replace")
        case 4:
            holder[key] = [holder[key]]
        case _:
            holder[key] = _odd(random)
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index)."""
    found: list[tuple[Any, Any]] = []
    todo = [tree]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            found += [(one, key) for key in one]
            todo += one.values()
        elif isinstance(one, list):
            found += [(one, index) for index in range(min(len(one), 20))]
            todo += one[:20]
    return found
