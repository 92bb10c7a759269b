"""What a changed fragment of configuration needs on a node: nothing, a k3s restart, or a reboot.

It decides from the schema and changes nothing. The operator asks before it sends a fragment, to
know whether to drain the node; the node asks when it applies one.
"""

from __future__ import annotations

import json

from k3os.config.check import check_text
from k3os.config.k3s_files import read_at_start
from k3os.config.key import AT_BOOT, NOW, RESTART
from k3os.config.schema import BY_PATH
from k3os.config.value import Place, Problem, Value, plain

# valid in JSON as they are; in YAML one is a line break and the others are not allowed
_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0xFFFE, 0xFFFF)}
ORDER = (NOW, RESTART, AT_BOOT)


def canonical(fragment: object) -> bytes:
    """A fragment as text for config.d; the same content always gives the same text.

    JSON is YAML; keys are sorted. Raises TypeError, ValueError for what JSON cannot express.
    """
    text = json.dumps(fragment, sort_keys=True, ensure_ascii=False, indent=1)
    return text.translate(_ESCAPED).encode() + b"\n"


def fragment_hash(fragment: object) -> str:
    """SHA-256 (hex) of a fragment, "" for none."""
    if not fragment:
        return ""
    import hashlib  # takes 3 ms, and most nodes have no fragment

    return hashlib.sha256(canonical(fragment)).hexdigest()


def check(fragment: object, source: str = "config") -> tuple[dict[str, Value], list[Problem]]:
    """Values and problems of a fragment, as `k3os config check` finds them."""
    if not fragment:
        return {}, []
    try:
        data = canonical(fragment)
    except (ValueError, RecursionError):
        return {}, [Problem(Place(source), "", "is nested too deeply, or no text that could be")]
    return check_text(data, source)


def impact(new: object, old: object = None) -> str:
    """The most that a change from one fragment to another needs: NOW, RESTART or AT_BOOT.

    A key that was removed counts like a changed one: only some can be undone at once.
    """
    values, before = check(new)[0], check(old)[0]
    changed = {path for path in values.keys() | before.keys() if _differs(path, values, before)}
    effects = [BY_PATH[path].effect for path in changed]
    files, former = (read_at_start(each.get("write_files")) for each in (values, before))
    if any(_differs(path, files, former) for path in files.keys() | former.keys()):
        effects.append(RESTART)
    return max(effects, key=ORDER.index, default=NOW)


def _differs(path: str, one: dict[str, Value], other: dict[str, Value]) -> bool:
    return path not in one or path not in other or plain(one[path]) != plain(other[path])
